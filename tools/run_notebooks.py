"""Run notebooks as tests, each in a process of its own, so that none keeps the memory of another.

    python tools/run_notebooks.py [--workers N] [--memory GB] [--save] [NOTEBOOK or FOLDER ...]

By default all notebooks in nbs/, two at a time. Those that need much memory (`PEAKS`) run beside small ones only, so that together they
stay below --memory. If a notebook fails, its output is shown.
"""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from peak import GB, Watched  # beside this file

ROOT = Path(__file__).resolve().parent.parent
PEAKS = {}
USUAL = 1.5  # GB, of notebooks that aren't named above


def found(paths):
    "The notebooks at `paths`, those that need most memory first"
    names = [p for o in paths for p in ([Path(o)] if Path(o).suffix == '.ipynb' else sorted(Path(o).rglob('*.ipynb')))]
    return sorted((p for p in names if '.ipynb_checkpoints' not in p.parts and not p.name.startswith('_')), key=lambda p: -need(p))


def need(path): return PEAKS.get('/'.join(path.with_suffix('').parts[-2:]), USUAL)


class Run:
    "A notebook at work"
    def __init__(self, path, save):
        self.path, self.start, self.said = path, time.monotonic(), tempfile.TemporaryFile('w+')
        command = [str(Path(sys.executable).parent/'nbdev-test'), str(path), '--n-workers', '0', '--do-print']
        if save: command.append('--save')
        self.watched = Watched(command, stdout=self.said, stderr=self.said, cwd=ROOT)

    def ended(self): return not self.watched.thread.is_alive()

    def report(self):
        "Print one line, and the notebook's output if it failed. Returns whether it went well"
        good = self.watched.wait() == 0
        print(f"{'ok    ' if good else 'FAILED'} {self.path}  {time.monotonic() - self.start:.0f} s, {self.watched.peak/GB:.1f} GB",
              flush=True)
        self.said.seek(0)
        if not good: print(self.said.read(), flush=True)
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
    todo, running, failed, start, peak = found(args.paths), [], [], time.monotonic(), 0
    if not todo: sys.exit('no notebooks found: give notebooks or folders that hold some')
    while todo or running:
        while len(running) < args.workers and todo and (path := next_for(todo, running, args.memory)):
            todo.remove(path)
            running.append(Run(path, args.save))
        time.sleep(.2)
        for r in [r for r in running if r.ended()]:
            running.remove(r)
            failed += [] if r.report() else [str(r.path)]
            peak = max(peak, r.watched.peak)
    print(f'{time.monotonic() - start:.0f} s, largest {peak/GB:.1f} GB')
    if failed: sys.exit(f"failed: {', '.join(failed)}")


if __name__ == '__main__': main()
