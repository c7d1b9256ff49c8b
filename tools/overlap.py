"""Find photos of one folder that are small, cropped or mirrored copies of photos in another: a model must be judged by photos new to it.

    python tools/overlap.py TRAIN VALID [--above 0.975]

Photos are compared as 12 × 12 thumbnails (correlation of their pixels; 1 is the same photo). Nearly uniform photos correlate without being
copies: look at what it lists.
"""
import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from colorizer.inference.photo import find_photos


def thumbnails(path):
    "The whole photo squeezed into a square, and its central square, each as a vector of mean 0 and length 1"
    img = Image.open(path).convert("RGB")
    found = []
    for square in (img, ImageOps.fit(img, (min(img.size),)*2)):
        x = np.asarray(square.resize((12, 12), Image.Resampling.BOX), float).ravel()
        x -= x.mean()
        found.append(x/(np.linalg.norm(x) + 1e-6))
    return found


def mirrored(vectors):
    return vectors.reshape(-1, 12, 12, 3)[:, :, ::-1].reshape(len(vectors), -1)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("train", type=Path)
parser.add_argument("valid", type=Path)
parser.add_argument("--above", type=float, default=.975)
args = parser.parse_args()
train, valid = find_photos(args.train), find_photos(args.valid)
a, b = (np.stack([v for p in photos for v in thumbnails(p)]) for photos in (train, valid))
like = np.maximum(a @ b.T, mirrored(a) @ b.T).reshape(len(train), 2, len(valid), 2).max((1, 3))
for i, j in sorted(zip(*np.where(like > args.above)), key=lambda ij: -like[ij]):
    print(f"{like[i, j]:.3f}  {train[i].name}  {valid[j].name}")
print(f"{(like > args.above).sum()} pairs above {args.above} among {len(train)} and {len(valid)} photos")
