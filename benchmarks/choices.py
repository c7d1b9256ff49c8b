"""What each choice behind the shipped model is worth: encoder, loss, output, augmentation, more photos; the same 16,384 photos of 64 px for
each, measured at 128 px on photos held out.

    python benchmarks/choices.py PHOTOS --small TINY --out RUNS --mobilenet-weights mobilenet_v2_imagenet.safetensors

A variant that is done is not done again. The table goes to stdout and to RUNS/table.md, the figures to RUNS/results.json.
"""
import argparse, json, platform
from pathlib import Path

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from skimage.color import deltaE_ciede2000, rgb2lab
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from colorizer.training.architecture import _start_grey, create_unet, rgb_to_ycbcr, ycbcr_to_rgb
from colorizer.training.data import split_photos, to_grey
from colorizer.training.augmentation import age
from colorizer.training.photo_cache import prepare
from colorizer.inference.photo import find_photos
from colorizer.evaluation.metrics import colourfulness
from colorizer.training.loss import FeatureLoss
from colorizer.training.command import device_name
from colorizer.training.recipe import progressive_resizing
from colorizer.training.learner import Stage
from colorizer.training.monitor import batch_psnr, colour, to_arrays
from colorizer.training.narrow_decoder import NarrowDecoder
from colorizer.training.vgg import vgg_features
from colorizer.training.weights import read_weights
from recipe_ablations import spread, square_batches  # beside this file

SHARE = .55  # of the photos' colourfulness: every variant is also judged at this one, its colours made stronger or weaker
RELATIVE = dict(pixel_weight=0., chroma_weight=0., relative_weight=1.)


def variants(args):
    "Name → what differs from the first"
    return {
        'as shipped: EfficientNet-Lite2, relative loss': {},
        'MobileNetV2': dict(arch='mobilenet_v2', weights=args.mobilenet_weights),
        'no pretrained weights': dict(pretrained=False, frozen_epochs=0, epochs=4, early=1, encoder_factor=1.),
        'rgb head': dict(head='rgb', loss=RELATIVE | dict(pixel_weight=1.)),
        'loss: pixels': dict(loss=dict(chroma_weight=0.)),
        'loss: pixels + chroma, k = 0': dict(loss=dict(k=0.)),
        'loss: pixels + chroma, k = 6': dict(loss={}),
        'loss: relative + chroma, k = 6': dict(loss=RELATIVE | dict(chroma_weight=1.)),
        'no old prints': dict(old_prints=0.),
        'late layers of the encoder learn from the second epoch on': dict(frozen_epochs=1, epochs=3),
        'all layers learn from the second epoch on': dict(frozen_epochs=1, epochs=3, early=1),
        'tiny photos too': dict(small=True),
        'decoder half as wide again': dict(widths=(288, 192, 120, 72)),
        'running mean of the weights': dict(mean=.99),
        'loss: relative + .1 VGG-16 features': dict(loss=RELATIVE | dict(feature_weights=.1, gram_weights=0.), vgg=args.vgg_weights),
    }


def held_out(photos, size):
    rgb = torch.cat(list(square_batches(photos, size)))
    set_seed(0)
    draw = torch.rand(5, len(rgb))
    return dict(rgb=rgb, fresh=to_grey(rgb), aged=age(to_grey(rgb), draw))


def figures(rgb, truth):
    "PSNR, CIEDE2000 and colourfulness, means over photos"
    pairs = list(zip(to_arrays(rgb), to_arrays(truth)))
    delta = [deltaE_ciede2000(rgb2lab(t), rgb2lab(p)).mean() for p, t in pairs]
    return dict(psnr=batch_psnr(rgb, truth).item(), ciede2000=float(np.mean(delta)),
                colourfulness=float(np.mean([colourfulness(p) for p, _ in pairs])))


def measure(model, held):
    "As it comes; with its colours brought to `SHARE`; from aged photos. The photo's own luma is kept throughout"
    chroma = {k: torch.cat([rgb_to_ycbcr(colour(model, g))[1] for g in held[k].split(16)]) for k in ('fresh', 'aged')}
    grey, truth = held['fresh'], held['rgb']
    paint = lambda c, s: ycbcr_to_rgb(grey, c*s).clamp(0, 1)
    share = lambda s: np.mean([colourfulness(o) for o in to_arrays(paint(chroma['fresh'], s))])/np.mean([colourfulness(o)
        for o in to_arrays(truth)])
    low, high = .1, 8.
    while high/low > 1.01: low, high = (mid, high) if share(mid := (low*high)**.5) < SHARE else (low, mid)
    base = figures(grey.expand_as(truth), truth)
    out = {'gain': paint(chroma['fresh'], 1.), 'equal': paint(chroma['fresh'], low), 'aged': paint(chroma['aged'], 1.)}
    rows = {k: figures(v, truth) for k, v in out.items()}
    return dict(gain=rows['gain']['psnr']-base['psnr'], ciede2000=100*(rows['gain']['ciede2000']/base['ciede2000']-1), share=100*share(1.),
                strength=low,
                equal=rows['equal']['psnr']-base['psnr'], equal_ciede2000=100*(rows['equal']['ciede2000']/base['ciede2000']-1),
                aged=rows['aged']['psnr']-base['psnr'])


