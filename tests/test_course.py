"""The course: notebooks that can be read in one sitting, and the four sizes in full mode (RGB, ResNet-34 and VGG-16 from local files, both
thin: every cell that the mode changes and that isn't flagged slow runs, on a few tiny photos at a quarter of the size; `make test` runs
the others). Networks of full width are built in test_architecture and test_export."""
import ast, json, re, symtable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('torch')
from warm import Child, script

COURSE = Path(__file__).parent.parent/'nbs/course'
STAGES = ['05_train_64px', '06_train_128px', '07_train_256px', '08_train_512px']

# Each notebook gets a process of its own, so that none keeps the memory of another; it is forked after the imports, which take longest.
RUN = '''
import json, os, sys, warnings
import matplotlib; matplotlib.use('Agg')
import matplotlib.pyplot as plt
import torch
from colorizer.training import command, course, export
from thin import make_thin, save_thin
warnings.simplefilter('ignore')
torch.manual_seed(0)
make_thin()
save_thin(os.environ['COLORIZER_ENCODER'], os.environ['COLORIZER_VGG'])

def run(path, cells, space):
    for id, code in cells:
        exec(compile(code, f'{path} {id}', 'exec'), space)
        plt.close('all')
    run = space['run']
    print(json.dumps(dict(full=run.full, size=run.stage.size, kept=(run.root/f'{run.stage.size}px.safetensors').exists(),
                          encoder=space['model'].config['name'], head=space['model'].config['head'],
                          parts=space['learn'].loss_func.metric_names)), flush=True)

for path, cells in json.load(open(sys.argv[1])).items():
    pid = os.fork() if hasattr(os, 'fork') else 0
    if not pid: run(path, cells, {'__name__': '__main__'})
    if not pid and hasattr(os, 'fork'): sys.exit()
    if pid and os.waitpid(pid, 0)[1]: sys.exit(f'{path} failed')
'''


def names(code):
    "Names that a cell takes from others and names that it gives them"
    top = symtable.symtable(code, 'cell', 'exec')
    gives = {o.get_name() for o in top.get_symbols() if o.is_assigned() or o.is_imported() or o.is_namespace()}
    def takes(table): return {o.get_name() for o in table.get_symbols() if o.is_referenced() and (table is top or o.is_global())}.union(
        *map(takes, table.get_children()))
    return takes(top) - {o.target.id for o in ast.walk(ast.parse(code)) if isinstance(o, ast.For) and isinstance(o.target, ast.Name)}, gives


def full_mode_cells(path):
    "The cells that the switch makes different, directly or through others, and those that they need. The rest are the same in both modes"
    todo = [(c['id'], source) for kind, source, c in cells(path) if kind == 'code' and not re.search(r'#\| (slow|notest)', source)]
    known = [names(source) for _, source in todo]
    touched, wanted, keep = {'course'}, set(), set()
    for i, (takes, gives) in enumerate(known):
        if 'course' in gives: continue  # the import
        if takes & touched: keep.add(i)
        touched = touched | gives if i in keep else touched - gives
    for i in reversed(range(len(todo))):
        takes, gives = known[i]
        if i in keep or gives & wanted: keep.add(i); wanted |= takes
    return [o for i, o in enumerate(todo) if i in keep]


NOTEBOOKS = sorted(COURSE.glob('*.ipynb'))
WORDS, LINES, LONGEST = 1500, 150, 30  # a notebook's words and visible lines of code, and a cell's lines


def cells(path): return [(c['cell_type'], ''.join(c['source']), c) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]


def words(path):
    "Words of prose: what holds a letter or a digit. Answers in <details>, maths, blocks of code and the targets of links don't count"
    text = '\n'.join(source for kind, source, _ in cells(path) if kind == 'markdown')
    text = re.sub(r'<details.*?</details>|```.*?```|\$\$.*?\$\$|\$[^$\n]+\$', '', text, flags=re.S)
    return sum(bool(re.search(r'\w', o)) for o in re.sub(r'\]\([^)]*\)', ']', text).split())


