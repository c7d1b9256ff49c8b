"""What is shipped: the wheel, its metadata, and that the library is what the notebooks export."""
import os, re, shutil, subprocess, sys, zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

import colorizer
from colorizer.inference.photo import sample_photos

ROOT = Path(__file__).parent.parent
MB = 10**6


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    "A copy of the checkout, so that builds and exports leave nothing in it"
    ignore = shutil.ignore_patterns('.*', '*.egg-info', '__pycache__', 'build', 'dist', '_proc', '_docs', 'demo', 'runs', 'node_modules')
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp('tree')/'colorizer', ignore=ignore))


def run(*words, cwd, **env):
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'} | env
    r = subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


@pytest.fixture(scope='module')
def wheel(tree, tmp_path_factory):
    "The wheel, built from the source distribution, as a release does, with the setuptools that is installed: no download"
    out = tmp_path_factory.mktemp('wheel')
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', out, tree, cwd=out)
    path, = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def metadata(wheel):
    with zipfile.ZipFile(wheel) as z:
        name, = [o for o in z.namelist() if o.endswith('.dist-info/METADATA')]
        return Parser().parsestr(z.read(name).decode())


@pytest.fixture(scope='module')
def settings():
    "The sections of settings.ini, each multi-line value as a list"
    cfg = ConfigParser(delimiters=['='], default_section='none')
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return {s: {k: v.split('\n') if '\n' in v else v for k, v in cfg[s].items()} for s in cfg.sections()}


def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as z: names = set(z.namelist())
    info = f'unet_colorizer-{colorizer.__version__}.dist-info/'
    assert {o for o in names if o.startswith(info)} == {info + o for o in
        ('METADATA', 'WHEEL', 'RECORD', 'entry_points.txt', 'top_level.txt', 'licenses/LICENSE')}
    here = ROOT/'colorizer'
    modules = {f'colorizer/{p.relative_to(here).as_posix()}' for p in here.rglob('*.py')}
    photos = {f'colorizer/photos/{p.name}' for p in sample_photos().values()} | {'colorizer/photos/README.md'}
    models = {f'colorizer/models/{p.name}' for p in (here/'models').iterdir()}
    pages = {f'colorizer/pages/{p.name}' for p in (here/'pages').iterdir()}
    assert {Path(o).suffix for o in pages} == {'.css', '.js'}
    assert {'colorizer/__init__.py', 'colorizer/__main__.py', 'colorizer/inference/photo.py', 'colorizer/training/recipe.py',
            'colorizer/cli.py'} <= modules
    assert 'colorizer/models/default.onnx' in models and {Path(o).suffix for o in models} <= {'.onnx', '.safetensors', '.md', '.json'}
    assert {o for o in names if not o.startswith(info)} == modules | photos | models | pages | {'colorizer/py.typed'}


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size <= 40*MB
    assert (ROOT/'colorizer/models/default.onnx').stat().st_size <= 20*MB


def test_each_fact_is_stated_once(metadata, settings):
    meta = settings['DEFAULT']
    assert metadata['Version'] == colorizer.__version__ and re.fullmatch(r'\d+\.\d+\.\d+', colorizer.__version__)
    assert meta['name'] == 'unet-colorizer'  # `colorizer` on the package index is another project
    assert (metadata['Name'], metadata['Requires-Python']) == (meta['name'], f">={meta['min_python']}")
    assert metadata['License'] == meta['license'] or metadata['License-Expression'] == meta['license']
    assert '[project]' not in (ROOT/'pyproject.toml').read_text() and 'version' not in meta


def test_requirements_are_those_of_settings_ini(metadata, settings):
    def wanted(lines): return {(r.name, str(r.specifier)) for r in map(Requirement, filter(None, lines))}
    shipped = [Requirement(o) for o in metadata.get_all('Requires-Dist')]
    def applies(extra): return {(r.name, str(r.specifier)) for r in shipped if r.marker and f'extra == "{extra}"' in str(r.marker)}
    plain, total = wanted(settings['DEFAULT']['requirements']), set()
    assert {(r.name, str(r.specifier)) for r in shipped if not r.marker} == plain
    # people who colour photos install no torch
    assert {name for name, _ in plain} == {'numpy', 'pillow', 'tifffile', 'onnxruntime', 'fastcore', 'tqdm'}
    alone = {k: wanted(v) for k, v in settings['extras_alone'].items()}
    assert set(metadata.get_all('Provides-Extra')) == {*settings['extras'], *alone}
    for extra, lines in settings['extras'].items():
        total |= wanted(lines)
        assert applies(extra) == total | (set().union(*alone.values()) if extra == 'dev' else set()), extra
    assert {k: applies(k) for k in alone} == alone


