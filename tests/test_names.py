"""One name, one thing: a public name is defined in one module of the library only."""
import ast
from collections import defaultdict
from pathlib import Path

LIBRARY = Path(__file__).parent.parent/'colorizer'
ALLOWED = {}  # name → why two modules may define it


def targets(node):
    "Names that an assignment makes"
    found = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [o.id for t in found for o in ast.walk(t) if isinstance(o, ast.Name) and isinstance(o.ctx, ast.Store)]


def defined(code):
    "Public names that a module defines. What `@patch` adds belongs to a class, not to the module"
    for node in ast.parse(code).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [] if any('patch' in ast.unparse(o) for o in node.decorator_list) else [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)): names = targets(node)
        else: continue
        yield from (o for o in names if not o.startswith('_'))


def defined_twice(modules):
    "name → modules, for names that more than one of `modules` (name → code) defines"
    homes = defaultdict(set)
    for module, code in modules.items():
        for name in defined(code): homes[name].add(module)
    return {name: sorted(found) for name, found in homes.items() if len(found) > 1}


def test_a_public_name_is_defined_once():
    modules = {p.relative_to(LIBRARY).as_posix(): p.read_text(encoding='utf-8') for p in LIBRARY.rglob('*.py') if p.name != '_modidx.py'}
    found = defined_twice(modules)
    assert {k: v for k, v in found.items() if k not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found), 'an exception that is no longer needed'


def test_this_test_sees_a_name_that_is_defined_twice():
    made = dict(a='def f(): pass\nX, Y = 1, 2\n_p = 1', b='class f: pass\nY: int = 3\n_p = 2', c='@patch\ndef f(self: A): pass\nZ = X')
    assert defined_twice(made) == {'f': ['a', 'b'], 'Y': ['a', 'b']}
