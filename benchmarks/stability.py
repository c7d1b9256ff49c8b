"""How steady are the model's colours? The same photos at two render sizes, mirrored, as faded old prints; and pages without colour, which
should stay so.

    python benchmarks/stability.py PHOTOS [--model model.onnx] [--full model32.onnx]

Each line is a mean distance in the a, b plane of CIELAB, over all pixels of all photos. With `--full`, the same model stored with 32 bits,
also what storing it with 16 bits changes.
"""
import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from skimage.color import rgb2lab

from colorizer.inference.colorizer import Colorizer
from colorizer.inference.photo import find_photos, open_photo


def ab(img): return rgb2lab(np.asarray(img.convert('RGB')))[..., 1:]


def distance(a, b): return float(np.linalg.norm(ab(a)-ab(b), axis=-1).mean())


def faded(grey, seed):
    "An old print: low contrast, soft, grainy (the numbers of `colorizer.data.age` at full strength, in numpy)"
    y = np.asarray(grey.resize([max(1, o//2) for o in grey.size]).resize(grey.size), np.float32)/255
    y = .35 + .35*y + .07*np.random.default_rng(seed).standard_normal(y.shape, np.float32)
    return Image.fromarray((255*y.clip(0, 1)).round().astype(np.uint8))


def page(size=(480, 640)):
    "A page of print"
    img = Image.new('L', size, 245)
    draw, font = ImageDraw.Draw(img), ImageFont.load_default(14)
    for y in range(30, size[1]-30, 20): draw.text((30, y), 'the quick brown fox jumps over the lazy dog and on', fill=20, font=font)
    return img


def measure(model, photos):
    "Name → mean distance"
    at = {size: Colorizer(model, size=size) for size in (256, 512)}
    usual, found = Colorizer(model), {k: [] for k in ('256 against 512 px', 'as rendered by default against mirrored',
                                                      'fresh against faded, soft and grainy', 'colour left in a faded print')}
    for i, path in enumerate(photos):
        grey = open_photo(path).convert('L')
        grey = ImageOps.contain(grey, (10_000, 256) if grey.width > grey.height else (256, 10_000))
        plain, old = usual.colorize(grey), usual.colorize(faded(grey, i))
        mirrored = ImageOps.mirror(usual.colorize(ImageOps.mirror(grey)))
        rows = [distance(at[256].colorize(grey), at[512].colorize(grey)), distance(plain, mirrored), distance(plain, old),
                float(np.linalg.norm(ab(old), axis=-1).mean())]
        for k, v in zip(found, rows): found[k].append(v)
    blank = {'a page of print': page(), 'a white sheet': Image.new('L', (400, 300), 250), 'an even grey': Image.new('L', (400, 300), 128)}
    return {k: float(np.mean(v)) for k, v in found.items()} | {f'colour given to {k}': float(np.linalg.norm(ab(usual.colorize(v)),
        axis=-1).mean()) for k, v in blank.items()}


def as_table(found):
    "Markdown"
    return '\n'.join(['| | mean distance in a, b |', '|---|---:|', *(f'| {k} | {v:.2f} |' for k, v in found.items())])


def rounding(half, full, photos):
    "Mean absolute difference of the RGB values, 0..255, that two files of one model give"
    pair = [Colorizer(o) for o in (half, full)]
    pixels = [[np.asarray(o.colorize(open_photo(p).convert('L'))).astype(float) for o in pair] for p in photos]
    return float(np.mean([abs(a-b).mean() for a, b in pixels])), float(max(abs(a-b).mean() for a, b in pixels))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--model', type=Path)
    parser.add_argument('--full', type=Path)
    args = parser.parse_args()
    photos = find_photos(*args.photos)
    print(f'{len(photos)} photos\n', as_table(measure(args.model, photos)), sep='\n')
    if args.full:
        print('\n16 bits against 32: mean difference {:.4f} of 255, in the photo that differs most {:.4f}'.format(*rounding(args.model,
            args.full, photos)))


if __name__ == '__main__':
    main()
