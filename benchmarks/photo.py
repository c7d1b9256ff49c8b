"""How long it takes to colour a photo, file to file, against decoding and encoding it.

    python benchmarks/photo.py                 # 12 and 24 megapixels, grey and colour JPEG, grey PNG; and the command
    python benchmarks/photo.py 24 -n 9         # other sizes; more repeats

In one process, in turn, several times: decode the photo; encode its result as it was encoded; run the network; colour the file. The medians
are shown, and the ratio to the bar, which is twice decode + encode, plus one network run. The command is timed from its start to the end of
its process, against decode + encode. Seconds are on the clock, so the machine should be idle; the load that it had is shown. `memory.py` makes
the photos, and measures memory.
"""
import argparse, io, os, statistics, subprocess, sys, tempfile, time
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
    from colorizer.files import colorize_file
    from colorizer.inference import render_size
    colorize_file(colorizer, photo, out)  # makes the result that is to be encoded, and warms everything
    result = decode(out)
    small = np.zeros(render_size(*result.size, colorizer.size)[::-1], np.float32)
    steps = [lambda: decode(photo), lambda: encode(result, out), lambda: colorizer.predict_chroma(small), lambda: colorize_file(colorizer, photo, out)]
    return [statistics.median(o) for o in zip(*([seconds(f) for f in steps] for _ in range(n)))]


def command(photo, out, n):
    "Medians of seconds: the command, and decode + encode, in turn"
    words = [sys.executable, '-m', 'colorizer', str(photo), '-o', str(out), '--force']
    run = lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    run()
    result = decode(out)
    rows = [(seconds(run), seconds(lambda: decode(photo)) + seconds(lambda: encode(result, out))) for _ in range(n)]
    return [statistics.median(o) for o in zip(*rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('megapixels', nargs='*', type=float, default=[12, 24])
    parser.add_argument('-n', type=int, default=7, help='repeats')
    args = parser.parse_args()
    from colorizer.inference import Colorizer
    colorizer = Colorizer()
    print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n')
    print('| megapixels | photo | decode | encode | network | colour the file | ÷ (2·(decode + encode) + network) |\n|---:|---|---:|---:|---:|---:|---:|')
    with tempfile.TemporaryDirectory() as tmp:
        for mp in args.megapixels:
            for kind, (name, mode) in KINDS.items():
                photo, out = Path(tmp)/name, Path(tmp)/f'out_{name}'
                make(photo, mp, False, mode)
                d, e, n, c = measure(colorizer, photo, out, args.n)
                print(f'| {mp:g} | {kind} | {d:.3f} | {e:.3f} | {n:.3f} | {c:.3f} | {c/(2*(d + e) + n):.2f} |', flush=True)
        print('\n| megapixels | photo | command | decode + encode | ÷ |\n|---:|---|---:|---:|---:|')
        for kind, (name, mode) in list(KINDS.items())[:2]:
            photo, out = Path(tmp)/name, Path(tmp)/f'out_{name}'
            make(photo, 12, False, mode)
            c, de = command(photo, out, args.n)
            print(f'| 12 | {kind} | {c:.3f} | {de:.3f} | {c/de:.1f} |', flush=True)
    print(f'\nload at the end {os.getloadavg()[0]:.1f}')


if __name__ == '__main__': main()
