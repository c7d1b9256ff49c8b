"""`llms.txt` and a Markdown text of every page (`PAGE.html.md`), laid out as nbdev 3 and llmstxt.org have them.

Our own, after a trial of sphinx-llm 1.1.0 with sphinx-markdown-builder 0.6.11 (2026-11-27). With MyST-NB's default settings it leaves out what cells
printed or drew; with `nb_mime_priority_overrides` for its builder both come through, the words that describe pictures included. What remains
against it: it runs Sphinx a second time (53 s more on this site, where the code below takes one), its pictures link to the build's own folder, and raw
HTML, such as the heads of our pages, stays in the text. tests/test_docs.py says what the texts have to keep.
"""
import json
import re

from . import ROOT, SETTINGS
from .notebooks import entries, original, read, title_and_lead, wings


def _notebook(nb):
    "A processed notebook as Markdown: prose, code, and what the code printed; no pictures"
    out = []
    for c in nb['cells']:
        source = ''.join(c['source'])
        if c['cell_type'] == 'markdown': out.append(source)
        else:
            out.append(f'```python\n{source}\n```')
            for o in c['outputs']:
                text = o.get('text') or o.get('data', {}).get('text/markdown') or o.get('data', {}).get('text/plain') or ''
                text = ''.join(text).strip()
                if not text: continue
                if 'image/png' in o.get('data', {}) or 'image/jpeg' in o.get('data', {}):
                    out.append(f"*Picture: {c['metadata'].get('mystnb', {}).get('image', {}).get('alt', text)}*")
                else: out.append(text if 'text/markdown' in o.get('data', {}) else f'```\n{text[:4000]}\n```')
    return '\n\n'.join(out)


def _plain(text):
    "A page's Markdown without what only a browser or Sphinx understands"
    text = re.sub(r'```\{raw\} html\n.*?\n```\n?', '', text, flags=re.S)
    text = re.sub(r'```\{(?:toctree|py:module)\}.*?\n```\n?', '', text, flags=re.S)
    text = re.sub(r'^(`{3,}|:{3,})\{?[\w:]*\}? ?(.*)$', lambda m: f'### `{m[2]}`' if m[2]
                  and 'py:' in m[0] else ('' if '{' in m[0] or m[1][0] == ':' else m[0]), text, flags=re.M)
    text = re.sub(r'^\{\.[\w-]+\}\n', '', text, flags=re.M)
    text = re.sub(r'\]\(((?!https?:)[^)#]+?)\.(?:md|ipynb)(#[^)]*)?\)', r'](\1.html.md)', text)
    text = re.sub(r'\{py:obj\}`(\w+) <[^>]+>`', r'`\1`', text)
    return re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'


def _reference(text):
    "A page of the reference: its directives were opened and closed by fences"
    text = re.sub(r'^`{3,}\s*$', '', text, flags=re.M)
    text = re.sub(r'^:param (\w+):', r'- `\1`:', re.sub(r'^:returns:', '- returns:', text, flags=re.M), flags=re.M)
    text = re.sub(r'^:value: (.+)$', r'`= \1`', text, flags=re.M)
    return re.sub(r'\n{3,}', '\n\n', re.sub(r'\\([\\*_\[\]<>$|#{}~^])', r'\1', text))


def write(out, site, mods):
    "Write llms.txt and the Markdown beside each page of `out`"
    titles = {}
    for p in sorted(site.rglob('*')):
        if p.suffix not in ('.md', '.ipynb'): continue
        name = p.relative_to(site).with_suffix('')
        text = _plain(_notebook(json.loads(p.read_text(encoding='utf-8'))) if p.suffix == '.ipynb' else p.read_text(encoding='utf-8'))
        if name.parts[0] == 'api': text = _reference(text)
        (out/f'{name}.html.md').write_text(text, encoding='utf-8')
        m = re.search(r'^# (.+)$', text, re.M)
        titles[str(name)] = m[1].strip('`') if m else str(name)
    intro = next(''.join(c['source']) for c in read(ROOT/'nbs/index.ipynb')['cells'] if c['cell_type'] == 'markdown')
    intro = re.sub(r'\s*!\[.*', '', intro.split('\n\n', 2)[2].split('\n![')[0], flags=re.S)
    def notebooks(wing):
        return '\n'.join(f"- [{t}]({o['id']}.html.md): {lead}" for o in entries({wing: found[wing]})
                         for t, lead in [title_and_lead(original(o['id']))])
    found = wings()
    lines = ['# colorizer', f"> {SETTINGS['description']}", intro.strip(), '## Modules',
             '\n'.join(f'- [{m.full}](api/{m.name}.html.md): {m.summary}' for m in mods),
             *(o for wing in found for o in (f'## {wing.capitalize()}', notebooks(wing))),
             '## Guides', '\n'.join(f'- [{t}]({k}.html.md)'
                                    for k, t in titles.items() if k.startswith('guides/') or k in ('start', 'model_card', 'photos'))]
    (out/'llms.txt').write_text('\n\n'.join(lines) + '\n', encoding='utf-8')
