"""How strong should the colours be? Weights of a run on the photos held out from its training, their chroma multiplied by several factors.

    python benchmarks/strength.py PHOTOS --weights RUN/192px.safetensors [OTHER/192px.safetensors] [--size 192]

PHOTOS are those that the run was given: what was held out follows from their contents and the seed. Of several files the mean of the
weights is taken, or with `--outputs` the
mean of what each network says. `--looks 160 192 256` takes the mean over copies of the photo of several sizes, `--mirrored` over the photo
and its mirror image. `--certainty P` weakens the colours of a region where the looks disagree: they are multiplied by the P-th power of
the mean chroma's length, divided by that length and twice the mean distance of the looks from it.
The last line is at equal colour: chroma brought to 55 % of the photos' colourfulness.
"""
import argparse, tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from choices import SHARE, figures, held_out  # beside this file
from colorizer.training.architecture import rgb_to_ycbcr, ycbcr_to_rgb
from colorizer.training.data import split_photos
from colorizer.training.photo_cache import prepare
from colorizer.training.export import mean_weights
from colorizer.training.monitor import colour
from colorizer.training.checkpoints import load_weights


def looks(net, grey, side, mirrored):
    "What a network says of grey photos that are shown to it at a size, and of their mirror images"
    small = F.interpolate(grey, size=(side, side), mode='bicubic', antialias=True, align_corners=False).clamp(0,
        1) if side != grey.shape[-1] else grey
    out = [rgb_to_ycbcr(colour(net, small))[1]]
    if mirrored: out.append(rgb_to_ycbcr(colour(net, small.flip(-1)))[1].flip(-1))
    return [F.interpolate(o, size=grey.shape[-2:], mode='bilinear', align_corners=False) if side != grey.shape[-1] else o for o in out]


def certainty(chromas, side=15):
    "How far several answers agree, 0 to 1, in a neighbourhood of `side` pixels: [N,1,H,W]"
    mean = torch.stack(chromas).mean(0)
    apart = torch.stack([(o - mean).norm(dim=1, keepdim=True) for o in chromas]).mean(0)
    near = lambda x: F.avg_pool2d(F.pad(x, (side//2,)*4, mode='reflect'), side, 1)
    length, apart = near(mean.norm(dim=1, keepdim=True)), near(apart)
    return length/(length + 2*apart + 1e-4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--weights', nargs='+', type=Path, required=True)
    parser.add_argument('--size', type=int, default=192, help='side of the squares (default: 192)')
    parser.add_argument('--outputs', action='store_true', help='of several files the mean of the outputs, not of the weights')
    parser.add_argument('--looks', type=int, nargs='+', help='sizes at which the photo is shown to the network (default: --size)')
    parser.add_argument('--mirrored', action='store_true')
    parser.add_argument('--certainty', type=float, default=0., metavar='P', help='power of the certainty (default: 0)')
    parser.add_argument('--factors', nargs='+', type=float, default=[1., 1.1, 1.2, 1.3, 1.4])
    parser.add_argument('--cache', type=Path, default=Path(tempfile.gettempdir())/'colorizer-strength')
    parser.add_argument('--seed', type=int, default=42, help="the run's")
    args = parser.parse_args()
    _, valid = split_photos(prepare(args.photos, args.cache, args.size), .05, args.seed)
    held, nets = held_out(valid, args.size), [load_weights(o) for o in args.weights]
    if not args.outputs: nets = [mean_weights(nets)]
    def answer(grey):
        all_ = [c for net in nets for o in args.looks or [args.size] for c in looks(net, grey, o, args.mirrored)]
        mean = torch.stack(all_).mean(0)
        return mean*certainty(all_)**args.certainty if args.certainty else mean
    said = torch.cat([answer(g) for g in held['fresh'].split(16)])
    base, real = figures(held['fresh'].expand_as(held['rgb']), held['rgb']), figures(held['rgb'], held['rgb'])
    def at(s):
        f = figures(ycbcr_to_rgb(held['fresh'], s*said).clamp(0, 1), held['rgb'])
        return f['psnr'] - base['psnr'], 100*(f['ciede2000']/base['ciede2000'] - 1), 100*f['colourfulness']/real['colourfulness']
    print('| strength | PSNR − grey, dB | CIEDE2000, % | colour, % |\n|---|---:|---:|---:|')
    found = [(s, *at(s)) for s in args.factors]
    equal = float(np.interp(100*SHARE, [o[3] for o in found], args.factors))  # between two factors, colour grows in a line
    for s, *o in [*found, (f'{equal:.2f}, equal colour', *at(equal))]:
        print('| {} | {:+.2f} | {:+.1f} | {:.0f} |'.format(s if isinstance(s, str) else f'{s:g}', *o))


if __name__ == '__main__':
    main()
