"""The one-page report of a training run: what is in it, what it never does, and how it looks to a browser."""
import base64, csv, json, os, shutil, subprocess, sys
from datetime import datetime
from html.parser import HTMLParser

import pytest

from colorizer.inference.photo import sample_photos
from colorizer.training.run_report import commands, read_run, state_of, write_report

STAGES = [dict(size=64, bs=32, frozen_epochs=1, epochs=8, frozen_lr=2e-3, lr=1.5e-3, encoder_factor=.05),
          dict(size=128, bs=16, frozen_epochs=0, epochs=4, frozen_lr=1e-3, lr=1e-3, encoder_factor=.05)]
CONFIG = dict(stages=STAGES, options={'vivid': 6.}, photos=dict(train=900, valid=100, sources=['photos']),
    model=dict(name='mobilenet_v2', head='chroma'),
              parameters=4_000_000, start=None, seed=42, device='cpu', precision='float32', processes=1, versions=dict(torch='2'),
              commit=None, begun='2026-01-01')
LOG = ['2026-01-01 22:00:00 64 px begins: 900 photos an epoch', '2026-01-01 23:10:00 64 px is over: levelled off',
    '2026-01-01 23:10:01 128 px begins: 900 photos']


def row(stage, epoch, **kw):
    loss = {'pixel': 1/epoch, 'gram_8': 9/epoch**2}
    return dict(stage=stage, epoch=epoch, size=64*stage, frozen=epoch == 1, cooling=epoch in (5, 8), train_loss=sum(loss.values())) | {
        f'train_{k}': v for k, v in loss.items()} | dict(valid_loss=1.1*sum(loss.values())) | {f'valid_{k}': 1.1*v for k,
        v in loss.items()} | dict(
        batch_psnr=20 + epoch/10, colour_share=.5 + epoch/50, smoothed=1., note='') | kw


HISTORY = [row(1, e) for e in range(1, 4)] + [row(1, 4, note='levelled off: a gain of 0.35%'), row(1, 5)] + [row(2, e) for e in range(6, 8)]


def make(folder, config=CONFIG, history=HISTORY, log=LOG, grids=(), test=None):
    "A run's folder"
    folder.mkdir(parents=True, exist_ok=True)
    (folder/'config.json').write_text(json.dumps(config), encoding='utf-8')
    with open(folder/'history.csv', 'w', newline='', encoding='utf-8') as f:
        out = csv.DictWriter(f, history[0])
        out.writeheader()
        out.writerows(history)
    if log: (folder/'log.txt').write_text('\n'.join(log) + '\n', encoding='utf-8')
    if grids: (folder/'grids').mkdir()
    for name in grids: shutil.copy(sample_photos()['cat'], folder/'grids'/name)
    if test: (folder/'test.json').write_text(json.dumps(test), encoding='utf-8')
    return folder


class Elements(HTMLParser):
    "All tags of a page with their attributes, the text, and the rows of its tables"
    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.rows = [], '', []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == 'tr': self.rows.append([])
        if tag in ('td', 'th'): self.rows[-1].append('')

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1] and self.inside(('td', 'th')): self.rows[-1][-1] += data

    def inside(self, tags): return self.tags[-1][0] in tags


def written(folder): return write_report(folder).read_text(encoding='utf-8')


@pytest.fixture(scope='module')
def full(tmp_path_factory):
    "A finished run with everything"
    test = dict(photos=100, source='DIV2K', rows=[dict(name='colorizer', psnr=24.125, ciede2000=10., colourfulness=30.),
        dict(name='grey', psnr=22., ciede2000=12.)])
    return make(tmp_path_factory.mktemp('full'), log=LOG + ['2026-01-02 00:10:01 done: the model is model.onnx'],
        grids=('stage1_64px.jpg', 'sizes.jpg'), test=test)


