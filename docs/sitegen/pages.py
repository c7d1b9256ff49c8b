"""The other pages: landing page, gallery, model card, guides; and the files that all pages share."""
import importlib.util
import re
import shutil

import numpy as np
from fastcore.xml import H3, Code, Details, Div, Figcaption, Figure, Img, Input, Li, P, Section, Span, Summary, Table, Tbody, Td, Th, Thead, Tr, Ul
from PIL import Image
from sphinxcontrib.katex import katex_version

from colorizer import Colorizer
from colorizer.inference.colour import luma
from colorizer.inference.photo import open_photo, sample_photos, save_photo, to_rgb_array

from . import DOCS, REPOSITORY, ROOT, adapt_links
from .notebooks import SiteError, anchor, entries, minutes, original, read, title_and_lead, wings
from .tags import html, inline, page_link, raw

# What can be seen, for those who can't see it; who made it and its licence are in colorizer/photos/README.md
SEEN = {'astronaut': 'An astronaut in an orange suit', 'cat': 'A ginger cat', 'china': 'A pavilion with red columns above a lake',
        'coffee': 'A cup of coffee on a wooden table', 'flower': 'A red dahlia', 'hopper': 'Grace Hopper in uniform, before a flag',
        'rocket': 'A rocket rising in the evening', 'bay': 'The Golden Gate Bridge over a blue bay', 'fig': 'Half a fig in a red bowl',
        'meadow': 'A meadow below autumn larches and a mountain', 'mountains': 'A path through high mountains',
        'room': 'A living room with a drum and a bottle of wine'}
HERO = 'china'


def grey_and_coloured(static):
    "Colour the photos of the package with the model that ships: static/gallery/NAME-{grey,coloured,original}.jpg; name → size in pixels"
    folder = static/'gallery'
    folder.mkdir(parents=True)
    colorizer, sizes = Colorizer(), {}
    for name, path in sample_photos().items():
        photo = open_photo(path)
        grey = Image.fromarray((luma(to_rgb_array(photo))*255 + .5).astype(np.uint8))
        save_photo(grey.convert('RGB'), folder/f'{name}-grey.jpg')
        save_photo(colorizer.colorize(grey), folder/f'{name}-coloured.jpg')
        save_photo(photo, folder/f'{name}-original.jpg')
        sizes[name] = photo.size
    return sizes


def slider(before, after, size, seen, labels=('Grey', 'Colour'), eager=False):
    "Two pictures, one over the other: the markup that docs/demo/slider.js and slider.css know"
    w, h = size
    def picture(src, says): return Img(src=src, width=w, height=h, alt=f'{seen}, {says}', loading=None if eager else 'lazy')
    left, right = (o.lower() for o in labels)
    handle = Input(type='range', min=0, max=100, step='any', value=50, oninput="this.parentNode.style.setProperty('--at', this.value)",
                   aria_label=f'{seen}: {left} to the left of the line, {right} to the right')
    return Div(picture(before, f'in {left}'), picture(after, right), handle, *map(Span, labels), cls='cz-slider', style=f'--ratio:{w/h:.4f}')


def photo_credits():
    "name → who made the photo, from the table in colorizer/photos/README.md"
    table = (ROOT/'colorizer/photos/README.md').read_text(encoding='utf-8')
    res = {}
    for m in re.finditer(r'^\| `(\w+)\.jpg` \|(.+)\|$', table, re.M):
        cells = [o.strip() for o in m[2].split('|')]
        author, licence = re.sub(r'\[([^\]]+)\]\([^)]*\)', r'\1', cells[1]), re.search(r'public domain|CC0 1\.0|CC BY \d\.\d', cells[3])
        if licence is None: raise SiteError(f'colorizer/photos/README.md states no licence for {m[1]}.jpg that the site knows')
        res[m[1]] = f'{author}, {licence[0]}'
    return res


