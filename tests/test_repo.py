"""The checkout itself: README and model card say what is so."""
import ast, hashlib, json, re, subprocess, sys
from pathlib import Path

import colorizer
from colorizer.inference.session import default_model
from test_layers import MAY_IMPORT

ROOT = Path(__file__).parent.parent


def test_readme_is_made_from_the_index():
    r = subprocess.run([sys.executable, ROOT/'tools/readme.py', '--check'], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r'\]\((?!https?:|#)([^)]+)\)', (ROOT/'README.md').read_text(encoding='utf-8'))
    assert len(links) > 10
    assert [o for o in links if not (ROOT/o).exists()] == []


def test_model_card_names_the_model_that_ships():
    data = default_model().read_bytes()
    card = default_model().with_name('README.md').read_text(encoding='utf-8')
    assert hashlib.sha256(data).hexdigest() in card
    assert len(data) <= 20*2**20


def test_ci_runs_what_the_readme_says():
    assert 'make test' in (ROOT/'README.md').read_text(encoding='utf-8')
    assert 'make test' in (ROOT/'.ci/run').read_text(encoding='utf-8')


def is_import(node):
    "An import statement, or `if TYPE_CHECKING:` with nothing else in it"
    if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING': return all(map(is_import, node.body)) and not node.orelse
    return isinstance(node, (ast.Import, ast.ImportFrom))


def test_import_cells_hold_imports_only():
    "The docs are built by running import cells alone: code beside an import would run without what it needs"
    mixed = []
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')):
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            if cell['cell_type'] != 'code': continue
            kinds = {is_import(o) for o in ast.parse(''.join(cell['source'])).body}
            if len(kinds) > 1: mixed.append((path.name, ''.join(cell['source'])[:60]))
    assert mixed == []


def test_what_goes_with_a_version_names_it():
    assert re.search(r'^version: (.+)$', (ROOT/'CITATION.cff').read_text(encoding='utf-8'), re.M)[1] == colorizer.__version__
    assert f'## {colorizer.__version__}' in (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')


def test_contributors_are_told_what_each_wing_may_import():
    "The table in CONTRIBUTING is the rule that tests/test_layers.py checks"
    rows = re.findall(r'^\| `colorizer\.(\w+)` \|[^|]*\|([^|]*)\|$', (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8'), re.M)
    said = {wing: set(re.findall(r'`(\w+)`', text)) | ({*MAY_IMPORT} - {wing} if 'all of them' in text else set()) for wing, text in rows}
    assert said == MAY_IMPORT


def test_the_model_card_is_in_step_with_what_writes_it():
    "Its figures need the photos; its words don't"
    card = default_model().with_name('README.md').read_text(encoding='utf-8')
    tree = ast.parse((ROOT/'tools/model_card.py').read_text(encoding='utf-8'))
    text, = [ast.literal_eval(o.value) for o in tree.body if isinstance(o, ast.Assign) and o.targets[0].id == 'TEXT']
    words = [o for o in re.split(r'\{\w+(?:\.\w+)?(?::[^}]*)?\}', text) if o.strip()]
    assert len(words) > 10 and [o for o in [*words, (ROOT/'tools/model_training.md').read_text(encoding='utf-8')] if o not in card] == []


def test_ruff_finds_nothing():
    "In notebooks, library, tests, tools, docs and benchmarks; pyproject.toml says which rules, and why these"
    r = subprocess.run([sys.executable, '-m', 'ruff', 'check', '--no-cache', '--output-format', 'concise', ROOT],
                       cwd=ROOT, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_stored_outputs_hold_no_paths_of_a_machine():
    "Where a library is installed, for one: a warning that slipped into an output says so"
    told = re.compile(r'site-packages/|/home/|/Users/|/root/')
    found = []
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')):
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            texts = [''.join(o.get('text') or o.get('data', {}).get('text/plain') or '') for o in cell.get('outputs', [])]
            found += [(path.name, o[:80]) for o in texts if told.search(o)]
    assert found == []