def test_a_report_needs_no_torch(full):
    code = ('import sys; from colorizer.training.run_report import write_report; print(write_report(sys.argv[1])); '
            'sys.exit(bool({"torch", "fastai", "matplotlib.pyplot"} & set(sys.modules)))')
    r = subprocess.run([sys.executable, '-c', code, full], capture_output=True, text=True)
    assert (r.returncode, r.stdout.strip()) == (0, str(full/'report.html')), r.stderr


def test_the_page_fetches_nothing_and_runs_nothing(full):
    html = written(full)
    for tag, attrs in Elements(html).tags:
        assert tag not in ('script', 'iframe', 'object', 'embed', 'base', 'form')
        for name, value in attrs.items():
            assert not name.startswith('on')
            if name in ('src', 'href', 'srcset', 'poster', 'data', 'xlink:href'): assert value.startswith(('data:', '#')), (tag, name)
    style = html[html.index('<style>'):html.index('</style>')]
    assert 'url(' not in style and '@import' not in style
    assert "default-src 'none'" in html


def test_what_the_stages_did(full):
    rows = {o[0]: o[1:] for o in Elements(written(full).replace('\N{NO-BREAK SPACE}', ' ')).rows if o}
    first, second = rows['1. 64 px'], rows['2. 128 px']
    assert first[4] == '1 frozen + 3 full rate + 1 cooling'
    assert first[5] == 'levelled off: a gain of 0.35%' and second[5] == 'all its epochs are done'
    assert first[0] == '0.6160 (epoch 5)' and first[2] == '60%'  # 1.1·(1/5 + 9/25)
    assert first[6] == '0.002 frozen, 0.0015 after, 0.000075 first layers'
    assert rows['colorizer'][:2] == ['24.12', '10.00'] and rows['grey'][2] == '–'


def test_grey_and_the_start_stand_beside_the_best_epoch(tmp_path):
    folder = make(tmp_path/'run')
    before = written(folder)
    base = {'1': dict(grey=dict(loss=5., batch_psnr=20., colour_share=0., pixel=2.), begin=dict(loss=4., batch_psnr=21., colour_share=.3))}
    (folder/'baselines.json').write_text(json.dumps(base))
    (folder/'comparison.json').write_text(json.dumps(dict(size=64, photos=12,
        figures={'the start (default)': dict(psnr=24.5, colour=.77), 'this run': dict(psnr=24., colour=.5)})))
    html = written(folder)
    rows = {o[0]: o[1:] for o in Elements(html.replace('\N{NO-BREAK SPACE}', ' ')).rows if o}
    assert rows['1. 64 px, left grey'][:3] == ['5.0000', '20.00 dB', '0%'] and rows['1. 64 px, at the start'][:3] == ['4.0000',
        '21.00 dB', '30%']
    assert rows['the start (default)'] == ['24.50 dB', '77%'] and rows['this run'] == ['24.00 dB', '50%']
    assert html.count('stroke-dasharray: 1.2,1.98') > before.count('stroke-dasharray: 1.2,1.98')  # the dotted line of grey
    (folder/'baselines.json').write_text('[')
    (folder/'comparison.json').write_text('7')
    assert 'left grey</th>' not in written(folder)


def test_the_recipe_and_where_the_run_departs_from_it(tmp_path):
    recipe = dict(name='article', lines={'network': 'ResNet-34', '64 px': 'at most 50 epochs'},
        departures=['arch: mobilenet_v2 instead of resnet34'])
    page = Elements(written(make(tmp_path/'run', CONFIG | dict(recipe=recipe))))
    assert ['64 px', 'at most 50 epochs'] in page.rows and 'arch: mobilenet_v2 instead of resnet34' in page.text
    assert 'to the letter' in written(make(tmp_path/'run', CONFIG | dict(recipe=recipe | dict(departures=[]))))


def test_pictures_go_in_untouched_and_described(full):
    html = written(full)
    data = base64.b64encode((full/'grids/sizes.jpg').read_bytes()).decode()
    assert html.count(f'data:image/jpeg;base64,{data}') == 2
    assert all(o['alt'] for tag, o in Elements(html).tags if tag == 'img')
    assert html.index('What each size made') < html.index('Stage 1, 64 px')