def plate(name, size, credit):
    "A photo in the gallery: the slider, what is seen, who made it, and the photo as it was"
    files = {o: f'_static/gallery/{name}-{o}.jpg' for o in ('grey', 'coloured', 'original')}
    first = slider(files['grey'], files['coloured'], size, SEEN[name])
    was = Img(src=files['original'], width=size[0], height=size[1], loading='lazy', alt=f'{SEEN[name]}, the original colours')
    return Figure(first, Figcaption(f'{SEEN[name]}. ', Span(credit), Details(Summary('As it was'), was)), cls='plate')


def gallery(sizes):
    "All photos of the package"
    credits = photo_credits()
    if lost := set(sizes) - set(SEEN): raise SiteError(f"docs/sitegen/pages.py doesn't say what can be seen in {', '.join(sorted(lost))}")
    return Div(*(plate(name, size, credits[name]) for name, size in sizes.items()), cls='plates')


def figures_of_the_card():
    "The sentence of the model card that says how good the model is"
    card = (ROOT/'colorizer/models/README.md').read_text(encoding='utf-8')
    m = re.search(r'^this model against grey: (.+)$', card, re.M)
    if not m: raise SiteError('colorizer/models/README.md has no line that begins with "this model against grey:"')
    return m[1]


def limits_of_the_card():
    "The first two things that the model can't do, by its card, as list items"
    card = (ROOT/'colorizer/models/README.md').read_text(encoding='utf-8')
    m = re.search(r"^## What it can't do\n+(.+)", card, re.M | re.S)
    if not m: raise SiteError("colorizer/models/README.md has no section \"What it can't do\"")
    items = [' '.join(o.split()) for o in re.split(r'^- ', m[1], flags=re.M) if o.strip()]
    return [Li(*inline(o)) for o in items[:2]]


def fill(text, **what):
    "Put `what` in the place of {{its name}}"
    for k, v in what.items(): text = text.replace('{{' + k + '}}', v)
    if left := re.search(r'\{\{(\w+)\}\}', text): raise SiteError(f'nothing to put in the place of {left[0]}')
    return text


def course_cards():
    "The parts of the course as the landing page shows them"
    def link(text, file): return page_link(text, href=f'course/{file}.html')
    def part(n, o):
        heading = H3(Span(n, aria_hidden='true'), ' ', link(o['part'], o['notebooks'][0]['file']))
        return Section(heading, P(*inline(o['lead'])), Ul(*(Li(link(k['name'], k['file'])) for k in o['notebooks'])), cls='part')
    return Div(*(part(*o) for o in enumerate(wings()['course'], 1)), cls='parts')


