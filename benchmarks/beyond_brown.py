r"""Regression, colour classes and a critic: the same encoder, decoder, photos and number of steps, two seeds, one table.

    python benchmarks/beyond_brown.py PHOTOS --out RUN --alexnet alexnet_features.safetensors --vgg vgg16_features.safetensors \
        [--regions-of VALID_PHOTOS]

All variants begin from the model that ships. Its encoder is frozen, so each photo's features are computed once and every variant learns
from them. The critic's steps count: half of its budget is regression, a quarter goes to the critic alone, and a quarter to both together.
What is done already is kept. The figures go to benchmarks/beyond_brown.json; RUN keeps the decoders, which the notebook 11_beyond_brown
shows.
"""
import argparse, copy, json, platform, subprocess, time
from functools import lru_cache, partial
from pathlib import Path

import lpips
import numpy as np
import torch
from fastai.torch_core import set_seed
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models.alexnet import AlexNet

from choices import SHARE  # beside this file
from colorizer.evaluation.benchmark import check_hue, load_regions, photos_to_judge, summarise
from colorizer.evaluation import metrics
from colorizer.evaluation.metrics import ciede2000, colourfulness, grey_input, psnr
from colorizer.evaluation.network_measures import lpips_measure
from colorizer.inference.colour import compose, fit_gamut
from colorizer.inference.disk import write_whole
from colorizer.training.architecture import ColorUnet, ycbcr_to_rgb
from colorizer.training.classes import ClassDecoder, annealed_mean, class_loss, class_shares, rebalance, used_colours
from colorizer.training.command import make_loss
from colorizer.training.critic import PatchCritic, critic_loss, fit_against, fit_batches
from colorizer.training.data import colour_dls, split_photos
from colorizer.training.export import model_from_onnx
from colorizer.training.loss import relative_loss, to_chroma
from colorizer.training.monitor import batch_psnr, colour_share as share_of_colour
from colorizer.training.photo_cache import prepare
from colorizer.training.stages import RECIPES

SIZE, KEPT, BATCH, JUDGED = 64, 32, 16, 96  # pixels of a crop, photos kept together and in a batch, short side of what is judged
VARIANTS = 'relative', 'article', 'classes', 'critic', 'critic, too fast', 'classes, not rebalanced', 'pixels'  # article: its own loss


@lru_cache(None)
def truth_of(path, size): return metrics.truth_of(path, size)  # each photo is asked for by every variant


class Painter(nn.Module):
    "A decoder that is given what the frozen encoder saw: (grey, maps) → RGB"
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder
    def forward(self, x): return ycbcr_to_rgb(x[0], self.decoder(x[1], x[0]))


@torch.no_grad()
def seen(encoder, loader):
    "What the encoder sees, a batch at a time, as 16-bit floats: [(grey, maps, rgb)]"
    out = []
    for grey, rgb in loader:
        grey, rgb = (o.as_subclass(torch.Tensor) for o in (grey, rgb))
        out.append((grey.half(), [o.half() for o in encoder(grey)], (rgb*255).round().byte()))
    return out


def batches(kept, seed):
    "The kept batches for ever, in another order each time"
    rng = np.random.default_rng(seed)
    while True:
        for i in rng.permutation(len(kept)):
            grey, maps, rgb = kept[i]
            for part in (slice(j, j+BATCH) for j in range(0, len(grey), BATCH)):
                yield (grey[part].float(), [o[part].float() for o in maps]), rgb[part].float()/255


def alexnet(path):
    "LPIPS with the weights in `path`, without a download"
    net = lpips.LPIPS(net='alex', pnet_rand=True, verbose=False)
    state = {k.removeprefix('features.'): v.float() for k, v in load_file(path).items()}
    features = AlexNet().features
    features.load_state_dict({k: state[k] for k in features.state_dict()})
    for part in (getattr(net.net, f'slice{i}') for i in range(1, 6)):
        for name, m in part.named_children():
            if isinstance(m, nn.Conv2d): m.load_state_dict(features[int(name)].state_dict())
    return net.eval()


