"""The measures against published and independently computed values, and `colorizer evaluate` from end to end."""
import argparse, csv, json, math, os, subprocess, sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from scipy.signal import convolve2d
from scipy.stats import bootstrap

from colorizer import evaluation as ev
from colorizer.cli import main
from colorizer.photo import PhotoError, sample_photos

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

@pytest.fixture
def folder(tmp_path):
    "Two colour photos of one name in two folders, a photo without colour, a broken one and a text"
    for sub, seed in (('one', 1), ('two', 2)):
        (tmp_path / sub).mkdir()
        save(tmp_path / sub / 'a.png', noise(seed, (40, 30)) // 4 + np.array([90, 60, 20], np.uint8))
    save(tmp_path / 'grey.png', np.repeat(noise(5)[..., :1], 3, axis=2))
    (tmp_path / 'broken.jpg').write_bytes((sample_photos()['cat'].read_bytes())[:2000])
    (tmp_path / 'notes.txt').write_text('no photo')
    return tmp_path

def test_evaluate_measures_each_photo_and_leaves_nothing_out_silently(folder):
    seen, said = [], []
    truths = {40: ev.truth_of(folder / 'one' / 'a.png'), 20: ev.truth_of(folder / 'one' / 'a.png', 20)}
    def oracle(grey):
        seen.append(grey.mode)
        return Image.fromarray(truths[grey.size[1] if grey.size[1] == 40 else 20])
    rows = ev.evaluate(oracle, ev.photos_in(folder), others={'again': oracle, 'wash': ev.constant_chroma([.1, -.1])}, progress=False, left_out=said.append)
    assert [r['file'] for r in rows] == ['one/a.png', 'two/a.png'] and set(seen) == {'L'}
    assert len(said) == 2 and 'broken.jpg' in said[0] and 'grey.png: has no colour' in said[1]
    first, second = rows
    assert first['psnr'] == math.inf and first['ciede2000'] == 0 and first['ssim'] == pytest.approx(1)
    assert second['psnr'] < 30 and second['psnr'] == second['again_psnr'] != second['wash_psnr']
    assert first['colourfulness'] == first['real_colourfulness'] == ev.colourfulness(truths[40]) > 10
    grey = np.repeat(np.asarray(ev.grey_input(truths[40]))[..., None], 3, axis=2)
    assert {k: first['grey_' + k] for k in ev.METRICS} == {k: f(grey, truths[40]) for k, f in ev.METRICS.items()}
    assert first['grey_colourfulness'] == 0

def test_evaluate_refuses_nonsense(folder):
    with pytest.raises(ValueError, match='no colour photo'): ev.evaluate(ev.grey, [folder / 'grey.png'], progress=False, left_out=lambda line: None)
    with pytest.raises(ValueError, match='5×5 pixels for an input of 30×40'):
        ev.evaluate(lambda g: g.resize((5, 5)), [folder / 'one' / 'a.png'], progress=False)
    with pytest.raises(ValueError, match='too small'): ev.evaluate(ev.grey, [folder / 'one' / 'a.png'], size=8, progress=False)
    with pytest.raises(PhotoError, match='too few'): ev.truth_of(noise(0, (8, 50)))
    with pytest.warns(UserWarning, match='left out: .*grey.png'): ev.evaluate(ev.grey, [folder / 'grey.png', folder / 'one' / 'a.png'], progress=False)

def test_constant_chroma_of_other_photos(folder):
    "A photo of one colour is reproduced exactly from that colour's chroma"
    plain = save(folder / 'plain.png', flat((180, 90, 40), (30, 30)))
    wash = ev.constant_chroma(ev.mean_chroma([plain]))
    assert abs(np.asarray(wash(ev.grey_input(flat((180, 90, 40))))).astype(int) - (180, 90, 40)).max() <= 1


# --- means and intervals

def made_rows(n=50, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        g = dict(psnr=rng.normal(22, 4), psnr_ab=25., ssim=.9, ciede2000=rng.uniform(4, 20), ab_distance=18., colourfulness=0.)
        m = g | dict(psnr=g['psnr'] + rng.normal(1, .5), ciede2000=g['ciede2000'] * (1 - .03 * g['ciede2000'] + rng.normal(0, .02)), colourfulness=rng.uniform(15, 35))
        rows.append(dict(file=f'{i}.jpg', path=f'/secret/{i}.jpg', width=300, height=256, size=256) | m | {'grey_' + k: v for k, v in g.items()}
                    | dict(real_colourfulness=rng.uniform(30, 50)))
    return rows

def test_summary_and_its_margins():
    rows = made_rows()
    s = ev.summarise(rows)
    def mean(k): return np.mean([r[k] for r in rows])
    assert s['photos'] == 50 and s['psnr'] == pytest.approx(mean('psnr')) and s['grey_ciede2000'] == pytest.approx(mean('grey_ciede2000'))
    assert s['psnr_gain'] == pytest.approx(mean('psnr') - mean('grey_psnr'))
    assert s['ciede2000_change'] == pytest.approx(100 * (mean('ciede2000') - mean('grey_ciede2000')) / mean('grey_ciede2000')) and s['ciede2000_change'] < 0
    assert s['colourfulness_share'] == pytest.approx(100 * mean('colourfulness') / mean('real_colourfulness'))
    assert s['delta_colourfulness'] == pytest.approx(mean('real_colourfulness') - mean('colourfulness'))

def test_intervals_agree_with_scipy():
    rows = made_rows()
    s = ev.summarise(rows, n=20000)
    def scipys(values): return tuple(bootstrap((np.array(values),), np.mean, n_resamples=20000, method='percentile').confidence_interval)
    assert s['intervals']['psnr'] == pytest.approx(scipys([r['psnr'] for r in rows]), abs=.05)
    assert s['intervals']['psnr_gain'] == pytest.approx(scipys([r['psnr'] - r['grey_psnr'] for r in rows]), abs=.01)   # paired
    def change(model, grey): return 100 * (model.mean(-1) / grey.mean(-1) - 1)   # a ratio of means, not a mean of ratios
    pairs = np.array([r['ciede2000'] for r in rows]), np.array([r['grey_ciede2000'] for r in rows])
    expected = bootstrap(pairs, lambda m, g, axis=-1: change(m, g), paired=True, vectorized=True, n_resamples=20000, method='percentile').confidence_interval
    assert s['intervals']['ciede2000_change'] == pytest.approx(tuple(expected), abs=.1)
    assert ev.summarise(rows) == ev.summarise(rows) != ev.summarise(rows, seed=1)

def test_infinite_psnr_and_single_photos_are_no_accident():
    rows = made_rows(3)
    rows[1]['psnr'] = math.inf
    s = ev.summarise(rows)
    assert s['psnr'] == math.inf and np.isnan(s['intervals']['psnr']).all() and np.isfinite(s['intervals']['ciede2000']).all()
    assert 'PSNR +inf dB, CIEDE2000' in ev.report(rows)
    assert ev.summarise(made_rows(1))['intervals'] == {}
    with pytest.raises(ValueError, match='no rows'): ev.summarise([])

def test_report_always_has_the_grey_row():
    def names(text): return [line.split('|')[1].strip() for line in text.splitlines() if line.startswith('|')]
    rows = made_rows()
    s = ev.summarise(rows)
    lines = ev.report(rows, 'my net').splitlines()
    assert names('\n'.join(lines)) == ['', '---', 'my net', 'grey', 'real photos']
    assert f"{s['psnr']:.2f}" in lines[2] and f"{s['grey_psnr']:.2f}" in lines[3] and f"{s['real_colourfulness']:.1f}" in lines[4]
    more = [r | {'mean_chroma_' + k: r[k] + 1 for k in (*ev.METRICS, 'colourfulness')} for r in rows]
    assert names(ev.report(more, 'my net')) == ['', '---', 'my net', 'mean chroma', 'grey', 'real photos']
    lo, hi = s['intervals']['ciede2000_change']
    assert f"CIEDE2000 {s['ciede2000_change']:+.1f} % (95 %: {lo:+.1f} to {hi:+.1f})" in lines[6] and lo < s['ciede2000_change'] < hi < 0
    assert lines[-1].startswith('50 photos, whole, short side at most 256 px')

def test_worst_is_the_largest_difference():
    rows = made_rows()
    three = ev.worst(rows, 3)
    assert [r['ciede2000'] for r in three] == sorted((r['ciede2000'] for r in rows), reverse=True)[:3]


# --- the command

@pytest.fixture
def model(tmp_path):
    "An ONNX model of the agreed contract that gives every pixel Cb = -0.05, Cr = 0.08"
    constant = [helper.make_tensor(k, TensorProto.FLOAT, [1], [v]) for k, v in (('zero', 0.), ('cb', -.05), ('cr', .08))]
    nodes = [helper.make_node('Mul', ['luma', 'zero'], ['none']), helper.make_node('Add', ['none', 'cb'], ['b']),
             helper.make_node('Add', ['none', 'cr'], ['r']), helper.make_node('Concat', ['b', 'r'], ['chroma'], axis=1)]
    ports = [helper.make_tensor_value_info(k, TensorProto.FLOAT, ['n', c, 'h', 'w']) for k, c in (('luma', 1), ('chroma', 2))]
    net = helper.make_model(helper.make_graph(nodes, 'constant', ports[:1], ports[1:], constant), opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    helper.set_model_props(net, {'colorizer.format': '1'})
    onnx.save(net, tmp_path / 'constant.onnx')
    return str(tmp_path / 'constant.onnx')

def command(*args):
    parser = argparse.ArgumentParser(); ev.add_arguments(parser)
    return ev.run(parser.parse_args([*map(str, args)]))

def test_command_writes_table_rows_and_worst_photos(folder, model, tmp_path, capsys):
    assert command(folder, '--model', model, '--size', 24, '--csv', tmp_path / 'out.csv', '--worst', tmp_path / 'worst.png') == 0
    out, err = capsys.readouterr()
    assert '| constant |' in out and '| grey |' in out and out.rstrip().splitlines()[-1].startswith('2 photos')
    assert 'broken.jpg' in err and 'grey.png' in err
    rows = list(csv.DictReader(open(tmp_path / 'out.csv', encoding='utf-8', newline='')))
    assert [r['file'] for r in rows] == ['one/a.png', 'two/a.png'] and str(folder) not in open(tmp_path / 'out.csv').read()
    # The command's figures are those of the model's colour, as the constant itself gives it.
    exact = ev.evaluate(ev.constant_chroma([-.05, .08]), ev.photos_in(folder / 'one'), size=24, progress=False)[0]
    assert float(rows[0]['ciede2000']) == pytest.approx(exact['ciede2000'], abs=.2) and float(rows[0]['grey_psnr']) == exact['grey_psnr']
    assert Image.open(tmp_path / 'worst.png').width > 3 * 160

def test_command_prints_json_and_the_constant_chroma_row(folder, model, capsys):
    assert main(['evaluate', str(folder / 'one'), '--model', model, '--size', '24', '--json', '--mean-chroma-from', str(folder / 'two')]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out['summary']['photos'] == 1 and out['rows'][0]['mean_chroma_psnr'] > out['rows'][0]['grey_psnr'] and 'path' not in out['rows'][0]

def test_command_refuses_before_it_works(folder, model, tmp_path, capsys):
    cases = {('nothing.jpg',): 'no such file', (folder / 'one', '--csv', tmp_path / 'no' / 'out.csv'): 'no folder',
             (folder / 'one', '--worst', tmp_path / 'worst.doc'): 'unknown file type',
             (folder / 'one', '--model', model, '--mean-chroma-from', folder): 'are among the evaluated ones'}
    for args, message in cases.items():
        with pytest.raises(ValueError, match=message) as e: command(*args)
        assert '\n' not in str(e.value)
    assert capsys.readouterr().out == ''
    assert main(['evaluate', 'nothing.jpg']) == 1 and len(capsys.readouterr().err.splitlines()) == 1

def test_csv_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / 'out.csv'; path.write_text('old')
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(ValueError, match='cannot be written .No space left'): ev.save_csv(made_rows(2), path)
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['out.csv']

def test_evaluation_needs_no_torch():
    code = 'import sys, colorizer.evaluation; sys.exit(any(m in sys.modules for m in ("torch", "fastai", "onnxruntime")))'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