def demo_module():
    spec = importlib.util.spec_from_file_location('colorizer_demo_build', DOCS/'demo/build.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fonts(static):
    "The three typefaces, from npm; Latin letters only, which is all that the pages have"
    faces = [('Source Serif 4', 'source-serif-4', 'opsz', 'normal', '200 900'),
             ('Source Serif 4', 'source-serif-4', 'opsz', 'italic', '200 900'),
             ('Inter', 'inter', 'wght', 'normal', '100 900'), ('JetBrains Mono', 'jetbrains-mono', 'wght', 'normal', '100 800')]
    css = []
    (static/'fonts').mkdir(parents=True)
    for family, package, axis, style, weights in faces:
        for subset in ('latin', 'latin-ext'):
            name = f'{package}-{subset}-{axis}-{style}.woff2'
            shutil.copyfile(DOCS/f'node_modules/@fontsource-variable/{package}/files/{name}', static/'fonts'/name)
            unicode = '' if subset == 'latin' else 'unicode-range:U+0100-02FF,U+0370-03FF,U+1E00-1EFF;'
            css.append(f"@font-face{{font-family:'{family}';font-style:{style};font-weight:{weights};font-display:swap;src:url(fonts/{name}) format('woff2');{unicode}}}")
        shutil.copyfile(DOCS/f'node_modules/@fontsource-variable/{package}/LICENSE', static/'fonts'/f'{package}-LICENSE.txt')
    (static/'fonts.css').write_text('\n'.join(sorted(css, key=lambda o: 'unicode-range' not in o)) + '\n', encoding='utf-8')


def katex(static):
    "KaTeX's style sheet and typefaces, of the version whose JavaScript comes with the Sphinx extension"
    package = read(DOCS/'node_modules/katex/package.json')
    if package['version'] != katex_version:
        raise SiteError(f"docs/package.json has KaTeX {package['version']}, sphinxcontrib-katex {katex_version}")
    dist, out = DOCS/'node_modules/katex/dist', static/'katex'
    (out/'fonts').mkdir(parents=True)
    css = (dist/'katex.min.css').read_text(encoding='utf-8')
    (out/'katex.min.css').write_text(re.sub(r',url\(fonts/[^)]+\.(?:woff|ttf)\) format\("\w+"\)', '', css), encoding='utf-8')
    for p in (dist/'fonts').glob('*.woff2'): shutil.copyfile(p, out/'fonts'/p.name)
    shutil.copyfile(DOCS/'node_modules/katex/LICENSE', out/'LICENSE.txt')


def write(site):
    "Write the pages that don't come from notebooks or the library, and what the pages share (`_proc/static`)"
    static = site.parent/'static'
    fonts(static)
    katex(static)
    demo_module().build(static/'demo')
    sizes = grey_and_coloured(static)
    shutil.copytree(ROOT/'nbs/images', site/'images')
    for was, now in (('colorizer/models/README.md', 'model_card.md'), ('colorizer/photos/README.md', 'photos.md'),
                     ('CONTRIBUTING.md', 'contributing.md')):
        (site/now).write_text(adapt_links((ROOT/was).read_text(encoding='utf-8'), was, now), encoding='utf-8')
    demo = (DOCS/'demo/demo.html').read_text(encoding='utf-8')
    hero = slider(f'_static/gallery/{HERO}-grey.jpg', f'_static/gallery/{HERO}-coloured.jpg', sizes[HERO], SEEN[HERO], eager=True)
    course = wings()['course']
    words = {'index': dict(demo=demo, slider=html(hero), credit=html(photo_credits()[HERO]), course=html(course_cards()),
                           figures=html(figures_of_the_card()), limits=html(*limits_of_the_card()),
                           notebooks=str(len(entries({'course': course}))), hours=f'{minutes(course)/60:.0f}'),
             'gallery': dict(gallery=raw(gallery(sizes)), photos=str(len(sizes)))}
    for path in sorted((DOCS/'pages').rglob('*.md')):
        name = path.relative_to(DOCS/'pages')
        if str(name) in ('course.md', 'library.md', 'essays.md', 'api.md'): continue  # the beginnings of pages that notebooks and api write
        (site/name).parent.mkdir(exist_ok=True)
        found = words.get(name.stem, {}) | (dict(run_locally=run_locally()) if name.stem == 'run_locally' else {})
        text = fill(path.read_text(encoding='utf-8'), **{'repository': REPOSITORY} | found)
        text = re.sub(r'^```sh-[a-z-]+$', '```sh', text, flags=re.M)  # the endings tell tests/test_guides.py how to try a command
        (site/name).write_text(text, encoding='utf-8')


def run_locally():
    "An anchor and a file for each notebook"
    def row(id):
        title, _ = title_and_lead(original(id))
        return Tr(Td(page_link(*inline(title), href=f'../{id}.html')), Td(Code(f'nbs/{id}.ipynb')), id=anchor(id))
    rows = [row(o['id']) for o in entries(wings())]
    table = Table(Thead(Tr(Th('Notebook'), Th('File'))), Tbody(*rows), cls='table')
    return raw(Div(table, cls='pst-scrollable-table-container'))


def finish(out):
    "What stands beside the pages: the original notebooks, and the file that tells GitHub Pages to leave `_static` alone"
    for id in (o['id'] for o in entries(wings())): shutil.copyfile(ROOT/f'nbs/{id}.ipynb', out/f'{id}.ipynb')
    (out/'.nojekyll').touch()
    (out/'.buildinfo').unlink(missing_ok=True)
    if (out/'_sources').is_dir(): shutil.rmtree(out/'_sources')  # empty
