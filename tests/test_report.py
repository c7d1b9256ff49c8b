"""The pages of `colorizer evaluate -o`: what is in them, and what a browser makes of them at the width of a phone and of a screen."""
import csv, json, shutil, subprocess, sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from colorizer.evaluation import benchmark as b
from colorizer.evaluation import command as c
from colorizer.evaluation import report as r
from colorizer.cli import main
from colorizer.inference.photo import sample_photos

pytest.importorskip('skimage')
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
WIDTHS = [1280, 390]


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    "A report of two systems on four photos, one of them with a name that would break a careless page"
    top = tmp_path_factory.mktemp('evaluation')
    (top/'photos').mkdir()
    for k in ('astronaut', 'cat', 'china'): shutil.copy(sample_photos()[k], top/'photos')
    shutil.copy(sample_photos()['coffee'], top/'photos'/'<img src=x onerror=alert(1)>&".jpg')
    (top/'l.csv').write_text('file,class,left,top,right,bottom\nchina.jpg,sky,0.1,0,0.5,0.12\ncat.jpg,fur,0.4,0.1,0.6,0.3\n')
    tint = "ImageOps.colorize(Image.open(r'{input}').convert('L'), 'black', 'white', mid='#8a7a60').save(r'{output}')"
    sepia = f'sepia=cmd:{sys.executable} -c "from PIL import Image, ImageOps; {tint}"'
    assert main(['evaluate', str(top/'photos'), '--models', 'default', sepia, '--size', '96', '--regions', str(top/'l.csv'), '-o',
        str(top/'out')]) == 0
    return top/'out'

class Page(HTMLParser):
    "Tags with their attributes, and the text outside of scripts and styles"
    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.inside = [], '', ''
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs): self.tags.append((tag, dict(attrs))); self.inside = tag
    def handle_data(self, data): self.text += '' if self.inside in ('script', 'style') else data


# --- without a browser

def test_all_files_are_there_and_agree(out):
    assert sorted(p.name for p in out.iterdir()) == ['blind.html', 'photos.csv', 'protocol.json', 'report.html', 'summary.json']
    summary, protocol = (json.loads((out/k).read_text(encoding='utf-8')) for k in ('summary.json', 'protocol.json'))
    assert summary['protocol'] == protocol and [s['name'] for s in summary['systems']] == ['default', 'sepia',
        'mean chroma (embedded photos)', 'grey']
    with open(out/'photos.csv', encoding='utf-8', newline='') as f:
        rows = [o for o in csv.DictReader(f) if (o['system'], o['output']) == ('default', 'raw')]
    assert len(rows) == 4 and np.mean([float(o['psnr']) for o in rows]) == pytest.approx(summary['summary'][0]['psnr'])
    text = Page(out/'report.html').text
    assert f"{summary['summary'][0]['psnr']:.2f}" in text and protocol['sha256'] in text and 'sepia' in text

@pytest.mark.parametrize('name', ['report', 'blind'])
def test_pages_are_whole_small_and_ask_nobody(out, name):
    page = Page(out/f'{name}.html')
    assert (out/f'{name}.html').stat().st_size < 2_000_000
    for tag, attrs in page.tags:
        assert tag not in ('iframe', 'object', 'embed', 'base'), tag
        if tag == 'link':
            assert attrs == dict(rel='icon', href='data:,')  # empty, so that no favicon is asked for
            continue
        for k in ('src', 'href', 'srcset', 'data', 'action'):
            assert (attrs.get(k) or '#').startswith(('#', 'data:image/jpeg;base64,')), (tag, k)
    assert '@import' not in page.rawdata and 'url(' not in page.rawdata
    policy, = [a['content'] for t, a in page.tags if a.get('http-equiv') == 'Content-Security-Policy']
    assert policy.startswith("default-src 'none'")
    assert [a['lang'] for t, a in page.tags if t == 'html'] == ['en'] and [a for t, a in page.tags if a.get('name') == 'viewport']

def test_a_name_of_a_file_is_text(out):
    for name in ('report', 'blind'):
        page = Page(out/f'{name}.html')
        assert not [a for t, a in page.tags if 'onerror' in a]
    assert '<img src=x onerror=alert(1)>&".jpg' in Page(out/'report.html').text

def test_names_of_systems_and_lines_of_what_was_left_out_are_text(tmp_path):
    bad = '</script></title></style><evil onx=1>&amp;"\''
    photos = b.photos_to_judge([sample_photos()['cat']])
    first, *rest = b.open_systems(['default'], photos)
    systems = [replace(first, name=bad), *rest]
    (tmp_path/'report.html').write_text(r.report_page(systems, photos, b.evaluate(systems, photos, 64, progress=False), b.protocol(photos, 64),
        64, [bad]), encoding='utf-8')
    (tmp_path/'blind.html').write_text(r.blind_page(systems[0], photos, b.protocol(photos, 64), 64), encoding='utf-8')
    for name in ('report', 'blind'):
        page = Page(tmp_path/f'{name}.html')
        assert 'evil' not in {t for t, _ in page.tags} and not any('onx' in a for _, a in page.tags)
    assert (tmp_path/'blind.html').read_text(encoding='utf-8').count('</script>') == 2  # the data's and the script's own
    assert Page(tmp_path/'report.html').text.count(bad) >= 5