COLUMNS = dict(gain=('PSNR − grey, dB', '+.2f'), ciede2000=('CIEDE2000, %', '+.1f'), share=('colour, %', '.0f'),
               equal=(f'PSNR − grey at {SHARE:.0%} colour', '+.2f'),
               equal_ciede2000=('CIEDE2000, % there', '+.1f'), aged=('PSNR − grey from aged photos', '+.2f'))


def wider(net, widths):
    "A decoder of other widths for the encoder of `net`; like every new one, it begins by leaving photos grey"
    with torch.no_grad(): channels = [o.shape[1] for o in net.encoder(torch.zeros(1, 1, 64, 64))]
    decoder = NarrowDecoder(tuple(channels), 2, widths=widths)
    _start_grey(decoder)
    return decoder


class RunningMean(Callback):
    "The mean of the weights over the training steps, in which recent steps count more; BatchNorm's statistics included"
    def __init__(self, net, decay): self.mean = AveragedModel(net, avg_fn=get_ema_avg_fn(decay), use_buffers=True)
    def after_batch(self):
        if self.training: self.mean.update_parameters(self.model)


def one(name, what, seed, args, train, valid, held):
    "Train one variant and measure it"
    out = args.out/f"{''.join(c if c.isalnum() else '_' for c in name)}_{seed}"
    if (out/'result.json').exists(): return json.loads((out/'result.json').read_text())
    out.mkdir(parents=True, exist_ok=True)
    set_seed(seed, reproducible=True)
    net = create_unet(what.get('arch', 'efficientnet_lite2'), what.get('pretrained', True), what.get('weights'), what.get('head', 'chroma'))
    if 'widths' in what: net.decoder = wider(net, what['widths'])
    steps = dict(frozen_epochs=3, epochs=1, frozen_lr=2e-3, lr=1e-3, encoder_factor=.01,
                 early=0) | {k: v for k, v in what.items() if k in ('frozen_epochs', 'epochs', 'encoder_factor', 'early')}
    loss = FeatureLoss(vgg_features(weights=what['vgg']) if 'vgg' in what else None, **what.get('loss', RELATIVE))
    stage = Stage(args.size, 32, patience=99, photos=args.epoch_photos, **steps)
    photos = train + (find_photos(args.small) if what.get('small') else [])
    running = [RunningMean(net, what['mean'])] if 'mean' in what else []
    progressive_resizing([stage], (photos, valid), net, out, loss, seed=seed, old_prints=what.get('old_prints', .3), cbs=running)
    net.load_state_dict(running[0].mean.module.state_dict() if running else read_weights(out/'last.safetensors')[0])
    result = dict(name=name, seed=seed) | measure(net.eval(), held)
    (out/'result.json').write_text(json.dumps(result))
    return result


def table(results):
    "Markdown: mean over the seeds and, behind ±, half of what lies between the lowest and the highest"
    lines = ['| variant | seeds | ' + ' | '.join(h for h, _ in COLUMNS.values()) + ' |', '|---|---|' + '---:|'*len(COLUMNS)]
    for name in dict.fromkeys(r['name'] for r in results):
        rows = [r for r in results if r['name'] == name]
        lines.append(f'| {name} | {len(rows)} | ' + ' | '.join(spread([r[k] for r in rows], f) for k, (_, f) in COLUMNS.items()) + ' |')
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--small', type=Path, required=True, help='a folder of small photos, for the variant with more of them')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--mobilenet-weights', type=Path, required=True)
    parser.add_argument('--vgg-weights', type=Path, help="for the variant with VGG-16's features in the loss (default: downloaded)")
    parser.add_argument('--seeds', type=int, nargs='+', default=[1])
    parser.add_argument('--epoch-photos', type=int, default=4096)
    parser.add_argument('--size', type=int, default=64, help='side of the training crops (default: 64); small photos are enlarged')
    parser.add_argument('--only', nargs='+', help='beginnings of the names of variants')
    args = parser.parse_args()
    train, valid = split_photos(prepare(args.photos, args.cache or args.out/'cache', 128), .05, 42)
    held, results = held_out(valid, 128), []
    for seed in args.seeds:
        for name, what in variants(args).items():
            if args.only and not name.startswith(tuple(args.only)): continue
            results.append(one(name, what, seed, args, train, valid, held))
            (args.out/'results.json').write_text(json.dumps(results, indent=1))
            (args.out/'table.md').write_text(table(results) + '\n')
    print(table(results))
    print(f"\n{len(valid)} photos held out, {len(train)} trained on. {device_name(torch.device('cpu'))}, {platform.machine()}, torch "
          f"{torch.__version__}.")


if __name__ == '__main__':
    main()
