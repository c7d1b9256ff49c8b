r"""What each part of the loss buys: pixels, + chroma, + VGG features, + Gram matrices; same network, photos, steps and rates;
several seeds, measured on photos held out.

    python benchmarks/loss_ablations.py PHOTOS --out RUNS --encoder-weights mobilenet_v2_imagenet.safetensors \
        --vgg-weights vgg19_relu3_1_features.safetensors

A run that is done is not done again. The table goes to stdout and to RUNS/table.md, the figures to RUNS/results.json.
"""
import argparse, json, platform
from pathlib import Path

import numpy as np
import torch
from fastai.torch_core import set_seed

from colorizer.training.architecture import create_unet
from colorizer.training.data import split_photos, to_grey
from colorizer.training.photo_cache import prepare
from colorizer.evaluation.metrics import compare
from colorizer.training.loss import FeatureLoss
from colorizer.training.vgg import vgg_features
from colorizer.training.command import device_name
from colorizer.training.recipe import progressive_resizing
from colorizer.training.learner import Stage
from colorizer.training.monitor import colour, to_arrays
from colorizer.training.checkpoints import load_weights
from recipe_ablations import spread, square_batches  # beside this file

LAYERS = (3, 8, 11)  # relu1_2, relu2_2, relu3_1 of VGG-19
FIGURES = dict(psnr=('PSNR, dB', '.2f'), ciede2000=('CIEDE2000', '.2f'), ab_distance=('ab distance', '.2f'),
               colourfulness=('colourfulness', '.1f'))


def losses(vgg_weights):
    "Name → the loss"
    vgg = vgg_features('vgg19', vgg_weights, layers=LAYERS)
    return {
        'pixels': FeatureLoss(chroma_weight=0.),
        'pixels + chroma': FeatureLoss(),
        'pixels + chroma + features': FeatureLoss(vgg, LAYERS, feature_weights=1., gram_weights=0.),
        'pixels + chroma + features + Gram': FeatureLoss(vgg, LAYERS, feature_weights=1., gram_weights=.3),
    }


def measure(make, photos, size):
    "Means over the middle squares of some photos; `make`: grey batch → RGB batch"
    found, real = [], []
    for rgb in square_batches(photos, size):
        for p, t in zip(to_arrays(make(to_grey(rgb))), to_arrays(rgb)):
            found.append(compare(p, t)); real.append(compare(t, t)['colourfulness'])
    return {k: float(np.mean([f[k] for f in found])) for k in FIGURES} | dict(real=float(np.mean(real)))


def one(name, loss, seed, args, train, valid):
    "Train with one loss and measure"
    out = args.out/f"{name.replace(' + ', '_')}_{seed}"
    if (out/'result.json').exists(): return json.loads((out/'result.json').read_text())
    out.mkdir(parents=True, exist_ok=True)
    set_seed(seed, reproducible=True)
    stage = Stage(64, 32, frozen_epochs=1, epochs=args.epochs, frozen_lr=2e-3, lr=1.5e-3, patience=99, photos=args.epoch_photos)
    progressive_resizing([stage], (train, valid), create_unet('mobilenet_v2', weights=args.encoder_weights), out, loss, seed=seed)
    best = load_weights(out/'last.safetensors')
    result = dict(name=name, seed=seed) | measure(lambda grey: colour(best, grey), valid, args.measure)
    (out/'result.json').write_text(json.dumps(result))
    return result


def table(results, grey):
    "Markdown: mean over the seeds and, behind ±, half of what lies between the lowest and the highest"
    lines = ['| loss | seeds | ' + ' | '.join(h for h, _ in FIGURES.values()) + ' |', '|---|---|' + '---|'*len(FIGURES)]
    for name in dict.fromkeys(r['name'] for r in results):
        rows = [r for r in results if r['name'] == name]
        lines.append(f'| {name} | {len(rows)} | ' + ' | '.join(spread([r[k] for r in rows], f) for k, (_, f) in FIGURES.items()) + ' |')
    lines.append('| left grey | | ' + ' | '.join(f'{grey[k]:{f}}' for k, (_, f) in FIGURES.items()) + ' |')
    lines.append('| the photos | | – | – | – | ' + f"{grey['real']:.1f} |")
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--encoder-weights', type=Path, required=True)
    parser.add_argument('--vgg-weights', type=Path, required=True)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--epochs', type=int, default=2, help='with all layers, after one with the encoder frozen')
    parser.add_argument('--epoch-photos', type=int, default=1024)
    parser.add_argument('--measure', type=int, default=128, help='size at which to measure')
    args = parser.parse_args()
    train, valid = split_photos(prepare(args.photos, args.cache or args.out/'cache', args.measure), .05, 42)
    grey, results = measure(lambda g: g.expand(-1, 3, -1, -1), valid, args.measure), []
    for seed in args.seeds:
        for name, loss in losses(args.vgg_weights).items():
            results.append(one(name, loss, seed, args, train, valid))
            (args.out/'results.json').write_text(json.dumps(dict(grey=grey, results=results), indent=1))
            (args.out/'table.md').write_text(table(results, grey) + '\n')
    print(table(results, grey))
    print(f"\n{len(valid)} photos held out, {len(train)} trained on. {device_name(torch.device('cpu'))}, {platform.machine()}, torch "
          f"{torch.__version__}.")


if __name__ == '__main__':
    main()