def lines(source): return [o for o in source.splitlines() if o.strip() and not o.startswith('#|')]


def visible(source): return not re.search(r'^#\|\s*(hide\s*$|code-fold:\s*true)', source, re.M)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_can_be_read_in_one_sitting(path):
    "At most 1,500 words and 150 lines of code that aren't hidden or folded; no cell of more than 30 lines"
    code = [source for kind, source, _ in cells(path) if kind == 'code']
    assert words(path) <= WORDS
    assert sum(len(lines(o)) for o in code if visible(o)) <= LINES
    assert [o[:60] for o in code if len(lines(o)) > LONGEST] == []


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_has_what_a_learner_looks_for(path):
    "Reading and running time at the top; a questionnaire of six to eight questions; exercises with answers; further research"
    text = [source for kind, source, _ in cells(path) if kind == 'markdown']
    assert re.search(r'^\*Reading: \d+ minutes\. Running: ', '\n'.join(text[:2]), re.M)
    whole = '\n\n'.join(text)
    questions = re.search(r'^## Questionnaire\n+((?:\d+\. .*\n)+)', whole, re.M)[1].splitlines()
    assert 6 <= len(questions) <= 8
    for head in ('## What we saw', '## Exercises', '## Further research', '<details><summary>Answers</summary>'): assert head in whole, head


def test_folded_cells_are_folded_in_jupyter_too():
    wrong = [(p.name, source[:60]) for p in sorted(COURSE.parent.rglob('*.ipynb')) for kind, source, c in cells(p) if kind == 'code'
             if ('#| code-fold: true' in source) != c['metadata'].get('jupyter', {}).get('source_hidden', False)]
    assert wrong == []


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    "Photos of colourful noise"
    top, rng = tmp_path_factory.mktemp('full'), np.random.default_rng(0)
    (top/'photos').mkdir()
    for i in range(8):
        small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize((170, 136), Image.Resampling.BICUBIC).save(top/f'photos/{i}.jpg', quality=90)
    return top


def test_the_four_sizes_run_in_full_mode(files):
    env = dict(COLORIZER_PHOTOS=str(files/'photos'), COLORIZER_ENCODER=str(files/'resnet34.safetensors'),
               COLORIZER_VGG=str(files/'vgg16.safetensors'), COLORIZER_QUICK='1')
    todo = {str(COURSE/f'{name}.ipynb'): full_mode_cells(COURSE/f'{name}.ipynb') for name in STAGES}
    (files/'todo.json').write_text(json.dumps(todo))
    (files/'run.py').write_text(RUN)
    r = Child(script, files/'run.py', [files/'todo.json'], cwd=files, env=env).end(900)
    assert r.returncode == 0, r.stdout[-2000:] + r.stderr[-4000:]
    said = [json.loads(o) for o in r.stdout.splitlines() if o.startswith('{"full"')]
    assert [o['size'] for o in said] == [16, 32, 64, 128] and all(o['full'] and o['kept'] for o in said)
    assert {(o['encoder'], o['head']) for o in said} == {('resnet34', 'rgb')}
    assert {tuple(o['parts']) for o in said} == {('pixel', 'feature_0', 'feature_1', 'feature_2', 'gram_0', 'gram_1', 'gram_2')}


def test_a_size_without_the_one_before_it_says_what_to_run(files, tmp_path):
    code = "from colorizer.training.course import course, course_before; course_before(course(128, 'nowhere'))"
    (tmp_path/'ask.py').write_text(code)
    r = Child(script, tmp_path/'ask.py', [], cwd=tmp_path, env=dict(COLORIZER_PHOTOS=str(files/'photos'))).end()
    assert r.returncode and 'Run the notebook for 64 pixels first' in r.stderr.splitlines()[-1]
