"""The page of `colorizer app`, driven once in a headless Chromium."""
import html, io, os, signal, subprocess, sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from colorizer.inference.app import Dropped, _Actions, save_full
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array
from colorizer.inference.colour import split
from ports import free_port

ROOT = Path(__file__).parent.parent


class Counting(Colorizer):
    runs = 0
    def _run(self, lumas):
        Counting.runs += 1
        return super()._run(lumas)


def test_saturation_and_saving_do_not_run_the_network(tmp_path):
    Counting.runs = 0
    dropped = Dropped(sample_photos()['flower'], Counting())
    strength = [abs(split(dropped.picture(s)[1])[1]).mean() for s in (0, 1, 2)]
    save_full(dropped, 2, tmp_path)
    assert Counting.runs == 1 and strength[0] < .004 < strength[1] < strength[2]


def test_what_is_saved_is_what_the_command_makes(tmp_path):
    colorizer = Colorizer(saturation=1.5)
    path = sample_photos()['hopper']
    saved = to_rgb_array(open_photo(save_full(Dropped(path, colorizer), 1.5, tmp_path)))
    plain = to_rgb_array(colorizer.colorize(path))
    assert saved.shape == plain.shape and abs(saved.astype(int) - plain).mean() < 2


def test_a_name_in_an_error_is_text(tmp_path):
    pytest.importorskip('gradio', reason='Gradio is not installed (extra: app)')
    name = '<img src=x onerror=alert(1)>*&"\'.jpg'
    (tmp_path/name).write_text('I am a letter')
    message = _Actions(Colorizer(), tmp_path).drop(str(tmp_path/name), 64, 1)[1]
    said = f'{html.escape(name, quote=False)}: not an image that can be read. Give a JPEG, PNG, WebP or TIFF file'
    assert type(message).__name__ == 'HTML' and message.value == f'<p>{said}</p>'


@contextmanager
def running_app(folder):
    "`colorizer app` in a process of its own: address of its page, process, port"
    pytest.importorskip('gradio', reason='Gradio is not installed (extra: app)')
    port = free_port()
    p = subprocess.Popen([sys.executable, '-m', 'colorizer', 'app', '--no-browser', '--port', str(port)], cwd=folder,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'TMPDIR': str(folder)})
    url = p.stdout.readline().split(' ')[0]
    yield url, p, port
    p.kill()
    p.wait()


@pytest.fixture
def server(tmp_path):
    "One for each test that ends it"
    with running_app(tmp_path) as app: yield app


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    "The page of one that several tests open"
    with running_app(tmp_path_factory.mktemp('app')) as app: yield app[0]


def listens_on(port):
    "Local addresses that listen on a port, from the kernel's tables (IPv4 and IPv6)"
    found = []
    for name in ('tcp', 'tcp6'):
        path = Path('/proc/net')/name
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            address, state = line.split()[1], line.split()[3]
            if state == '0A' and int(address.split(':')[1], 16) == port: found.append(address.split(':')[0])
    return found


def test_a_photo_through_the_page(server, browser, tmp_path):
    url, process, port = server
    assert urlsplit(url).hostname == '127.0.0.1'
    assert set(listens_on(port)) <= {'0100007F'}  # 127.0.0.1, as the kernel writes it
    page = browser.new_page()
    page.set_default_timeout(60_000)
    asked, errors = [], []
    page.on('request', lambda r: asked.append(r.url))
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto(url)
    page.locator('#photo input[type=file]').set_input_files(str(sample_photos()['flower']))
    page.wait_for_function("document.querySelectorAll('#shown img').length >= 2")
    def shown():
        "The pictures on the page, as pixels"
        images = page.evaluate("[...document.querySelectorAll('#shown img')].map(o => o.src)")
        return [to_rgb_array(Image.open(io.BytesIO(page.request.get(o).body()))) for o in images]
    before = shown()
    assert {o.shape for o in before} == {(320, 480, 3)}
    strengths = sorted(abs(split(o)[1]).mean() for o in before)
    assert strengths[0] < .005 < strengths[-1]  # grey and coloured
    sources = page.evaluate("[...document.querySelectorAll('#shown img')].map(o => o.src).join()")
    page.locator('#saturation input[type=number]').fill('2.5')
    page.locator('#saturation input[type=number]').press('Enter')
    page.wait_for_function("was => [...document.querySelectorAll('#shown img')].map(o => o.src).join() != was", arg=sources)
    assert max(abs(split(o)[1]).mean() for o in shown()) > 1.5*strengths[-1]
    page.locator('#make').click()
    link = page.locator('#file a[download], #file a[href*="flower_colour"]').first
    with page.expect_download() as got: link.click()
    got.value.save_as(tmp_path/'saved.jpg')
    saved = open_photo(tmp_path/'saved.jpg')
    assert saved.size == (480, 320) and abs(split(to_rgb_array(saved))[1]).mean() > 1.5*strengths[-1]
    (tmp_path/'letter.jpg').write_text('I am a letter')
    page.goto(url)
    page.locator('#photo input[type=file]').set_input_files(str(tmp_path/'letter.jpg'))
    page.get_by_text('not an image that can be read').first.wait_for()
    page.wait_for_timeout(1000)
    # it is said once
    assert page.get_by_text('not an image that can be read').count() == 1 and page.get_by_text('Error', exact=True).count() == 0
    assert str(tmp_path) not in page.inner_text('body') and not page.locator('#results').is_visible()
    if os.environ.get('SCREENSHOT'): page.screenshot(path=os.environ['SCREENSHOT'])
    assert {urlsplit(o).hostname for o in asked if urlsplit(o).scheme not in ('data', 'blob')} == {'127.0.0.1'}, [o
        for o in asked if '127.0.0.1' not in o]
    assert errors == []
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, '')
    assert not list(tmp_path.glob('colorizer-*'))  # uploads are gone


