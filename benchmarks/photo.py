"""How long it takes to colour a photo, file to file, against decoding and encoding it.

    python benchmarks/photo.py                 # 12 and 24 megapixels, grey and colour JPEG, grey PNG; and the command
    python benchmarks/photo.py 24 -n 9         # other sizes; more repeats; 0: the command only

In one process, in turn, several times: decode the photo; encode its result as it was encoded; run the network; colour the file. The medians
are shown, and the ratio to the bar, which is twice decode + encode, plus one network run. The command is timed from its start to the end of
its process, against decode + encode. Seconds are on the clock, so the machine should be idle; the load that it had is shown. For the
command
there are seconds of processor time as well, which a busy machine changes less, and what of them is spent before any photo is touched:
Python,
with the imports, and the model. `memory.py` makes the photos, and measures memory.
"""
import argparse, io, os, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
from PIL import Image

from memory import make

KINDS = {'grey JPEG': ('grey.jpg', 'L'), 'colour JPEG': ('colour.jpg', 'RGB'), 'grey PNG': ('grey.png', 'L')}


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def decode(path):
    with Image.open(path) as img: img.load()
    return img


def encode(img, path):
    "Encode a decoded result as the file `path` is encoded"
    how = {}
    if path.suffix == '.jpg':
        from PIL import JpegImagePlugin
        with Image.open(path) as o: how = dict(qtables=o.quantization, subsampling=JpegImagePlugin.get_sampling(o))
    img.save(io.BytesIO(), 'PNG' if path.suffix == '.png' else 'JPEG', **how)


def measure(colorizer, photo, out, n):
    "Medians of seconds: decode, encode, network, colour the file"
    from colorizer.inference.files import colorize_file
    from colorizer.inference.colorizer import render_size
    colorize_file(colorizer, photo, out)  # makes the result that is to be encoded, and warms everything
    result = decode(out)
    small = np.zeros(render_size(*result.size, colorizer.size)[::-1], np.float32)
    steps = [lambda: decode(photo), lambda: encode(result, out), lambda: colorizer.predict_chroma(small),
             lambda: colorize_file(colorizer, photo, out)]
    return [statistics.median(o) for o in zip(*([seconds(f) for f in steps] for _ in range(n)))]


def child(*words):
    "Seconds on the clock and of the processor that a Python process takes; it may keep compiled modules, as an installed command does"
    def used(): return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    env, before = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'}, used()
    clock = seconds(lambda: subprocess.run([sys.executable, *map(str, words)], check=True, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, env=env))
    return clock, used() - before


def plain(photo, result, out):
    "Seconds on the clock and of the processor for decode + encode"
    start = time.process_time()
    return seconds(lambda: decode(photo)) + seconds(lambda: encode(result, out)), time.process_time() - start


# what the command imports for a photo
IMPORTS = "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'; import colorizer.cli, colorizer.files, colorizer.video"
STARTS = {'imports': IMPORTS, 'model': IMPORTS + '; from colorizer.inference import Colorizer; Colorizer()'}

def command(photo, out, n):
    "Medians of seconds on the clock and of the processor: the command; decode + encode. And of the processor: its imports; with the model"
    words = ['-m', 'colorizer', photo, '-o', out, '--force']
    child(*words)
    result = decode(out)
    rows = [(*child(*words), *plain(photo, result, out), *(child('-c', o)[1] for o in STARTS.values())) for _ in range(n)]
    return [statistics.median(o) for o in zip(*rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('megapixels', nargs='*', type=float, default=[12, 24], help='none with 0: the command only')
    parser.add_argument('-n', type=int, default=7, help='repeats')
    args = parser.parse_args()
    from colorizer.inference.colorizer import Colorizer
    colorizer = Colorizer()
    print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n')
    if any(args.megapixels):
        print('| megapixels | photo | decode | encode | network | colour the file | ÷ (2·(decode + encode) + network) '
              '|\n|---:|---|---:|---:|---:|---:|---:|')
    with tempfile.TemporaryDirectory() as tmp:
        for mp in filter(None, args.megapixels):
            for kind, (name, mode) in KINDS.items():
                photo, out = Path(tmp)/name, Path(tmp)/f'out_{name}'
                make(photo, mp, False, mode)
                d, e, n, c = measure(colorizer, photo, out, args.n)
                print(f'| {mp:g} | {kind} | {d:.3f} | {e:.3f} | {n:.3f} | {c:.3f} | {c/(2*(d + e) + n):.2f} |', flush=True)
        print()
        print('| 12 megapixels | command | decode + encode | ÷ | processor: command | of which imports | model | decode + encode | ÷ '
              '|\n|---|---:|---:|---:|---:|---:|---:|---:|---:|')
        for kind, (name, mode) in list(KINDS.items())[:2]:
            photo, out = Path(tmp)/name, Path(tmp)/f'out_{name}'
            make(photo, 12, False, mode)
            c, cpu, de, de_cpu, imports, loaded = command(photo, out, args.n)
            print(f'| {kind} | {c:.3f} | {de:.3f} | {c/de:.1f} | {cpu:.3f} | {imports:.3f} | {loaded - imports:.3f} | {de_cpu:.3f} | '
                  f'{cpu/de_cpu:.1f} |', flush=True)
    print(f'\nload at the end {os.getloadavg()[0]:.1f}')


if __name__ == '__main__': main()
