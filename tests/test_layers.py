"""Imports run one way between the wings, and in a circle nowhere."""
import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent/'colorizer'
MAY_IMPORT = {  # wing → wings that it may import from besides itself
    'inference': set(),
    'evaluation': {'inference'},
    'training': {'inference', 'evaluation'},
    'cli': {'inference', 'evaluation', 'training'},
}
NEVER_TORCH = 'inference', 'evaluation', 'cli'
HEAVY = {'torch', 'torchvision', 'fastai', 'timm', 'lpips', 'pytorch_fid'}


def imports(code, package):
    "(absolute name, is it imported by a function only?) of every import in `code`, which stands in `package`"
    tree = ast.parse(code)
    late = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package.split('.')[:len(package.split('.')) - node.level + 1]) if node.level else ''
            home = '.'.join(o for o in (base, node.module) if o)
            names = [f'{home}.{a.name}' for a in node.names]
        else: continue
        yield from ((o, id(node) in late) for o in names)


def library():
    "module → (code, package)"
    res = {}
    for p in sorted(LIBRARY.rglob('*.py')):
        if p.name in ('__init__.py', '__main__.py', '_modidx.py'): continue
        name = '.'.join(p.relative_to(LIBRARY.parent).with_suffix('').parts)
        res[name] = p.read_text(encoding='utf-8'), name.rpartition('.')[0]
    return res


def wing(name): return (name.split('.') + [''])[1]


def home(name, modules):
    "The module of the library that an imported name belongs to, or None"
    return next((m for m in (name, name.rpartition('.')[0]) if m in modules), None)


def breaches(modules):
    "(module, what it imports and may not)"
    for m, (code, package) in modules.items():
        for name, late in imports(code, package):
            other = wing(name) if name.startswith('colorizer.') else None
            if other in MAY_IMPORT and other != wing(m) and other not in MAY_IMPORT[wing(m)]: yield m, name
            if wing(m) in NEVER_TORCH and name.split('.')[0] in HEAVY and not late: yield m, name
            if wing(m) == 'inference' and name.split('.')[0] in HEAVY: yield m, name


def graph(modules):
    "module → modules that it imports, those that functions import included"
    return {m: {h for name, _ in imports(code, package) if (h := home(name, modules)) and h != m} for m, (code, package) in modules.items()}


def test_every_module_is_in_a_wing():
    assert {wing(m) for m in library()} == set(MAY_IMPORT)


def test_imports_run_one_way():
    assert sorted(set(breaches(library()))) == []


def test_no_module_imports_itself_in_a_circle():
    try: TopologicalSorter(graph({m: v for m, v in library().items() if m != 'colorizer.cli'})).prepare()
    except CycleError as e: pytest.fail(' → '.join(e.args[1]))


def test_this_test_sees_a_breach():
    "Each kind of breach, in a library made up for it"
    made = {'colorizer.inference.a': ('def f(): from colorizer.training.b import g', 'colorizer.inference'),
            'colorizer.training.b': ('from ..inference.a import f', 'colorizer.training'),
            'colorizer.evaluation.c': ('import torch', 'colorizer.evaluation')}
    assert {m for m, _ in breaches(made)} == {'colorizer.inference.a', 'colorizer.evaluation.c'}
    with pytest.raises(CycleError): TopologicalSorter(graph(made)).prepare()
