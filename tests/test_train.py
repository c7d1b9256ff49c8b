"""`colorizer train`, end to end: photos in, weights out, exported, and a photo coloured with them."""
import csv, io, json, os, random, shutil, subprocess, sys, time
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from colorizer.cli import main
from colorizer.inference.photo import sample_photos
from ports import free_port
from warm import Child, command_in_child, killed_at_fsync, script

pytestmark = pytest.mark.usefixtures('trace_once')
SMOKE = ['--recipe', 'smoke', '--size', 32, 48, '--bs', 8, '--frozen-epochs', 1, 0, '--epochs', 2, '--warmup', 0]


ENV = {**os.environ, 'OMP_NUM_THREADS': '1'}  # another number of threads adds up in another order


def colorizer(*words):
    "The command, in this process: importing torch takes longer than most of what is tested here"
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err): status = main(list(map(str, words)))
    return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())


def history(folder):
    with open(folder/'history.csv', newline='') as f: return list(csv.DictReader(f))


def same_weights(a, b):
    a, b = load_file(a), load_file(b)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    "A folder of small photos, and encoder weights in torchvision's layout"
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp('train')
    (folder/'photos').mkdir()
    for name, path in sample_photos().items():
        with Image.open(path) as img:
            for i in range(4): img.resize((96, 80), box=(i*20, i*10, i*20+180, i*10+150)).save(folder/'photos'/f'{name}{i}.png')
    torch.manual_seed(0)
    save_file(torchvision.models.mobilenet_v2(weights=None).state_dict(), folder/'encoder.safetensors')
    return folder


def train_words(work, out):
    return ['train', work/'photos', '--out', out, *SMOKE, '--arch', 'mobilenet_v2', '--encoder-weights', work/'encoder.safetensors',
        '--cache', work/'cache']


@pytest.fixture(scope='module')
def run(work):
    "A finished run: two sizes, five epochs"
    r = colorizer(*train_words(work, work/'run'), '--test', sample_photos()['cat'], sample_photos()['coffee'], '--tensorboard')
    assert r.returncode == 0, r.stderr
    return r


def facts(path):
    with safe_open(path, 'pt') as f: return json.loads(f.metadata()['facts'])


def test_a_run_leaves_everything_in_its_folder(run, work):
    names = {o.name for o in (work/'run').iterdir()}
    assert names == {'config.json', 'baselines.json', 'history.csv', 'log.txt', 'checkpoint.pt', 'last.safetensors', 'best.safetensors',
        '32px.safetensors', '48px.safetensors',
                     'grids', 'curves.png', 'model.onnx', 'report.html', 'test.json', 'tensorboard'}
    assert {o.name for o in (work/'run/grids').iterdir()} == {'stage1_32px.jpg', 'stage2_48px.jpg', 'sizes.jpg'}
    for picture in ('grids/sizes.jpg', 'curves.png'): Image.open(work/'run'/picture).load()
    assert any((work/'run/tensorboard').iterdir())
    assert run.stdout.splitlines()[-2:] == [str(work/'run/model.onnx'), str(work/'run/report.html')]


def test_every_epoch_is_told_and_kept(run, work):
    rows = history(work/'run')
    assert [(r['size'], r['frozen'], r['cooling']) for r in rows] == [('32', 'True', 'False'), ('32', 'False', 'False'),
        ('32', 'False', 'True'),
                                                                      ('48', 'False', 'False'), ('48', 'False', 'True')]
    lines = [line.split()[:2] for line in run.stdout.splitlines() if line.startswith('   ') and line.split()[0].isdigit()]
    assert lines == [['1', 'frozen'], ['2', 'all'], ['3', 'cooling'], ['4', 'all'], ['5', 'cooling']]
    assert rows[1]['note'] == 'cap: no more than 2 epochs' and rows[1]['note'] in run.stdout
    assert [o.split(' ', 2)[2] for o in (work/'run/log.txt').read_text().splitlines()][-1] == 'done'


def test_config_and_weights_say_how_they_came_about(run, work):
    config = json.loads((work/'run/config.json').read_text())
    assert [s['size'] for s in config['stages']] == [32,
        48] and config['photos']['train'] + config['photos']['valid'] == 4*len(sample_photos())
    assert config['options']['vivid'] == 6. and config['versions']['torch'] == torch.__version__.split('+')[0]
    f = facts(work/'run/last.safetensors')
    assert f['seed'] == 42 and f['history']['epoch'] == 5 and [s['size'] for s in f['recipe']] == [32, 48]


