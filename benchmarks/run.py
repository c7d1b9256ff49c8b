"""How fast colorizer is, beside fastai and beside what the hardware can do: one page of results.

    python benchmarks/run.py                          # everything, about ten minutes on two idle cores
    python benchmarks/run.py --quick data             # some sections, with as little work as there can be
    python benchmarks/run.py training --add           # measure a section again; the others stay as they are on the page
    python benchmarks/run.py --out FOLDER             # RESULTS.md and results.json go there instead of beside this file

Sections: rate, inference, convolutions, photo, size, training, data. Needs the train extra; no network, no photos but the embedded ones.
"""
import argparse, copy, json, os, re, shutil, subprocess, sys, tempfile, time, warnings
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: processor time counts the same on every machine so

import colorizer  # noqa: F401  (before ONNX Runtime, whose telemetry it switches off)
import memory  # beside this file
from timing import child, interleaved, machine, measured_rates, milliseconds, peak, quartiles, ratios, read, shown, write

TARGETS = []

def target(what, asked, found, met, why=''):
    TARGETS.append({'target': what, 'asked': asked, 'found': found, 'met': 'yes' if met else 'no', 'why': why})


def rate(args, state):
    rows = [{'type': t, **{k: f'{shown(v, ".0f")} GFLOP/s' for k, v in o.items()}} for t, o in state['rates'].items()]
    return [dict(title='What one thread reaches with matrices', rows=rows,
                 note='oneDNN through torch: a product of two 1024×1024 matrices, a 3×3 convolution of 256 channels (channels_last).')]


# --- inference

def flops(model, size):
    "Operations of one forward pass for one photo, a multiplication and an addition counted as two"
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    with FlopCounterMode(display=False) as counter, torch.inference_mode(): model(torch.rand(1, 1, 128, 128))
    return counter.get_total_flops()*(size/128)**2

def fastai_unet(n_out=3):
    "fastai's own U-Net on a ResNet-34, as `unet_learner` makes it: RGB in, hooks"
    from fastai.vision.learner import create_unet_model
    from torchvision.models import resnet34
    return create_unet_model(resnet34, n_out, (256, 256), pretrained=False).eval()

def fastai_learner(model, size):
    "A Learner whose `predict` takes the path of a photo"
    from fastai.vision.all import DataBlock, ImageBlock, Learner, Normalize, Resize, imagenet_stats
    from fastai.losses import L1LossFlat
    from colorizer.inference.photo import sample_photos
    photos = list(map(str, sample_photos().values()))
    block = DataBlock((ImageBlock, ImageBlock), get_items=lambda o: photos, item_tfms=Resize(size),
                      batch_tfms=Normalize.from_stats(*imagenet_stats))
    return Learner(block.dataloaders(photos, bs=2, device='cpu'), model, loss_func=L1LossFlat()), photos[0]

def session(path, profile=None):
    "An ONNX Runtime session on one thread, as `Colorizer` makes it"
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads, o.log_severity_level = 1, 1, 4
    if profile: o.enable_profiling, o.profile_file_prefix = True, str(profile)
    return ort.InferenceSession(str(path), o, providers=['CPUExecutionProvider'])