def test_pictures_have_texts_and_controls_have_names(out):
    page = Page(out/'report.html')
    images = [a for t, a in page.tags if t == 'img']
    assert len(images) == 4*(1 + 1 + 2*2) + 1 and all(a['alt'] for a in images)   # before, truth, two of each system; the scale
    assert all(a.get('aria-label') for t, a in page.tags if t == 'svg')
    assert [a for t, a in page.tags if t == 'th' and 'scope' not in a] == []

def test_the_map_can_be_read_without_colour():
    plt = pytest.importorskip('matplotlib')
    x = np.linspace(0, 1, 200)
    assert abs(r.shades(x) - plt.colormaps['cividis'](x)[:, :3]*255).max() < 12   # it begins steeply
    assert (np.diff(r.shades(x) @ [.2126, .7152, .0722]) > 0).all()

def test_strips_show_all_photos():
    s = r.strip('a', range(101), 0, 100)
    assert s['marks'].count('M') == 101 and s['box'] == [250, 500] and (s['low'], s['median'], s['high']) == ('25.0', '50.0', '75.0')

def test_the_report_is_written_whole_or_not_at_all(out, tmp_path, monkeypatch):
    (tmp_path/'report.html').write_text('old')
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr('os.replace', full)
    assert main(['evaluate', str(sample_photos()['cat']), '--size', '64', '-o', str(tmp_path)]) == 1
    assert (tmp_path/'report.html').read_text() == 'old' and [p.name for p in tmp_path.iterdir()] == ['report.html']

def test_without_its_extra_it_says_so_before_it_works(tmp_path):
    code = "import sys; sys.modules['skimage'] = None; from colorizer.cli import main; sys.exit(main(sys.argv[1:]))"
    r = subprocess.run([sys.executable, '-c', code, 'evaluate', str(sample_photos()['cat']), '-o', str(tmp_path/'out')], capture_output=True, text=True)
    assert (r.returncode, r.stderr.strip()) == (1, 'colorizer: skimage is not installed. Run: pip install "unet-colorizer[evaluate]"')
    assert not (tmp_path/'out').exists()

@pytest.mark.parametrize('flag', ['--lpips', '--fid'])
def test_weights_that_cannot_be_had_stop_it_before_it_works(flag, monkeypatch, capsys):
    def refuse(*args): raise OSError('no route to host')
    monkeypatch.setattr('colorizer.evaluation.network_measures._alexnet', refuse); monkeypatch.setattr('colorizer.evaluation.network_measures._inception',
        refuse)
    monkeypatch.setattr(b, 'compare', lambda *args: {}['the long work has begun'])
    with monkeypatch.context() as m:
        m.setattr('colorizer.evaluation.command.protocol', b.protocol)
        assert main(['evaluate', str(sample_photos()['cat']), flag]) == 1
    out, err = capsys.readouterr()
    assert out == '' and "weights can't be downloaded (no route to host)" in err and len(err.splitlines()) == 1

