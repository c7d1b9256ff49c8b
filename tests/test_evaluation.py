"""The measures against published and independently computed values."""
import math, subprocess, sys, urllib.error

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d

from colorizer.evaluation import baselines, measures, network_measures, metrics as ev
from colorizer.inference.photo import PhotoError

# Sharma, Wu & Dalal (2005), "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and mathematical
# observations", Color Research & Application 30(1), table 1: L1 a1 b1 L2 a2 b2 dE00.
SHARMA = '''
50.0000   2.6772 -79.7751  50.0000   0.0000 -82.7485   2.0425
50.0000   3.1571 -77.2803  50.0000   0.0000 -82.7485   2.8615
50.0000   2.8361 -74.0200  50.0000   0.0000 -82.7485   3.4412
50.0000  -1.3802 -84.2814  50.0000   0.0000 -82.7485   1.0000
50.0000  -1.1848 -84.8006  50.0000   0.0000 -82.7485   1.0000
50.0000  -0.9009 -85.5211  50.0000   0.0000 -82.7485   1.0000
50.0000   0.0000   0.0000  50.0000  -1.0000   2.0000   2.3669
50.0000  -1.0000   2.0000  50.0000   0.0000   0.0000   2.3669
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0009   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0010   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0011   7.2195
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0012   7.2195
50.0000  -0.0010   2.4900  50.0000   0.0009  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0010  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0011  -2.4900   4.7461
50.0000   2.5000   0.0000  50.0000   0.0000  -2.5000   4.3065
50.0000   2.5000   0.0000  73.0000  25.0000 -18.0000  27.1492
50.0000   2.5000   0.0000  61.0000  -5.0000  29.0000  22.8977
50.0000   2.5000   0.0000  56.0000 -27.0000  -3.0000  31.9030
50.0000   2.5000   0.0000  58.0000  24.0000  15.0000  19.4535
50.0000   2.5000   0.0000  50.0000   3.1736   0.5854   1.0000
50.0000   2.5000   0.0000  50.0000   3.2972   0.0000   1.0000
50.0000   2.5000   0.0000  50.0000   1.8634   0.5757   1.0000
50.0000   2.5000   0.0000  50.0000   3.2592   0.3350   1.0000
60.2574 -34.0099  36.2677  60.4626 -34.1751  39.4387   1.2644
63.0109 -31.0961  -5.8663  62.8187 -29.7946  -4.0864   1.2630
61.2901   3.7196  -5.3901  61.4292   2.2480  -4.9620   1.8731
35.0831 -44.1164   3.7933  35.0232 -40.0716   1.5901   1.8645
22.7233  20.0904 -46.6940  23.0331  14.9730 -42.5619   2.0373
36.4612  47.8580  18.3852  36.2715  50.5065  21.2231   1.4146
90.8027  -2.0831   1.4410  91.1528  -1.6435   0.0447   1.4441
90.9257  -0.5406  -0.9208  88.6381  -0.8985  -0.7239   1.5381
 6.7747  -0.2908  -2.4247   5.8714  -0.0985  -2.2286   0.6377
 2.0776   0.0795  -1.1350   0.9033  -0.0636  -0.5514   0.9082
'''
SHARMA = np.array([line.split() for line in SHARMA.strip().splitlines()], float)


def noise(seed, size=(24, 20)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)

def flat(rgb, size=(16, 16)):
    return np.full((*size, 3), rgb, np.uint8)