def inference(args, state):
    import numpy as np, torch
    from colorizer.training.architecture import create_unet
    from colorizer.training.export import export_onnx, model_from_onnx
    from colorizer.inference.session import default_model
    tmp = state['tmp']
    resnet, shipped, fast = create_unet('resnet34', pretrained=False).eval(), model_from_onnx(), fastai_unet()
    torch.nn.init.normal_(resnet.decoder.out[0].weight, std=.01)  # else all outputs are zero, and nothing is compared
    last = create_unet('resnet34', pretrained=False).eval()
    last.load_state_dict(resnet.state_dict())
    last = last.to(memory_format=torch.channels_last)
    low = copy.deepcopy(last).bfloat16()  # the weights too: else autocast turns them into bfloat16 in every run
    export_onnx(resnet, tmp/'resnet34.onnx', half=False)
    ours, small = session(tmp/'resnet34.onnx'), session(default_model())
    low_shipped = copy.deepcopy(shipped).to(memory_format=torch.channels_last).bfloat16()
    def bf16(model, x):
        with torch.autocast('cpu', torch.bfloat16): return model.chroma(x)
    same = torch.rand(1, 1, 128, 128)
    with torch.inference_mode():
        want = resnet.chroma(same)
        error = dict(onnx=float(abs(ours.run(None, {'luma': same.numpy()})[0] - want.numpy()).max()),
                     bf16=float((bf16(low, same).float() - want).abs().max()), size=float(want.abs().max()))
        truth = torch.tensor(np.stack([_grey(256)]))[:, None]
        exact, half = shipped.chroma(truth), bf16(low_shipped, truth).float()
        psnr = float(-10*((exact - half)**2).mean().log10())
        error['shipped'] = float(abs(small.run(None, {'luma': truth.numpy()})[0] - exact.numpy()).max())
    gflop = {'resnet34': flops(resnet, 256)/1e9, 'shipped': flops(shipped, 256)/1e9}
    rows, found = [], {}
    cases = [(64, 1)] if args.quick else [(256, 1), (512, 1), (256, 8), (512, 8)]
    for size, n in cases:
        grey, rgb = torch.rand(n, 1, size, size), torch.rand(n, 3, size, size)
        a, scale = grey.numpy(), n*(size/256)**2
        variants = {'fastai eager, resnet34': lambda: fast(rgb), 'ours, resnet34, torch float32': lambda: last.chroma(grey),
                    'ours, resnet34, torch bfloat16': lambda: bf16(low, grey),
                    'ours, resnet34, ONNX Runtime': lambda: ours.run(None, {'luma': a}),
                    'shipped model, torch bfloat16': lambda: bf16(low_shipped, grey),
                    'shipped model, ONNX Runtime': lambda: small.run(None, {'luma': a})}
        if n == 1:
            learner, photo = fastai_learner(fast, size)
            def predict():
                with learner.no_bar(): learner.predict(photo)
            variants = {'fastai learn.predict, resnet34': predict} | variants
        with torch.inference_mode(): times = interleaved(variants, args.budget)
        state['times'][f'inference {size} {n}'] = times
        for k, v in times.items():
            work = gflop['shipped' if 'shipped' in k else 'resnet34']*scale
            r = ratios(times, 'fastai eager, resnet34', k)
            found[size, n, k] = r
            rows.append({'size': f'{size}²', 'batch': n, 'what': k, 'ms': milliseconds(v), 'rounds': len(v), '× fastai eager': shown(r),
                         'GFLOP/s': f'{work/quartiles(v)[0]:.0f}'})
    size = 64 if args.quick else 512
    r = found[size, 1, 'shipped model, ONNX Runtime']
    target(f'shipped model at {size} px, × fastai-eager resnet34', '20', shown(r, '.1f'), r[0] >= 20,
           f"it has {gflop['resnet34']/gflop['shipped']:.1f} times fewer operations; in torch and bfloat16 it is "
           f"{found[size, 1, 'shipped model, torch bfloat16'][0]:.1f}×")
    for k in ('ONNX Runtime', 'torch bfloat16'):
        got = [found[s, n, f'ours, resnet34, {k}'] for s, n in cases]
        target(f'resnet34, {k}, × eager ({", ".join(f"{s}² × {n}" for s, n in cases)})', '2.5', ', '.join(f'{o[0]:.2f}' for o in got),
               min(o[0] for o in got) >= 2.5,
               'float32, to the same result' if 'ONNX' in k
               else f'needs a processor that computes in bfloat16; the price on trained weights (the shipped model): {psnr:.0f} dB '
                    f'between its chroma in bfloat16 and in float32')
    note = (f"Operations at 256²: resnet34 {gflop['resnet34']:.1f} GFLOP, shipped model {gflop['shipped']:.2f}. The results were compared "
            f"before timing: ONNX Runtime differs from eager torch by at most {error['onnx']:.1e}, "
            f"bfloat16's by {error['bf16']:.1e}, of values up to {error['size']:.2f} (random weights); the shipped model's in ONNX "
            f"Runtime by {error['shipped']:.1e} from torch. In bfloat16 its chroma has a PSNR of {psnr:.1f} dB against its own in "
            f"float32 (peak 1). "
            'fastai\'s eager network takes three channels and gives three; its predict also opens, scales and normalises the photo.')
    return [dict(title='Network alone', rows=rows, note=note)]

