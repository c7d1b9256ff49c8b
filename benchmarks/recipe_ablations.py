"""What each idea of the recipe is worth: the same budget of pixels with it and without it, several seeds, measured on photos held out.

    python benchmarks/recipe_ablations.py PHOTOS --out RUNS --encoder-weights mobilenet_v2_imagenet.safetensors

A run that is done is not done again. The table goes to stdout and to RUNS/table.md, the figures to RUNS/results.json.
"""
import argparse, json, platform, time
from pathlib import Path

import torch
from fastai.torch_core import set_seed

from colorizer.training.architecture import create_unet
from colorizer.training.data import PhotoSet, split_photos, to_grey
from colorizer.training.photo_cache import prepare
from colorizer.training.loss import FeatureLoss
from colorizer.training.command import device_name
from colorizer.training.recipe import progressive_resizing
from colorizer.training.learner import Stage
from colorizer.training.monitor import batch_psnr, colour_share
from colorizer.training.checkpoints import load_weights

# Nothing levels off in so few epochs, and nothing should: every variant gets its whole budget.
whole = dict(patience=99)


def stages(scale):
    "Name → stages; `scale` multiplies the photos of an epoch. The first three see the same number of pixels, and so do the last two"
    n, small = round(2048*scale), dict(bs=32, frozen_lr=2e-3, lr=1.5e-3, **whole)
    return {
        'decoder first, then discriminative rates': [Stage(64, frozen_epochs=1, epochs=3, photos=n, **small)],
        'all at once, discriminative rates': [Stage(64, frozen_epochs=0, epochs=4, photos=n, **small)],
        'decoder first, then one rate': [Stage(64, frozen_epochs=1, epochs=3, photos=n, encoder_factor=1, **small)],
        '64 → 128 → 256 px': [Stage(64, frozen_epochs=1, epochs=4, photos=n, **small),
                              Stage(128, bs=16, frozen_epochs=0, epochs=1, photos=n*7//8, lr=1e-3, **whole),
                              Stage(256, bs=8, frozen_epochs=0, epochs=1, photos=n*7//32, lr=5e-4, **whole)],
        '256 px from the start': [Stage(256, bs=8, frozen_epochs=1, epochs=2, photos=n//4, frozen_lr=2e-3, lr=1e-3, **whole)],
    }


def pixels(stages):
    "Pixels seen, in photos of 64 px"
    return sum((s.frozen_epochs + s.epochs)*(s.photos//s.bs*s.bs)*(s.size/64)**2 for s in stages)


def square_batches(photos, size):
    "The middle squares of some photos, 16 at a time: RGB [N,3,size,size] in 0..1"
    squares = PhotoSet(photos, size)
    for i in range(0, len(photos), 16): yield torch.stack([squares[j] for j in range(i, min(i+16, len(photos)))]).permute(0, 3, 1, 2)/255


def spread(values, fmt):
    "Mean and, behind ±, half of what lies between the lowest and the highest"
    return f'{sum(values)/len(values):{fmt}}' + (f' ± {(max(values)-min(values))/2:{fmt}}' if len(values) > 1 else '')


@torch.no_grad()
def measure(model, photos, size):
    "Loss, PSNR and share of colour on the middle squares of some photos; `model` None: left grey"
    loss, sums = FeatureLoss(), torch.zeros(3)
    for rgb in square_batches(photos, size):
        grey = to_grey(rgb)
        out = model.eval()(grey) if model else grey.expand_as(rgb)
        sums += torch.stack([loss(out, rgb), batch_psnr(out, rgb), colour_share(out, rgb)])*len(rgb)
    return dict(zip(('loss', 'psnr', 'colour'), (sums/len(photos)).tolist()))


def one(name, plan, seed, args, train, valid):
    "Train one variant and measure it"
    out = args.out/f"{name.replace(' ', '_').replace(',', '').replace('→', 'to')}_{seed}"
    if (out/'result.json').exists(): return json.loads((out/'result.json').read_text())
    out.mkdir(parents=True, exist_ok=True)
    set_seed(seed, reproducible=True)
    model, begun = create_unet('mobilenet_v2', weights=args.encoder_weights), time.monotonic()
    photos = {s.size: split_photos(prepare(args.photos, args.cache or args.out/'cache', args.cached_size or s.size), .05, 42) for s in plan}
    progressive_resizing(plan, lambda size: photos[size], model, out, seed=seed)
    best = load_weights(out/f'{plan[-1].size}px.safetensors')
    result = dict(name=name, seed=seed, budget=pixels(plan),
                  minutes=(time.monotonic()-begun)/60) | {str(s): measure(best, valid, s) for s in args.measure}
    (out/'result.json').write_text(json.dumps(result))
    return result


def table(results, grey, sizes):
    "Markdown: mean over the seeds and, behind ±, half of what lies between the lowest and the highest"
    head = [f'{k}, {s} px' for s in sizes for k in ('loss', 'PSNR dB', 'colour')]
    lines = ['| variant | seeds | ' + ' | '.join(head) + ' |', '|---|---|' + '---|'*len(head)]
    lines.append('| left grey | | ' + ' | '.join(f"{grey[str(s)]['loss']:.3f} | {grey[str(s)]['psnr']:.2f} | 0 %" for s in sizes) + ' |')
    for name in dict.fromkeys(r['name'] for r in results):
        rows = [r for r in results if r['name'] == name]
        cells = [spread([r[str(s)][k] for r in rows], f) for s in sizes for k, f in (('loss', '.3f'), ('psnr', '.2f'), ('colour', '.0%'))]
        lines.append(f"| {name} | {len(rows)} | " + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--cached-size', type=int, help='one prepared size for all stages (default: that of each stage)')
    parser.add_argument('--variants', nargs='+', choices=list(stages(1)), default=list(stages(1)))
    parser.add_argument('--encoder-weights', type=Path, required=True)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--measure', type=int, nargs='+', default=[128, 256], help='sizes at which to measure')
    parser.add_argument('--scale', type=float, default=1., help='multiplies the budget')
    args = parser.parse_args()
    train, valid = split_photos(prepare(args.photos, args.cache or args.out/'cache', args.cached_size or max(args.measure)), .05, 42)
    grey = {str(s): measure(None, valid, s) for s in args.measure}
    results = []
    for seed in args.seeds:
        for name, plan in ((k, v) for k, v in stages(args.scale).items() if k in args.variants):
            results.append(one(name, plan, seed, args, train, valid))
            (args.out/'results.json').write_text(json.dumps(dict(grey=grey, results=results), indent=1))
            (args.out/'table.md').write_text(table(results, grey, args.measure) + '\n')
    print(table(results, grey, args.measure))
    print(f"\n{len(valid)} photos held out, {len(train)} trained on. {device_name(torch.device('cpu'))}, {platform.machine()}, torch "
          f"{torch.__version__}.")


if __name__ == '__main__':
    main()