def test_the_installed_wheel_colours_a_photo(wheel, tmp_path):
    "Installed alone, outside of the checkout, with no torch, scikit-image or onnx to import"
    site = tmp_path/'site'
    run(sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--no-compile', '--target', site, wheel, cwd=tmp_path)
    (tmp_path/'photo.jpg').write_bytes(sample_photos()['cat'].read_bytes())
    code = """
import sys
for name in 'torch torchvision fastai skimage onnx matplotlib pillow_heif'.split(): sys.modules[name] = None  # importing them fails
import colorizer
from colorizer.cli import main
print(colorizer.__file__)
sys.exit(main(['photo.jpg']))
"""
    where, photo = run(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=str(site)).splitlines()
    assert Path(where).is_relative_to(site) and photo == 'photo_colour.jpg'
    assert Image.open(tmp_path/photo).size == Image.open(tmp_path/'photo.jpg').size
    entry, = (site/'bin').glob('colorizer*')
    assert run(sys.executable, entry, '--version', cwd=tmp_path, PYTHONPATH=str(site)) == f'colorizer {colorizer.__version__}\n'


def modules_of(tree):
    "path below `colorizer` → text"
    return {p.relative_to(tree/'colorizer').as_posix(): p.read_text(encoding='utf-8') for p in (tree/'colorizer').rglob('*.py')}


def test_the_library_is_what_the_notebooks_export(tree):
    before = modules_of(tree)
    exported = {f"{m[1].replace('.', '/')}.py"
                for p in (tree/'nbs').rglob('*.ipynb') if (m := re.search(r'#\| default_exp (\S+?)(\\n|")', p.read_text(encoding='utf-8')))}
    by_hand = {'__init__.py', '__main__.py', '_modidx.py'} | {f'{o}/__init__.py' for o in ('inference', 'training', 'evaluation')}
    assert set(before) == exported | by_hand
    for name in exported: (tree/'colorizer'/name).unlink()  # what comes back comes from a notebook
    run(Path(sys.executable).parent/'nbdev-export', cwd=tree)
    after = modules_of(tree)
    assert set(after) == set(before)
    assert [k for k in before if after[k] != before[k]] == []  # else: nbdev-export, and commit


def test_notebooks_are_clean_and_small(tree):
    before = {p: p.read_text(encoding='utf-8') for p in (tree/'nbs').rglob('*.ipynb')}
    run(Path(sys.executable).parent/'nbdev-clean', cwd=tree)
    assert [p.name for p, v in before.items() if p.read_text(encoding='utf-8') != v] == []  # else: nbdev-clean, and commit
    assert [p.name for p, v in before.items() if len(v) > MB] == []


def test_embedded_photos_are_small_and_accounted_for():
    photos, readme = sample_photos(), (ROOT/'colorizer/photos/README.md').read_text(encoding='utf-8')
    assert len(photos) == 12 and sum(p.stat().st_size for p in photos.values()) <= 1_240_000
    for p in photos.values():
        img = Image.open(p)
        assert img.mode == 'RGB' and min(img.size) <= 320 and not set(img.info) & {'exif', 'icc_profile', 'comment'}, p
        row, = [o for o in readme.splitlines() if o.startswith(f'| `{p.name}` |')]
        assert re.search(r'public domain|CC0 1\.0|CC BY [234]\.0', row)


def test_what_we_tell_people_to_install_is_ours():
    "The name is the one in settings.ini, and the extra exists; `colorizer` alone would fetch another project"
    cfg = ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    extras = {'', 'extra', *cfg['extras'], *cfg['extras_alone']}
    texts = [p for o in ('nbs', 'colorizer', 'docs', 'tests', 'benchmarks', 'tools', '.github') for p in (ROOT/o).rglob('*')
             if p.suffix in ('.ipynb', '.py', '.md', '.yml', '.html', '.js') and 'node_modules' not in p.parts] + [ROOT/'README.md',
        ROOT/'CONTRIBUTING.md', ROOT/'Makefile']
    found = [(p.name, *m) for p in texts
             for m in re.findall(r'''pip install (?:-e )?\\?['"]?([\w-]*colorizer|\.)(?:\[(\w*)\]|\{(\w+)\})?(?=[\\"'\s<`])''',
                                 p.read_text(encoding='utf-8'))]
    assert len(found) > 20
    assert [o for o in found if o[1] not in ('.', cfg['DEFAULT']['name']) or (o[2] or o[3]) not in extras] == []