def watcher(painter, held, net, log, keep):
    "A `look` for the joint phase: every few steps, held-out figures and a copy of the decoder"
    @torch.no_grad()
    def look(n):
        if n % 5: return
        pairs = [(painter((g.float(), [o.float() for o in m])), rgb.float()/255) for g, m, rgb in held]
        pred, rgb = (torch.cat(o) for o in zip(*pairs))
        far = net(2*pred.clamp(0, 1)-1, 2*rgb-1).mean().item()
        log.append(dict(step=n, psnr=batch_psnr(pred, rgb).item(), colour=share_of_colour(pred, rgb).item(), lpips=far))
        keep.append(copy.deepcopy(painter.decoder.state_dict()))
    look(0)
    return look


@lru_cache(None)
def article_loss(vgg): return make_loss(RECIPES['article'], vgg)  # pixels, VGG-16 features and Gram matrices


def train(name, start, data, steps, seed, bins, held, net, vgg):
    "One variant: its decoder, and what it said on the way"
    torch.manual_seed(seed)
    centres, share = bins
    feed = batches(data, seed)
    if name.startswith('classes'):
        decoder = ClassDecoder(start.decoder, centres, share)
        weights = None if 'not' in name else rebalance(share)
        params = [dict(params=[p for k, p in decoder.named_parameters() if not k.startswith('out')]),
                  dict(params=decoder.out.parameters(), lr=5e-3)]
        half = lambda rgb: nn.functional.avg_pool2d(to_chroma(rgb), 2)
        log = fit_batches(params, feed, steps, lambda x, rgb: class_loss(decoder.logits(x[1]), half(rgb), centres, weights))
        return decoder, dict(loss=log)
    painter = Painter(copy.deepcopy(start.decoder))
    loss = nn.functional.l1_loss if name == 'pixels' else article_loss(vgg) if name == 'article' else relative_loss
    regress = lambda x, rgb: loss(painter(x), rgb)
    if 'critic' not in name: return painter.decoder, dict(loss=fit_batches(painter.parameters(), feed, steps, regress))
    log, critic, kept, joint = dict(loss=fit_batches(painter.parameters(), feed, steps//2, regress), joint=[]), PatchCritic(), [], steps//4
    def caught(x, rgb):
        with torch.no_grad(): out = painter(x)
        return critic_loss(critic, rgb, out)
    log['critic'] = fit_batches(critic.parameters(), feed, joint, caught, lr=3e-3)
    look = watcher(painter, held, net, log['joint'], kept)
    rates = dict(weight=.5, lr=2e-4, critic_lr=1e-3) if 'fast' in name else dict(weight=.1, lr=2e-5, critic_lr=4e-4)
    log['turns'] = fit_against(painter, critic, feed, joint, loss, look=look, **rates)
    best = len(kept)-1 if 'fast' in name else min(range(len(kept)), key=lambda i: log['joint'][i]['lpips'])
    log['chosen'] = log['joint'][best]['step']
    painter.decoder.load_state_dict(kept[best])
    return painter.decoder, log


def make(name, start, bins):
    "The network of a variant, its decoder to be loaded"
    decoder = ClassDecoder(start.decoder, *bins) if name.startswith('classes') else copy.deepcopy(start.decoder)
    return ColorUnet(start.encoder, decoder, 'chroma', start.config).eval()


def file_of(name, seed): return f"{name.replace(', ', '_').replace(' ', '_')}_{seed}.safetensors"


def train_all(args, start, photos, held_photos, net):
    "Decoders and logs in the run's folder"
    if not (args.out/'bins.safetensors').exists():
        few = colours(photos[:2000])
        centres = used_colours(few)
        save_file(dict(centres=centres, share=class_shares(few, centres)), args.out/'bins.safetensors')
    bins = tuple(load_file(args.out/'bins.safetensors')[k] for k in ('centres', 'share'))
    print(len(bins[0]), 'classes', flush=True)
    if not (kept := args.out/'seen.pt').exists():
        set_seed(1)
        dls = colour_dls(photos[:args.photos_each], SIZE, KEPT, valid=held_photos[:64], seed=1)
        torch.save([seen(start.encoder, o) for o in dls], kept)
    data, held = torch.load(kept)
    for seed in args.seeds:  # another order of the batches, another critic
        todo = [o for o in args.variants if not args.judge_only and not (args.out/file_of(o, seed)).exists()]
        steps = args.passes*len(data)*KEPT//BATCH
        for name in todo:
            t, cpu = time.time(), time.process_time()
            decoder, log = train(name, start, data, steps, seed, bins, held, net, args.vgg)
            log |= dict(seconds=round(time.process_time()-cpu), steps=steps)
            write_whole(args.out/f'{file_of(name, seed)[:-12]}.json', json.dumps(log))
            save_file({k: v.contiguous() for k, v in decoder.state_dict().items()}, args.out/file_of(name, seed))
            print(f"{name}, seed {seed}: {np.mean(log['loss'][:10]):.3f} → {np.mean(log['loss'][-10:]):.3f}, chosen {log.get('chosen')}, "
                  f"{time.time()-t:.0f} s, {log['seconds']} s of processor time", flush=True)
    return bins


def colours(photos):
    "Chroma of small copies of photos: what the classes are made from"
    dls = colour_dls(photos, 32, KEPT, valid=photos[:1], augment=False)
    return torch.cat([to_chroma(rgb.as_subclass(torch.Tensor)) for _, rgb in dls.train])


@torch.no_grad()
def answers(model, photos, decode=None):
    "A network's chroma of each photo at the size at which it is judged, [H,W,2] each"
    out = []
    for p in photos:
        g = torch.from_numpy(np.asarray(grey_input(truth_of(p.path, JUDGED)), np.float32)/255)[None, None]
        h, w = g.shape[-2:]
        x = nn.functional.pad(g, (0, -w % 32, 0, -h % 32), mode='replicate')
        if decode is None: c = model.decoder(model.encoder(x), x)
        else: c = nn.functional.interpolate(decode(model.decoder.logits(model.encoder(x))), scale_factor=2, mode='bilinear')
        out.append(c[0, :, :h, :w].movedim(0, -1).numpy())
    return out


def painted(photo, chroma, strength=1.):
    "8-bit RGB: the photo's luma, this chroma"
    y = np.asarray(grey_input(truth_of(photo.path, JUDGED)), np.float32)/255
    return np.rint(compose(y, fit_gamut(y, strength*chroma))*255).astype(np.uint8)


def equal_strength(photos, chroma, share=SHARE):
    "The factor that brings the chroma to `share` of the photos' colourfulness"
    real = share*np.mean([colourfulness(truth_of(p.path, JUDGED)) for p in photos])
    low, high = .1, 10.
    while high/low > 1.01:
        mid = (low*high)**.5
        low, high = (mid, high) if np.mean([colourfulness(painted(p, c, mid)) for p, c in zip(photos, chroma)]) < real else (low, mid)
    return low


def rows_of(name, photos, chroma, strength, far):
    "Measures of each photo, as `colorizer.evaluation.benchmark.evaluate` gives them"
    out = []
    for p, c in zip(photos, chroma):
        truth, pred = truth_of(p.path, JUDGED), painted(p, c, strength)
        real = dict(real_colourfulness=colourfulness(truth), real_colourfulness_abs=colourfulness(truth, signed=False))
        measures = dict(psnr=psnr(pred, truth), ciede2000=ciede2000(pred, truth), colourfulness=colourfulness(pred),
                        colourfulness_abs=colourfulness(pred, signed=False), lpips=far(pred, truth))
        out.append(dict(file=p.file, system=name, output='raw', given_size='', _hues=[]) | measures | real)
    return out


FIGURES = 'psnr', 'psnr_vs_grey', 'ciede2000', 'ciede2000_percent', 'colourfulness', 'colourfulness_share', 'lpips'

def judge(args, start, bins, photos, regions, valid, net):
    "A line for each variant, decoding and seed, at its own colour and at equal colour"
    far, lines, kept = lpips_measure(net), [], args.out/f'judged_{args.judged}.json'
    done = {(o['variant'], o['seed']): o for o in (json.loads(kept.read_text()) if kept.exists() else [])}
    grey = rows_of('grey', photos, [np.zeros((*truth_of(p.path, JUDGED).shape[:2], 2), np.float32) for p in photos], 1., far)
    def line(name, seed, model, decode=None):
        if (name, seed) in done: lines.append(done[name, seed]); return
        chroma = answers(model, photos, decode)
        k = equal_strength(photos, chroma)
        out = dict(variant=name, seed=seed, strength=round(k, 3))
        for at, s in dict(own=1., equal=k).items():
            found = summarise(grey + rows_of(name, photos, chroma, s, far), n=200)[1]
            out[at] = {o: found[o] for o in FIGURES}
        if regions: out['hue'] = hues(model, valid, regions, decode)
        lines.append(out); done[name, seed] = out
        write_whole(kept, json.dumps(list(done.values())))
        print(name, seed, {o: round(v, 3) for o, v in out['own'].items()}, 'equal', {o: round(v, 3) for o, v in out['equal'].items()},
              'hue', out.get('hue'), flush=True)
    line('start', None, start)
    for seed in args.seeds:
        for name in args.variants:
            path = args.out/file_of(name, seed)
            if not path.exists(): continue
            model = make(name, start, bins)
            model.decoder.load_state_dict(load_file(path))
            if not name.startswith('classes'): line(name, seed, model); continue
            for t in (1., .38) if name == 'classes' else (.38,):
                line(f'{name}, T = {t:g}', seed, model, partial(annealed_mean, centres=bins[0], temperature=t))
    means = {o: float(np.mean([r[o] for r in grey])) for o in ('psnr', 'ciede2000', 'lpips', 'real_colourfulness')}
    return dict(judged_on=len(photos), grey=means, lines=lines)


def hues(model, valid, regions, decode):
    "Of the labelled regions whose truth has colour, how many have the right hue, in percent"
    right = counted = 0
    for p in valid:
        own = [r for r in regions if r.file == p.file]
        if not own: continue
        pred, truth = painted(p, answers(model, [p], decode)[0]), truth_of(p.path, JUDGED)
        found = [o for o in (check_hue(pred, truth, r) for r in own) if o['counts']]
        right, counted = right+sum(bool(o['right']) for o in found), counted+len(found)
    return dict(right=round(100*right/counted, 1), regions=counted)


def facts(args):
    here = Path(__file__).parent
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=here, capture_output=True, text=True).stdout.strip()
    return dict(machine=f'one thread of a busy {platform.machine()} CPU, no GPU', torch=torch.__version__, commit=commit,
                date=time.strftime('%Y-%m-%d'), photos_each=args.photos_each,
                passes=args.passes, batch=BATCH, size=SIZE, judged_at=JUDGED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', nargs='+', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--alexnet', type=Path, required=True, help="AlexNet's ImageNet convolutions, .safetensors")
    parser.add_argument('--vgg', type=Path, required=True, help="VGG-16's, for the article's loss")
    parser.add_argument('--cache', type=Path)
    parser.add_argument('--cached-size', type=int, default=SIZE, help='size for which the cache was prepared (default: 64)')
    parser.add_argument('--seeds', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--variants', nargs='+', default=list(VARIANTS))
    parser.add_argument('--photos-each', type=int, default=6400)
    parser.add_argument('--passes', type=int, default=1)
    parser.add_argument('--judged', type=int, default=24, help='held-out photos to judge on')
    parser.add_argument('--regions-of', type=Path, help='photos that benchmarks/valid_regions.json labels')
    parser.add_argument('--judge-only', action='store_true', help='train nothing, judge what there is')
    parser.add_argument('--to', type=Path, default=Path(__file__).with_suffix('.json'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    sides = split_photos(prepare(args.photos, args.cache or args.out/'cache', args.cached_size, progress=False), .05, 42)
    photos, held = ([side[i] for i in np.random.default_rng(0).permutation(len(side))] for side in sides)
    start, net = model_from_onnx(), alexnet(args.alexnet)
    start.encoder.requires_grad_(False)
    print(len(photos), 'photos,', len(held), 'held out', flush=True)
    bins = train_all(args, start, photos, held, net)
    regions = load_regions(Path(__file__).parent/'valid_regions.json') if args.regions_of else []
    named = {r.file for r in regions}
    valid = photos_to_judge([p for p in sorted(args.regions_of.iterdir()) if p.name in named], JUDGED, print) if regions else []
    found = judge(args, start, bins, photos_to_judge(held[64:64+args.judged], JUDGED, print), regions, valid, net)
    logs = {p.stem: json.loads(p.read_text()) for p in sorted(args.out.glob('*_[0-9].json')) if 'judged' not in p.stem}
    short = lambda v: [round(float(o), 4) for o in v]
    joint = {k: dict(joint=[{a: round(b, 4) for a, b in o.items()} for o in v['joint']], critic=short(v['critic']), chosen=v['chosen'])
             for k, v in logs.items() if 'joint' in v}
    seconds = {k: v['seconds'] for k, v in logs.items()}
    write_whole(args.to, json.dumps(facts(args) | dict(classes=len(bins[0]), seconds=seconds) | found | dict(duel=joint), indent=1))


if __name__ == '__main__':
    main()
