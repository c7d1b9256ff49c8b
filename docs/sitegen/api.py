"""The API reference: one page per module, from signatures, docstrings and docments; grouped by wing."""
import ast
import importlib
import inspect
import json
import re

from fastcore.docments import docments

from . import ROOT, source_url
from .notebooks import SiteError, default_exp, directives, entries, original, wings


def escape(text):
    "Text of a docment as Markdown: backticks stay, other marks are taken literally"
    spans = re.split(r'(`[^`]*`)', ' '.join(text.split()))
    return ''.join(s if s.startswith('`') and len(s) > 1 else re.sub(r'([\\*_\[\]<>$|#{}~^])', r'\\\1', s) for s in spans)


def _arguments(f):
    "The arguments of a function's syntax tree as source, `self` and the like left out"
    args = ast.parse(ast.unparse(f.args).join(('def f(', '): pass'))).body[0].args
    if (args.posonlyargs + args.args)[:1] and (args.posonlyargs + args.args)[0].arg in ('self', 'cls'):
        (args.posonlyargs or args.args).pop(0)
    return ast.unparse(args)


def signature(f, name):
    "`name(a: int, b=1) -> str`; what is too long to be read is left out"
    returns = f' -> {ast.unparse(f.returns)}' if f.returns else ''
    return ' '.join(f'{name}({_arguments(f)}){returns}'.split())


def fields(obj):
    "Field list of parameters and result, from the docments of a function"
    out = []
    try: docs = docments(obj, full=True, args_kwargs=True)
    except Exception: return out  # a callable without source
    for name, d in docs.items():
        if name in ('self', 'cls'): continue
        text = escape(d.docment) if d.docment else ''
        if name == 'return':
            if text: out.append(f':returns: {text}')
        elif text: out.append(f':param {name}: {text}')
    return out


def directive(kind, sig, body, depth=3, options=()):
    fence = '`'*depth
    return '\n'.join([f'{fence}{{py:{kind}}} {sig}', *options, '', *body, fence])


def _docstring(tree):
    return [escape_doc(ast.get_docstring(tree) or '')]


def escape_doc(text):
    "A docstring as Markdown: one paragraph to another, marks taken literally"
    return '\n\n'.join(escape(p) for p in text.split('\n\n'))


class Module:
    "What the reference says about one module: `name` as in `inference.colour`, `notebook` as in `library/colour`"
    def __init__(self, name, notebook):
        self.name, self.full, self.notebook = name, f'colorizer.{name}', notebook
        self.wing = name.rpartition('.')[0]
        self.path = f"colorizer/{name.replace('.', '/')}.py"
        self.text = (ROOT/self.path).read_text(encoding='utf-8')
        self.tree = ast.parse(self.text)
        self.module = importlib.import_module(self.full)
        self.summary = ' '.join((ast.get_docstring(self.tree) or '').split('\n\n')[0].split())
        self.public = list(getattr(self.module, '__all__', []))
        self.where = self._where()
        self.patched = {}  # class → methods that `@patch` gives it
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and _is_patch(node):
                self.patched.setdefault(ast.unparse(node.args.args[0].annotation), []).append(node)
        self.symbols = []

    def _where(self):
        "name → (heading, its anchor) of the place in the notebook where it is made"
        res, heading = {}, None
        for c in original(self.notebook)['cells']:
            text = ''.join(c['source'])
            if c['cell_type'] == 'markdown':
                for m in re.finditer(r'^##+ (.+)$', text, re.M): heading = m[1].strip()
            elif {'export', 'exporti'} & set(directives(c)):
                for node in ast.parse(text).body:
                    for name in _names(node): res.setdefault(name, heading)
        return res

    def links(self, name, line):
        "The line of links below a signature"
        heading = self.where.get(name)
        taught = f'[{escape(heading)}](../{self.notebook}.ipynb#{slug(heading)})' if heading else f'[the notebook](../{self.notebook}.ipynb)'
        return f'{{.api-links}}\n[view source]({source_url(self.path, line)}) · taught in {taught}'

    def function(self, node, obj):
        body = [*_docstring(node), '', *fields(obj), '', self.links(node.name, node.lineno)]
        return directive('function', signature(node, node.name), body)

    def klass(self, node, cls):
        methods = [o for o in node.body if isinstance(o, ast.FunctionDef)]
        init = next((o for o in methods if o.name == '__init__'), None)
        call = _arguments(init) if init else _dataclass_arguments(node)
        body = [*_docstring(node), '']
        if init: body += [*fields(cls.__init__), '']
        else: body += [*_attributes(node, self.text), '']
        body += [self.links(node.name, node.lineno), '']
        for m in methods + self.patched.get(node.name, []):
            if m.name.startswith('_') and m.name != '__call__': continue
            self.symbols.append(f'{node.name}.{m.name}')
            decorators = ' '.join(ast.unparse(o) for o in m.decorator_list)
            raw = inspect.getattr_static(cls, m.name)
            f = getattr(raw, 'fget', None) or getattr(raw, '__func__', raw)
            if isinstance(raw, property): body += [directive('property', m.name, _docstring(m)), '']
            else:
                options = [f':{o}:' for o in ('classmethod', 'staticmethod') if o in decorators]
                body += [directive('method', signature(m, m.name), [*_docstring(m), '', *fields(f)], options=options), '']
        bases = ', '.join(ast.unparse(b) for b in node.bases)
        if issubclass(cls, BaseException): return directive('exception', node.name, [f'Bases: `{bases}`', '', *body], 5)
        return directive('class', f'{node.name}({call})' if call else node.name, ([f'Bases: `{bases}`', ''] if bases else []) + body, 5)

    def constant(self, node, name):
        value = ast.unparse(node.value)
        line = self.text.splitlines()[node.lineno - 1]
        comment = re.search(r'\s#\s(.+)$', line)
        options = [f':value: {value}'] if len(value) <= 80 else []
        return directive('data', name, [escape(comment[1]) if comment else '', '', self.links(name, node.lineno)], options=options)

    def page(self):
        "The page's Markdown"
        out = [f'# `{self.full}`', f'```{{py:module}} {self.full}\n```', f'{{.lead}}\n{escape(self.summary)}',
               f'Made from [nbs/{escape(self.notebook)}.ipynb](../{self.notebook}.ipynb), where each part is built and tried. [view source]({source_url(self.path)})']
        for node in self.tree.body:
            for name in _names(node):
                if name not in self.public: continue
                self.symbols.append(name)
                if isinstance(node, ast.FunctionDef): text = self.function(node, getattr(self.module, name))
                elif isinstance(node, ast.ClassDef): text = self.klass(node, getattr(self.module, name))
                else: text = self.constant(node, name)
                out.append(text)
        return '\n\n'.join(out) + '\n'


