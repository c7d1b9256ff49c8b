"""Every public function of the library says the types of its parameters and of its result; `py.typed` tells type checkers to believe it."""
import ast
from pathlib import Path

LIBRARY = Path(__file__).parent.parent/'colorizer'
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
        for name, lost in unannotated(p.read_text(encoding='utf-8')).items(): found[f'{p.relative_to(LIBRARY).as_posix()}: {name}'] = lost
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
