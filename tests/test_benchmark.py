"""Photos, systems and the protocol: `colorizer evaluate` from end to end, without its pages."""
import csv, json, math, os, sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageEnhance
from scipy.stats import bootstrap

from colorizer.evaluation import benchmark as b
from colorizer.evaluation import baselines, network_measures, metrics as ev
from colorizer.cli import main
from colorizer.inference.photo import sample_photos

ROOT = Path(__file__).parent.parent


def noise(seed, size=(40, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)

def save(path, rgb, **kw):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path, **kw)
    return path

def quiet(line): pass


@pytest.fixture
def folder(tmp_path):
    "Two colour photos of one name in two folders, a photo without colour, a broken one and a text"
    top = tmp_path/'photos'
    top.mkdir()
    for sub, seed in (('one', 1), ('two', 2)): save(top/sub/'a.png', noise(seed)//4 + np.array([90, 60, 20], np.uint8))
    save(top/'grey.png', np.repeat(noise(5)[..., :1], 3, axis=2))
    (top/'broken.jpg').write_bytes((sample_photos()['cat'].read_bytes())[:2000])
    (top/'notes.txt').write_text('no photo')
    return top

@pytest.fixture
def photos(folder): return b.photos_to_judge([folder], left_out=quiet)

@pytest.fixture
def model(tmp_path):
    "An ONNX model of the agreed contract that gives every pixel Cb = -0.05, Cr = 0.08"
    constant = [helper.make_tensor(k, TensorProto.FLOAT, [1], [v]) for k, v in (('zero', 0.), ('cb', -.05), ('cr', .08))]
    nodes = [helper.make_node('Mul', ['luma', 'zero'], ['none']), helper.make_node('Add', ['none', 'cb'], ['b']),
             helper.make_node('Add', ['none', 'cr'], ['r']), helper.make_node('Concat', ['b', 'r'], ['chroma'], axis=1)]
    ports = [helper.make_tensor_value_info(k, TensorProto.FLOAT, ['n', c, 'h', 'w']) for k, c in (('luma', 1), ('chroma', 2))]
    net = helper.make_model(helper.make_graph(nodes, 'constant', ports[:1], ports[1:], constant),
        opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    helper.set_model_props(net, {'colorizer.format': '1'})
    onnx.save(net, tmp_path/'constant.onnx')
    return str(tmp_path/'constant.onnx')

def python(code): return f'{sys.executable} -c "{code}"'

COPY = python("import shutil; shutil.copy(r'{input}', r'{output}')")


# --- photos

def test_photos_are_named_hashed_and_never_left_out_silently(folder):
    said = []
    found = b.photos_to_judge([folder], left_out=said.append)
    assert [p.file for p in found] == ['one/a.png', 'two/a.png'] and [p.key for p in found] == ['one__a', 'two__a']
    assert found[0].sha256 != found[1].sha256 and len(found[0].sha256) == 64
    assert len(said) == 2 and 'broken.jpg' in said[0] and 'grey.png: has no colour' in said[1]
    with pytest.raises(ValueError, match='no colour photo'): b.photos_to_judge([folder/'grey.png'], left_out=quiet)
    with pytest.warns(UserWarning, match='left out: .*grey.png'): b.photos_to_judge([folder])


def test_toned_prints_are_left_out_and_pale_photos_are_not(tmp_path, capsys):
    "The rule is stricter than that of --skip-colour, which takes the pale photo for a print"
    from colorizer.inference.photo import open_photo, save_photo
    said, grey = [], np.asarray(open_photo(sample_photos()['cat']).convert('L'))[..., None]/255
    sepia = Image.fromarray((255*grey**[.8, 1, 1.4]).astype(np.uint8))
    save(tmp_path/'sepia.png', np.asarray(sepia)); save_photo(sepia, tmp_path/'sepia.jpg')
    cat, pale = sample_photos()['cat'], tmp_path/'pale.png'
    save_photo(ImageEnhance.Color(open_photo(sample_photos()['coffee'])).enhance(.3), pale)
    photos = [cat, pale, tmp_path/'sepia.png', tmp_path/'sepia.jpg']
    assert {p.path for p in b.photos_to_judge(photos, left_out=said.append)} == {cat, pale}
    assert len(said) == 2 and all('is toned' in o for o in said)
    for path in photos:
        main([str(path), '--skip-colour', '-o', str(tmp_path/f'out{path.suffix}'), '-f'])
        assert ('in colour already' in capsys.readouterr().err) == (path == cat)


# --- systems

def test_rows_are_the_measures_of_what_each_system_made(photos):
    seen, truth = [], ev.truth_of(photos[0].path)
    def oracle(photo, g):
        seen.append((photo.file, g.mode))
        return Image.fromarray(truth)
    rows = b.evaluate([b.System('oracle', oracle), b.grey_system()], photos, progress=False)
    assert [(r['file'], r['system'], r['output']) for r in rows] == [(f, s, o) for f in ('one/a.png', 'two/a.png')
        for s in ('oracle', 'grey') for o in ('raw', 'merged')]
    assert seen == [('one/a.png', 'L'), ('two/a.png', 'L')]
    of = {(r['file'][:3], r['system'], r['output']): r for r in rows}
    first = of['one', 'oracle', 'raw']
    assert first['psnr'] == math.inf and first['ciede2000'] == 0
    assert first['colourfulness'] == first['real_colourfulness'] == ev.colourfulness(truth) > 5
    assert first['real_colourfulness_abs'] == ev.colourfulness(truth, signed=False)
    other = ev.truth_of(photos[1].path)
    assert {k: of['two', 'oracle', 'raw'][k] for k in ev.METRICS} == {k: f(truth, other) for k, f in ev.METRICS.items()}
    merged = b.keep_luma(truth, ev.grey_input(other))
    assert {k: of['two', 'oracle', 'merged'][k] for k in ev.METRICS} == {k: f(merged, other) for k, f in ev.METRICS.items()}
    assert of['two', 'oracle', 'merged']['psnr'] > of['two', 'oracle', 'raw']['psnr'] + 1   # the right light again
    plain = np.repeat(np.asarray(ev.grey_input(truth))[..., None], 3, axis=2)
    assert {k: of['one', 'grey', 'raw'][k] for k in ev.METRICS} == {k: f(plain, truth) for k, f in ev.METRICS.items()}

def test_keep_luma_keeps_luma_and_hue():
    light, other = noise(0), noise(1)
    g = ev.grey_input(other)
    made = b.keep_luma(light, g)
    assert abs(np.rint(made @ [.299, .587, .114]) - np.asarray(g)).max() <= 1
    assert (b.keep_luma(np.repeat(light[..., :1], 3, 2), g) == np.asarray(g)[..., None]).all()

def test_the_mean_chroma_never_knows_the_answer(photos, folder):
    "Three photos; the mean for one of them is that of the others"
    plain = [save(folder.parent/'other'/f'{i}.png', (noise(i, (20, 20))//4 + np.array(rgb)).astype(np.uint8))
        for i, rgb in enumerate([(180, 90, 40), (60, 90, 180), (90, 140, 60)])]
    system = b.mean_system([folder.parent/'other'])
    judged = b.photos_to_judge(plain)[0]
    g = ev.grey_input(ev.truth_of(judged.path))
    assert (np.asarray(system.colour(judged, g)) == np.asarray(baselines.constant_chroma(baselines.mean_chroma(plain[1:]))(g))).all()
    assert (np.asarray(system.colour(photos[0], g)) == np.asarray(baselines.constant_chroma(baselines.mean_chroma(plain))(g))).all()
    assert system.name == 'mean chroma' and b.mean_system().name == 'mean chroma (embedded photos)'
    assert 'embedded' in b.mean_system().about['kind']

def test_a_folder_of_results_is_matched_by_name(photos, tmp_path):
    made = tmp_path/'made'
    for p, seed in zip(photos, (7, 8)):
        save(made/f'{p.key}_colour.jpg' if seed == 7 else made/f'{p.key}.png', noise(seed), **({'quality': 100} if seed == 7 else {}))
    system = b.folder_system('made', made, photos)
    assert (np.asarray(system.colour(photos[1], None)) == noise(8)).all() and all(map(system.has, photos))
    save(made/f'{photos[1].key}.jpg', noise(9))
    with pytest.raises(ValueError, match='two__a.(png|jpg) and two__a.(png|jpg). Keep one'): b.folder_system('made', made, photos)

def test_pictures_of_another_size_are_resized_and_counted(photos, tmp_path):
    for p in photos: save(tmp_path/'half'/f'{p.key}.png', np.asarray(Image.open(p.path).resize((15, 20), Image.Resampling.BOX)))
    rows = b.evaluate([b.folder_system('half', tmp_path/'half', photos), b.grey_system()], photos, progress=False)
    assert {r['given_size'] for r in rows if r['system'] == 'half'} == {'15×20'} and {r['given_size'] for r in rows
        if r['system'] == 'grey'} == {''}
    s = b.summarise(rows)
    assert s[0]['resized'] == 2 and 'half: 2 of 2 pictures had another size and were resized.' in b.sentences(s)

def test_pictures_of_another_shape_are_not_compared(photos, tmp_path):
    said = []
    save(tmp_path/'square'/'one__a.png', noise(1, (30, 30))); save(tmp_path/'square'/'two__a.png', noise(1, (40, 30)))
    rows = b.evaluate([b.folder_system('square', tmp_path/'square', photos), b.grey_system()], photos, progress=False, left_out=said.append)
    assert {r['file'] for r in rows} == {'two/a.png'}   # for grey as well: means over the same photos
    assert len(said) == 1 and '30×30 for a photo of 30×40: it was cropped or stretched' in said[0]

def test_a_command_gets_the_grey_picture_and_is_asked_once(photos, tmp_path):
    log = tmp_path/'log'
    code = f"open(r'{log}','a').write('x'); from PIL import Image; im = Image.open(r'{{input}}'); im.rotate(180).save(r'{{output}}')"
    system = b.command_system('turn', python(code), photos)
    expected = np.asarray(ev.grey_input(ev.truth_of(photos[1].path)))[::-1, ::-1]
    for _ in range(2): assert (np.asarray(system.colour(photos[1], None).convert('L')) == expected).all()
    assert log.read_text() == 'x'

def test_a_command_for_folders_runs_once_for_all(photos, tmp_path):
    log = tmp_path/'log'
    code = f"open(r'{log}','a').write('x'); import shutil; shutil.copytree(r'{{inputs}}', r'{{outputs}}', dirs_exist_ok=True)"
    system = b.command_system('copy', python(code), photos)
    assert [np.asarray(system.colour(p, None)).shape for p in photos] == [(40, 30, 3)] * 2 and log.read_text() == 'x'

def test_commands_that_fail_are_one_line(photos):
    for command, message in {'true': 'must say where', 'no-such-program {input} {output}': 'no-such-program cannot be run',
        python("import sys; sys.exit('no\\nmemory')") + ' {inputs} {outputs}': 'status 1 .memory'}.items():
        with pytest.raises(ValueError, match=message) as e: b.command_system('x', command, photos).colour(photos[0], None)
        assert '\n' not in str(e.value)
    said = []
    with pytest.raises(ValueError, match='no photo that all systems'):
        b.evaluate([b.command_system('x', python('pass') + ' {input} {output}', photos), b.grey_system()], photos, progress=False,
            left_out=said.append)
    assert len(said) == 2 and 'x: made no one__a.png' in said[0]

def test_words_become_systems(photos, model, tmp_path):
    save(tmp_path/'mine'/'one__a.png', noise(1)); save(tmp_path/'mine'/'two__a.png', noise(1))
    systems = b.open_systems(['grey', 'mean', 'default', f'fixed={model}', str(tmp_path/'mine'), f'my copy=cmd:{COPY}'], photos)
    # the baselines, once, and always
    assert [s.name for s in systems] == ['default', 'fixed', 'mine', 'my copy', 'mean chroma (embedded photos)', 'grey']
    assert systems[1].about['sha256'] != systems[0].about['sha256'] and systems[3].about['kind'] == 'command'
    assert (np.asarray(b.open_system(model.removesuffix('.onnx'), photos).colour(photos[0], ev.grey_input(noise(3)))) ==
            np.asarray(baselines.constant_chroma([-.05, .08])(ev.grey_input(noise(3)))).astype(int)).mean() > .5
    for spec, message in {'nothing': 'neither a model', str(photos[0].path): 'neither a model', 'cmd:': 'must say where'}.items():
        with pytest.raises(ValueError, match=message): b.open_system(spec, photos)

@pytest.mark.usefixtures('trace_once')
def test_weights_of_a_training_run_are_what_export_makes_of_them(photos, tmp_path):
    from colorizer.training.architecture import create_unet
    from colorizer.training.export import export_onnx
    from colorizer.training.checkpoints import load_weights, save_weights
    net = create_unet('mobilenet_v2', pretrained=False, tf_padding=True).eval()
    save_weights(net, tmp_path/'best.safetensors')
    export_onnx(net, tmp_path/'other.onnx')
    g = ev.grey_input(ev.truth_of(photos[0].path))
    systems = [b.open_system(str(tmp_path/k), photos, convert=lambda weights, path: export_onnx(load_weights(weights), path))
        for k in ('best', 'other.onnx')]
    one, other = (np.asarray(s.colour(photos[0], g)) for s in systems)
    assert (one == other).all() and systems[0].about['file'] == 'best.safetensors'

def test_weights_without_a_converter_are_refused_in_one_line(photos, tmp_path):
    (tmp_path/'best.safetensors').write_text('weights')
    with pytest.raises(ValueError, match='weights of a training run.*colorizer export'): b.open_system(str(tmp_path/'best'), photos)

@pytest.mark.usefixtures('trace_once')
def test_the_command_judges_weights_of_a_training_run(folder, tmp_path, capsys):
    from colorizer.training.architecture import create_unet
    from colorizer.training.checkpoints import save_weights
    save_weights(create_unet('mobilenet_v2', pretrained=False).eval(), tmp_path/'best.safetensors')
    assert main(['evaluate', str(folder), '--size', '32', '--models', 'default', str(tmp_path/'best.safetensors')]) == 0
    out = capsys.readouterr().out
    assert 'best.safetensors against grey' in out and 'default against grey' in out


# --- means and intervals

def made_rows(n=50, seed=0):
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        real = dict(real_colourfulness=rng.uniform(30, 50), real_colourfulness_abs=30.)
        g = dict(psnr=rng.normal(22, 4), psnr_ab=25., ssim=.9, ciede2000=rng.uniform(4, 20), ab_distance=18., colourfulness=0.,
            colourfulness_abs=0.)
        m = g | dict(psnr=g['psnr'] + rng.normal(1, .5), ciede2000=g['ciede2000']*(1 - .03*g['ciede2000'] + rng.normal(0, .02)),
            colourfulness=rng.uniform(15, 35))
        for system, values in (('net', m), ('grey', g)):
            for output in ('raw', 'merged'):
                rows.append(dict(file=f'{i}.jpg', system=system, output=output, given_size='') | values | real | dict(_hues=[]))
    return rows

def column(rows, k, system='net'): return np.array([r[k] for r in rows if (r['system'], r['output']) == (system, 'raw')])

def test_summary_and_its_margins():
    rows = made_rows()
    s = b.summarise(rows)[0]
    assert (s['system'], s['output'], s['photos']) == ('net', 'raw', 50)
    assert s['psnr'] == pytest.approx(column(rows, 'psnr').mean())
    assert s['psnr_vs_grey'] == pytest.approx((column(rows, 'psnr') - column(rows, 'psnr', 'grey')).mean())
    assert s['ciede2000_percent'] == pytest.approx(100*(column(rows, 'ciede2000').mean()/column(rows, 'ciede2000',
        'grey').mean() - 1)) and s['ciede2000_percent'] < 0
    assert s['colourfulness_share'] == pytest.approx(100*column(rows, 'colourfulness').mean()/column(rows, 'real_colourfulness').mean())
    assert s['delta_colourfulness'] == pytest.approx(column(rows, 'real_colourfulness').mean() - column(rows, 'colourfulness').mean())

def test_intervals_agree_with_scipy():
    rows = made_rows()
    s = b.summarise(rows, n=20000)[0]
    options = dict(n_resamples=20000, method='percentile', rng=np.random.default_rng(0))  # unseeded, a run is now and then off by more
    def scipys(values): return tuple(bootstrap((np.array(values),), np.mean, **options).confidence_interval)
    assert s['intervals']['psnr'] == pytest.approx(scipys(column(rows, 'psnr')), abs=.05)
    assert s['intervals']['psnr_vs_grey'] == pytest.approx(scipys(column(rows, 'psnr') - column(rows, 'psnr', 'grey')), abs=.01)   # paired
    def change(model, grey, axis=-1): return 100*(model.mean(-1)/grey.mean(-1) - 1)   # a ratio of means, not a mean of ratios
    expected = bootstrap((column(rows, 'ciede2000'), column(rows, 'ciede2000', 'grey')), change, paired=True, vectorized=True,
        **options).confidence_interval
    assert s['intervals']['ciede2000_percent'] == pytest.approx(tuple(expected), abs=.1)
    assert b.summarise(rows) == b.summarise(rows) != b.summarise(rows, seed=1)

def test_infinite_psnr_and_single_photos_are_no_accident():
    rows = made_rows(3)
    rows[0]['psnr'] = math.inf
    s = b.summarise(rows)
    assert s[0]['psnr'] == math.inf and np.isnan(s[0]['intervals']['psnr']).all() and np.isfinite(s[0]['intervals']['ciede2000']).all()
    assert 'PSNR +inf dB, CIEDE2000' in b.sentences(s)[0]
    assert b.summarise(made_rows(1))[0]['intervals'] == {}

def test_the_table_always_has_grey_and_shows_merged_where_it_matters():
    def names(text): return [line.split('|')[1].strip() for line in text.splitlines()]
    rows = made_rows()
    assert names(b.table(b.summarise(rows))) == ['', '---', 'net', 'grey', 'real photos']
    for r in rows: r['ssim'] += .01*((r['system'], r['output']) == ('net', 'merged'))
    text = b.table(b.summarise(rows))
    assert names(text) == ['', '---', 'net', 'net, own luma', 'grey', 'real photos']
    assert f"{column(rows, 'psnr').mean():.2f}" in text and f"{column(rows, 'real_colourfulness').mean():.1f}" in text.splitlines()[-1]

def test_fid_is_of_all_photos_and_comes_with_a_warning():
    pytest.importorskip('pytorch_fid')
    rng, rows = np.random.default_rng(0), made_rows(8)
    for r in rows: r |= dict(_features=rng.normal(size=3), _real_features=rng.normal(size=3))
    own = [r for r in rows if (r['system'], r['output']) == ('net', 'raw')]
    s = b.summarise(rows)
    assert s[0]['fid'] == network_measures.fid([r['_features'] for r in own], [r['_real_features'] for r in own]) > 0
    assert 'FID of 8 photos' in b.sentences(s)[-1] and 'FID' in b.table(s) and '_features' not in b.to_json(rows)

def test_lpips_is_measured_where_it_is_given(photos):
    rows = b.evaluate([b.grey_system()], photos, lpips=lambda p, t: float(p[0, 0, 0]), progress=False)
    s = b.summarise(rows)
    assert s[0]['lpips'] == pytest.approx(np.mean([np.asarray(ev.grey_input(ev.truth_of(p.path)))[0, 0]
        for p in photos])) and s[0]['lpips_vs_grey'] == 0
    assert 'LPIPS ↓' in b.table(s)


# --- hues

def two_halves(top, bottom): return np.vstack([np.full((20, 30, 3), o, np.uint8) for o in (top, bottom)])

def test_hue_of_a_region_by_hand():
    "sRGB red: a = 80.09, b = 67.20; blue: a = 79.19, b = -107.86 (published values)"
    picture, region = two_halves((255, 0, 0), (0, 0, 255)), b.Region('x', 'red', ((0, 0), (1, 0), (1, .45), (0, .45)))
    hue, chroma = b.hue_of(picture, b.region_mask(region, picture.shape))
    assert (hue, chroma) == pytest.approx((math.degrees(math.atan2(67.20, 80.09)), math.hypot(67.20, 80.09)), abs=.05)
    lower = b.Region('x', 'blue', ((0, .6), (1, .6), (.5, 1)))
    assert b.hue_of(picture, b.region_mask(lower, picture.shape))[0] == pytest.approx(360 - math.degrees(math.atan2(107.86, 79.19)),
        abs=.05)

@pytest.mark.parametrize('pred, right, counts', [((200, 120, 100), True, True), ((150, 150, 150), False, True),
    ((120, 120, 200), False, True), ((200, 190, 90), False, True)])
def test_right_hues(pred, right, counts):
    truth, whole = two_halves((190, 110, 90), (190, 110, 90)), b.Region('x', 'skin', ((0, 0), (1, 0), (1, 1), (0, 1)))
    found = b.check_hue(two_halves(pred, pred), truth, whole)
    assert (found['right'], found['counts']) == (right, counts) and found['off'] <= 180
    grey = two_halves((90, 90, 90), (90, 90, 90))
    assert not b.check_hue(two_halves(pred, pred), grey, whole)['counts']   # a grey truth has no hue

def test_shares_of_hues_are_drawn_by_photo(tmp_path):
    for i in range(4): save(tmp_path/'p'/f'{i}.png', two_halves((190, 110, 90), (110, 125, 200)))
    photos = b.photos_to_judge([tmp_path/'p'])
    (tmp_path/'l.json').write_text(json.dumps(dict(regions=[{'file': p.file, 'class': c, 'box': box} for p in photos
        for c, box in (('skin', [0, 0, 1, .4]), ('sky', [0, .6, 1, .9]))])))
    brown = b.System('brown', lambda p, g: Image.fromarray(two_halves((190, 110, 90), (190, 110, 90))))
    hues = b.summarise_hues(b.evaluate([brown, b.grey_system()], photos, regions=b.load_regions(tmp_path/'l.json'), progress=False))
    of = {(h['system'], h['label']): h for h in hues if h['output'] == 'raw'}
    assert [of['brown', k]['right'] for k in ('skin', 'sky', 'all')] == [100, 0, 50] and of['brown', 'all']['regions'] == 8
    assert of['brown', 'all']['interval'] == (50, 50)   # every photo is half right: which of them are drawn makes no difference
    assert of['grey', 'all']['grey'] == 100 and of['grey', 'all']['right'] == 0
    assert '| brown | sky | 4 | 0 |' in b.hue_table(hues)

def test_labels_of_both_formats(tmp_path):
    (tmp_path/'l.csv').write_text('file,class,left,top,right,bottom\na.jpg,sky,0,0,1,0.5\n')
    (tmp_path/'l.json').write_text('{"regions": [{"file": "a.jpg", "class": "sky", "box": [0, 0, 1, 0.5]}]}')
    assert b.load_regions(tmp_path/'l.csv') == b.load_regions(tmp_path/'l.json') == [b.Region('a.jpg', 'sky',
        ((0, 0), (1, 0), (1, .5), (0, .5)))]

@pytest.mark.parametrize('text, message', [('{', 'not a file of regions'), ('[]', 'not a file of regions'),
    ('{"regions": []}', 'holds no regions'),
    ('{"regions": [{"file": "a", "class": "b", "box": [0, 0, 1, 2]}]}', 'region 1 is wrong'),
    ('{"regions": [{"file": "a", "class": "b", "box": [1, 0, 0, 1]}]}', 'region 1 is wrong'),
    ('{"regions": [{"file": "a", "box": [0, 0, 1, 1]}]}', "region 1 is wrong .KeyError: 'class'"),
    ('{"regions": [{"file": "a", "class": "b", "polygon": [[0, 0], [1, 1]]}]}', 'region 1 is wrong')])
def test_wrong_labels_are_one_line(text, message, tmp_path):
    (tmp_path/'l.json').write_text(text)
    with pytest.raises(ValueError, match=message) as e: b.load_regions(tmp_path/'l.json')
    assert '\n' not in str(e.value) and 'l.json' in str(e.value)

def test_the_labels_in_the_repository_can_be_used():
    regions = b.load_regions(ROOT/'benchmarks/valid_regions.json')
    count = {k: sum(r.label == k for r in regions) for k in ('sky', 'vegetation', 'skin')}
    assert sum(count.values()) == len(regions) >= 60 and min(count.values()) >= 20
    assert len(set(regions)) == len(regions)


# --- the protocol

def test_the_protocol_changes_with_everything_that_matters(photos, folder, tmp_path, monkeypatch):
    (tmp_path/'l.json').write_text('{"regions": [{"file": "a.png", "class": "sky", "box": [0, 0, 1, 0.5]}]}')
    def sha(*args, **kw): return b.protocol(*(args or (photos,)), **kw)['sha256']
    base = sha()
    assert sha() == base == sha(photos[::-1])
    seen = {base}
    def new(value): assert value not in seen; seen.add(value)
    new(sha(photos[:1]))
    for change in (dict(size=128), dict(n=1000), dict(seed=1), dict(measures=['lpips']), dict(measures=['fid']),
        dict(regions=tmp_path/'l.json')): new(sha(**change))
    (tmp_path/'l.json').write_text('{"regions": [{"file": "a.png", "class": "sky", "box": [0, 0, 1, 0.6]}]}')
    new(sha(regions=tmp_path/'l.json'))
    with Image.open(photos[0].path) as img: pixels = np.array(img)
    pixels[0, 0, 0] ^= 1   # one bit of one pixel of one photo
    save(photos[0].path, pixels)
    new(sha(b.photos_to_judge([folder], left_out=quiet)))

def test_the_protocol_changes_with_the_code_and_the_libraries(photos, monkeypatch):
    base = b.protocol(photos)['sha256']
    def changed(where, what):
        with monkeypatch.context() as m:
            m.setattr(where, what)
            return b.protocol(photos)['sha256'] != base
    # another library
    assert changed('colorizer.evaluation.benchmark.version', lambda name: '99')
    # another colorizer
    assert changed('colorizer.evaluation.benchmark.__version__', '99')
    assert changed('colorizer.evaluation.metrics.luma', lambda rgb: np.asarray(rgb, np.float32).mean(-1)/255)              # another grey
    assert changed('colorizer.evaluation.metrics.colourfulness', lambda rgb, signed=True: 1.)                              # another formula
    # another merge
    assert changed('colorizer.evaluation.benchmark.keep_luma', lambda pred, g: pred)
    assert changed('colorizer.evaluation.benchmark.HUE_TOLERANCE', 40) and changed('colorizer.evaluation.benchmark.hue_of', lambda rgb,
        mask: (1., 9.))
    resize = Image.Image.resize
    # another filter
    assert changed('PIL.Image.Image.resize', lambda im, size, how=None, **kw: resize(im, size, Image.Resampling.BICUBIC, **kw))
    assert not changed('colorizer.evaluation.benchmark.worst', None)

def test_a_frozen_protocol_stops_what_cannot_be_compared(folder, tmp_path, capsys):
    frozen = tmp_path/'frozen.json'
    assert main(['evaluate', str(folder), '--size', '24', '--protocol', str(frozen)]) == 0
    assert json.loads(frozen.read_text())['sha256'][:16] in capsys.readouterr().out
    before = frozen.read_bytes()
    assert main(['evaluate', str(folder), '--size', '24', '--protocol', str(frozen)]) == 0
    capsys.readouterr()
    assert main(['evaluate', str(folder), '--size', '25', '--protocol', str(frozen)]) == 1
    out, err = capsys.readouterr()
    assert out == '' and 'not the frozen one: size differs' in err.splitlines()[-1]   # the probe has a size of its own
    assert main(['evaluate', str(folder/'one'), '--size', '24', '--protocol', str(frozen)]) == 1
    assert 'photos differs' in capsys.readouterr().err and frozen.read_bytes() == before
    for text in ('', '[]', '{}'):
        frozen.write_text(text)
        assert main(['evaluate', str(folder), '--size', '24', '--protocol', str(frozen)]) == 1
        assert 'holds no protocol' in capsys.readouterr().err.splitlines()[-1]


# --- the command

def test_the_command_prints_the_table(folder, model, tmp_path, capsys):
    assert main(['evaluate', str(folder), '--models', model, f'copy=cmd:{COPY}', '--size', '24']) == 0
    out, err = capsys.readouterr()
    names = [line.split('|')[1].strip() for line in out.splitlines() if line.startswith('|')]
    assert names == ['', '---', model, 'copy', 'mean chroma (embedded photos)', 'grey', 'real photos']
    assert 'broken.jpg' in err and 'grey.png' in err and 'Protocol ' in out.splitlines()[-1] and out.splitlines()[-1].startswith('2 photos')

def test_the_command_prints_json(folder, model, capsys):
    assert main(['evaluate', str(folder/'one'), '--models', model, '--size', '24', '--json', '--mean-chroma-from', str(folder/'two')]) == 0
    out = json.loads(capsys.readouterr().out)
    summary = {s['system']: s for s in out['summary'] if s['output'] == 'raw'}
    assert summary['mean chroma']['psnr'] > summary['grey']['psnr'] and summary['grey']['photos'] == 1
    # The command's figures are those of the model's colour, as the constant itself gives it.
    truth = ev.truth_of(folder/'one'/'a.png', 24)
    exact = ev.ciede2000(np.asarray(baselines.constant_chroma([-.05, .08])(ev.grey_input(truth))), truth)
    assert summary[model]['ciede2000'] == pytest.approx(exact, abs=.2)
    assert str(folder) not in json.dumps(out['protocol'])

def test_inputs_are_what_systems_get(folder, tmp_path, capsys):
    assert main(['evaluate', str(folder), '--inputs', str(tmp_path/'in'), '--size', '24']) == 0
    paths = capsys.readouterr().out.split()
    assert [Path(p).name for p in paths] == ['one__a.png', 'two__a.png']
    assert (np.asarray(Image.open(paths[0]).convert('L')) == np.asarray(ev.grey_input(ev.truth_of(folder/'one'/'a.png', 24)))).all()

def test_photos_that_a_folder_lacks_are_said_once(folder, tmp_path, capsys):
    save(tmp_path/'made'/'one__a.png', noise(1))
    assert main(['evaluate', str(folder), '--models', str(tmp_path/'made')]) == 0
    out, err = capsys.readouterr()
    assert '1 photo, whole' in out and 'left out for all systems: made has no picture of 1 photo, such as two/a.png' in err

def test_the_command_refuses_before_it_works(folder, model, tmp_path, capsys):
    (tmp_path/'file').write_text('')
    (tmp_path/'l.json').write_text('{"regions": [{"file": "elsewhere.png", "class": "sky", "box": [0, 0, 1, 0.5]}]}')
    cases = {('nothing.jpg',): 'no such file', (folder/'one', '-o', tmp_path/'file'/'out'): 'cannot be created',
        (folder/'one', '--protocol', tmp_path/'no'/'p.json'): 'no folder',
             (folder/'one', '--models', 'nothing'): 'neither a model', (folder/'one', '--models', 'default',
             'default'): "two systems are called 'default'",
             (folder/'one', '--mean-chroma-from', folder): 'are among the evaluated ones',
             (folder/'one', '--regions', tmp_path/'l.json'): 'none of its regions',
             (folder/'one', '--regions', tmp_path/'no.json'): 'cannot be read'}
    for args, message in cases.items():
        assert main(['evaluate', *map(str, args)]) == 1, args
        out, err = capsys.readouterr()
        assert out == '' and message in err and len(err.splitlines()) == 1, (args, err)
    with pytest.raises(SystemExit, match='2'): main(['evaluate', str(folder/'one'), '--size', '5'])
    assert capsys.readouterr().err.splitlines()[-1] == 'colorizer evaluate: error: argument --size: 5 is not between 11 and 4096'

def test_csv_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path/'out.csv'; path.write_text('old')
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(ValueError, match='cannot be written .No space left'): b.save_csv(made_rows(2), path)
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['out.csv']

def test_csv_has_a_line_for_each_photo_system_and_output(tmp_path):
    rows = made_rows(3)
    b.save_csv(rows, tmp_path/'out.csv')
    with open(tmp_path/'out.csv', encoding='utf-8', newline='') as f: found = list(csv.DictReader(f))
    assert [(r['file'], r['system'], r['output']) for r in found] == [(r['file'], r['system'], r['output']) for r in rows]
    assert float(found[0]['psnr']) == rows[0]['psnr'] and not [k for k in found[0] if k.startswith('_')]
