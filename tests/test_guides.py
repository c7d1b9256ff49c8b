"""The commands in the guides are those that colorizer knows, and they run: quick ones as they stand, others in a short form.

GUIDES=all runs those, too, as they stand (some minutes)."""
import os, re, shlex, subprocess, sys
from pathlib import Path

import pytest

from colorizer.cli import _parser
from colorizer.inference.photo import sample_photos
from warm import Child, command_in_child

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT/'docs/pages/guides').glob('*.md'))


def commands(path):
    "(how to try it, command) for each line of each block of commands; `sh-by-hand` is what pip, make and git do"
    for kind, block in re.findall(r'^```(sh[a-z-]*)\n(.*?)^```', path.read_text(encoding='utf-8'), re.M | re.S):
        for line in block.strip().splitlines(): yield kind, line


def words(line):
    "The words that colorizer gets, or None"
    line = re.sub(r'^torchrun .*?-m colorizer ', 'colorizer ', line)
    return shlex.split(line)[1:] if line.startswith('colorizer ') else None


@pytest.mark.parametrize('path', GUIDES, ids=lambda p: p.stem)
def test_options_exist(path):
    for _kind, line in commands(path):
        given = words(line)
        if given is None or given[0] in ('--help', '--version'): continue
        parser, _, rest = _parser(given)
        try: parser.parse_args(rest)
        except SystemExit: pytest.fail(f'{path.name}: {line}')


def shortened(line):
    "The same command with less to do: small photos to measure, a recipe that only shows that everything is in place"
    given = words(line) or ['']
    if given[0] == 'evaluate': return f'{line} --size 48'
    if given[0] == 'train' and '--resume' not in given: return f'{line} --recipe smoke --size 32 --epochs 1 --frozen-epochs 0'
    return line


RUN = [path for path in GUIDES if any(kind in ('sh', 'sh-train') for kind, _ in commands(path))]

@pytest.mark.parametrize('path', RUN, ids=lambda p: p.stem)
def test_commands_run(path, tmp_path):
    "In a folder with the photos that the guides speak of, one after the other, since some need what others made"
    in_full = os.environ.get('GUIDES') == 'all'
    todo = [(kind, line if kind == 'sh' or in_full else shortened(line)) for kind, line in commands(path) if kind in ('sh', 'sh-train')]
    for folder in ('album', 'album/more', 'photos', 'test'):
        (tmp_path/folder).mkdir()
        for name, photo in sample_photos().items(): (tmp_path/folder/f'{name}.jpg').write_bytes(photo.read_bytes())
    (tmp_path/'bin').mkdir()
    (tmp_path/'bin/colorizer').write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m colorizer "$@"\n')
    (tmp_path/'bin/colorizer').chmod(0o755)
    env = os.environ | {'PATH': f"{tmp_path/'bin'}:{os.environ['PATH']}", 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    for kind, line in todo:
        if kind == 'sh-train' and words(line): r = Child(command_in_child, words(line), cwd=tmp_path).end(900)
        else: r = subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
        meant = 'exists already' in r.stderr and line.endswith('cat.jpg -o cat.jpg')  # the guide shows this very message
        assert r.returncode == 0 or meant, f'{line}\n{r.stdout}{r.stderr}'