def _grey(size):
    import numpy as np
    from PIL import ImageOps
    from colorizer.inference.photo import open_photo, sample_photos
    return np.asarray(ImageOps.fit(open_photo(sample_photos()['china']).convert('L'), (size, size)), np.float32)/255

def convolutions(args, state):
    "As the command shows a photo to the network, and at 512 px"
    return [layers(args, state, *o) for o in ([(64, 64)] if args.quick else [(192, 288), (512, 512)])]

def layers(args, state, height, width):
    "The shipped model's convolutions in ONNX Runtime's profile, against the measured rate"
    import numpy as np
    from colorizer.inference.session import default_model
    s = session(default_model(), state['tmp']/'profile')
    for _ in range(3 if args.quick else 12): s.run(None, {'luma': np.random.rand(1, 1, height, width).astype(np.float32)})
    nodes = {}
    for o in json.loads(Path(s.end_profiling()).read_text()):
        shapes = o.get('args', {})
        if o.get('cat') != 'Node' or shapes.get('op_name') not in ('Conv', 'FusedConv') or not o['name'].endswith('kernel_time'): continue
        ins, outs = ([list(d.values())[0] for d in shapes[k]] for k in ('input_type_shape', 'output_type_shape'))
        work = 2*np.prod(outs[0])*np.prod(ins[1][1:])  # of a weight [out, in a group, height, width]
        nodes.setdefault(o['name'], (ins, outs[0], work, []))[3].append(o['dur'])
    total, top = sum(o[2] for o in nodes.values()), peak(state['rates'])
    rows, large = [], []
    for ins, out, work, times in sorted(nodes.values(), key=lambda o: -o[2]):
        if work < .03*total: break
        large.append((work, min(times)))
        rows.append({'convolution': f"{ins[1][2]}×{ins[1][3]}, {ins[1][1]} → {ins[1][0]} channels at {out[2]}×{out[3]}",
                     'share of operations': f'{work/total:.0%}', 'ms': f'{min(times)/1e3:.2f}', 'GFLOP/s': f'{work/min(times)/1e3:.0f}',
                     'share of the measured rate': f'{work/min(times)/1e3/top:.0%}'})
    reached = sum(o[0] for o in large)/sum(o[1] for o in large)/1e3/top
    target(f'share of the measured rate in the large convolutions at {height}×{width} ({len(large)} with 3 % of the operations '
           f'or more each)', '60 %', f'{reached:.0%}', reached >= .6, f'{top:.0f} GFLOP/s in float32 by oneDNN, measured in the same run; '
                                                                      f'these are ONNX Runtime\'s own convolutions')
    return dict(title=f'The shipped model\'s large convolutions at {height}×{width}', rows=rows,
                note='The fastest run in ONNX Runtime\'s profile, wall clock; float32. They account for '
                + f'{sum(o[0] for o in large)/total:.0%} of all convolution operations; together they reach {reached:.0%} of the '
                  f'measured rate.')


# --- photos, files to files

