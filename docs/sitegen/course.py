"""The notebooks as pages: what nbdev's processors leave, with a head, tags for the style sheet, and words for pictures."""
import json
import re
from pathlib import Path

import yaml

from . import BRANCH, DOCS, REPOSITORY, ROOT, TRIED, adapt_links, source_url

WORDS_A_MINUTE, CODE_LINES_A_MINUTE = 200, 20  # of a slow reader who wants to understand


class SiteError(Exception):
    "The site can't be built; the message is one line for whoever builds it"


def parts():
    "The parts of the course, from course.yml; every notebook in nbs/ is in one"
    res = yaml.safe_load((DOCS/'course.yml').read_text(encoding='utf-8'))
    listed = [o['file'] for p in res for o in p['notebooks']]
    there = {p.stem for p in (ROOT/'nbs').glob('[!_]*.ipynb')} - {'index', Path(TRIED or '').stem}
    if lost := there - set(listed): raise SiteError(f"docs/course.yml lacks {', '.join(sorted(lost))}: say where in the course it stands")
    if gone := set(listed) - there: raise SiteError(f"docs/course.yml lists {', '.join(sorted(gone))}, which nbs/ doesn't hold")
    return res


def read(path): return json.loads(path.read_text(encoding='utf-8'))


def _text(s): return ''.join(s)  # nbformat allows a list of lines


def directives(cell): return re.findall(r'^#\|\s*(\w+)', _text(cell['source']), re.M)


def title_and_lead(nb):
    "Title and subtitle of an original notebook, without the number that some titles begin with"
    for c in nb['cells']:
        m = c['cell_type'] == 'markdown' and re.match(r'# (?:\d+[a-z]? · )?(.+?)\n+(?:> (.+?)(?:\n\n|$))?', _text(c['source']) + '\n\n', re.S)
        if m: return m[1], ' '.join((m[2] or '').split())
    raise SiteError('a notebook without a title')


def beside_title(nb):
    "What else stands in the cell of the title: nbdev makes front matter of that cell, and drops the rest"
    for c in nb['cells']:
        text = _text(c['source'])
        if c['cell_type'] == 'markdown' and text.startswith('# '): return re.sub(r'\A# .+\n*(?:> .+\n*)*', '', text).strip()


def reading_minutes(nb):
    "How long the words and the code of a notebook take to read, rounded up to five minutes"
    words = sum(len(_text(c['source']).split()) for c in nb['cells'] if c['cell_type'] == 'markdown')
    lines = sum(_text(c['source']).count('\n') + 1 for c in nb['cells'] if c['cell_type'] == 'code')
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
    if 'export' in tags and _text(cell['source']).count('\n') > 30: tags.append('hide-input')  # machinery: a click away
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


def colab_url(file): return f"{REPOSITORY.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/{BRANCH}/nbs/{file}.ipynb"


def head(entry, names, nb, module):
    "Title, lead, what it takes, what to know before, and what one can do with the notebook"
    file = entry['file']
    title, lead = title_and_lead(nb)
    seconds = timings()['seconds'].get(file)
    need = ', '.join(f'<a class="reference internal" href="{o}.html">{names[o]}</a>' if o in names else o for o in entry['need'])
    facts = [f'<span class="fact"><b>{reading_minutes(nb)} min</b> to read</span>']
    if seconds is not None: facts.append(f'<span class="fact"><b>{run_time(seconds)}</b> to run on a CPU</span>')
    if module: facts.append(f'<span class="fact">makes <a class="reference internal" href="../api/{module}.html"><code>colorizer.{module}</code></a></span>')
    return f'''# {title}

```{{raw}} html
<p class="lead">{_html(lead)}</p>
<div class="nb-head">
<div class="nb-facts">{''.join(facts)}</div>
<p class="nb-need"><span>Know before</span> {need}</p>
<div class="nb-actions">
<a class="action" href="{file}.ipynb" download><i class="fa-solid fa-download" aria-hidden="true"></i> Download</a>
<a class="action" href="{colab_url(file)}"><i class="fa-solid fa-cloud" aria-hidden="true"></i> Colab</a>
<a class="action" href="../guides/run_locally.html#{file}"><i class="fa-solid fa-laptop-code" aria-hidden="true"></i> Run locally</a>
<a class="action" href="{source_url(f'nbs/{file}.ipynb')}"><i class="fa-brands fa-github" aria-hidden="true"></i> Source</a>
</div>
</div>
```
'''


def _html(s): return re.sub(r'`([^`]+)`', r'<code>\1</code>', s.replace('&', '&amp;').replace('<', '&lt;'))


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
    "Write the pages of the course and the one made of nbs/index.ipynb to `site`, from what nbdev left in `proc`"
    (site/'course').mkdir()
    course = parts()
    names = {o['file']: o['name'] for p in course for o in p['notebooks']}
    for entry in (o for p in course for o in p['notebooks']):
        file = entry['file']
        original = read(ROOT/f'nbs/{file}.ipynb')
        now = f'course/{file}.ipynb'
        nb = page(read(proc/f'{file}.ipynb'), original, f'nbs/{file}.ipynb', now, head(entry, names, original, default_exp(original)))
        (site/now).write_text(json.dumps(nb), encoding='utf-8')
    write_index(course, site)
    write_alone(proc, site, 'nbs/index.ipynb', 'start.ipynb', '# Getting started\n')
    if TRIED:
        title, lead = title_and_lead(read(ROOT/TRIED))
        write_alone(proc, site, TRIED, 'what_we_tried.ipynb', f'# {title}\n\n```{{raw}} html\n<p class="lead">{_html(lead)}</p>\n```\n')


def write_alone(proc, site, was, now, first):
    "A notebook that is a page of its own, outside of the course"
    nb = page(read(proc/Path(was).name), read(ROOT/was), was, now, first)
    (site/now).write_text(json.dumps(nb), encoding='utf-8')


def write_index(course, site):
    "The page of the course: parts, notebooks, minutes"
    names = {o['file']: o['name'] for p in course for o in p['notebooks']}
    t = timings()
    out = [(DOCS/'pages/course.md').read_text(encoding='utf-8').strip()]
    total = 0
    for part in course:
        rows = []
        for o in part['notebooks']:
            nb = read(ROOT/f"nbs/{o['file']}.ipynb")
            title, lead = title_and_lead(nb)
            total += reading_minutes(nb)
            takes = f'{reading_minutes(nb)} min'
            if o['file'] in t['seconds']: takes += f" · runs in {run_time(t['seconds'][o['file']])}"
            need = ', '.join(f'<a class="reference internal" href="{n}.html">{names[n]}</a>' if n in names else n for n in o['need'])
            number = re.match(r'\d+[a-z]?', o['file'])[0]
            rows.append(f'''<li><span class="number" aria-hidden="true">{number}</span><div><h3><a class="reference internal" href="{o['file']}.html">{_html(title)}</a></h3>
<p>{_html(lead)}</p><p class="takes">{takes} · know before: {need}</p></div></li>''')
        out.append(f"## {part['part']}\n\n{part['lead']}\n\n```{{raw}} html\n<ol class=\"notebooks\">\n" + '\n'.join(rows) + '\n</ol>\n```')
        out.append(f"```{{toctree}}\n:caption: {part['part']}\n:hidden:\n\n" + '\n'.join(f"{o['name']} <{o['file']}>" for o in part['notebooks']) + '\n```')
    hours = f'{total/60:.0f} hours'
    (site/'course/index.md').write_text('\n\n'.join(out).replace('{{hours}}', hours).replace('{{measured}}', t.get('how', 'Run times: not measured yet.')) + '\n', encoding='utf-8')