def test_the_same_run_makes_the_same_page(full):
    assert written(full) == written(full)


def test_nothing_can_break_out(tmp_path):
    "Text from any file, and from the folder's name, stays text"
    bad = '"\'></title></style></pre><evil onx=1>&amp;'
    config = CONFIG | dict(stages=[STAGES[0] | {bad: bad}, STAGES[1]], options={bad: bad}, photos=dict(train=bad, valid=bad, sources=[bad]),
                           model=dict(name=bad), parameters=bad, start=bad, device=bad, precision=bad, begun=bad)
    history = [row(1, e, note=bad) | {f'valid_{bad}': 1., f'train_{bad}': 1.} for e in (1, 2)]
    name = '"\'><evil onx=1>&amp;'  # a file's name holds no slash
    folder = make(tmp_path/name, config, history, [bad, f'2026-01-01 10:00:00 stopped: {bad}'], (f'{name}.jpg',),
        dict(photos=bad, source=bad, rows=[dict(name=bad, psnr=1.)]))
    (folder/'grids'/f'{name}2.jpg').write_bytes(b'no picture')
    page = Elements(written(folder))
    assert 'evil' not in [tag for tag, _ in page.tags] and not any('onx' in o for _, o in page.tags)
    assert page.text.count(bad) >= 12


@pytest.mark.parametrize('history', [[row(1, 1)], [row(1, 1, valid_loss=float('nan'), train_loss=float('inf'))],
    [dict(epoch=1, train_loss=2., valid_loss=2.)]])
def test_a_run_of_one_epoch(tmp_path, history):
    "No log, no grids, a configuration with nothing but sizes"
    page = Elements(written(make(tmp_path/'run', dict(stages=[dict(size=64), dict(size=128)]), history, log=None)))
    assert 'unknown' in page.text and 'not begun' in page.text and 'nan' not in page.text
    assert 'img' not in [tag for tag, _ in page.tags]
    assert 'colorizer train --resume' in page.text


@pytest.mark.parametrize('words, state', [
    (['64 px begins: 900 photos', 'out of memory: batches of 32 go through in 2 parts'], 'running'),
    (['64 px begins', '64 px is over: all its epochs are done'], 'running'),
    (['64 px begins', 'interrupted in epoch 3'], 'interrupted'),
    (['64 px begins', 'stopped: the loss is nan'], 'interrupted'),
    (['interrupted in epoch 3', '64 px resumed at epoch 3, batch 7: 900 photos'], 'running'),
    (['interrupted', '64 px goes on at epoch 3, batch 7: 900 photos'], 'running'),
    (['128 px begins', 'done: the model is model.onnx'], 'finished'),
    (['no word about it'], 'unknown'),
])
def test_the_log_has_the_last_word(tmp_path, words, state):
    assert state_of(read_run(make(tmp_path/'run', log=[f'2026-01-01 10:00:0{i} {w}' for i, w in enumerate(words)])))[0] == state


def test_a_run_under_way_says_when_its_last_epoch_was(tmp_path):
    folder = make(tmp_path/'run', log=LOG)
    at = datetime(2026, 1, 2, 3, 30).timestamp()
    os.utime(folder/'history.csv', (at, at))
    text = Elements(written(folder)).text
    assert 'The last epoch ended at 2026-01-02 03:30:00' in text and '5 h 30 min' in text
    breaks = ['2026-01-02 09:00:00 resumed', '2026-01-02 09:15:00 interrupted']
    (folder/'log.txt').write_text('\n'.join(LOG + breaks))
    assert '1 h 25 min' in Elements(written(folder)).text  # to the last line before the break, and after it


def test_done_but_not_all_stages(tmp_path):
    run = read_run(make(tmp_path/'run', history=HISTORY[:5], log=['2026-01-01 10:00:00 done']))
    assert state_of(run)[0] == 'interrupted' and 'train --resume' in commands(run)[0][1]


