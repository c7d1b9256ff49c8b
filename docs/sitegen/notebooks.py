"""The notebooks as pages: what nbdev's processors leave, with a head, tags for the style sheet, and words for pictures."""
import json
import re

import yaml
from fastcore.xml import H3, A, B, Code, Div, Li, Ol, P, Span

from . import BRANCH, DOCS, REPOSITORY, ROOT, adapt_links, source_url
from .tags import icon, inline, page_link, raw

WORDS_A_MINUTE, CODE_LINES_A_MINUTE = 200, 20  # of a slow reader who wants to understand


class SiteError(Exception):
    "The site can't be built; the message is one line for whoever builds it"


def wings():
    "wing of nbs/ → its parts, from notebooks.yml; every notebook is in one, and its `id` is WING/NAME"
    res = yaml.safe_load((DOCS/'notebooks.yml').read_text(encoding='utf-8'))
    for wing, parts in res.items():
        for o in (o for p in parts for o in p['notebooks']): o['id'] = f"{wing}/{o['file']}"
    listed = [o['id'] for o in entries(res)]
    there = {p.relative_to(ROOT/'nbs').with_suffix('').as_posix()
             for p in (ROOT/'nbs').rglob('[!_.]*.ipynb') if '.ipynb_checkpoints' not in p.parts} - {'index'}
    if lost := there - set(listed): raise SiteError(f"docs/notebooks.yml lacks {', '.join(sorted(lost))}: say where the site shows it")
    if gone := set(listed) - there: raise SiteError(f"docs/notebooks.yml lists {', '.join(sorted(gone))}, which nbs/ doesn't hold")
    if twice := {o for o in listed if listed.count(o) > 1}: raise SiteError(f"docs/notebooks.yml lists {', '.join(sorted(twice))} twice")
    if unknown := {n for o in entries(res) for n in o['need'] if re.fullmatch(r'\w+/\w+', n)} - set(listed):
        raise SiteError(f"docs/notebooks.yml: somebody should know {', '.join(sorted(unknown))} before, which nbs/ doesn't hold")
    return res


def entries(wings): return [o for parts in wings.values() for p in parts for o in p['notebooks']]


def original(id): return read(ROOT/f'nbs/{id}.ipynb')


def read(path): return json.loads(path.read_text(encoding='utf-8'))


def _text(s): return ''.join(s)  # nbformat allows a list of lines


def directives(cell): return re.findall(r'^#\|\s*([\w-]+)', _text(cell['source']), re.M)


def title_and_lead(nb):
    "Title and subtitle of an original notebook, without the number that some titles begin with"
    for c in nb['cells']:
        m = c['cell_type'] == 'markdown' and re.match(r'# (?:\d+[a-z]? · )?(.+?)\n+(?:> (.+?)(?:\n\n|$))?', _text(c['source']) + '\n\n',
                                                      re.S)
        if m: return m[1], ' '.join((m[2] or '').split())
    raise SiteError('a notebook without a title')


def beside_title(nb):
    "What else stands in the cell of the title: nbdev makes front matter of that cell, and drops the rest"
    for c in nb['cells']:
        text = _text(c['source'])
        if c['cell_type'] == 'markdown' and text.startswith('# '): return re.sub(r'\A# .+\n*(?:> .+\n*)*', '', text).strip()