def lab_by_hand(rgb):
    "One sRGB colour in CIELAB, by the definitions of IEC 61966-2-1 and CIE 15, D65 and 2°"
    linear = [c / 12.92 if c <= .04045 else ((c + .055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    xyz = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]]) @ linear
    x, y, z = (t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in xyz / [.95047, 1, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# --- the measures

def test_ciede2000_gives_sharmas_34_results():
    assert SHARMA.shape == (34, 7)
    for a, b in ((SHARMA[:, :3], SHARMA[:, 3:6]), (SHARMA[:, 3:6], SHARMA[:, :3])):   # it is symmetric
        assert ev.delta_e(a, b).round(4).tolist() == SHARMA[:, 6].tolist()

def test_ciede2000_of_pictures_is_the_mean_over_pixels():
    one, other = (200, 60, 60), (60, 90, 160)
    half = np.vstack([flat(one), flat(other)])   # against `one` everywhere: half of the pixels are right
    expected = float(ev.delta_e(lab_by_hand(one), lab_by_hand(other))) / 2
    assert ev.ciede2000(half, np.vstack([flat(one)] * 2)) == pytest.approx(expected, abs=.01)
    assert ev.ciede2000(half, half) == 0

def test_psnr_by_hand():
    truth = flat((100, 100, 100))
    pred = truth.copy()
    pred[:8, :8, 0] = 112   # red is wrong by 12 in a quarter of the pixels: MSE = 144 / 4 / 3 = 12
    assert ev.psnr(pred, truth) == pytest.approx(10 * math.log10(255 ** 2 / 12), abs=1e-9)
    assert ev.psnr(flat((0, 0, 0)), flat((255, 255, 255))) == pytest.approx(0)   # uint8 must not wrap round
    assert ev.psnr(truth, truth) == math.inf

def test_ab_measures_by_hand():
    one, other = (200, 60, 60), (60, 90, 160)
    _, da, db = lab_by_hand(one) - lab_by_hand(other)
    half, truth = np.vstack([flat(one), flat(other)]), np.vstack([flat(one)] * 2)
    assert ev.ab_distance(half, truth) == pytest.approx(math.hypot(da, db) / 2, abs=.01)
    assert ev.psnr_ab(half, truth) == pytest.approx(10 * math.log10(255 ** 2 / ((da ** 2 + db ** 2) / 2 / 2)), abs=.01)
    assert ev.psnr_ab(truth, truth) == math.inf
    assert ev.ab_distance(flat((80, 80, 80)), flat((200, 200, 200))) < .02   # lightness does not count

def test_lab_of_srgb_red():
    "Published: L* = 53.24, a* = 80.09, b* = 67.20; the standard's matrix of four digits moves that by 0.02"
    assert lab_by_hand((255, 0, 0)) == pytest.approx([53.24, 80.09, 67.20], abs=.03)
    assert ev.ab_distance(flat((255, 0, 0)), flat((255, 255, 255))) == pytest.approx(math.hypot(80.09, 67.20), abs=.02)

def ssim_by_hand(a, b):
    "Wang et al. (2004) as written there: an 11×11 Gaussian of σ = 1.5 and sum 1, only where the whole window fits"
    x = np.arange(-5, 6)
    w = np.exp(-(x[:, None] ** 2 + x ** 2) / (2 * 1.5 ** 2)); w /= w.sum()
    def mean(v): return convolve2d(v, w, mode='valid')
    values = []
    for p, q in zip(np.moveaxis(a.astype(float), -1, 0), np.moveaxis(b.astype(float), -1, 0)):
        mp, mq = mean(p), mean(q)
        vp, vq, cov = mean(p * p) - mp ** 2, mean(q * q) - mq ** 2, mean(p * q) - mp * mq
        c1, c2 = (.01 * 255) ** 2, (.03 * 255) ** 2
        values.append(((2 * mp * mq + c1) * (2 * cov + c2) / ((mp ** 2 + mq ** 2 + c1) * (vp + vq + c2))).mean())
    return np.mean(values)

def test_ssim_against_the_papers_definition():
    a, b = noise(0), noise(1)
    b = (a * .7 + b * .3).astype(np.uint8)
    assert ev.ssim(b, a) == pytest.approx(ssim_by_hand(b, a), abs=1e-6)
    assert ev.ssim(a, b) == pytest.approx(ev.ssim(b, a))
    assert ev.ssim(a, a) == pytest.approx(1)

def test_colourfulness_by_hand():
    # Half (200, 100, 50): rg = 100, yb = 100; half grey: 0, 0. Means 50 and 50, deviations 50 and 50.
    picture = np.vstack([flat((200, 100, 50)), flat((90, 90, 90))])
    assert ev.colourfulness(picture) == pytest.approx(math.sqrt(5000) + .3 * math.sqrt(5000))
    # Red and its opposite: rg = ±60, yb = ±30. The sign is what tells them apart.
    picture = np.vstack([flat((160, 100, 100)), flat((100, 160, 160))])
    assert ev.colourfulness(picture) == pytest.approx(math.hypot(60, 30))
    assert ev.colourfulness(picture, signed=False) == pytest.approx(.3 * math.hypot(60, 30))
    assert ev.colourfulness(flat((77, 77, 77))) == 0

@pytest.mark.parametrize('metric', ev.METRICS.values(), ids=ev.METRICS.keys())
def test_measures_refuse_what_cannot_be_compared(metric):
    a = noise(0)
    with pytest.raises(ValueError, match='sizes differ: prediction 20×23, truth 20×24'): metric(a[1:], a)
    with pytest.raises(ValueError, match='prediction: expected a uint8 RGB array'): metric(a / 255, a)
    with pytest.raises(ValueError, match='truth: expected a uint8 RGB array'): metric(a, a[..., 0])


# --- the protocol

def save(path, rgb, **kw):
    Image.fromarray(rgb).save(path, **kw)
    return path

def test_truth_is_the_whole_photo_upright_and_never_enlarged(tmp_path):
    rgb = noise(3, (60, 90))
    exif = Image.Exif(); exif[0x0112] = 6   # to be turned by 90 degrees clockwise
    path = save(tmp_path / 'a.png', rgb, exif=exif)
    assert (ev.truth_of(path, 256) == np.rot90(rgb, -1)).all()
    small = ev.truth_of(path, 40)
    assert small.shape == (60, 40, 3)
    assert (small == np.asarray(Image.fromarray(np.rot90(rgb, -1)).resize((40, 60), Image.Resampling.LANCZOS))).all()

def test_input_is_rounded_bt601_luma():
    rgb = noise(4)
    expected = np.floor(rgb.astype(float) @ [.299, .587, .114] + .5)
    grey = ev.grey_input(rgb)
    assert grey.mode == 'L' and (np.asarray(grey) == expected).mean() > .999   # a tie may fall either way

def test_a_photo_may_be_too_small(tmp_path):
    with pytest.raises(ValueError, match='size 8 is too small'): ev.truth_of(noise(0, (40, 50)), 8)
    with pytest.raises(PhotoError, match='too few'): ev.truth_of(noise(0, (8, 50)))

def test_constant_chroma_of_other_photos(tmp_path):
    "A photo of one colour is reproduced exactly from that colour's chroma"
    plain = save(tmp_path / 'plain.png', flat((180, 90, 40), (30, 30)))
    wash = baselines.constant_chroma(baselines.mean_chroma([plain]))
    assert abs(np.asarray(wash(ev.grey_input(flat((180, 90, 40))))).astype(int) - (180, 90, 40)).max() <= 1

def test_compare_has_both_kinds_of_colourfulness():
    a, b = noise(0), noise(1)
    row = ev.compare(a, b)
    assert list(row) == [*ev.METRICS, 'colourfulness', 'colourfulness_abs'] and set(row) <= set(measures.MEASURES)
    assert (row['colourfulness'], row['colourfulness_abs']) == (ev.colourfulness(a), ev.colourfulness(a,
        signed=False)) and row['colourfulness'] > row['colourfulness_abs']


# --- measures that are networks

@pytest.fixture
def no_network(monkeypatch, tmp_path):
    "Weights are not there and can't be had"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    def refuse(*args, **kwargs): raise urllib.error.URLError('no route to host')
    monkeypatch.setattr('urllib.request.urlopen', refuse)
    monkeypatch.setattr('torch.hub.urlopen', refuse, raising=False)

def test_lpips_is_that_of_the_package():
    """Against the definition of Zhang et al. (2018), equation 1, computed here with the same AlexNet of random weights and the published
    linear layers"""
    torch, lpips = pytest.importorskip('torch'), pytest.importorskip('lpips')
    torch.manual_seed(0)
    net = lpips.LPIPS(net='alex', pnet_rand=True, verbose=False)
    a, b = noise(0, (70, 80)), noise(1, (70, 80))
    def layers(rgb):
        x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 127.5 - 1
        x = (x - torch.tensor([-.030, -.088, -.188])[:, None, None]) / torch.tensor([.458, .448, .450])[:, None, None]
        return [f / (f.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for f in net.net(x)]
    with torch.no_grad():
        weights = [lin.model[-1].weight for lin in (net.lin0, net.lin1, net.lin2, net.lin3, net.lin4)]
        expected = sum(((p - q).pow(2) * w).sum(1).mean() for p, q, w in zip(layers(a), layers(b), weights))
    measure = network_measures.lpips_measure(net)
    assert measure(a, b) == pytest.approx(float(expected), rel=1e-4) and measure(a, b) > 0
    assert measure(a, a) == 0
    assert math.isnan(measure(a[:60], b[:60]))   # too small for AlexNet

def test_fid_by_hand():
    pytest.importorskip('pytorch_fid')
    a = np.array([[0., 0.], [2., 0.], [0., 2.], [2., 2.]])   # covariance 4/3 times the identity
    assert network_measures.fid(a, a + [3, 4]) == pytest.approx(25)
    assert network_measures.fid(a, 3 * a) == pytest.approx(2 * 4 + 2 * (12 ** .5 - (4 / 3) ** .5) ** 2)
    assert math.isnan(network_measures.fid(a[:1], a))

def test_fid_features_come_from_the_network_that_is_given():
    torch = pytest.importorskip('torch')
    class Means(torch.nn.Module):
        def forward(self, x): return [x.mean((2, 3), keepdim=True)]
    assert network_measures.fid_features(Means())(flat((255, 51, 0))) == pytest.approx([1, .2, 0])

@pytest.mark.parametrize('make, name', [(network_measures.lpips_measure, 'LPIPS'), (network_measures.fid_features, 'FID')])
def test_weights_that_cannot_be_had_are_one_line(make, name, no_network):
    pytest.importorskip('lpips')
    with pytest.raises(network_measures.MeasureError, match=f"{name}: the network's weights can't be downloaded .*no route") as e: make()
    assert '\n' not in str(e.value)

@pytest.mark.parametrize('make, module', [(network_measures.lpips_measure, 'lpips'), (network_measures.fid_features, 'pytorch_fid')])
def test_packages_that_are_missing_are_one_line(make, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    for m in [m for m in sys.modules if m.startswith(module + '.')]: monkeypatch.delitem(sys.modules, m)
    class Missing:
        def find_spec(self, name, *args):
            if name.split('.')[0] == module: raise ModuleNotFoundError(f'No module named {name!r}', name=module)
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, 'meta_path', [Missing(), *sys.meta_path])
    says = f'needs the package {module}. Run: pip install "unet-colorizer.perceptual."'
    with pytest.raises(network_measures.MeasureError, match=says): make()

def test_evaluation_needs_no_torch():
    "The measures need no ONNX Runtime, either"
    code = 'import sys, colorizer.evaluation.{}; sys.exit(any(m in sys.modules for m in {}))'
    never = ('torch', 'fastai', 'jinja2', 'lpips')
    for module, names in ('metrics', (*never, 'onnxruntime')), ('benchmark', never), ('report', never):
        assert subprocess.run([sys.executable, '-c', code.format(module, names)]).returncode == 0, module
