"""How strong should the colours be? Weights of a run on the photos held out from its training, their chroma multiplied by several factors; of several files the mean of the weights.

    python benchmarks/strength.py PHOTOS --weights RUN/192px.safetensors [OTHER/192px.safetensors] [--size 192]

PHOTOS are those that the run was given: what was held out follows from their contents and the seed.
"""
import argparse, tempfile
from pathlib import Path

import torch

from choices import figures, held_out  # beside this file
from colorizer.architecture import rgb_to_ycbcr, ycbcr_to_rgb
from colorizer.data import prepare, split_photos
from colorizer.training import colour, load_weights


def mean_of(paths):
    "The network whose weights are the means of those in some files"
    net, states = load_weights(paths[0]), [load_weights(o).state_dict() for o in paths]
    net.load_state_dict({k: torch.stack([s[k].float() for s in states]).mean(0).to(v.dtype) for k, v in states[0].items()})
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--weights', nargs='+', type=Path, required=True)
    parser.add_argument('--size', type=int, default=192, help='side of the squares (default: 192)')
    parser.add_argument('--factors', nargs='+', type=float, default=[1., 1.1, 1.2, 1.3, 1.4])
    parser.add_argument('--cache', type=Path, default=Path(tempfile.gettempdir())/'colorizer-strength')
    parser.add_argument('--seed', type=int, default=42, help="the run's")
    args = parser.parse_args()
    _, valid = split_photos(prepare(args.photos, args.cache, args.size), .05, args.seed)
    held, net = held_out(valid, args.size), mean_of(args.weights)
    chroma = torch.cat([rgb_to_ycbcr(colour(net, g))[1] for g in held['fresh'].split(16)])
    base, real = figures(held['fresh'].expand_as(held['rgb']), held['rgb']), figures(held['rgb'], held['rgb'])
    print('| strength | PSNR − grey, dB | CIEDE2000, % | colour, % |\n|---|---:|---:|---:|')
    for s in args.factors:
        f = figures(ycbcr_to_rgb(held['fresh'], s*chroma).clamp(0, 1), held['rgb'])
        print(f"| {s:g} | {f['psnr']-base['psnr']:+.2f} | {100*(f['ciede2000']/base['ciede2000']-1):+.1f} | {100*f['colourfulness']/real['colourfulness']:.0f} |", flush=True)


if __name__ == '__main__':
    main()
