"""Nothing leaves the machine, and nothing is left in the user's home: ONNX Runtime's telemetry stays off unless the user has set it."""
import json, os, re, shutil, subprocess, sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from colorizer.inference.photo import sample_photos

ROOT = Path(__file__).parent.parent
WAIT = 12  # seconds; ONNX Runtime's first look-up came after six to eight
COLOUR = "from colorizer.cli import main; assert main(['photos', '-o', 'out', '-f']) == 0"
ENTRIES = {  # entry: (code that goes through it, module that it needs)
    'command': (COLOUR, 'numpy'),
    'library': ("from colorizer import Colorizer; Colorizer().colorize('photos/cat.jpg')", 'numpy'),
    'evaluation': ("from colorizer.cli import main; assert main(['evaluate', 'photos', '--size', '64']) == 0", 'skimage'),
    'archive': ("from colorizer.cli import main; assert main(['archive', 'photos', 'out', '--max-workers', '1']) == 0", 'ray'),
    'app': ("import gradio, sys; gradio.Blocks.launch = lambda *args, **kw: sys.exit()  # the page is ready, and isn't served\nfrom "
    "colorizer.cli import main; main(['app'])", 'gradio'),
    'export': ("from colorizer.training.export import model_from_onnx; model_from_onnx()", 'torch'),
}


@pytest.fixture
def home(tmp_path):
    "A home that nobody has used yet, and two photos to work on"
    (tmp_path/'home').mkdir()
    (tmp_path/'photos').mkdir()
    for k in ('cat', 'china'): shutil.copy(sample_photos()[k], tmp_path/'photos'/f'{k}.jpg')
    return tmp_path/'home'


def started(code, home, *before, telemetry=None):
    "A Python process with that home, whose user has set ORT_DISABLE_TELEMETRY to `telemetry`, or hasn't"
    env = {k: v for k, v in os.environ.items() if k != 'ORT_DISABLE_TELEMETRY' and not k.startswith('XDG_')}
    env |= dict(HOME=str(home), PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1') | (dict(ORT_DISABLE_TELEMETRY=telemetry) if telemetry else {})
    return subprocess.Popen([*before, sys.executable, '-c', code], cwd=home.parent, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)


def finished(process):
    "What it wrote on the error stream"
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


def traces(home):
    return sorted(p.relative_to(home).as_posix() for p in home.rglob('*') if re.search('microsoft|onnxruntime', p.as_posix(), re.I))


@pytest.mark.parametrize('entry', ENTRIES)
def test_no_device_id_is_written(entry, home):
    code, needed = ENTRIES[entry]
    if find_spec(needed) is None: pytest.skip(f'{needed} is not installed')
    finished(started(code, home))
    assert traces(home) == []
    if entry in ('command', 'library'): assert list(home.iterdir()) == []


def test_the_user_may_want_it_and_then_this_test_sees_it(home):
    finished(started(COLOUR, home, telemetry='0'))
    if not traces(home): pytest.skip('this build of ONNX Runtime keeps no device id')


def test_without_a_home_nothing_is_said(home):
    "ONNX Runtime's telemetry would warn that it can't keep a device id"
    code = "import os; os.environ['HOME'] = '/dev/null/none'\nfrom colorizer import Colorizer; Colorizer().colorize('photos/cat.jpg')"
    assert finished(started(code, home)) == ''


def test_nobody_is_looked_up(home, tmp_path):
    "The system calls of the command, watched for some seconds longer than it takes; with telemetry, they show a look-up"
    if shutil.which('strace') is None: pytest.skip('strace is missing (Debian: apt install strace)')
    watch = [[*'strace -f -qq -e trace=connect,sendto,sendmsg,sendmmsg -o'.split(), tmp_path/name] for name in ('ours', 'theirs')]
    code = f'{COLOUR}\nimport time; time.sleep({WAIT})'
    processes = [started(code, home, *watch[0]), started(code.replace("'out'", "'out2'"), home, *watch[1], telemetry='0')]
    outcomes = [p.communicate(timeout=300)[1] for p in processes]
    if any('ptrace' in o for o in outcomes): pytest.skip('processes may not be watched here')
    assert [p.returncode for p in processes] == [0, 0], outcomes
    ours, theirs = (re.findall(r'.*(?:AF_INET|mobile|nscd).*', (tmp_path/k).read_text()) for k in ('ours', 'theirs'))
    assert ours == []
    if not theirs: pytest.skip('this build of ONNX Runtime looks nobody up')


def sources():
    "(where, code) of all Python in the project, notebooks as one piece of code"
    for p in sorted(ROOT.rglob('*.py')):
        if not {'.venv', 'node_modules', '_docs', '_proc'} & set(p.relative_to(ROOT).parts): yield p, p.read_text(encoding='utf-8')
    for p in sorted((ROOT/'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' not in p.parts:
            yield p, '\n'.join(''.join(c['source']) for c in json.loads(p.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code')


def test_colorizer_is_imported_before_onnx_runtime():
    "It sets the variable, which ONNX Runtime reads when it is imported"
    late = []
    for path, code in sources():
        if path.is_relative_to(ROOT/'colorizer') or path == Path(__file__): continue
        first = re.search(r'^\s*(?:import|from) onnxruntime', code, re.M)
        if first and not re.search(r'^(?:import|from) colorizer', code[:first.start()], re.M):
            late.append(path.relative_to(ROOT).as_posix())
    assert late == []
