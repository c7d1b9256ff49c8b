"""Chroma at full size and colour hints, through the library and the command."""
import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer.cli import main
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.merging import merge
from colorizer.inference.photo import PhotoError, open_photo, sample_photos, to_rgb_array
from colorizer.inference.colour import compose, luma, resize_chroma, split
from colorizer.inference.upsampling import guided_rows


def reduced(rgb, factor):
    "Luma, and luma and chroma at a fraction of the size"
    y, c = split(rgb)
    size = y.shape[1]//factor, y.shape[0]//factor
    small = [np.asarray(Image.fromarray(np.ascontiguousarray(o)).resize(size, Image.Resampling.BOX)) for o in (y, c[..., 0], c[..., 1])]
    return y, small[0], np.stack(small[1:], -1)


def psnr(a, b): return -10*np.log10(((a - b)**2).mean())


@pytest.mark.parametrize('factor', [4, 8, 16])
def test_true_chroma_comes_back_better_than_bilinear(factor):
    gain = []
    for path in sample_photos().values():
        rgb = to_rgb_array(open_photo(path))
        y, small, chroma = reduced(rgb, factor)
        guided = np.stack(guided_rows(chroma, y.shape[::-1], small)(0, len(y), y), -1)
        gain.append(psnr(compose(y, guided), rgb/255) - psnr(compose(y, resize_chroma(chroma, y.shape[::-1])), rgb/255))
    assert np.mean(gain) > .8 and min(gain) > 0


@pytest.mark.parametrize('factor', [4, 8])
def test_no_spill_at_strong_edges(factor):
    img = Image.new('RGB', (480, 320), (200, 200, 200))
    ImageDraw.Draw(img).ellipse([60, 60, 260, 260], fill=(180, 30, 30))
    rgb = to_rgb_array(img)
    y, small, chroma = reduced(rgb, factor)
    grey = abs(split(rgb)[1]).max(-1) < .003
    def spill(c): return (np.hypot(*np.moveaxis(c, -1, 0))[grey] > .02).mean()
    guided = np.stack(guided_rows(chroma, y.shape[::-1], small)(0, len(y), y), -1)
    assert spill(guided) < .1*spill(resize_chroma(chroma, y.shape[::-1])) and spill(guided) < .003


def test_strips_join_and_luma_is_kept():
    rgb = to_rgb_array(open_photo(sample_photos()['cat']))
    colorizer = Colorizer()
    assert abs(luma(colorizer.colorize_array(rgb)) - luma(rgb)).max()*255 <= .51
    chroma = colorizer.predict_chroma(luma(rgb))
    assert np.array_equal(merge(rgb, chroma, threads=4), merge(rgb, chroma, threads=1))


def test_a_hint_rules_near_and_leaves_the_rest():
    rgb = np.full((200, 300, 3), 120, np.uint8)
    rgb[:, 150:] = 30  # an edge
    colorizer = Colorizer()
    plain = split(colorizer.colorize_array(rgb))[1]
    hinted = split(colorizer.colorize_array(rgb, hints=[(60, 100, '#c03030')]))[1]
    assert abs(hinted[100, 60] - split(np.array([0xc0, 0x30, 0x30], np.uint8))[1]).max() < .01
    assert abs(hinted[100, 260] - plain[100, 260]).max() < .02


def test_hints_count_in_the_upright_photo(tmp_path, capsys):
    img = Image.fromarray(np.full((80, 160), 120, np.uint8))
    exif = Image.Exif()
    exif[0x112] = 6  # stands upright at 80×160
    img.save(tmp_path/'side.jpg', exif=exif, quality=95)
    assert main([str(tmp_path/'side.jpg'), '--hint', '40,150,#c03030', '-o', str(tmp_path/'out.png')]) == 0
    out = split(to_rgb_array(open_photo(tmp_path/'out.png')))[1]
    assert out.shape[:2] == (160, 80) and out[150, 40, 1] > .2
    capsys.readouterr()
    assert main([str(tmp_path/'side.jpg'), '--hint', '150,40,#c03030', '-o', str(tmp_path/'no.png')]) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'outside the photo, which has 80×160' in said and not (tmp_path/'no.png').exists()


@pytest.mark.parametrize('hint', ['5,5', '5,5,', 'a,b,red', '5,5,no-colour', ',,', 'nan,5,red', '5;5;red', '1e999,5,red'])
def test_a_bad_hint_is_one_clear_line(tmp_path, capsys, hint):
    Image.new('L', (20, 20), 90).save(tmp_path/'grey.png')
    try: status = main([str(tmp_path/'grey.png'), '--hint', hint])
    except SystemExit as e: status = e.code
    said = capsys.readouterr().err.strip().split('\n')[-1]
    assert status in (1, 2) and 'hint' in said and 'Traceback' not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ['grey.png']


def test_hints_are_checked_before_the_work():
    with pytest.raises(PhotoError, match='outside'): Colorizer().colorize(sample_photos()['cat'], hints=[(10_000, 5, 'red')])
