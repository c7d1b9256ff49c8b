"""Train the model that ships, the fifth, on from the fourth: each stretch, and the means between them.

    git show b4139d1:colorizer/models/default.onnx > fourth.onnx
    python tools/train_shipped.py PHOTOS --known KNOWN --fourth fourth.onnx --out RUNS

PHOTOS is a folder of all photos, KNOWN one of those among them that the fourth model learned from. Each stretch writes a folder of its own
in RUNS; the same command resumes what was stopped. The weights of the model come last, as RUNS/fifth.safetensors, and

    colorizer export RUNS/fifth.safetensors colorizer/models/default.onnx --strength 1.48

makes the model of them. On one thread of an AMD EPYC, `g` to `j` alone took 2 hours and 25 minutes. The runs behind the model that ships
were made by this plan in ten pieces; `b` froze the whole encoder from its third epoch on only, and `e` and `f` went on from the weights in
the model that shipped before it, which have 16 bits.
"""
import argparse
import copy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from fastai.optimizer import Optimizer
from fastai.torch_core import set_seed
from PIL import Image, ImageDraw, ImageFont

from colorizer.training.architecture import create_unet
from colorizer.training.checkpoints import load_checkpoint, load_weights, save_weights
from colorizer.training.data import colour_dls, split_photos
from colorizer.training.export import mean_weights, model_from_onnx, strengthen
from colorizer.training.loss import FeatureLoss
from colorizer.training.photo_cache import prepare
from colorizer.training.recipe import progressive_resizing
from colorizer.training.stages import Stage

USUAL = dict(frozen_epochs=0, encoder_factor=.01, early=0, patience=99, warmup=.25)
AT_256 = [Stage(256, 8, epochs=3, lr=1e-4, cooldown=.67, photos=2048, min_scale=.2, **USUAL)]
WITH_SHEETS = [Stage(256, 8, epochs=2, lr=1e-4, cooldown=.5, photos=2048, min_scale=.2, **USUAL)]
LONG = Stage(128, 32, epochs=16, lr=5e-4, cooldown=.4, photos=8192, **USUAL)
STRETCHES = {
    'a': dict(seed=5, stages=[Stage(128, 32, epochs=12, lr=5e-4, cooldown=.34, photos=4096, **USUAL),
                              Stage(192, 16, epochs=2, lr=2.5e-4, cooldown=.6, photos=3200, min_scale=.2, **USUAL)]),
    'b': dict(seed=6, stages=[Stage(128, 32, epochs=24, lr=5e-4, cooldown=.25, photos=4096, **USUAL),
                              Stage(192, 16, epochs=5, lr=2.5e-4, cooldown=.6, photos=3200, min_scale=.2, **USUAL)]),
    'c': dict(seed=6, stages=AT_256),
    'd': dict(seed=7, stages=AT_256),
    'e': dict(seed=8, stages=WITH_SHEETS),
    'f': dict(seed=9, stages=WITH_SHEETS),
    'g': dict(seed=10, stages=[LONG, *WITH_SHEETS]),
    'h': dict(seed=11, stages=[replace(LONG, epochs=12), *WITH_SHEETS]),
    'i': dict(seed=12, stages=WITH_SHEETS),
    'j': dict(seed=13, stages=WITH_SHEETS)}


def with_batchnorm(model, greys):
    "The same function with BatchNorm in the decoder, whose statistics come from a batch: luma [N,1,H,W]"
    model = copy.deepcopy(model)  # it gets hooks
    new = create_unet(**(model.config | dict(norm=True)), pretrained=False)
    new.encoder.load_state_dict(model.encoder.state_dict())
    new.decoder.out.load_state_dict(model.decoder.out.state_dict())
    for old, block in zip(model.decoder.blocks, new.decoder.blocks): block.shuffle.load_state_dict(old.shuffle.state_dict())
    pairs = [(old.conv, block.conv) for old, block in zip(model.decoder.blocks, new.decoder.blocks)]
    for (conv, *_), (raw, norm, *_) in [*pairs, (model.decoder.mix, new.decoder.mix)]:
        raw.weight.data.copy_(conv.weight)
        conv.register_forward_hook(lambda _, __, out, conv=conv, norm=norm: _set(norm, conv.bias, out))
    with torch.no_grad(): model(greys)
    return new.eval()


def _set(norm, bias, out):
    "Statistics of a convolution's outputs; weight and bias that undo the normalisation and put back the convolution's bias"
    var, mean = torch.var_mean(out - bias[:, None, None], (0, 2, 3), correction=0)
    for o, value in ((norm.running_mean, mean), (norm.running_var, var), (norm.weight, (var + norm.eps).sqrt()), (norm.bias, mean + bias)):
        o.data.copy_(value)