def test_lpips_and_fid_come_into_the_table(monkeypatch, capsys, tmp_path):
    "Networks of our own stand in for the downloads"
    monkeypatch.setattr(c, 'lpips_measure', lambda: lambda p, t: .25); monkeypatch.setattr(c, 'fid_features',
        lambda: lambda p: p.mean((0, 1)))
    assert main(['evaluate', *(str(sample_photos()[k]) for k in ('cat', 'china', 'coffee')), '--size', '64', '--lpips', '--fid', '-o',
        str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert 'LPIPS ↓' in text and '0.250' in text and 'FID ↓' in text and 'FID of 3 photos' in text
    assert set(json.loads((tmp_path/'protocol.json').read_text())['measures']) >= {'lpips',
        'fid'} and 'FID of 3 photos' in (tmp_path/'report.html').read_text()


# --- in a browser

@pytest.fixture(scope='module')
def browser():
    if not CHROMIUM: pytest.skip('no Chromium on this machine (Debian: apt install chromium)')
    playwright = pytest.importorskip('playwright.sync_api')
    quiet = '--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run'.split()
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield chromium
        chromium.close()

@pytest.fixture
def opened(browser, out):
    "Opens a page from the disk; afterwards nothing may have been asked for, and nothing have gone wrong"
    pages, wrong = [], []
    def open_page(name, width):
        context = browser.new_context(viewport=dict(width=width, height=800), offline=True, accept_downloads=True)
        page = context.new_page()
        page.on('console', lambda m: wrong.append(m.text)); page.on('pageerror', lambda e: wrong.append(str(e)))
        page.on('request', lambda q: q.url.startswith(('file:', 'data:', 'blob:')) or wrong.append(q.url))
        page.goto((out/f'{name}.html').as_uri())
        pages.append(context)
        return page
    yield open_page
    for context in pages: context.close()
    assert wrong == []

@pytest.mark.parametrize('width', WIDTHS)
@pytest.mark.parametrize('name', ['report', 'blind'])
def test_nothing_sticks_out_at_either_width(opened, name, width):
    page = opened(name, width)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.evaluate('[...document.images].every(i => i.complete && i.naturalWidth > 0)')
    wrong = page.evaluate('''[...document.querySelectorAll('figure img, .compare img, .pair img')].filter(i =>
        i.offsetWidth && getComputedStyle(i).objectFit !== 'contain' && Math.abs(i.offsetWidth/i.offsetHeight - i.naturalWidth/i.naturalHeight) > .03).length''')
    assert wrong == 0   # pictures keep their proportions

@pytest.mark.parametrize('width', WIDTHS)
def test_the_slider_obeys_the_keyboard(opened, width):
    page = opened('report', width)
    slider = page.locator('.card input[type=range]').first
    assert page.locator('.card input[type=range]').count() == 4
    slider.focus()
    before = slider.evaluate("e => getComputedStyle(e.closest('.card').querySelector('.over')).clipPath")
    for _ in range(10): page.keyboard.press('ArrowRight')
    assert slider.input_value() == '60' and '60 % default, the rest truth' in slider.get_attribute('aria-valuetext')
    after = slider.evaluate("e => getComputedStyle(e.closest('.card').querySelector('.over')).clipPath")
    assert (before, after) == ('inset(0px 0px 0px 50%)', 'inset(0px 0px 0px 60%)')

def test_any_two_pictures_can_be_compared(opened):
    page = opened('report', 1280)
    assert page.locator('#left option').all_inner_texts() == ['before', 'default', 'truth', 'sepia', 'default: where it is wrong',
        'sepia: where it is wrong']
    page.locator('#right').select_option('sepia: where it is wrong')
    card = page.locator('.card').first
    assert card.locator('.over').get_attribute('src') == card.locator('img[data-name="sepia: where it is wrong"]').get_attribute('src')
    assert 'sepia: where it is wrong on the right' in card.locator('input').get_attribute('aria-label')

def test_the_report_works_without_scripts(browser, out):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((out/'report.html').as_uri())
    assert page.locator('.card figure').count() == 4*6 and not page.locator('.choice').is_visible()

@pytest.mark.parametrize('width', WIDTHS)
def test_the_blind_test_counts_keeps_and_saves(opened, out, width, tmp_path):
    page = opened('blind', width)
    data = json.loads(page.locator('#data').text_content())
    assert len(data['pairs']) == 4 and data['system'] == 'default' and not page.locator('#save').is_enabled()
    real = {p['real']: p['file'] for p in data['pairs']}
    expected = []
    for n in range(4):
        assert page.locator('#where').inner_text() == f'Pair {n + 1} of 4'
        sources = [i.get_attribute('src') for i in page.locator('.pair img').all()]
        first = sources[0] in real
        expected.append((real[sources[not first]], 'first' if first else 'second', n % 2 == 0))   # right, wrong, right, wrong
        side = first == (n % 2 == 0)
        if n < 2: page.locator('#first' if side else '#second').click()
        else: page.keyboard.press('1' if side else '2')
        if n == 1:   # Chromium sometimes gives a page from the disk an empty storage; a reload loses nothing all the same
            page.evaluate('localStorage.clear()')
            page.reload()
    # Wilson's interval of 2 in 4
    assert 'In 2 of 4 pairs' in page.locator('#verdict').inner_text() and '95 %: 15 to 85 %' in page.locator('#verdict').inner_text()
    with page.expect_download() as d: page.locator('#save').click()
    d.value.save_as(tmp_path/'answers.json')
    saved = json.loads((tmp_path/'answers.json').read_text())
    assert [(a['file'], a['real'], a['right']) for a in saved['answers']] == expected
    assert (saved['fooled'], saved['answered'], saved['protocol']) == (2, 4, json.loads((out/'protocol.json').read_text())['sha256'])
    page.on('dialog', lambda d: d.accept())
    page.locator('#again').click()
    assert page.locator('#where').inner_text() == 'Pair 1 of 4'

@pytest.mark.parametrize('stored, pair', [('v', 2), ('"{}"', 1), ('"not JSON"', 1)])
def test_a_new_tab_shows_the_next_pair(opened, stored, pair):
    "What the first tab stored, put into the second one's storage: by us, because Chromium's own copy is now and then missing (see above)"
    page = opened('blind', 1280)
    page.locator('#first').click()
    (key, value), = page.evaluate('Object.entries(localStorage)')
    tab = page.context.new_page()
    tab.add_init_script(f'{{ const v = {json.dumps(value)}; localStorage.setItem({json.dumps(key)}, {stored}); }}')
    tab.goto(page.url)
    assert tab.locator('#where').inner_text() == f'Pair {pair} of 4'

def test_pairs_come_in_random_order(browser, out):
    "Of eight visits, not all begin alike (which would happen by chance once in two million)"
    starts = set()
    for _ in range(8):
        page = browser.new_context().new_page()
        page.goto((out/'blind.html').as_uri())
        starts.add(tuple(i.get_attribute('src')[-60:] for i in page.locator('.pair img').all()))
        page.context.close()
    assert len(starts) > 1