def photo(args, state):
    python, rows, begin = sys.executable, [], start(args, state)
    sizes, each = ([.3], 1) if args.quick else ([12, 24], 3)
    env = _env(state)
    for mp in sizes:
        src, out = state['tmp']/f'{mp}.jpg', state['tmp']/f'{mp}_out.jpg'
        memory.make(src, mp, False)
        runs, codec, theirs = [], [], []
        for _ in range(each):
            runs.append(child(python, '-m', 'colorizer', str(src), '-o', str(out), '-f', env=env))
            codec.append(sum(memory.decode_encode(src, out)))
        if 'learner' not in state:
            learner, _ = fastai_learner(fastai_unet(), 64 if args.quick else 512)
            state['learner'] = learner
        theirs.append(_fastai_photo(state['learner'], src, state['tmp']/'theirs.jpg'))
        r = quartiles([a['cpu']/b for a, b in zip(runs, codec)])
        state['times'][f'photo {mp}'] = dict(ours=[o['cpu'] for o in runs], codec=codec, fastai=theirs)
        peak_mb = subprocess.run([python, memory.__file__, str(mp)], capture_output=True, text=True, check=True,
                                 env=env).stdout.splitlines()[-1].split('|')[2]  # in a small process: a child's peak starts at its parent's
        row = lambda what, cpu, peak='–', clock='–': {'megapixels': mp, 'what': what, 'processor s': cpu, 's wall clock, fastest': clock,
                                                      'peak MB': peak}
        rows += [row('decode + encode alone', shown(quartiles(codec))), row('`colorizer`, from start to written file',
            shown(quartiles([o['cpu'] for o in runs])), peak_mb.strip(), f"{min(o['clock'] for o in runs):.2f}"),
                 row('fastai: predict at 512 px, enlarge, write (Python and libraries already loaded)', f'{theirs[0]:.2f}')]
        if mp == sizes[0]:
            target(f'command start to written file, {mp} megapixels, ÷ its decode + encode', 'under 3', shown(r), r[0] < 3,
                   f"starting alone (Python, numpy, ONNX Runtime, the model, a small photo) takes {state['start']:.2f} s, decode + encode "
                   f"{quartiles(codec)[0]:.2f} s")
    return [dict(title='Photos, file to file', rows=rows,
                 note='A grey JPEG with grain, quality 90. fastai\'s result has the size of its crop; Pillow enlarges it to the '
                      'photo\'s size.'),
                 begin]

def _fastai_photo(learner, src, out):
    import numpy as np
    from PIL import Image
    start = time.process_time()
    with learner.no_bar(): rgb = np.asarray(learner.predict(str(src))[1]).transpose(1, 2, 0)
    with Image.open(src) as img: size = img.size
    Image.fromarray((rgb.clip(0, 1)*255).astype('uint8')).resize(size, Image.Resampling.BICUBIC).save(out, quality=90)
    return time.process_time() - start

def _env(state):
    "One thread; compiled Python is kept, as in any installation, but not beside the source"
    return {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'} | dict(OMP_NUM_THREADS='1',
        PYTHONPYCACHEPREFIX=str(state['tmp']/'pycache'))

def start(args, state):
    "What the command takes before it does anything"
    python, n = sys.executable, 1 if args.quick else 5
    small = state['tmp']/'small.jpg'
    memory.make(small, .05, False)
    words = {'`python -c pass`': ['-c', 'pass'], '`import colorizer`': ['-c', 'import colorizer'],
             '`colorizer --help`': ['-m', 'colorizer', '--help'],
             '`colorizer` on a small photo': ['-m', 'colorizer', str(small), '-o', str(state['tmp']/'small_out.jpg'), '-f'],
             '`import fastai.vision.all`': ['-c', 'import fastai.vision.all']}
    runs = {k: [] for k in words}
    for i in range(n):
        for k, w in words.items():
            if i == 0 and 'fastai' not in k: child(python, *w, env=_env(state))  # compiles what is imported
            if i == 0 or 'fastai' not in k: runs[k].append(child(python, *w, env=_env(state)))
    state['start'] = quartiles([o['cpu'] for o in runs['`colorizer` on a small photo']])[0]
    return dict(title='Starting', rows=[{'what': k, 'processor s': shown(quartiles([o['cpu'] for o in v])),
                                         's wall clock, fastest': f"{min(o['clock'] for o in v):.2f}"} for k, v in runs.items()])