def freeze_whole_encoder():
    "Its late layers stay as they are, too: a third less time a step, and no worse"
    freeze_to = Optimizer.freeze_to
    Optimizer.freeze_to = lambda self, n: freeze_to(self, -1 if n == 1 else n)


def blank_sheet(rng):
    "An even grey; two of three get lines of letters, and a light that falls off to one side. Return a PIL image"
    paper = float(rng.uniform(20, 255))
    img = Image.new('L', (400, 320), round(paper))
    if rng.random() < 2/3:
        draw, height = ImageDraw.Draw(img), int(rng.integers(9, 30))
        for y in range(int(rng.integers(5, 60)), 320, int(height*rng.uniform(1.3, 3))):
            letters = ''.join(rng.choice(list('abcdefghiklmnoprstu    ,.'), 60))
            draw.text((rng.integers(0, 60), y), letters, fill=int(max(0, paper-rng.uniform(40, 230))), font=ImageFont.load_default(height))
    if rng.random() < 2/3:
        light = np.linspace(0, rng.uniform(-40, 40), 400) + rng.normal(0, rng.uniform(0, 6), (320, 400))
        img = Image.fromarray((np.asarray(img) + light).clip(0, 255).round().astype(np.uint8))
    return img.convert('RGB')


def blank_sheets(size, args, n=300):
    "Draw `n` sheets without colour and return the cached files"
    folder, rng = args.out/'sheets', np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n): blank_sheet(rng).save(folder/f'{i:03}.png')
    return prepare([folder], args.out/'sheets_cache', size, skip_grey=False)


def photos_of(size, args, again, sheets=0):
    "Photos to train on, those known three times if `again`, with blank sheets, each `sheets` times; and half of those held out"
    train, valid = split_photos(prepare([args.photos], args.out/'cache', size), .05, 42)
    known = set(prepare([args.known], args.out/'cache', size)) if again else ()
    return [*train, *2*[o for o in train if o in known], *sheets*blank_sheets(size, args)], valid[::2]


def train(name, start, args):
    "Train a stretch from a copy of the model `start`, or resume it"
    out, (seed, stages) = args.out/name, STRETCHES[name].values()
    saved = load_checkpoint(out/'checkpoint.pt') if (out/'checkpoint.pt').exists() else None
    out.mkdir(parents=True, exist_ok=True)
    set_seed(seed, reproducible=True)
    loss = FeatureLoss(pixel_weight=0., chroma_weight=0., relative_weight=1.)
    sheets = 4 if name in 'efghij' else 0
    progressive_resizing(stages, lambda size: photos_of(size, args, name != 'a', sheets), copy.deepcopy(start), out, loss, seed=seed,
        saved=saved, half=False, old_prints=.3)


def weights(args, *names): return [load_weights(args.out/f'{o}.safetensors') for o in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', type=Path)
    parser.add_argument('--known', type=Path, required=True)
    parser.add_argument('--fourth', type=Path, required=True, metavar='ONNX')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    fourth = strengthen(model_from_onnx(args.fourth), 1/1.25)  # the strength that it was exported with
    photos, valid = photos_of(128, args, again=False)
    greys = colour_dls(photos, 128, 32, valid=valid, seed=5).train.one_batch()[0].as_subclass(torch.Tensor)
    train('a', with_batchnorm(fourth, greys), args)
    freeze_whole_encoder()
    train('b', *weights(args, 'a/128px'), args)
    between = mean_weights([fourth, fourth, *weights(args, 'a/128px', 'a/192px', 'b/128px', 'b/192px')])
    train('c', between, args)
    half_way = mean_weights([between, *weights(args, 'c/256px')])
    train('d', half_way, args)
    mean = mean_weights([between, *weights(args, 'c/256px', 'd/256px')])
    for o in 'ef': train(o, mean, args)
    mean = mean_weights(weights(args, 'e/256px', 'f/256px'))
    for o in 'gh': train(o, mean, args)
    for o in 'ij': train(o, *weights(args, 'g/128px'), args)
    fifth = mean_weights(weights(args, *(f'{o}/256px' for o in 'ghij')))
    save_weights(fifth, args.out/'fifth.safetensors', dict(photos=len(photos), seed=13, recipe=[asdict(o) for o in WITH_SHEETS]))


if __name__ == '__main__': main()
