"""The course's four sizes in full mode, ResNet-34, RGB and VGG-16 from local files: every cell that isn't flagged slow runs, on a few tiny
photos at a quarter of the size."""
import json, os, subprocess, sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip('torch')
import torchvision
from safetensors.torch import save_file
from torchvision.models.vgg import cfgs, make_layers

COURSE = Path(__file__).parent.parent/'nbs/course'
STAGES = ['05_train_64px', '06_train_128px', '07_train_256px', '08_train_512px']

RUN = '''
import json, sys, warnings
import matplotlib; matplotlib.use('Agg')
import matplotlib.pyplot as plt
warnings.simplefilter('ignore')
path, space = sys.argv[1], {'__name__': '__main__'}
for cell in json.load(open(path, encoding='utf-8'))['cells']:
    code = ''.join(cell['source'])
    if cell['cell_type'] != 'code' or '#| slow' in code or '#| notest' in code: continue
    exec(compile(code, f'{path} {cell["id"]}', 'exec'), space)
    plt.close('all')
run = space['run']
print(json.dumps(dict(full=run.full, size=run.stage.size, kept=(run.root/f'{run.stage.size}px.safetensors').exists(),
                      encoder=space['model'].config['name'], head=space['model'].config['head'],
                      parts=space['learn'].loss_func.metric_names)))
'''


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    "Photos of colourful noise, and random weights in torchvision's layout"
    top, rng = tmp_path_factory.mktemp('full'), np.random.default_rng(0)
    (top/'photos').mkdir()
    for i in range(8):
        small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((170, 136), Image.Resampling.BICUBIC).save(top/f'photos/{i}.jpg', quality=90)
    torch.manual_seed(0)
    save_file({k: v.contiguous() for k, v in torchvision.models.resnet34(weights=None).state_dict().items()}, top/'resnet34.safetensors')
    save_file({f'features.{k}': v for k, v in make_layers(cfgs['D']).state_dict().items()}, top/'vgg16.safetensors')
    return top


def test_the_four_sizes_run_in_full_mode(files):
    env = os.environ | dict(COLORIZER_PHOTOS=str(files/'photos'), COLORIZER_ENCODER=str(files/'resnet34.safetensors'),
                            COLORIZER_VGG=str(files/'vgg16.safetensors'),
                            COLORIZER_QUICK='1', PYTHONPATH=os.pathsep.join([str(COURSE.parent.parent), os.environ.get('PYTHONPATH', '')]))
    said = []
    for name in STAGES:  # a process each, so that none keeps the memory of another
        r = subprocess.run([sys.executable, '-c', RUN, str(COURSE/f'{name}.ipynb')], cwd=files, env=env, capture_output=True, text=True)
        assert r.returncode == 0, r.stdout[-2000:] + r.stderr[-4000:]
        said += [json.loads(o) for o in r.stdout.splitlines() if o.startswith('{"full"')]
    assert [o['size'] for o in said] == [16, 32, 64, 128] and all(o['full'] and o['kept'] for o in said)
    assert {(o['encoder'], o['head']) for o in said} == {('resnet34', 'rgb')}
    assert {tuple(o['parts']) for o in said} == {('pixel', 'feature_0', 'feature_1', 'feature_2', 'gram_0', 'gram_1', 'gram_2')}


def test_a_size_without_the_one_before_it_says_what_to_run(files, tmp_path):
    code = "from colorizer.training.course import course, course_before; course_before(course(128, 'nowhere'))"
    env = os.environ | dict(COLORIZER_PHOTOS=str(files/'photos'), PYTHONPATH=str(COURSE.parent.parent))
    r = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert r.returncode and 'Run the notebook of 64 pixels first' in r.stderr.splitlines()[-1]