def reading_minutes(nb):
    "How long the words and the code of a notebook take to read, rounded up to five minutes; what is hidden or folded doesn't count"
    prose = '\n'.join(_text(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')
    words = len(re.sub(r'<details.*?</details>', '', prose, flags=re.S).split())
    code = [c for c in nb['cells'] if c['cell_type'] == 'code' and not {'hide', 'code-fold'} & set(directives(c))]
    lines = sum(_text(c['source']).count('\n') + 1 for c in code)
    return max(5, 5*round((words/WORDS_A_MINUTE + lines/CODE_LINES_A_MINUTE)/5 + .3))


def timings():
    "Measured seconds of each notebook and how they were measured: see docs/time_notebooks.py"
    path = DOCS/'timings.json'
    return read(path) if path.exists() else {'seconds': {}}


def run_time(seconds):
    "Seconds as a reader thinks of them"
    if seconds < 90: return f'{max(5, 5*round(seconds/5))} s'
    return f'{round(seconds/60)} min'


def _plain(markdown):
    "The words of a piece of Markdown"
    s = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', markdown)
    return re.sub(r'\s+', ' ', re.sub(r'[*`_$]|^[>#]+ ?', '', s, flags=re.M)).strip()


def alt_text(output, before):
    "Words for a picture: its own where it has them (titles of a photo grid), else the sentence that leads up to it"
    own = _text(output['data'].get('text/plain', '')).strip()
    if own and not re.match(r'<Figure|Picture \d', own):
        return 'Side by side: ' + ', '.join(own.split(' | ')) if ' | ' in own else own.strip("'")
    kind = 'Plot' if own.startswith('<Figure') else 'Picture'
    paragraph = _plain([o for o in before.split('\n\n') if o.strip()][-1]) if before.strip() else ''
    sentence = re.split(r'(?<=[.:?!]) (?=[A-Z])', paragraph)[-1].rstrip(':')
    return f'{kind}. {sentence}' if sentence else f'{kind}, no description'


KEEP = 'image/jpeg', 'image/png', 'image/svg+xml', 'text/html', 'text/markdown', 'text/plain'


def code_cell(cell, original, before):
    "A code cell for MyST-NB: tags say what it was for nbdev; pictures get words"
    tags = [o for o in ('export', 'exporti', 'slow') if o in original]
    # machinery: a click away
    if 'code-fold' in original or 'export' in tags and _text(cell['source']).count('\n') > 30: tags.append('hide-input')
    outputs, meta = [], {'tags': tags}
    for o in cell.get('outputs', []):
        if o['output_type'] == 'error': raise SiteError('a stored output is an error')
        if o['output_type'] == 'stream' and o['name'] == 'stderr': continue
        if 'data' in o:
            o['data'] = {k: v for k, v in o['data'].items() if k in KEEP}
            o['metadata'] = {}
            if any(k.startswith('image/') for k in o['data']): meta['mystnb'] = {'image': {'alt': alt_text(o, before)}}
        outputs.append(o)
    source = re.sub(r'^#\|.*\n?', '', _text(cell['source']), flags=re.M)  # what is left of Quarto's directives
    return {'cell_type': 'code', 'execution_count': None, 'id': cell['id'], 'metadata': meta, 'outputs': outputs, 'source': source}


def markdown_cell(source, id): return {'cell_type': 'markdown', 'id': id, 'metadata': {}, 'source': source}


def colab_url(id):
    return f"{REPOSITORY.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/{BRANCH}/nbs/{id}.ipynb"


def needed(entry, names):
    "What a reader of a notebook should know before: links and words, with commas between them"
    found = [page_link(names[o], href=f'../{o}.html') if o in names else o for o in entry['need']]
    return [x for o in found for x in (', ', o)][1:]


def facts(id, nb, module):
    "How long a notebook takes, and which module it makes"
    seconds = timings()['seconds'].get(id)
    yield B(f'{reading_minutes(nb)} min'), ' to read'
    if seconds is not None: yield B(run_time(seconds)), ' to run on a CPU'
    if module: yield 'makes ', page_link(Code(f'colorizer.{module}'), href=f'../api/{module}.html')


def actions(entry):
    "What one can do with a notebook: (icon, words, attributes of the link)"
    id = entry['id']
    yield 'fa-solid fa-download', 'Download', dict(href=f"{entry['file']}.ipynb", download=True)
    yield 'fa-solid fa-cloud', 'Colab', dict(href=colab_url(id))
    yield 'fa-solid fa-laptop-code', 'Run locally', dict(href=f'../guides/run_locally.html#{anchor(id)}')
    yield 'fa-brands fa-github', 'Source', dict(href=source_url(f'nbs/{id}.ipynb'))


def head(entry, names, nb, module):
    "Title, lead, what it takes, what to know before, and what one can do with the notebook"
    title, lead = title_and_lead(nb)
    takes = Div(*(Span(*o, cls='fact') for o in facts(entry['id'], nb, module)), cls='nb-facts')
    need = P(Span('Know before'), ' ', *needed(entry, names), cls='nb-need')
    links = Div(*(A(icon(sign), f' {words}', **to, cls='action') for sign, words, to in actions(entry)), cls='nb-actions')
    return f"# {title}\n\n{raw(P(*inline(lead), cls='lead'), Div(takes, need, links, cls='nb-head'))}\n"


def anchor(id): return id.replace('/', '-')


def default_exp(nb):
    m = re.search(r'#\| default_exp (\S+)', '\n'.join(_text(c['source']) for c in nb['cells']))
    return m and m[1]


def page(processed, original, was, now, first):
    "The notebook that MyST-NB gets. `first` stands in the place of title and subtitle"
    originals = {c['id']: directives(c) for c in original['cells'] if c['cell_type'] == 'code'}
    cells, before = [markdown_cell(first, 'head')], ''
    if rest := beside_title(original): cells.append(markdown_cell(adapt_links(rest, was, now), 'beside-title'))
    for c in processed['cells']:
        source = _text(c['source'])
        if not source.strip() or c['cell_type'] == 'raw' or source.startswith('<!-- WARNING'): continue
        if c['cell_type'] == 'markdown':
            before = source
            cells.append(markdown_cell(adapt_links(source, was, now), c['id']))
        else: cells.append(code_cell(c, originals.get(c['id'], []), before))
    metadata = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}, 'language_info': {'name': 'python'}}
    return {'cells': cells, 'metadata': metadata, 'nbformat': 4, 'nbformat_minor': 5}


