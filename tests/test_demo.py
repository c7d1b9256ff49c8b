"""The demo of the docs in a headless Chromium: below a sub-path of a plain static server, with what docs/demo/build.py makes."""
import functools, http.server, importlib.util, io, shutil, threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import ExifTags, Image

from colorizer.inference.colorizer import Colorizer
from colorizer.inference.show import before_after
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array

DEMO = Path(__file__).parent.parent/'docs'/'demo'
RESULT = '.cz-demo[data-state=result]'


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope='module')
def build():
    "docs/demo/build.py as a module"
    if not DEMO.exists(): pytest.skip('docs/demo is not here')
    spec = importlib.util.spec_from_file_location('demo_build', DEMO/'build.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def site(build, tmp_path_factory):
    "Address of a page with the demo in it, below a folder of the server"
    if not (DEMO/'node_modules').exists() and shutil.which('npm') is None:
        pytest.skip('npm is missing: the demo takes ONNX Runtime for browsers from there')
    root = tmp_path_factory.mktemp('site')
    build.build(root/'a'/'b'/'_static'/'demo')
    slider = before_after(*[to_rgb_array(open_photo(sample_photos()['cat']))]*2)._repr_mimebundle_()['text/html']
    (root/'a'/'b'/'index.html').write_text(f'''<!doctype html><html lang="en"><meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Demo</title><link rel="icon" href="data:,">
        <main>{(DEMO/'demo.html').read_text(encoding='utf-8')}</main>''', encoding='utf-8')
    (root/'a'/'b'/'notebook.html').write_text(f'<!doctype html><meta charset="utf-8">{slider}', encoding='utf-8')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/a/b/'
    server.shutdown()


def opened(browser, site):
    "The page, with notes of what it asks for and complains about"
    page = browser.new_page(viewport=dict(width=1000, height=700), reduced_motion='reduce')
    page.set_default_timeout(60_000)
    page.asked, page.problems = [], []
    page.on('request', lambda r: page.asked.append(r.url))
    page.on('console', lambda m: page.problems.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: page.problems.append(str(e)))
    page.goto(site)
    page.wait_for_selector('.cz-demo[data-ready]')
    return page

def heavy(page): return [o for o in page.asked if '.wasm?' in o or 'model.onnx' in o]


@pytest.fixture(scope='module')
def shared(site, browser):
    page = opened(browser, site)
    yield page
    page.close()

@pytest.fixture
def page(shared):
    "One page for most tests, as one reader would use it. No test may leave an error behind, or a request to another host"
    yield shared
    assert shared.problems == []
    assert {urlsplit(o).hostname for o in shared.asked if urlsplit(o).scheme not in ('data', 'blob')} == {'127.0.0.1'}


# Work on a small photo can be over before anybody looks, so the page itself notes which states it has left.
NOTE_STATES = """() => {
    const demo = document.querySelector('.cz-demo')
    window.left = []
    new MutationObserver(all => window.left.push(...all.map(o => o.oldValue)))
        .observe(demo, {attributes: true, attributeFilter: ['data-state'], attributeOldValue: true})
}"""


@contextmanager
def working(page):
    "What is done within sets the demo to work; at the end, the result is there"
    page.evaluate(NOTE_STATES)
    yield
    page.wait_for_function("window.left.includes('working')")
    page.wait_for_selector(RESULT)


def give(page, *paths):
    "Choose photos and wait for the result"
    with working(page): page.locator('.cz-file').set_input_files([str(o) for o in paths])

def saved(page, kind='image/png'):
    "What the download button gives: its name, the image"
    page.locator('.cz-save select').select_option(kind)
    with page.expect_download() as got: page.locator('.cz-save button').click()
    return got.value.suggested_filename, Image.open(io.BytesIO(Path(got.value.path()).read_bytes()))

def apart(a, b):
    "Mean difference of two pictures of one size, in levels of 255"
    assert a.size == b.size
    return abs(to_rgb_array(a).astype(int) - to_rgb_array(b)).mean()

def wait_for_colour(page, test):
    "Wait until the mean chroma of the coloured picture on the page passes `test`, JavaScript that knows it as `c`"
    page.wait_for_function('''() => {
        const from = document.querySelectorAll('.cz-slider canvas')[1], to = new OffscreenCanvas(from.width, from.height).getContext('2d')
        to.drawImage(from, 0, 0)
        const d = to.getImageData(0, 0, from.width, from.height).data
        let c = 0
        for (let i = 0; i < d.length; i += 4) c += (Math.max(d[i], d[i+1], d[i+2]) - Math.min(d[i], d[i+1], d[i+2]))/d.length*4
        return %s }''' % test)


def test_who_only_reads_fetches_no_network(site, browser):
    page = opened(browser, site)
    page.mouse.move(500, 300)
    page.mouse.wheel(0, 300)
    page.wait_for_timeout(200)
    assert heavy(page) == []
    with page.expect_request('**/model.onnx*'): page.locator('.cz-examples').hover()  # somebody is about to: it may begin
    page.close()


def test_photos_come_out_as_from_the_library(page, tmp_path):
    colorizer, photos = Colorizer(), {k: open_photo(o) for k, o in sample_photos().items()}
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photos['hopper'].rotate(90, expand=True).save(tmp_path/'turned.jpg', quality=95, exif=exif)
    photos['china'].resize((637, 411), Image.Resampling.BICUBIC).save(tmp_path/'odd.png')
    photos['rocket'].convert('L').resize((37, 23)).save(tmp_path/'tiny.png')
    for path in (sample_photos()['flower'], tmp_path/'turned.jpg', tmp_path/'tiny.png', tmp_path/'odd.png'):
        give(page, path)
        name, got = saved(page)
        assert name == f'{path.stem}-colour.png'
        assert apart(got, colorizer.colorize(path)) < .2, path.name
    name, got = saved(page, 'image/jpeg')
    assert (name, got.format) == ('odd-colour.jpg', 'JPEG') and apart(got, colorizer.colorize(tmp_path/'odd.png')) < 2
    assert len(heavy(page)) == 2  # once for all of them


def test_an_example_and_saturation(page):
    facts = page.evaluate("fetch('_static/demo/model.json').then(r => r.json())")
    colorizer = Colorizer()
    assert (facts['size'], facts['saturation'], facts['model']['bytes']) == (colorizer.size, colorizer.saturation,
        colorizer.path.stat().st_size)
    page.locator('.cz-examples button').first.focus()
    with working(page): page.keyboard.press('Enter')
    grey = np.asarray(Image.open(io.BytesIO(page.request.get(page.locator('.cz-examples img').first.evaluate('o => o.src')).body())))
    assert apart(saved(page)[1], colorizer.colorize(grey)) < .2
    wait_for_colour(page, 'c > 4')
    runs = len(page.asked)
    page.locator('#cz-saturation').fill('0')
    wait_for_colour(page, 'c < .1')
    assert apart(saved(page)[1], Image.fromarray(grey)) < .1  # no saturation: the grey photo itself
    page.locator('#cz-saturation').fill('1.5')
    wait_for_colour(page, 'c > 5')
    colorizer.saturation = 1.5
    assert apart(saved(page)[1], colorizer.colorize(grey)) < .2
    assert len([o for o in page.asked[runs:] if o.startswith('http')]) == 0


def test_what_is_no_photo_gets_one_line_and_the_page_goes_on(page, tmp_path):
    (tmp_path/'letter.jpg').write_text('I am a letter')
    (tmp_path/'phone.heic').write_bytes(b'\0\0\0\x18ftypheic' + bytes(100))
    (tmp_path/'nothing.png').touch()
    for name, why in {'letter.jpg': 'not an image', 'phone.heic': 'HEIC', 'nothing.png': 'empty'}.items():
        page.locator('.cz-file').set_input_files(str(tmp_path/name))
        page.wait_for_function('name => document.querySelector(".cz-error").textContent.startsWith(name)', arg=name)
        line = page.locator('.cz-error').inner_text()
        assert why in line and '\n' not in line
    give(page, sample_photos()['cat'])
    assert page.locator('.cz-error').inner_text() == ''
    page.locator('.cz-file').set_input_files(str(tmp_path/'letter.jpg'))
    page.get_by_text('letter.jpg: not an image').wait_for()
    # the last result is still there
    assert page.locator(RESULT).count() == 1 and apart(saved(page)[1], Colorizer().colorize(sample_photos()['cat'])) < .2


def test_dropped_pasted_and_too_large(page):
    page.evaluate("document.querySelector('.cz-demo').dataset.maxPixels = 40000; 0")
    assert page.evaluate('''async () => {
        const blob = await (await fetch('_static/demo/examples/cat.jpg')).blob(), data = new DataTransfer()
        data.items.add(new File([blob], 'mine.jpg', {type: 'image/jpeg'}))
        const event = new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})
        document.body.dispatchEvent(event)
        return event.defaultPrevented }''')
    page.get_by_text('Made smaller: 451 × 300').wait_for()
    name, got = saved(page)
    assert name == 'mine-colour.png' and 39_000 < got.width*got.height < 40_500
    page.evaluate('''async () => {
        const blob = await (await fetch('_static/demo/examples/china.jpg')).blob(), data = new DataTransfer()
        data.items.add(new File([blob], 'pasted.jpg', {type: 'image/jpeg'}))
        document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true})) }''')
    page.get_by_text('Made smaller: 480 × 320').wait_for()
    assert saved(page)[0] == 'pasted-colour.png'
    page.evaluate("delete document.querySelector('.cz-demo').dataset.maxPixels")


def follows(page, slider):
    "Check that keys and mouse move a slider, and that its second picture is cut off there"
    at = lambda: float(slider.evaluate("o => getComputedStyle(o).getPropertyValue('--at') || 50"))
    slider.locator('input').focus()
    before = at()
    for _ in range(5): page.keyboard.press('ArrowLeft')
    assert 4 <= before - at() <= 6
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box['x'] + .5*box['width'], box['y'] + .3*box['height'])
    page.mouse.down()
    page.mouse.move(box['x'] + .8*box['width'], box['y'] + .3*box['height'], steps=4)
    page.mouse.up()
    clip = slider.evaluate("o => getComputedStyle(o.querySelectorAll('img, canvas')[1]).clipPath")
    assert abs(at() - 80) < 1.5 and abs(float(clip.split()[-1].rstrip('%)')) - 80) < 1.5, clip