# --- sizes

def size(args, state):
    from colorizer.inference.session import default_model
    root = Path(__import__('colorizer').__file__).parent
    own = sum(o.stat().st_size for o in root.rglob('*') if o.is_file() and '__pycache__' not in o.parts)
    rows = [{'what': 'colorizer itself, unpacked', 'MB': f'{own/1e6:.1f}'},
            {'what': 'the model alone', 'MB': f'{default_model().stat().st_size/1e6:.1f}'}]
    if wheel := _wheel(root.parent, state['tmp']): rows.append({'what': 'its wheel', 'MB': f'{wheel/1e6:.1f}'})
    for what, names in {(small := 'colorizer with everything that colouring needs'): _requirements(root.parent),
                        'fastai with everything it needs (fastai-based peers)': ['fastai'],
                        'torch and torchvision with everything they need (every other peer)': ['torch', 'torchvision']}.items():
        found = needed(names)
        mb = (sum(_installed(o) for o in found) + own*(what == small))/1e6
        rows.append({'what': what, 'MB': f'{mb:.0f}', 'packages': len(found) + (what == small)})
    return [dict(title='Installed sizes', rows=rows,
                 note='Files of the installed packages and of everything they require, according to their metadata. Weights come on top: '
                      'DeOldify\'s are 243 MB as ONNX, DDColor\'s 220 to 900 MB (from their own pages). torch is the build that '
                      'pip installs, '
                      'which includes CUDA\'s libraries on Linux.')]

def _requirements(source):
    "Names of the packages that colouring needs, as settings.ini states them"
    from configparser import ConfigParser
    settings = ConfigParser(interpolation=None)
    settings.read(source/'settings.ini', encoding='utf-8')
    return [re.match(r'[\w.-]+', o)[0] for o in settings['DEFAULT']['requirements'].split()]

def _wheel(source, tmp):
    "Bytes of the wheel made from a source checkout; None elsewhere"
    if not (source/'setup.py').exists(): return None
    shutil.copytree(source/'colorizer', tmp/'source/colorizer', ignore=shutil.ignore_patterns('__pycache__'))
    for o in ('setup.py', 'settings.ini', 'pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(source/o, tmp/'source')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', tmp/'wheel', tmp/'source'],
                   check=True, capture_output=True)
    return next((tmp/'wheel').glob('*.whl')).stat().st_size

def needed(names):
    "Names of the packages that some need, themselves included, extras left out"
    from importlib.metadata import PackageNotFoundError, distribution
    found, todo = set(), list(names)
    while todo:
        name = re.sub('[-_.]+', '-', todo.pop()).lower()
        if name in found: continue
        try: requires = distribution(name).requires or []
        except PackageNotFoundError: continue  # for another system
        found.add(name)
        todo += [re.match(r'[\w.-]+', o)[0] for o in requires if 'extra ==' not in o]
    return found

def _installed(name):
    from importlib.metadata import distribution
    return sum(p.stat().st_size for o in distribution(name).files or [] if (p := Path(o.locate())).is_file() and p.suffix != '.pyc')


# --- training

