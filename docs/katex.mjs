// Formulas in, HTML with MathML out, both as JSON: [{tex, display}] -> [html]. What KaTeX doesn't understand is an error.
import {readFileSync} from 'node:fs';
import katex from 'katex';

const formulas = JSON.parse(readFileSync(0, 'utf8'));
const html = formulas.map(({tex, display}) => katex.renderToString(tex, {displayMode: display, throwOnError: true, strict: 'ignore'}));
process.stdout.write(JSON.stringify(html));
