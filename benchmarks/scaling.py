"""`colorizer train` in one process and in several: photos/s and the loss, on the same photos.

    python benchmarks/scaling.py                        # 1 and 2 processes on this machine, photos cut from the embedded ones
    python benchmarks/scaling.py ~/Pictures --processes 1 2 4 8 --size 256 --bs 64 --rounds 3
    python benchmarks/scaling.py --launcher accelerate  # the same with accelerate launch instead of torchrun

All runs start from the model that comes with the package, see the same photos in each epoch, in batches of the same size (which the
processes share
out), on one thread for each process, with gloo on CPUs and NCCL on GPUs. Rounds are interleaved. An epoch is timed from the end of the one
before, by
its line on the screen: training, validation, weights, checkpoint and report. Losses are those after the first and after the last epoch.
"""
import argparse, csv, os, platform, re, statistics, subprocess, sys, tempfile, time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent


def make(folder, n):
    "Photos of 96 pixels, cut from the embedded ones"
    import numpy as np
    from colorizer.inference.photo import open_photo, sample_photos
    rng, photos = np.random.default_rng(0), [open_photo(o).convert('RGB') for o in sample_photos().values()]
    for i in range(n):
        img = photos[i%len(photos)]
        side = int(rng.integers(120, min(img.size)))
        x, y = (int(rng.integers(0, o - side + 1)) for o in img.size)
        img.resize((96, 96), box=(x, y, x + side, y + side)).save(folder/f'{i:05}.png')


def launch(n, launcher):
    "The words before `train`"
    if n == 1: return [sys.executable, '-m', 'colorizer']
    if launcher == 'torchrun':
        return [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(n), '-m', 'colorizer']
    return [sys.executable, '-m', 'accelerate.commands.launch', *accelerate_words(n), '-m', 'colorizer']


def accelerate_words(n):
    "--multi_gpu on CPUs, too: with --cpu, accelerate 1.15 starts one process, whatever --num_processes says"
    return ['--multi_gpu', '--num_processes', str(n), '--num_machines', '1', '--mixed_precision', 'no', '--dynamo_backend', 'no']


def train(n, launcher, photos, out, args):
    "Photos in an epoch, seconds for each epoch after the first, rows of the history, processes as the run itself counted them"
    words = ['train', photos, '--out', out, '--cache', args.cache, '--from', 'default', '--size', args.size, '--bs', args.bs,
             '--frozen-epochs', 0, '--epochs', args.epochs, '--lr', 1e-4]
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    seen, times, text = 0, [], ''
    with subprocess.Popen([*launch(n, launcher), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=env) as p:
        for line in p.stdout:
            text += line
            if match := re.search(r'begins: (\d+) photos an epoch', line): seen = int(match[1])
            if re.match(r' +\d+ (all|cooling)', line): times.append(time.monotonic())
    if p.returncode: raise SystemExit(text)
    with open(out/'history.csv', newline='') as f: rows = list(csv.DictReader(f))
    processes = int(re.search(r'"processes": (\d+)', (out/'config.json').read_text())[1])
    return seen, [b - a for a, b in zip(times, times[1:])], rows, processes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='?', type=Path)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--launcher', choices=['torchrun', 'accelerate'], default='torchrun')
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--bs', type=int, default=32)
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--number', type=int, default=540, help='photos to cut from the embedded ones')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        tmp, runs = Path(tmp), {n: [] for n in args.processes}
        args.cache = tmp/'cache'
        if not args.photos: make_into(args, tmp)
        for i in range(args.rounds):
            for n in args.processes: runs[n].append(train(n, args.launcher, args.photos, tmp/f'{n}-{i}', args))
    seen = runs[args.processes[0]][0][0]
    print(f'{seen} photos an epoch, {args.size} px, batches of {args.bs}, {args.rounds} rounds of {args.epochs} epochs, {args.launcher}; '
          f'{os.cpu_count()} processors ({platform.machine()}), '
          f'load {os.getloadavg()[0]:.1f} at the end; Python {platform.python_version()}, torch {version("torch")}, fastai '
          f'{version("fastai")}\n')
    print('| processes | photos/s, median (least–most) | against one | validation loss after 1 epoch | after the last '
          '|\n|---:|---:|---:|---:|---:|')
    rates = {n: [seen/s for _, times, *_ in found for s in times] for n, found in runs.items()}
    for n, found in runs.items():
        assert all(o[3] == n for o in found), f'{found[0][3]} processes where {n} were asked for'
        loss = found[0][2]
        print(f'| {n} | {statistics.median(rates[n]):.1f} ({min(rates[n]):.1f}–{max(rates[n]):.1f}) | '
              f'{statistics.median(rates[n])/statistics.median(rates[args.processes[0]]):.2f} '
              f'| {float(loss[0]["valid_loss"]):.4f} | {float(loss[-1]["valid_loss"]):.4f} |')


def make_into(args, tmp):
    args.photos = tmp/'photos'
    args.photos.mkdir()
    make(args.photos, args.number)


if __name__ == '__main__': main()