def upload(page, url, photo):
    page.goto(url)
    page.locator('#photo input[type=file]').set_input_files(str(photo))
    page.wait_for_function("document.querySelectorAll('#shown img').length >= 2")


@pytest.mark.parametrize('width, height', [(390, 844), (1280, 800)])
def test_the_result_is_on_the_first_screen(address, browser, width, height):
    page = browser.new_page(viewport=dict(width=width, height=height))
    page.set_default_timeout(60_000)
    page.goto(address)
    page.locator('#photo').wait_for()
    boxes = [o.bounding_box() for o in page.locator('.block').all() if o.is_visible()]
    assert not [b for b in boxes if b['height'] > 200]  # no large empty box
    upload(page, address, sample_photos()['flower'])
    page.wait_for_timeout(500)
    shown = page.locator('#shown').bounding_box()
    assert shown['y'] + shown['height'] <= height and shown['x'] >= 0 and shown['x'] + shown['width'] <= width
    assert not page.locator('#file').is_visible()
    assert page.evaluate('document.documentElement.scrollWidth') <= width


def test_a_click_on_the_photo_sets_a_hint(address, browser, tmp_path):
    page = browser.new_page(viewport=dict(width=1280, height=900))
    page.set_default_timeout(60_000)
    upload(page, address, sample_photos()['flower'])
    def clicked():
        return to_rgb_array(Image.open(io.BytesIO(page.request.get(page.locator('#clicked img').get_attribute('src')).body()))).astype(int)
    page.get_by_role('tab', name='Correct a colour').click()
    img = page.locator('#clicked img')
    img.wait_for()
    before, source, box = clicked(), img.get_attribute('src'), img.bounding_box()
    img.click(position=dict(x=box['width']*.1, y=box['height']*.5))  # dark leaves; the colour offered is a red
    page.wait_for_function("was => document.querySelector('#clicked img').src != was", arg=source)
    after = clicked()
    h, w = after.shape[:2]
    y, x = round(h*.5), round(w*.1)
    assert after[y, x, 0] > after[y, x, 2] + 60  # the dot
    around = np.s_[y - 30:y + 30, x + 15:x + 40]
    assert (after[around] - before[around])[..., 0].mean() > 2 + (after[around] - before[around])[..., 1].mean()  # redder around it
    page.locator('#make').click()
    with page.expect_download() as got: page.locator('#file a[download], #file a[href*="flower_colour"]').first.click()
    got.value.save_as(tmp_path/'saved.jpg')
    saved = to_rgb_array(open_photo(tmp_path/'saved.jpg')).astype(int)
    assert abs(saved[around] - after[around]).mean() < 4  # the hint is in the file
    page.locator('#undo').click()
    source = img.get_attribute('src')
    page.wait_for_timeout(1500)
    assert abs(clicked() - before).mean() < 1


@pytest.mark.parametrize('name, status', [('SIGTERM', 143), ('SIGHUP', 129)])
def test_uploads_go_however_the_app_is_ended(name, status, server, tmp_path):
    "As with Ctrl-C, by which the test of the whole page ends it"
    url, process, _ = server
    folder, = tmp_path.glob('colorizer-*')
    (folder/'upload.jpg').write_bytes(b'a family photo')
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=60)
    assert not list(tmp_path.glob('colorizer-*')) and err == ''
    assert process.returncode == status