def test_the_final_measurement_is_of_the_given_photos(run, work):
    result = json.loads((work/'run/test.json').read_text())
    assert result['photos'] == 2 and [r['name'] for r in result['rows']] == ['grey', 'this model', 'the photos']


def test_the_model_colours_a_photo(run, work):
    r = colorizer(sample_photos()['cat'], '--model', work/'run/model.onnx', '-o', work/'cat.jpg')
    assert r.returncode == 0, r.stderr
    with Image.open(work/'cat.jpg') as img: assert img.size == Image.open(sample_photos()['cat']).size
    r = colorizer('export', work/'run/32px.safetensors', work/'mine.onnx')
    assert r.returncode == 0, r.stderr


def test_training_from_earlier_weights_and_from_the_default_model(run, work):
    for start, name in ((work/'run/last.safetensors', 'more'), ('default', 'tuned')):
        r = colorizer('train', work/'photos', '--out', work/name, '--size', 32, '--bs', 4, '--frozen-epochs', 0, '--epochs', 1, '--lr', 0,
            '--from', start, '--cache', work/'cache')
        assert r.returncode == 0, r.stderr
    with safe_open(work/'run/last.safetensors', 'np') as a, safe_open(work/'more/last.safetensors', 'np') as b:
        name = 'encoder.features.0.0.weight'
        np.testing.assert_allclose(b.get_tensor(name), a.get_tensor(name), atol=1e-6)  # at a rate of 0 nothing is learned
    tuned, shipped = work/'tuned.jpg', work/'shipped.jpg'
    for out, more in ((tuned, ['--model', work/'tuned/model.onnx']), (shipped, [])):
        assert colorizer(sample_photos()['cat'], '-o', out, '--size', 192, *more).returncode == 0
    difference = np.abs(np.asarray(Image.open(tuned), float) - np.asarray(Image.open(shipped), float)).mean()
    assert difference < 1, difference


# Whatever stops a run, --resume ends where the run would have ended: `run` is the run that nobody stopped.

def resume(out):
    r = colorizer('train', '--resume', '--out', out)
    assert r.returncode == 0, r.stderr
    return r


def assert_same_end(work, out):
    assert (out/'history.csv').read_text() == (work/'run/history.csv').read_text()
    for name in ('32px', '48px', 'last', 'best'): assert same_weights(out/f'{name}.safetensors', work/f'run/{name}.safetensors'), name
    assert not [o.name for o in out.iterdir() if o.name.startswith('.')]


def wait_for(path, process, seconds=300):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, f'ended with {process.returncode} before {path} was there'
        assert time.monotonic() < end, f'{path} never came'
        time.sleep(.02)


def wait_for_change(path):
    size, end = path.stat().st_size, time.monotonic() + 300
    while path.stat().st_size == size and time.monotonic() < end: time.sleep(.02)


def test_kill_9_at_random_points(run, work):
    out, draw = work/'killed', random.Random(int(os.environ.get('KILL_SEED', time.time())))
    for n in range(2):
        words = ['train', '--resume', '--out', out] if n else train_words(work, out)
        p = Child(command_in_child, words)
        wait_for(out/'config.json', p)
        if n: wait_for_change(out/'log.txt')  # a resumed run imports first
        time.sleep(draw.uniform(0, 4))
        p.kill()
        for o in out.glob('.*'): o.unlink()  # what a kill leaves behind does no harm, but would fail the check below
    resume(out)
    assert_same_end(work, out)


@pytest.fixture(scope='module')
def half_written(work):
    "A run that was killed in the middle of writing its fifth file, a checkpoint of the second size"
    out = work/'half'
    r = Child(killed_at_fsync, 5, train_words(work, out)).end()
    assert r.returncode == 9, r.stderr
    for o in out.glob('.*'): o.unlink()
    assert history(out)[-1]['size'] == '48'
    return out


def test_killed_while_a_checkpoint_is_written(run, work, half_written):
    out = work/'half_resumed'
    shutil.copytree(half_written, out)
    resume(out)
    assert_same_end(work, out)


