"""Throughput of `colorizer archive` beside one process (`colorizer FOLDER`), and from it an estimate for ten million photos.

    python benchmarks/archive.py                                   # 48 photos of 3 megapixels, two workers, two rounds
    python benchmarks/archive.py --photos 200 --megapixels 12 --workers 16 --rounds 3

The photos are the embedded ones, enlarged, with grain, so that they compress like scans. Each round runs both commands, one after the
other, in
processes of their own. "photos/s" counts from the first result to the last, so that start-up, which a long run pays once, stands apart.
Processor time, which a busy machine changes less, is that of the process from the first result to the last, or what the archive's workers
note for each photo (Ray and writing
the result are not in it). The spread is that of the rounds. On a machine with other work, photos/s say how the
two commands fare against that work, and only processor time says what they need; the estimate goes by processor time.
"""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, time
from importlib.metadata import version
from pathlib import Path

import psutil
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent


def make(folder, n, megapixels):
    "Grey photos of 3:2 with grain; their mean size in bytes"
    import numpy as np
    from PIL import Image
    from colorizer.inference.photo import open_photo, sample_photos
    width, rng = round((megapixels*1.5e6)**.5), np.random.default_rng(0)
    names = [*sample_photos().values()]
    noise = rng.normal(0, 5, (round(width/1.5), width))
    for i in range(n):
        a = np.asarray(open_photo(names[i%len(names)]).convert('L').resize((width, round(width/1.5)), Image.Resampling.BICUBIC))
        Image.fromarray(np.clip(a + np.roll(noise, i*37, 1), 0, 255).astype(np.uint8)).save(folder/f'{i:05}.jpg', quality=90)
    return statistics.mean(p.stat().st_size for p in folder.iterdir())


def measure(words, n):
    "Seconds to the first result; from there on photos/s, and processor seconds for each photo; seconds in all"
    start, times, used = time.monotonic(), [], []
    with subprocess.Popen([sys.executable, '-m', 'colorizer', *map(str, words), '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, cwd=ROOT) as p:
        for line in p.stdout:
            times.append(time.monotonic() - start)
            if len(times) in (1, n): used.append(sum(psutil.Process(p.pid).cpu_times()[:2]))
            assert json.loads(line)['status'] == 'coloured', line
        said = p.stderr.read()
    if p.wait() or len(times) != n: raise SystemExit(f'{words}: {len(times)} of {n}\n{said}')
    rest = n - sum(o - times[0] < .05 for o in times)  # rows of the first block come at once
    if words[0] == 'archive': cpu = statistics.mean(pq.read_table(words[2]/'.colorizer-archive'/'results.parquet')['cpu'].to_pylist())
    else: cpu = (used[1] - used[0])/rest
    return times[0], rest/(times[-1] - times[0]), cpu, times[-1]


def show(name, runs):
    ends = lambda v, f: f'{statistics.median(v):{f}} ({min(v):{f}}–{max(v):{f}})'
    print(f'| {name} | ' + ' | '.join(ends(o, f) for o, f in zip(zip(*runs), ('.1f', '.2f', '.2f', '.1f'))) + ' |', flush=True)
    return [statistics.median(o) for o in zip(*runs)]


def estimate(each, before, after, photos=10_000_000):
    "What ten million photos would take, if all stays as it was measured"
    print(f'\n{photos:,} photos like these, if a worker has a core like these to itself, needs the measured {each:.2f} s for a photo, and '
          f'waits for nothing:\n')
    print('| workers (cores) | time | read, MB/s | written, MB/s |\n|---:|---:|---:|---:|')
    for w in (2, 64, 500, 2000):
        hours = photos*each/w/3600
        print(f'| {w} | {f"{hours:.1f} hours" if hours < 100 else f"{hours/24:.0f} days"} | {w/each*before/1e6:.0f} | '
              f'{w/each*after/1e6:.0f} |')
    print(f'\nRead: {photos*before/1e12:.1f} TB; written: {photos*after/1e12:.1f} TB; {photos*each/3600:,.0f} core hours.')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photos', type=int, default=48)
    parser.add_argument('--megapixels', type=float, default=3)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=2)
    args = parser.parse_args()
    runs = {'one process: colorizer FOLDER': [], f'colorizer archive, {args.workers} workers': []}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        (tmp/'src').mkdir()
        before = make(tmp/'src', args.photos, args.megapixels)
        load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else float('nan')
        for i in range(args.rounds):
            one, many = runs
            runs[one].append(measure([tmp/'src', '-o', tmp/f'one{i}'], args.photos))
            runs[many].append(measure(['archive', tmp/'src', tmp/f'many{i}', '--max-workers', args.workers], args.photos))
        same = all(p.read_bytes() == (tmp/'many0'/p.name).read_bytes() for p in (tmp/'one0').glob('*.jpg'))
        after = statistics.mean(p.stat().st_size for p in (tmp/'many0').glob('*.jpg'))
    print(f'{args.photos} photos of {args.megapixels:g} megapixels, {args.rounds} rounds; {os.cpu_count()} processors '
          f'({platform.machine()}), load {load:.1f} before; '
          f'Python {platform.python_version()}, ' + ', '.join(f'{o} {version(o)}' for o in ('ray', 'onnxruntime',
        'pillow')) + f'. Same bytes from both: {"yes" if same else "no"}.\n')
    print('| | to the first result, s | photos/s after that | processor s for a photo | in all, s |\n|---|---:|---:|---:|---:|')
    one, many = (show(k, v) for k, v in runs.items())
    print(f'\nphotos/s: {many[1]/one[1]:.2f} times as many; processor time for a photo: {many[2]/one[2]:.2f} times as much')
    estimate(many[2], before, after)


if __name__ == '__main__': main()
