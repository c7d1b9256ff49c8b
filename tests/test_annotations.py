"""Every public function of the library says the types of its parameters and of its result; `py.typed` tells type checkers to believe it."""
import ast
from pathlib import Path

LIBRARY = Path(__file__).parent.parent/'colorizer'
# Still to be annotated, by module: this only ever gets shorter.
LEFT = {'training/learner.py': 23, 'inference/archive.py': 14, 'training/data.py': 14,
        'training/run_report.py': 14, 'inference/files.py': 12, 'inference/photo.py': 12, 'inference/folders.py': 10,
        'training/command.py': 10, 'inference/colorizer.py': 9, 'inference/colour.py': 9,
        'training/checkpoints.py': 8, 'training/export.py': 6,
        'inference/show.py': 5, 'inference/upsampling.py': 5, 'training/distributed.py': 4,
        'training/recipe.py': 4, 'inference/disk.py': 3, 'training/memory.py': 3, 'training/distil.py': 1,
        'training/small_encoder.py': 1}
CALLS = {'__init__', '__call__'}  # what `Thing(…)` and `thing(…)` run is as public as a name


def functions(tree):
    "(name, syntax tree) of the public functions and methods of a module, those that `@patch` adds to a class included"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'): yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            for o in node.body:
                if isinstance(o, ast.FunctionDef) and (not o.name.startswith('_') or o.name in CALLS): yield f'{node.name}.{o.name}', o


def lacking(name, f):
    "What of a function has no annotation: parameters, and `return`, which `__init__` doesn't need"
    a = f.args
    given = a.posonlyargs + a.args + a.kwonlyargs + [o for o in (a.vararg, a.kwarg) if o]
    if '.' in name and not any(ast.unparse(o) == 'staticmethod' for o in f.decorator_list): given = given[1:]  # self or cls
    return [o.arg for o in given if o.annotation is None] + ['return']*(f.returns is None and f.name != '__init__')


def unannotated(code): return {name: lost for name, f in functions(ast.parse(code)) if (lost := lacking(name, f))}


def test_every_public_function_is_annotated():
    found = {}
    for p in sorted(LIBRARY.rglob('*.py')):
        if p.name == '_modidx.py': continue
        name, lost = p.relative_to(LIBRARY).as_posix(), unannotated(p.read_text(encoding='utf-8'))
        if len(lost) > LEFT.get(name, 0): found[name] = lost
    assert found == {}


def test_type_checkers_are_told(): assert (LIBRARY/'py.typed').exists()


def test_this_test_sees_what_is_lacking():
    code = '''
def good(a: int, *rest: int, b: str = '', **more: str) -> int: pass
def bad(a, *rest, b=1): pass
def _private(a): pass
class Thing:
    def __init__(self, a: int): pass
    def __call__(self, x: int): pass
    def _hidden(self, x): pass
    @staticmethod
    def plain(x) -> int: pass
'''
    assert unannotated(code) == {'bad': ['a', 'b', 'rest', 'return'], 'Thing.__call__': ['return'], 'Thing.plain': ['x']}