class Lesson7Loss:
    "The feature loss as fastai's lesson 7 writes it: all of vgg16_bn, hooks, a pass with gradients for target and prediction"
    def __init__(self, vgg, layers, weights=(5, 15, 2)):
        from fastai.callback.hook import hook_outputs
        import torch
        self.vgg, self.weights, self.hooks = vgg, weights, hook_outputs([vgg[i] for i in layers], detach=False)
        self.mean, self.std = (torch.tensor(o)[:, None, None] for o in ([.485, .456, .406], [.229, .224, .225]))

    def features(self, x, clone=False):
        self.vgg((x - self.mean)/self.std)
        return [o.clone() if clone else o for o in self.hooks.stored]

    def __call__(self, pred, target):
        from torch.nn.functional import l1_loss
        def gram(x):
            n, c, h, w = x.shape
            x = x.view(n, c, -1)
            return x @ x.transpose(1, 2)/(c*h*w)
        truth, found = self.features(target, clone=True), self.features(pred)
        parts = [l1_loss(pred, target)/.226] + [l1_loss(a, b)*w for a, b, w in zip(found, truth, self.weights)]
        return sum(parts + [l1_loss(gram(a), gram(b))*w**2*5e3 for a, b, w in zip(found, truth, self.weights)])


def training(args, state):
    import torch
    from colorizer.training.architecture import create_unet
    from colorizer.training.loss import FeatureLoss
    from colorizer.training.vgg import block_ends, vgg_features
    from colorizer.training.accumulation import has_bf16
    from torchvision.models import vgg16_bn
    half = has_bf16(torch.device('cpu'))
    torch.manual_seed(0)
    full = vgg16_bn(weights=None).features.eval().requires_grad_(False)
    layers = block_ends(full)[-3:]
    theirs = Lesson7Loss(full, layers)
    cut = vgg_features('vgg16_bn', layers=layers, pretrained=False)
    cut.load_state_dict({k: v for k, v in full.state_dict().items() if int(k.split('.')[0]) <= layers[-1]})
    weights = (5., 15., 2.)
    ours = FeatureLoss(cut, layers, 1/.226, 0, weights, tuple(w**2*5e3 for w in weights), scale=False)
    a, b = torch.rand(2, 2, 3, 64, 64)
    want, got = float(theirs(a, b)), float(ours(a, b))
    with torch.autocast('cpu', torch.bfloat16, enabled=half): rough = float(ours(a, b))
    fast = fastai_unet().train()
    own = create_unet('resnet34', pretrained=False, head='rgb').to(memory_format=torch.channels_last).train()
    from colorizer.training.export import model_from_onnx
    shipped = create_unet(model_from_onnx().config['name'], pretrained=False).to(memory_format=torch.channels_last).train()
    plain = FeatureLoss()
    rows, worst, cases = [], [], [(32, 2)] if args.quick else [(64, 16), (128, 8), (256, 2)]
    for size, n in cases:
        rgb = torch.rand(n, 3, size, size)
        grey = rgb.mean(1, keepdim=True)
        for frozen in (False, True):
            fast.layers[0].requires_grad_(not frozen)
            own.encoder.requires_grad_(not frozen); shipped.encoder.requires_grad_(not frozen)
            def step(model, x, loss, low):
                with torch.autocast('cpu', torch.bfloat16, enabled=low): o = loss(model(x), rgb)
                o.backward()
                for p in model.parameters(): p.grad = None
            variants = {'lesson 7 as written': lambda: step(fast, grey.expand(-1, 3, -1, -1), theirs, False),
                        'ours, resnet34, the same loss, float32': lambda: step(own, grey, ours, False)}
            if half: variants['ours, resnet34, the same loss, bfloat16'] = lambda: step(own, grey, ours, True)
            variants['ours, shipped network, pixels and chroma'] = lambda: step(shipped, grey, plain, half)
            times = interleaved(variants, args.budget, least=2, most=7)
            state['times'][f'training {size} {"frozen" if frozen else "all"}'] = times
            for k, v in times.items():
                r = ratios(times, 'lesson 7 as written', k)
                if k == ('ours, resnet34, the same loss, bfloat16' if half
                         else 'ours, resnet34, the same loss, float32'): worst.append(r[0])
                rows.append({'size': f'{size}²', 'batch': n, 'encoder': 'frozen' if frozen else 'trained', 'what': k, 'ms': milliseconds(v),
                             'rounds': len(v), 'photos/s': f'{n/quartiles(v)[0]:.1f}', '× lesson 7': shown(r)})
            if not frozen: state['steps'][str(size)] = {k: quartiles(v)[0]/n for k, v in times.items()}
    target('training step with the feature loss, × lesson 7\'s, the same network, batch and loss', '2', ', '.join(f'{o:.2f}'
        for o in worst), min(worst) >= 2, f'sizes {", ".join(str(s) for s, _ in cases)}, encoder trained, then frozen, each')
    theirs.hooks.remove()
    note = (f'The losses agree: on random pictures lesson 7\'s is {want:.4f}, ours {got:.4f} in float32'
            + (f' and {rough:.4f} in bfloat16.' if half else '.')
            + ' Forward, loss and backward; the optimiser\'s step is the same for both and not measured. VGG\'s weights are random.')
    return [dict(title='A step of training', rows=rows, note=note)]