def _is_patch(node): return any(ast.unparse(o).split('(')[0] == 'patch' for o in node.decorator_list)


def _names(node):
    if isinstance(node, ast.FunctionDef) and _is_patch(node): return []
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)): return [node.name]
    if isinstance(node, ast.Assign): return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []


def _is_dataclass(node): return any('dataclass' in ast.unparse(o) for o in node.decorator_list)


def _dataclass_arguments(node):
    if not _is_dataclass(node): return ''
    return ', '.join(ast.unparse(o) for o in node.body if isinstance(o, ast.AnnAssign))


def _attributes(node, text):
    "Fields of a dataclass with the comments beside them"
    if not _is_dataclass(node): return []
    lines, out = text.splitlines(), []
    for o in node.body:
        if not isinstance(o, ast.AnnAssign): continue
        comment = re.search(r'\s#\s?(.+)$', lines[o.end_lineno - 1])
        if comment: out.append(f':param {o.target.id}: {escape(comment[1])}')
    return out


def slug(heading):
    "The anchor that MyST gives a heading: GitHub's rules"
    from mdit_py_plugins.anchors.index import slugify
    return slugify(re.sub(r'[`*]', '', re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)))


GROUPS = {  # wing → its heading and what it may be used with
    'inference': ('Inference', 'Photos in, photos out: numpy, Pillow and ONNX Runtime, never torch.'),
    'evaluation': ('Evaluation', 'Judges models, commands and folders of pictures. May import `inference`.'),
    'training': ('Training', 'PyTorch and fastai: the article. May import both.'),
    '': ('Command', 'May import everything, and does so when it is needed.'),
}


def modules():
    "The modules, wing by wing; within a wing in the order of the notebooks, but none before one that it imports"
    found = {}
    for entry in entries(wings()):
        name = default_exp(original(entry['id']))
        if name: found[name] = Module(name, entry['id'])
    here = ROOT/'colorizer'
    lost = {'.'.join(p.relative_to(here).with_suffix('').parts) for p in here.rglob('[!_]*.py')} - set(found)
    if lost: raise SiteError(f"no notebook exports {', '.join(sorted(lost))}")
    res = []
    def add(m):
        if m in res: return
        for name, other in found.items():
            if name in imports(m) and other.wing == m.wing: add(other)
        res.append(m)
    for wing in GROUPS:
        for m in found.values():
            if m.wing == wing: add(m)
    return res


def imports(module):
    "Names, as in `inference.colour`, of what a module imports when it is imported"
    res = set()
    for node in module.tree.body:
        if not isinstance(node, ast.ImportFrom): continue
        base = module.full.split('.')[:-node.level] if node.level else []
        home = '.'.join(base + [node.module or '']).strip('.')
        res |= {home, *(f'{home}.{a.name}' for a in node.names)}
    return {o.removeprefix('colorizer.') for o in res if o.startswith('colorizer.')} - {module.name}


def write(site, mods):
    "Write the pages, and `symbols.json`: what a name in backticks means, for the extension"
    (site/'api').mkdir()
    out = [(ROOT/'docs/pages/api.md').read_text(encoding='utf-8').strip()]
    for wing, (title, lead) in GROUPS.items():
        own = [m for m in mods if m.wing == wing]
        out.append(f'## {title}\n\n{lead}')
        for m in own:
            (site/f'api/{m.name}.md').write_text(m.page(), encoding='utf-8')
            kinds = [n for n in m.public if not n.isupper()]
            out.append(f"[`{m.full}`]({m.name}.md)\n: {escape(m.summary)}\n: " + ' '.join(f'{{py:obj}}`{n} <{m.full}.{n}>`' for n in kinds))
        out.append(f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n" + '\n'.join(f"{m.name} <{m.name}>" for m in own) + '\n```')
    (site/'api/index.md').write_text('\n\n'.join(out) + '\n', encoding='utf-8')
    symbols = {}
    for m in mods:
        for name in m.symbols: symbols.setdefault(name, []).append(m.full)
    home = {m.notebook: m.full for m in mods} | {f'api/{m.name}': m.full for m in mods}
    (site/'symbols.json').write_text(json.dumps({'symbols': symbols, 'module_of_page': home}), encoding='utf-8')