def test_a_full_disk_loses_nothing(run, work, half_written):
    "A limit on the size of files stands for the full disk"
    out = work/'full'
    shutil.copytree(half_written, out)
    before = (out/'checkpoint.pt').read_bytes()
    r = Child(command_in_child, ['train', '--resume', '--out', out], largest_file=len(before)//2).end()
    assert r.returncode == 1
    last = [o for o in r.stderr.splitlines() if o.strip()][-1]
    assert 'cannot write this file' in last and 'free some disk space' in last and '--resume' in last, r.stderr
    assert (out/'checkpoint.pt').read_bytes() == before and not list(out.glob('.*'))
    resume(out)
    assert_same_end(work, out)


def test_ctrl_c_stops_at_the_next_batch_and_says_how_to_resume(run, work):
    out = work/'stopped'
    p = Child(command_in_child, train_words(work, out))
    wait_for(out/'checkpoint.pt', p)
    p.interrupt()
    r = p.end()
    assert r.returncode == 130, r.stderr
    assert r.stderr.splitlines()[-1] == f'stopped; nothing is lost. Continue with: colorizer train --resume --out {out}'
    assert 'Traceback' not in r.stderr and len(history(out)) < 5
    resume(out)
    assert_same_end(work, out)


# Two processes on one machine stand for two devices.

def pair():
    "What torchrun tells two processes, for those that are started without it"
    port = free_port()
    return [{'RANK': str(i), 'LOCAL_RANK': str(i), 'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1',
             'MASTER_PORT': str(port)} for i in range(2)]


TOGETHER = """
import json, os, sys
import torch, torch.distributed as dist
from copy import deepcopy
from pathlib import Path
import colorizer.training.data as data
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from colorizer.training.architecture import create_unet
from colorizer.training.data import PhotoSet
from colorizer.training.distributed import join_processes
from colorizer.training.recipe import progressive_resizing
from colorizer.training.stages import Stage
photos, out = [Path(o) for o in sys.argv[2:]], Path(sys.argv[1])
out.mkdir(exist_ok=True)
join_processes()
seen, fetch = {}, PhotoSet.__getitem__
def note(self, i):
    if self.draw: seen.setdefault(self.draw, []).append(i)
    return fetch(self, i)
PhotoSet.__getitem__ = note
data.augmentations = lambda *_: []  # light and perspective are drawn for each process
set_seed(1, reproducible=True)
model = create_unet(pretrained=False, norm=False)
start = deepcopy(model.state_dict())
progressive_resizing([Stage(32, 4, 1, 1, warmup=0)], (photos[24:], photos[:3]), model, out, half=False)
rank, n = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
torch.save(dict(seen=seen, start=start, model=model.state_dict()), out/f'rank{rank}of{n}.pt')
"""


@pytest.fixture(scope='module')
def together(work):
    "The same training in one process and in two"
    (work/'together.py').write_text(TOGETHER)
    photos = sorted(map(str, (work/'photos').glob('*.png')))
    for out, envs in (('one', [{}]), ('two', pair())):
        ends = [o.end() for o in [Child(script, work/'together.py', [work/out, *photos], env=env) for env in envs]]
        assert not any(r.returncode for r in ends), ends
        (work/f'{out}.txt').write_text(''.join(r.stdout for r in ends))
    return [torch.load(work/o, weights_only=True) for o in ('one/rank0of1.pt', 'two/rank0of2.pt', 'two/rank1of2.pt')]


def test_two_processes_see_the_same_photos_once(together):
    one, a, b = (o['seen'] for o in together)
    assert one.keys() == a.keys() == b.keys() and len(one) == 2
    for epoch in one: assert sorted(a[epoch] + b[epoch]) == sorted(one[epoch]) and len(set(one[epoch])) == len(one[epoch])


def test_two_processes_end_with_the_same_weights(together):
    one, a, b = (o['model'] for o in together)
    for k in a: assert torch.equal(a[k], b[k]), k
    start = together[0]['start']
    apart, moved = (sum((x[k] - y[k]).abs().sum() for k in a) for x, y in ((a, one), (one, start)))
    assert apart < .05*moved, (apart, moved)


def test_two_processes_add_up_their_figures_and_one_writes(together, work):
    for one, two in zip(history(work/'one'), history(work/'two')):
        for k in ('train_loss', 'valid_loss', 'batch_psnr', 'colour_share'):
            assert float(two[k]) == pytest.approx(float(one[k]), rel=1e-3), k
    assert [o.split()[0] for o in (work/'two.txt').read_text().splitlines()] == [o.split()[0]
        for o in (work/'one.txt').read_text().splitlines()]


def test_two_processes_resume(work):
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m', 'colorizer']
    out = work/'pair'
    words = ['train', work/'photos', '--out', out, '--recipe', 'fast', '--size', 32, '--bs', 4, '--frozen-epochs', 1, '--epochs', 2,
        '--arch', 'mobilenet_v2', '--encoder-weights', work/'encoder.safetensors', '--cache', work/'cache']
    both = [Child(command_in_child, words, env=env) for env in pair()]
    wait_for(out/'checkpoint.pt', both[0])
    for p in both: p.kill()
    assert len(history(out)) < 3
    r = subprocess.run([*torchrun, 'train', '--resume', '--out', str(out)], capture_output=True, text=True, timeout=300, env=ENV)
    assert r.returncode == 0, r.stderr
    assert [o['epoch'] for o in history(out)] == ['1', '2', '3'] and (out/'model.onnx').exists()


def test_div2k_is_trained_on_and_its_validation_set_is_kept_for_the_end(work, monkeypatch):
    "The download itself is tested in test_data.py"
    import colorizer.training.command as command
    fetched = []
    for split, n in (('train', range(3)), ('valid', [3])):
        (work/split).mkdir()
        for o in (work/'photos').iterdir():
            if int(o.stem[-1]) in n: (work/split/o.name).write_bytes(o.read_bytes())
    def fetch(root, split, small=False):
        fetched.append(split + '-small'*small)
        return work/split
    monkeypatch.setattr(command, 'fetch_div2k', fetch)
    r = colorizer('train', 'div2k', '--out', work/'div2k', '--recipe', 'fast', '--size', 32, '--bs', 4, '--frozen-epochs', 0, '--epochs',
        1, '--arch', 'mobilenet_v2', '--encoder-weights', work/'encoder.safetensors')
    assert r.returncode == 0, r.stderr
    photos = json.loads((work/'div2k/config.json').read_text())['photos']
    assert fetched == ['train', 'valid'] and photos['train'] + photos['valid'] == 3*len(sample_photos())
    assert json.loads((work/'div2k/test.json').read_text())['photos'] == len(sample_photos())


@pytest.mark.parametrize('words, says', [
    ([], 'give photos to learn from'),
    (['no/such/folder'], 'no such file or folder'),
    (['{photos}', '--from', '{photos}/cat0.png'], 'cat0.png'),
    (['{photos}', '--encoder-weights', 'missing.safetensors'], 'missing.safetensors'),
    (['{photos}', '--epochs', '0', '--frozen-epochs', '0'], 'nothing to do'),
    (['{photos}', '--recipe', 'smoke', '--bs', '500', '--arch', 'mobilenet_v2', '--encoder-weights', '{encoder}'],
    'fewer than one batch of 500'),
    (['{photos}', '--recipe', 'smoke', '--vgg', 'vgg16', '--vgg-weights', '{encoder}'], 'VGG weights'),
    (['{photos}', '--test', '{photos}', '--recipe', 'smoke'], 'every photo to train on is also a test photo'),
    (['{photos}', '--lr', '1e-3', '1e-4'], 'give one value, or one for each of the 1 sizes'),
    (['--resume'], 'there is no run to resume'),
])
def test_bad_input_is_one_line(work, words, says):
    words = [w.format(photos=work/'photos', encoder=work/'encoder.safetensors') for w in words]
    out = work/'bad'/str(abs(hash(says)))
    r = colorizer('train', *words, '--out', out, '--size', 32)
    assert r.returncode == 1
    lines = [o for o in r.stderr.splitlines() if o.strip()]
    assert len(lines) == 1 and lines[0].startswith('colorizer: ') and says in lines[0], r.stderr
    assert not (out/'config.json').exists()  # the folder can be used at the next try


def test_a_non_finite_loss_stops_with_the_last_good_weights_kept(work, monkeypatch):
    from colorizer.training.accumulation import ColourLearner
    forward, calls = ColourLearner._forward, []
    def spoilt(self, x, y):
        calls.append(self.training)
        second = calls.count(True) == len(self.dls.train) + 2  # of the second epoch
        forward(self, x*float('nan') if second and self.training else x, y)
    monkeypatch.setattr(ColourLearner, '_forward', spoilt)
    r = colorizer(*train_words(work, work/'nan'))
    assert r.returncode == 1
    last = r.stderr.splitlines()[-1]
    assert 'the loss is nan at batch 2' in last and f"--from {work/'nan/last.safetensors'}" in last, r.stderr
    assert len(history(work/'nan')) == 1 and all(torch.isfinite(v).all() for v in load_file(work/'nan/last.safetensors').values())
    assert 'stopped: the loss is nan' in (work/'nan/log.txt').read_text() and (work/'nan/report.html').exists()


def test_a_run_is_not_overwritten_nor_mixed_up(run, work):
    r = colorizer(*train_words(work, work/'run'))
    assert r.returncode == 1 and 'already holds a run' in r.stderr
    r = colorizer('train', '--resume', '--out', work/'run', '--seed', 7)
    assert r.returncode == 1 and 'leave out seed' in r.stderr


def test_resuming_on_other_photos_is_refused(run, work):
    changed = work/'changed'
    changed.mkdir()
    for o in (work/'photos').iterdir(): (changed/o.name).write_bytes(o.read_bytes())
    words = ['train', changed, '--out', work/'moved', '--recipe', 'fast', '--size', 32, '--bs', 4, '--epochs', 1, '--frozen-epochs', 0,
        '--arch', 'mobilenet_v2', '--encoder-weights', work/'encoder.safetensors']
    assert colorizer(*words).returncode == 0
    next(changed.iterdir()).unlink()
    r = colorizer('train', '--resume', '--out', work/'moved')
    n = 4*len(sample_photos())
    assert r.returncode == 1 and f'the photos have changed since the run began ({n} then, {n-1} now)' in r.stderr


def log(folder): return (folder/'log.txt').read_text(encoding='utf-8')


@pytest.fixture(scope='module')
def sixty(work):
    "Sixty small photos"
    sixty = work/'sixty'
    sixty.mkdir()
    for name, path in sample_photos().items():
        with Image.open(path) as img:
            w, h = img.size
            for i in range(5): img.crop((w*i//10, h*i//10, w*(5+i)//10, h*(5+i)//10)).resize((64, 64)).save(sixty/f'{name}{i}.png')
    return sixty


def test_stages_that_would_enlarge_the_photos_are_left_out(work):
    "Trained at 64 px on photos of 48, a network would learn how enlarged photos look"
    (work/'stamps').mkdir()
    for name, path in sample_photos().items():
        with Image.open(path) as img: img.resize((48, 60)).save(work/f'stamps/{name}.png')
    r = colorizer('train', work/'stamps', '--out', work/'small', '--recipe', 'smoke', '--epochs', 1)
    assert r.returncode == 0 and 'without the stage at 64 px: most of the photos are smaller' in r.stdout + log(work/'small'), r.stderr
    config = json.loads((work/'small/config.json').read_text())
    assert [s['size'] for s in config['stages']] == [32] and 'sizes: 32 instead of 32, 64' in ' '.join(config['recipe']['departures'])
    assert (work/'small/32px.safetensors').exists() and not (work/'small/64px.safetensors').exists()


def test_sixty_photos_and_fast_end_better_than_grey(sixty, work):
    "Few photos: small batches, a warm-up counted in steps, BatchNorm that a handful of steps can bear"
    r = colorizer('train', sixty, '--out', work/'few', '--recipe', 'fast', '--size', 48)
    assert r.returncode == 0, r.stderr
    rows, base = history(work/'few'), json.loads((work/'few/baselines.json').read_text())['1']
    config = json.loads((work/'few/config.json').read_text())
    best = min(rows, key=lambda r: float(r['valid_loss']))
    assert config['stages'][0]['bs'] <= config['photos']['train']/4 and config['photos']['valid'] >= 6
    assert float(best['valid_loss']) < base['grey']['loss'] and float(best['batch_psnr']) > base['grey']['batch_psnr'] + .2, rows
    assert 'With --from default' in log(work/'few') and 'left grey loss' in log(work/'few')
    assert any('bs at 48 px' in o and 'instead of 32' in o for o in config['recipe']['departures'])


def test_fine_tuning_that_makes_it_worse_keeps_the_start_and_says_so(work):
    r = colorizer('train', work/'photos', '--out', work/'spoilt', '--size', 48, '--from', 'default', '--epochs', 3, '--lr', .3, '--early',
        1, '--warmup', 0, '--cache', work/'cache')
    assert r.returncode == 0, r.stderr
    base = json.loads((work/'spoilt/baselines.json').read_text())['1']
    assert base['begin']['loss'] < base['grey']['loss'] < min(float(r['valid_loss']) for r in history(work/'spoilt'))
    assert 'no epoch was better than the start, so the weights it began with are kept' in log(work/'spoilt')
    figures = json.loads((work/'spoilt/comparison.json').read_text())['figures']
    assert list(figures) == ['left grey', 'the start (default)', 'as trained', 'this run']
    assert figures['this run'] == pytest.approx(figures['the start (default)'], rel=1e-3)
    lines = log(work/'spoilt').splitlines()
    assert next(i for i, o in enumerate(lines) if 'held out: left grey' in o) < next(i for i, o in enumerate(lines) if 'px begins' in o)
    assert 'held-out photos at 48 px: left grey' in lines[-3] and lines[-1].endswith('done')
    assert 'model.onnx keeps the starting weights' in lines[-2]


def test_fine_tuning_on_sixty_photos_keeps_the_colours_of_the_start(sixty, work):
    "The shipped model has a colour factor that the loss knows nothing of, and it is weak at 64 px"
    from colorizer.training.export import strength_of
    r = colorizer('train', sixty, '--out', work/'gentle', '--recipe', 'fast', '--from', 'default', '--size', 64, 96, '--epochs', 3, 2)
    assert r.returncode == 0, r.stderr
    config, comparison = (json.loads((work/f'gentle/{o}.json').read_text()) for o in ('config', 'comparison'))
    _, start, trained, end = comparison['figures'].values()
    assert config['strength'] == strength_of() > 1 and strength_of(work/'gentle/model.onnx') == comparison['strength'] >= strength_of()
    assert end['psnr'] > start['psnr'] and end['colour'] > .9*start['colour'] and comparison['share'] > 0, comparison
    assert f'multiplied its colours by {strength_of():g}' in log(work/'gentle')
    assert all(s['lr'] < 1e-4 and not s['frozen_epochs'] for s in config['stages'])
    assert colorizer('export', work/'gentle/kept.safetensors', work/'again.onnx').returncode == 0
    assert strength_of(work/'again.onnx') == comparison['strength']


def test_without_a_connection_one_line_names_the_files(work, monkeypatch, tmp_path):
    from urllib.error import URLError
    import torchvision.models._api as api
    def offline(*_, **__): raise URLError('no connection')
    monkeypatch.setattr(api, 'load_state_dict_from_url', offline)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    r = colorizer('train', 'div2k', '--out', work/'offline')
    (line,) = r.stderr.strip().splitlines()
    for o in ('resnet34-b627a593.pth', 'vgg16-397923af.pth', 'https://download.pytorch.org/models/', '--encoder-weights', '--vgg-weights'):
        assert o in line, line
    assert r.returncode == 1 and not (work/'offline').exists()
    r = colorizer('train', 'div2k', '--out', work/'offline', '--arch', 'efficientnet_lite2')
    assert 'vgg16-397923af.pth' in r.stderr and 'resnet34' not in r.stderr  # only what is missing


def test_help_and_config_agree_with_the_article(work, capsys):
    from colorizer.training.stages import RECIPES, in_words
    with pytest.raises(SystemExit): main(['train', '--help'])
    text, article = capsys.readouterr().out, in_words(RECIPES['article'])
    for k, v in article.items(): assert f'  {k:10} {v}' in text
    said = ' '.join(article.values())
    for o in ('ResNet-34', 'DynamicUnet', 'RGB', 'pixels', 'VGG-16 features after layers 15, 22, 29', 'Gram', 'at most 50', 'at most 25',
            'at most 10'):
        assert o in said
    assert list(article)[-4:] == ['64 px', '128 px', '256 px', '512 px']


def test_photos_to_test_on_are_never_trained_on(work):
    "Whatever they are called"
    mixed = work/'mixed'
    mixed.mkdir()
    for o in (work/'photos').iterdir(): (mixed/f'copy of {o.name}').write_bytes(o.read_bytes())
    held = [work/'photos/cat0.png', work/'photos/hopper1.png']
    r = colorizer('train', mixed, '--out', work/'apart', '--recipe', 'smoke', '--size', 32, '--epochs', 1, '--frozen-epochs', 0, '--test',
        *held)
    assert r.returncode == 0, r.stderr
    photos = json.loads((work/'apart/config.json').read_text())['photos']
    assert photos['train'] + photos['valid'] == 4*len(sample_photos()) - 2


def test_threads_wait_passively_unless_told_otherwise():
    "Set before torch is imported, or it does nothing"
    code = "import sys, colorizer.training, os; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    env = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'}
    for more, says in (({}, 'PASSIVE'), ({'OMP_WAIT_POLICY': 'ACTIVE'}, 'ACTIVE')):
        assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env | more).stdout.strip() == says