# --- data

def data(args, state):
    import numpy as np
    from PIL import Image
    from colorizer.training.data import PhotoSet, colour_dls
    from colorizer.training.photo_cache import prepare
    from colorizer.inference.photo import open_photo, sample_photos
    folder, n = state['tmp']/'png', 2 if args.quick else 8
    folder.mkdir(exist_ok=True)
    width, height = (510, 351) if args.quick else (2040, 1404)
    rng, photos = np.random.default_rng(0), list(sample_photos().values())
    for i in range(n):
        img = open_photo(photos[i%len(photos)]).convert('RGB').resize((width, height), Image.Resampling.BICUBIC)
        a = np.asarray(img, np.float32) + rng.normal(0, 3, (height, width, 1))
        Image.fromarray(a.clip(0, 255).astype(np.uint8)).save(folder/f'{i}.png')
    pngs, rows, found = sorted(folder.glob('*.png')), [], {}
    for size in [64] if args.quick else [64, 128, 256]:
        cache = state['tmp']/'cache'
        begun = time.process_time()
        ready = prepare(folder, cache, size, workers=1, progress=False)
        cold = (time.process_time() - begun)/n
        begun = time.process_time()
        prepare(folder, cache, size, workers=1, progress=False)
        again = (time.process_time() - begun)/n
        warm, fresh = PhotoSet(ready, size, .35), PhotoSet(pngs, size, .35)
        dls = colour_dls(ready*8, size, min(8, n), valid=ready[:1], device='cpu')
        def twice():
            "lesson 7: a block for the input and a block for the target, each with its own decoding"
            for p in pngs:
                for mode in ('L', 'RGB'): Image.open(p).convert(mode).resize((size, size), Image.Resampling.BICUBIC)
        times = interleaved({'2K PNG, decoded twice (grey block, colour block)': twice,
                             '2K PNG, decoded once': lambda: [fresh[i] for i in range(n)],
                             'cache': lambda: [warm[i] for i in range(n)], 'cache, in batches, augmented, with the grey': lambda: [None
            for _, _ in zip(range(n//min(8, n)), dls.train)]}, args.budget, least=2, most=9)
        state['times'][f'data {size}'] = times
        base = '2K PNG, decoded once'
        for k, v in times.items():
            r = ratios(times, base, k)
            found[size, k] = r
            rows.append({'size': size, 'what': k, 'ms a photo': milliseconds([o/n for o in v]), '× decoded once': shown(r, '.1f'),
                         '× decoded twice': shown(ratios(times, '2K PNG, decoded twice (grey block, colour block)', k), '.1f')})
        rows += [{'size': size, 'what': 'cold: building the cache', 'ms a photo': f'{1000*cold:.3g}'},
                 {'size': size, 'what': 'warm: finding the cache complete', 'ms a photo': f'{1000*again:.3g}'}]
        if size == 64: state['loading'] = {k: quartiles(v)[0]/n for k, v in times.items()}
    r = found[64, 'cache']
    target('a warm 64-px epoch\'s loading, × decoding 2K PNGs (once)', '20', shown(r, '.1f'), r[0] >= 20, 'with augmentation and grey '
           + shown(found[64, 'cache, in batches, augmented, with the grey'], '.1f') + ', which lesson 7 needs as well')
    parts = [dict(title=f'Loading photos of {width}×{height}', rows=rows,
                  note='PNGs made from the embedded photos, enlarged, with grain. Random crops, as in training.')]
    if '64' in state['steps']: parts.append(epoch(state))
    return parts

def epoch(state):
    "Loading and step of an epoch at 64 px together: on a processor they share the cores"
    load, steps, rows = state['loading'], state['steps']['64'], []
    for what, l, s in (('lesson 7 as written', '2K PNG, decoded twice (grey block, colour block)', 'lesson 7 as written'),
                       ('ours, the same network and loss', 'cache, in batches, augmented, with the grey',
                        [k for k in steps if 'same loss' in k][-1]),
                       ('ours, shipped network, pixels and chroma', 'cache, in batches, augmented, with the grey',
                        'ours, shipped network, pixels and chroma')):
        rows.append({'what': what, 'loading, ms a photo': f'{1000*load[l]:.3g}', 'step, ms a photo': f'{1000*steps[s]:.3g}',
                     'photos/s': f'{1/(load[l] + steps[s]):.1f}'})
    return dict(title='An epoch at 64 px', rows=rows,
                note='Sums of the medians above, with the encoder trained; DIV2K\'s 800 photos take 800 ÷ photos/s.')


SECTIONS = dict(rate=rate, inference=inference, convolutions=convolutions, photo=photo, size=size, training=training, data=data)
TITLES = dict(rate='The machine\'s own limit', inference='Inference', convolutions='Large convolutions', photo='Photos and the command',
              size='Size', training='Training', data='Data')

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sections', nargs='*', metavar='SECTION', help=', '.join(SECTIONS))
    parser.add_argument('--quick', action='store_true', help='small sizes, few rounds: does it run?')
    parser.add_argument('--budget', type=float, default=12.,
                        help='processor seconds that one comparison may take, where it can (default: 12)')
    parser.add_argument('--add', action='store_true', help='keep the other sections of the page that is there')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent)
    args = parser.parse_args()
    if wrong := set(args.sections) - set(SECTIONS): parser.error(f"no such section: {', '.join(wrong)}")
    if args.quick: args.budget = .2
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter('ignore')
    import torch
    torch.set_num_threads(1)
    here, begun = machine(), time.monotonic()
    made = dict(command=' '.join(['python benchmarks/run.py', *sys.argv[1:]]), **{k: here[k] for k in ('commit', 'date', 'load', 'cpu')})
    before = read(args.out) if args.add else {}
    state = dict(times={}, steps=before.get('steps', {}), rates=measured_rates(min(args.budget, 4)))
    sections = {}
    with tempfile.TemporaryDirectory() as tmp:
        state['tmp'] = Path(tmp)
        for name in args.sections or SECTIONS:
            print(f'{(time.monotonic() - begun)/60:5.1f} min  {name}', file=sys.stderr, flush=True)
            start = time.monotonic()
            parts = SECTIONS[name](args, state)
            sections[TITLES[name]] = dict(parts=parts, targets=TARGETS[:], made=made | dict(minutes=(time.monotonic() - start)/60))
            TARGETS.clear()
    if args.add: before = read(args.out)  # another run may have added to it meanwhile
    merged = before.get('sections', {}) | sections
    kept = before.get('sections', {}).keys() - sections.keys()  # the page names their machine; a section measured elsewhere says so
    write(dict(machine=before['machine'] if kept else here, sections={o: merged[o] for o in TITLES.values() if o in merged},
               rates=state['rates'] if sections.keys() & {TITLES['rate'], TITLES['convolutions']} or not before else before['rates'],
               steps=before.get('steps', {}) | state['steps'], times=before.get('times', {}) | state['times']), args.out)
    print(args.out/'RESULTS.md')


if __name__ == '__main__': main()
