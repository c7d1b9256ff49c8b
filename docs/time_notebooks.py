"""Measure how long each notebook runs, and keep the table that the site shows.

    python docs/time_notebooks.py [WING/NAME ...]     all notebooks, or those given; writes docs/timings.json

A notebook runs by `nbdev-test` as in `make test` (cells marked slow left out), on one thread, in a process of its own. What counts is the
processor time of that process and its children, so that other work on the machine hardly matters.
"""
import json
import os
import platform
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from sitegen import DOCS, ROOT, notebooks


def processor():
    "The name of this machine's processor"
    for line in Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else ():
        if line.startswith('model name'): return line.split(':')[1].strip()
    return platform.processor() or platform.machine()


def seconds(name):
    "Processor seconds that nbs/NAME.ipynb takes"
    def used():
        r = resource.getrusage(resource.RUSAGE_CHILDREN)
        return r.ru_utime + r.ru_stime
    before = used()
    subprocess.run([str(Path(sys.executable).parent/'nbdev-test'), f'nbs/{name}.ipynb', '--n-workers', '0', '--do-print'],
                   cwd=ROOT, check=True, env=os.environ | {'OMP_NUM_THREADS': '1'}, stdout=subprocess.DEVNULL)
    return used() - before


def main(names):
    path = DOCS/'timings.json'
    table = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {'seconds': {}}
    failed = []
    for name in names or [o['id'] for o in notebooks.entries(notebooks.wings())]:
        try: table['seconds'][name] = round(seconds(name), 1)
        except subprocess.CalledProcessError: failed.append(name); continue
        print(name, table['seconds'][name], flush=True)
        table['how'] = (f"Run times are processor time on one thread of {processor()}, {date.today()}, measured by "
                        "`python docs/time_notebooks.py`; cells marked as long runs are left out.")
        new = path.with_suffix('.tmp')
        new.write_text(json.dumps({'how': table['how'], 'seconds': dict(sorted(table['seconds'].items()))}, indent=1) + '\n',
                       encoding='utf-8')
        new.replace(path)
    if failed: sys.exit(f"{', '.join(failed)}: did not run through; what the table says of them is old")


if __name__ == '__main__': main(sys.argv[1:])