@pytest.mark.parametrize('name, content, says', [
    ('config.json', None, 'cannot be read'), ('config.json', '{"stages": [', 'not JSON'), ('config.json', b'\xff\xfe\x00', 'not JSON'),
    ('config.json', '[1]', 'no stages'),
    ('config.json', '{"stages": []}', 'no stages'), ('config.json', '{"stages": [{"size": "big"}]}', 'no stages'),
    ('history.csv', None, 'cannot be read'), ('history.csv', '', 'no epochs'),
    ('history.csv', 'epoch,train_loss,valid_loss\n', 'no epochs'),
    ('history.csv', b'\xff\xfe\x00', 'not CSV'), ('history.csv', 'epoch,train_loss,valid_loss\n1,2.5\n',
    'row 1 has no number for valid_loss'),
    ('history.csv', 'stage,epoch,train_loss,valid_loss\n3,1,2,2\n', 'stage that config.json does not have'),
    ('history.csv', 'epoch,train_loss,valid_loss\nnan,2,2\n', 'for epoch'),
])
def test_a_broken_run_is_one_line(tmp_path, name, content, says):
    folder = make(tmp_path/'run')
    before = written(folder)
    if content is None: (folder/name).unlink()
    else: (folder/name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=says) as e: write_report(folder)
    assert '\n' not in str(e.value) and str(folder/name) in str(e.value)
    assert (folder/'report.html').read_text(encoding='utf-8') == before


def test_broken_extras_do_not_cost_the_page(tmp_path):
    folder = make(tmp_path/'run', grids=('sizes.jpg',))
    (folder/'grids/sizes.jpg').write_bytes((folder/'grids/sizes.jpg').read_bytes()[:5000])
    (folder/'test.json').write_text('{"rows": 7}')
    (folder/'log.txt').write_bytes(b'\xff\xfe what\n2026-13-45 99:99:99 begins\n')
    page = Elements(written(folder))
    assert 'cut short' in page.text and 'test.json holds no figures' in page.text and '2026-13-45' in page.text


def test_the_old_report_stays_when_the_disk_is_full(tmp_path, monkeypatch):
    folder = make(tmp_path/'run')
    before = written(folder)
    (folder/'log.txt').write_text('2026-01-01 10:00:00 done\n')
    def full_disk(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full_disk)
    with pytest.raises(OSError): write_report(folder)
    assert (folder/'report.html').read_text(encoding='utf-8') == before
    assert sorted(o.name for o in folder.iterdir()) == ['config.json', 'history.csv', 'log.txt', 'report.html']


@pytest.fixture(scope='module')
def chromium():
    playwright = pytest.importorskip('playwright.sync_api')
    path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if path is None: pytest.skip('there is no Chromium')
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_in_a_browser(full, tmp_path, chromium, width, scheme):
    "Nothing is fetched, nothing complains, nothing has to be scrolled sideways, and all pictures are there; also with everything unfolded"
    long = 'no_space_where_a_line_could_be_broken'*4
    config = CONFIG | dict(model={'name': long}, device=long, start=long, options={long: long}, photos=dict(sources=[long]))
    young = make(tmp_path/long, config, [row(1, 1, note=long) | {f'valid_{long}': 1., f'train_{long}': 1.}],
        ['2026-01-01 10:00:00 stopped: ' + long], [f'{long}.jpg'])
    for folder in (full, young):
        page, complaints, fetched = chromium.new_page(viewport=dict(width=width, height=800), color_scheme=scheme), [], []
        page.on('console', lambda m, complaints=complaints: complaints.append(m.text))
        page.on('pageerror', lambda e, complaints=complaints: complaints.append(str(e)))
        page.on('request', lambda r, fetched=fetched: fetched.append(r.url))
        page.goto(write_report(folder).as_uri())
        page.evaluate('document.querySelectorAll("details").forEach(o => o.open = true)')
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert page.evaluate('[...document.images].every(o => o.complete && o.naturalWidth > 0)')
        assert complaints == [] and [o for o in fetched if not o.startswith('data:')] == [page.url]
        dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
        assert (dark == 'rgb(20, 23, 26)') == (scheme == 'dark')
        page.close()
