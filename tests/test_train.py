"""`colorizer train`, end to end: photos in, weights out, exported, and a photo coloured with them."""
import json, os, subprocess, sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from colorizer.photo import sample_photos


def colorizer(*words, **env):
    return subprocess.run([sys.executable, '-m', 'colorizer', *map(str, words)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', **env})


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    "A folder of small photos, and encoder weights in torchvision's layout"
    folder = tmp_path_factory.mktemp('train')
    (folder/'photos').mkdir()
    for name, path in sample_photos().items():
        with Image.open(path) as img:
            for i in range(4): img.resize((96, 80), box=(i*20, i*10, i*20+180, i*10+150)).save(folder/'photos'/f'{name}{i}.png')
    torch.manual_seed(0)
    save_file(torchvision.models.mobilenet_v2(weights=None).state_dict(), folder/'encoder.safetensors')
    return folder


@pytest.fixture(scope='module')
def run(work):
    "A finished run of two epochs"
    r = colorizer('train', work/'photos', '--out', work/'run', '--size', 32, '--bs', 4, '--frozen-epochs', 1, '--epochs', 1,
                  '--encoder-weights', work/'encoder.safetensors')
    assert r.returncode == 0, r.stderr
    return r


def facts(path):
    with safe_open(path, 'pt') as f: return json.loads(f.metadata()['facts'])


def test_a_run_leaves_weights_history_and_pictures(run, work):
    names = {o.name for o in (work/'run').iterdir()}
    assert names == {'cache', 'last.safetensors', 'best.safetensors', 'history.csv', 'before_after.jpg', 'curves.png'}
    assert len((work/'run/history.csv').read_text().splitlines()) == 3
    assert run.stdout.splitlines()[-1] == str(work/'run/last.safetensors')
    assert [line.split()[:2] for line in run.stdout.splitlines()[:2]] == [['1', 'frozen'], ['2', 'all']]
    for picture in ('before_after.jpg', 'curves.png'): Image.open(work/'run'/picture).load()


def test_the_weights_say_how_they_came_about(run, work):
    f = facts(work/'run/last.safetensors')
    assert (f['recipe']['size'], f['recipe']['frozen_epochs'], f['seed'], f['options']['vivid']) == (32, 1, 42, 6.)
    assert 20 <= f['photos'] <= 28 and f['versions']['torch'] == torch.__version__.split('+')[0]


def test_the_same_seed_gives_the_same_history(run, work):
    "From the decoder's first weights to the order of the photos"
    again = colorizer('train', work/'photos', '--out', work/'again', '--size', 32, '--bs', 4, '--frozen-epochs', 1, '--epochs', 1,
                      '--encoder-weights', work/'encoder.safetensors')
    assert again.returncode == 0, again.stderr
    assert (work/'again/history.csv').read_text() == (work/'run/history.csv').read_text()


def test_trained_weights_export_and_colour(run, work):
    r = colorizer('export', work/'run/last.safetensors', work/'mine.onnx')
    assert r.returncode == 0, r.stderr
    r = colorizer(sample_photos()['cat'], '--model', work/'mine.onnx', '-o', work/'cat.jpg')
    assert r.returncode == 0, r.stderr
    with Image.open(work/'cat.jpg') as img: assert img.size == Image.open(sample_photos()['cat']).size


def test_going_on_from_earlier_weights(run, work):
    r = colorizer('train', work/'photos', '--out', work/'more', '--size', 32, '--bs', 4, '--frozen-epochs', 0, '--epochs', 1, '--lr', 0,
                  '--from', work/'run/last.safetensors')
    assert r.returncode == 0, r.stderr
    with safe_open(work/'run/last.safetensors', 'np') as a, safe_open(work/'more/last.safetensors', 'np') as b:
        name = 'encoder.features.0.0.weight'
        np.testing.assert_allclose(b.get_tensor(name), a.get_tensor(name), atol=1e-6) # at a rate of 0 nothing is learned


@pytest.mark.parametrize('words, says', [
    (['no/such/folder'], 'no such file or folder'),
    (['{photos}', '--from', '{photos}/cat0.png'], 'cat0.png'),
    (['{photos}', '--encoder-weights', 'missing.safetensors'], 'missing.safetensors'),
    (['{photos}', '--epochs', '0', '--frozen-epochs', '0'], 'nothing to do'),
    (['{photos}', '--bs', '500', '--encoder-weights', '{encoder}'], 'fewer than one batch of 500'),
    (['{photos}', '--vgg', 'vgg16', '--vgg-weights', '{encoder}'], 'VGG weights'),
])
def test_bad_input_is_one_line(work, words, says):
    words = [w.format(photos=work/'photos', encoder=work/'encoder.safetensors') for w in words]
    r = colorizer('train', *words, '--out', work/'bad', '--size', 32)
    assert r.returncode == 1
    lines = [o for o in r.stderr.splitlines() if o.strip() and not o.lstrip().startswith('32px:')] # the progress bar
    assert len(lines) == 1 and lines[0].startswith('colorizer: ') and says in lines[0], r.stderr
    assert not (work/'bad/last.safetensors').exists()