def write(proc, site):
    "Write the pages of all notebooks to `site`, from what nbdev left in `proc`"
    found = wings()
    names = {o['id']: o['name'] for o in entries(found)}
    for wing, parts in found.items():
        (site/wing).mkdir()
        for entry in (o for p in parts for o in p['notebooks']):
            nb = original(entry['id'])
            write_page(proc, site, f"{entry['id']}.ipynb", f"{entry['id']}.ipynb", head(entry, names, nb, default_exp(nb)))
        write_index(wing, parts, names, site)
    write_page(proc, site, 'index.ipynb', 'start.ipynb', '# Getting started\n')


def write_page(proc, site, name, now, first):
    "The notebook nbs/`name` as the page `now`"
    nb = page(read(proc/name), read(ROOT/'nbs'/name), f'nbs/{name}', now, first)
    (site/now).write_text(json.dumps(nb), encoding='utf-8')


def item(entry, names):
    "A notebook in the list of its wing"
    nb = original(entry['id'])
    title, lead = title_and_lead(nb)
    takes = f'{reading_minutes(nb)} min'
    if entry['id'] in timings()['seconds']: takes += f" · runs in {run_time(timings()['seconds'][entry['id']])}"
    number = re.match(r'\d+|', entry['file'])[0]
    return Li(Span(number, cls='number', aria_hidden='true'),
              Div(H3(page_link(*inline(title), href=f"{entry['file']}.html")), P(*inline(lead)),
                  P(f'{takes} · know before: ', *needed(entry, names), cls='takes')))


def write_index(wing, parts, names, site):
    "The page of a wing: parts, notebooks, minutes"
    text = (DOCS/f'pages/{wing}.md').read_text(encoding='utf-8').strip()
    hours = f'{minutes(parts)/60:.0f} hours'
    out = [text.replace('{{hours}}', hours).replace('{{measured}}', timings().get('how', 'Run times: not measured yet.'))]
    for part in parts:
        notebooks = part['notebooks']
        if len(parts) > 1: out.append(f"## {part['part']}\n\n{part['lead']}")
        out.append(raw(Ol(*(item(o, names) for o in notebooks), cls='notebooks')))
        out.append(f"```{{toctree}}\n:caption: {part['part']}\n:hidden:\n\n"
                   + '\n'.join(f"{o['name']} <{o['file']}>" for o in notebooks) + '\n```')
    (site/wing/'index.md').write_text('\n\n'.join(out) + '\n', encoding='utf-8')


def minutes(parts): return sum(reading_minutes(original(o['id'])) for p in parts for o in p['notebooks'])