def test_sliders_follow_keys_and_mouse(page, site, browser):
    give(page, sample_photos()['hopper'])
    follows(page, page.locator('.cz-slider'))
    assert page.locator('.cz-slider input').get_attribute('aria-valuetext') == '80 % grey, 20 % colour'
    notebook = browser.new_page()  # what before_after puts into a notebook must do by itself
    notebook.goto(f'{site}notebook.html')
    follows(notebook, notebook.locator('.cz-slider'))
    notebook.close()


def test_a_browser_without_webassembly_is_told(site, browser):
    context = browser.new_context()
    context.add_init_script('delete globalThis.WebAssembly')
    page = context.new_page()
    page.goto(site)
    page.get_by_text('lacks WebAssembly').wait_for()
    page.locator('.cz-examples button').first.click()
    page.wait_for_timeout(300)
    assert page.locator('.cz-demo').get_attribute('data-state') == 'empty'
    context.close()


def test_a_server_that_fails_once(site, browser):
    page = opened(browser, site)
    page.route('**/model.onnx*', lambda r: r.abort(), times=1)
    page.locator('.cz-examples button').first.click()
    page.get_by_text('That did not work').wait_for()
    page.unroute_all()
    page.locator('.cz-examples button').first.click()
    page.wait_for_selector(RESULT)
    page.close()
