"""Run notebooks as tests, each in a process of its own, so that none keeps the memory of another.

    python tools/run_notebooks.py [--workers N] [--memory GB] [--save] [NOTEBOOK or FOLDER ...]

By default all notebooks in nbs/, two at a time. Those that need much memory (`PEAKS`) run beside small ones only, so that together they
stay below --memory. If a notebook fails, its output is shown.

Importing torch and what comes with it takes longer than most notebooks. Where processes can be forked (Linux), this process imports that
once (`PRELOADED`: libraries of others only, nothing of ours), and each notebook begins with it in memory.
"""
import argparse
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from peak import GB, peak_of  # beside this file

ROOT = Path(__file__).resolve().parent.parent
PEAKS = {'course/07_train_256px': 3.5, 'course/08_train_512px': 2.5}  # GB
USUAL = 1.5  # GB, of notebooks that aren't named above


def found(paths):
    "The notebooks at `paths`, those that need most memory first"
    names = [p for o in paths for p in ([Path(o)] if Path(o).suffix == '.ipynb' else sorted(Path(o).rglob('*.ipynb')))]
    return sorted((p for p in names if '.ipynb_checkpoints' not in p.parts and not p.name.startswith('_')), key=lambda p: -need(p))


def need(path): return PEAKS.get('/'.join(path.with_suffix('').parts[-2:]), USUAL)


PRELOADED = ('torch', 'torchvision', 'timm', 'matplotlib.pyplot', 'scipy.stats', 'sklearn.model_selection', 'fastai.vision.all',
             'plum', 'beartype.door', 'nbdev.test')
FORKS = sys.platform == 'linux'


def preload():
    "Import the large libraries that are there"
    # Pandas' pyarrow would start a thread, and a process of several threads can't be forked safely.
    os.environ.setdefault('JE_ARROW_MALLOC_CONF', 'background_thread:false')
    for name in PRELOADED:
        try: importlib.import_module(name)
        except ImportError: pass  # without the extra for training, the notebooks say so themselves


def test(path, save, said, scratch):
    "What a notebook's process does: nbdev-test, with what it prints in the file `said` and its temporary files in `scratch`"
    os.environ['TMPDIR'] = tempfile.tempdir = str(scratch)  # for the processes that it starts, and for itself
    with open(said, 'w', encoding='utf-8') as f:
        for stream in (sys.stdout, sys.stderr): os.dup2(f.fileno(), stream.fileno())
    os.chdir(ROOT)
    from nbdev.test import nbdev_test
    nbdev_test(str(path), n_workers=0, do_print=True, save=save)  # exits with 1 if a cell failed


class Run:
    "A notebook at work"
    def __init__(self, path, save, folder):
        self.path, self.start, self.peak, self.said = path.resolve(), time.monotonic(), 0, folder/f'{"-".join(path.parts[-2:])}.txt'
        self.looked, self.scratch = 0, Path(tempfile.mkdtemp(dir=folder))
        processes = multiprocessing.get_context('fork' if FORKS else 'spawn')
        self.process = processes.Process(target=test, args=(self.path, save, self.said, self.scratch))
        self.process.start()

    def ended(self):
        "Has it ended? Once a second, the question is a look at its memory, too"
        if (now := time.monotonic()) - self.looked > 1: self.looked, self.peak = now, peak_of(self.process.pid, self.peak)
        return not self.process.is_alive()

    def report(self):
        "Print one line, and the notebook's output if it failed. Returns whether it went well"
        good = self.process.exitcode == 0
        shutil.rmtree(self.scratch, ignore_errors=True)  # checkpoints are large, and nobody looks at them
        print(f"{'ok    ' if good else 'FAILED'} {self.path.relative_to(ROOT) if ROOT in self.path.parents else self.path}  "
              f"{time.monotonic() - self.start:.0f} s, {self.peak/GB:.1f} GB", flush=True)
        if not good: print(self.said.read_text(encoding='utf-8', errors='replace'), flush=True)
        return good


def next_for(todo, running, memory):
    "The first notebook that fits beside those at work; if none is at work, the first of all"
    free = memory - sum(need(r.path) for r in running)
    return next((p for p in todo if need(p) <= free), None if running else todo[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paths', nargs='*', default=[ROOT/'nbs'])
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--memory', type=float, default=5)
    parser.add_argument('--save', action='store_true', help='write outputs back to the notebooks')
    args = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')  # torch in each process would otherwise take all cores for itself
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
    os.environ.setdefault('MPLBACKEND', 'agg')  # no window, whatever is imported first
    todo, running, failed, start, peak = found(args.paths), [], [], time.monotonic(), 0
    if not todo: sys.exit('no notebooks found: give notebooks or folders that hold some')
    if FORKS and len(todo) > 1: preload()
    with tempfile.TemporaryDirectory() as folder:
        while todo or running:
            while len(running) < args.workers and todo and (path := next_for(todo, running, args.memory)):
                todo.remove(path)
                running.append(Run(path, args.save, Path(folder)))
            time.sleep(.3)
            for r in [r for r in running if r.ended()]:
                running.remove(r)
                failed += [] if r.report() else [str(r.path)]
                peak = max(peak, r.peak)
    print(f'{time.monotonic() - start:.0f} s, largest {peak/GB:.1f} GB')
    if failed: sys.exit(f"failed: {', '.join(failed)}")


if __name__ == '__main__': main()
