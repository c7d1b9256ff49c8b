"""Files in and out: what becomes of each kind of file that people have, good or broken, and of a folder of them."""
import io, os, signal, struct, subprocess, sys, time, zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

from colorizer.cli import main
from colorizer.inference.files import SOFTWARE, colorize_file, format_for
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.merging import merge_halved
from colorizer.inference.decoding import heic_plugin
from colorizer.inference.photo import PhotoError, open_photo, sample_photos
from colorizer.inference.pixels import srgb_profile, to_pixels, to_rgb_array
from colorizer.inference.colour import luma, split
from known import known_model

ROOT = Path(__file__).parent.parent
Tag, IFD = ExifTags.Base, ExifTags.IFD
needs_heic = pytest.mark.skipif(not heic_plugin(), reason='pillow-heif is not installed')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    "A tiny model whose answer is known: Cb = 0.1, Cr = luma - 0.5"
    return known_model(tmp_path_factory.mktemp('model')/'known.onnx')


@pytest.fixture
def command(model, tmp_path, monkeypatch, capsys):
    "Runs the command in this process, in `tmp_path`: exit status, lines on stdout, lines on stderr"
    monkeypatch.chdir(tmp_path)
    def run(*words):
        capsys.readouterr()
        status = main([*map(str, words), '--model', str(model), '--size', '32'])
        out = capsys.readouterr()
        return status, out.out.splitlines(), out.err.splitlines()
    return run


# Pictures to make files of: small, with a ramp, an edge and some texture

W, H = 60, 40

def grey(i=0, size=(W, H)):
    y, x = np.mgrid[:size[1], :size[0]]
    return Image.fromarray((40 + 150*x/size[0] + 40*(y > size[1]/2) + 8*np.sin(x + y*(i + 1))).astype(np.uint8))

def deep():
    "16 bits, all of them in use"
    return Image.fromarray((np.asarray(grey()).astype(np.uint16) << 8) + np.arange(W*H, dtype=np.uint16).reshape(H, W) % 251)

def colour(i=0): return Image.merge('RGB', [grey(i), grey(i + 3).transpose(0), grey(i + 7).transpose(1)])

def sepia():
    y = np.asarray(grey())[..., None]/255
    return Image.fromarray(((y*(1, .94, .8) + (1 - y)*(.2, .1, .02))*255).astype(np.uint8))

def hole(mode):
    "Transparent on the left, half transparent in the middle"
    img, alpha = (grey() if mode == 'LA' else colour()).convert(mode), np.full((H, W), 255, np.uint8)
    alpha[:, :20], alpha[:, 20:30] = 0, 128
    img.putalpha(Image.fromarray(alpha))
    return img

def in_palette(clear=False):
    img = colour().quantize(32)
    if clear: img.info['transparency'] = img.getpixel((5, 5))
    return img

def save(img, fmt, **options):
    f = io.BytesIO()
    img.save(f, fmt, **options)
    return f.getvalue()

def several(fmt, frames, **options): return save(frames[0], fmt, save_all=True, append_images=frames[1:], **options)

def exif(orientation=1):
    out = Image.Exif()
    out.update({Tag.Orientation: orientation, Tag.Artist: 'Aunt Grace', Tag.ImageDescription: 'the yard', Tag.Software: 'ScanWell 3'})
    out[IFD.Exif] = {Tag.ExposureTime: .25, Tag.DateTimeOriginal: '1984:07:01 12:00:00', Tag.MakerNote: b'notes'}
    out[IFD.GPSInfo] = {1: 'N', 2: (51., 30., 0.)}
    return out

XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
       b'<r:Description title="The yard"/></r:RDF></x:xmpmeta>')
IPTC = b'Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x0c\x1c\x02\x78\x00\x07theyard'

def curve(space, gamma):
    "An ICC profile with a gamma, for RGB or GRAY; lcms needs no more tags than these"
    def tag(kind, data): return kind + b'\0\0\0\0' + data
    trc = tag(b'curv', struct.pack('>IH', 1, round(gamma*256))) + b'\0\0'
    xyz = lambda *v: tag(b'XYZ ', struct.pack('>iii', *(round(o*65536) for o in v)))
    tags = {b'wtpt': xyz(.9642, 1, .8249), b'kTRC': trc} if space == b'GRAY' else {b'wtpt': xyz(.9642, 1, .8249),
        b'rXYZ': xyz(.61, .311, .0195),
        b'gXYZ': xyz(.2053, .6257, .0609), b'bXYZ': xyz(.1492, .0632, .7446), b'rTRC': trc, b'gTRC': trc, b'bTRC': trc}
    at, body, table = 132 + 12*len(tags), b'', struct.pack('>I', len(tags))
    for k, v in tags.items():
        table += struct.pack('>4sII', k, at + len(body), len(v))
        body += v
    head = struct.pack('>I4sI4s4s4s12x4s4s', at + len(body), b'lcms', 0x02400000, b'mntr', space, b'XYZ ', b'acsp', b'APPL').ljust(68,
        b'\0') + struct.pack('>iii', 63190, 65536, 54061)
    return head.ljust(128, b'\0') + table + body

def segment(data, kind, content):
    "A JPEG with one more segment"
    return data[:2] + b'\xff' + bytes([kind]) + struct.pack('>H', len(content) + 2) + content + data[2:]

def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

def png(width, height, bits, kind, rows=b'', extra=b''):
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)) + extra + chunk(b'IDAT',
        zlib.compress(rows)) + chunk(b'IEND', b'')

def png16(channels):
    a = np.dstack([np.asarray(deep())]*channels).astype('>u2')
    return png(W, H, 16, {2: 4, 3: 2, 4: 6}[channels], b''.join(b'\0' + row.tobytes() for row in a))

def tif16(pages=1):
    data = io.BytesIO()
    with pytest.importorskip('tifffile').TiffWriter(data) as f:
        for _ in range(pages): f.write(np.dstack([np.asarray(deep())]*3), photometric='rgb', metadata=None, software=False)
    return data.getvalue()

def text_png():
    info = PngImagePlugin.PngInfo()
    info.add_text('Title', 'The yard')
    info.add_itxt('Comment', 'Größe', 'de')
    info.add_itxt('XML:com.adobe.xmp', XMP.decode())
    return save(grey(), 'PNG', pnginfo=info, dpi=(300, 300), exif=exif())

def clear_gif():
    frames = []
    for i in range(3):
        a = np.asarray(grey(i)).copy()
        a[:, 10*i:10*i + 10] = 255
        frames.append(Image.fromarray(a))
    return several('GIF', frames, transparency=255, disposal=2, duration=50, loop=0)

def circle_tif():
    "A TIFF whose directory says that the next one is itself"
    data = bytearray(save(grey(), 'TIFF'))
    start, = struct.unpack('<I', data[4:8])
    n, = struct.unpack('<H', data[start:start + 2])
    data[start + 2 + 12*n:start + 6 + 12*n] = struct.pack('<I', start)
    return bytes(data)

def tiff_tags(**more): return dict(tiffinfo={274: 1, 700: XMP, 315: 'Aunt Grace', 33723: IPTC, **more})

SEVERAL = [grey(i) for i in range(4)]
META = dict(exif=exif().tobytes(), xmp=XMP, icc_profile=srgb_profile())
COLOUR, BITS, BLACK = 'in colour already', '8 bits per channel', 'only black and white'

# name: (content, what comes out). Unless said otherwise: RGB, as large as the photo, one picture, no notes,
# luma off by at most 1 of 255 on average
KINDS = {
    # JPEG
    'grey.jpg': (lambda: save(grey(), 'JPEG', quality=90), dict(sampling=0)),
    'bad-quality.jpg': (lambda: save(grey(), 'JPEG', quality=20), dict(table=20)),
    'best-quality.jpg': (lambda: save(grey(), 'JPEG', quality=98), dict(table=98)),
    'progressive.jpg': (lambda: save(grey(), 'JPEG', progressive=True), dict(info=['progressive'])),
    'colour-444.jpg': (lambda: save(colour(), 'JPEG', subsampling=0), dict(notes=[COLOUR], sampling=0)),
    'colour-422.jpg': (lambda: save(colour(), 'JPEG', subsampling=1), dict(notes=[COLOUR], sampling=1)),
    'colour-420.jpg': (lambda: save(colour(), 'JPEG', subsampling=2), dict(notes=[COLOUR], sampling=2, off=2)),
    # no luma in it to be taken as it stands
    'stored-as-rgb.jpg': (lambda: save(colour(), 'JPEG', keep_rgb=True, quality=95), dict(notes=[COLOUR])),
    'sepia.jpg': (lambda: save(sepia(), 'JPEG', quality=90), {}),
    'cmyk.jpg': (lambda: save(colour().convert('CMYK'), 'JPEG', quality=95), dict(notes=[COLOUR])),
    'everything.jpg': (lambda: segment(save(grey(), 'JPEG', comment=b'from the album', dpi=(300, 300), **META), 0xed, IPTC),
        dict(exif=True, xmp=True, icc=srgb_profile(), comment=b'from the album', dpi=300, iptc=True)),
    **{f'orientation-{i}.jpg': (lambda i=i: save(grey(), 'JPEG', exif=exif(i), quality=90),
    dict(exif=True, size=(H, W) if i > 4 else (W, H))) for i in range(2, 9)},
    'grey-profile.jpg': (lambda: save(grey(), 'JPEG', icc_profile=curve(b'GRAY', 1.4), quality=95),
    dict(icc=srgb_profile(), brighter=True)),
    'rgb-profile.jpg': (lambda: save(grey(), 'JPEG', icc_profile=curve(b'RGB ', 1.8)), dict(icc=curve(b'RGB ', 1.8))),
    'broken-profile.jpg': (lambda: save(grey(), 'JPEG', icc_profile=b'\0'*16 + b'GRAY' + b'\0'*99), dict(icc=srgb_profile())),
    'broken-exif.jpg': (lambda: save(grey(), 'JPEG', exif=b'Exif\0\0MM\0*\0\0\0\x08\xff\xffrubbish'), {}),
    'two-pictures.mpo.jpg': (lambda: several('MPO', [grey(), grey(5)]), dict(notes=['holds 2 pictures, of which only the first'])),
    'a-png-in-fact.jpg': (lambda: save(grey(), 'PNG'), dict(off=2)),
    # PNG
    'one-bit.png': (lambda: save(grey().convert('1'), 'PNG'), dict(notes=[BLACK])),
    'grey.png': (lambda: save(grey(), 'PNG'), {}),
    'grey-profile.png': (lambda: save(grey(), 'PNG', icc_profile=curve(b'GRAY', 1.4)), dict(icc=srgb_profile(), brighter=True)),
    'grey-alpha.png': (lambda: save(hole('LA'), 'PNG'), dict(mode='RGBA')),
    'grey-one-level-clear.png': (lambda: save(grey(), 'PNG', transparency=grey().getpixel((5, 5))), dict(mode='RGBA')),
    'palette.png': (lambda: save(in_palette(), 'PNG'), dict(notes=[COLOUR])),
    'palette-clear.png': (lambda: save(in_palette(True), 'PNG'), dict(notes=[COLOUR], mode='RGBA')),
    'colour.png': (lambda: save(colour(), 'PNG'), dict(notes=[COLOUR])),
    'colour-one-clear.png': (lambda: save(colour(), 'PNG', transparency=colour().getpixel((5, 5))), dict(notes=[COLOUR], mode='RGBA')),
    'colour-alpha.png': (lambda: save(hole('RGBA'), 'PNG'), dict(notes=[COLOUR], mode='RGBA')),
    'deep.png': (lambda: save(deep(), 'PNG', dpi=(300, 300), icc_profile=srgb_profile(), exif=exif()),
    dict(bits=16, exif=True, dpi=300, icc=srgb_profile())),
    'deep-one-level-clear.png': (lambda: png(W, H, 16, 0, b''.join(b'\0' + o.astype('>u2').tobytes() for o in np.asarray(deep())),
        chunk(b'tRNS', struct.pack('>H', deep().getpixel((5, 5))))), dict(bits=16, mode='RGBA')),
    'deep-grey-alpha.png': (lambda: png16(2), dict(mode='RGBA', bits=16)),
    'deep-colour.png': (lambda: png16(3), dict(bits=16)),
    'deep-colour.tif': (lambda: tif16(), dict(bits=16)),
    'deep-colour-pages.tif': (lambda: tif16(2), dict(n=2, notes=[BITS])),
    'text.png': (text_png, dict(exif=True, xmp=True, dpi=300, text={'Title': 'The yard', 'Comment': 'Größe'})),
    'animated.png': (lambda: several('PNG', SEVERAL, duration=[100, 200, 300, 400], loop=3), dict(n=4, loop=3, times=[100, 200, 300, 400])),
    'animated-cover.png': (lambda: several('PNG', SEVERAL, duration=[100, 200, 300], loop=0, default_image=True), dict(n=4, loop=0)),
    'one-pixel.png': (lambda: save(grey().crop((0, 0, 1, 1)), 'PNG'), dict(size=(1, 1))),
    'thin.png': (lambda: save(grey(0, (2, 700)), 'PNG'), dict(size=(2, 700))),
    'flat.png': (lambda: save(grey(0, (900, 1)), 'PNG'), dict(size=(900, 1))),
    # GIF
    'still.gif': (lambda: save(grey(), 'GIF'), dict(mode='P', off=3)),
    'animated.gif': (lambda: several('GIF', SEVERAL, duration=[100, 200, 300, 400], loop=3),
    dict(mode='P', n=4, loop=3, times=[100, 200, 300, 400], off=3)),
    'once.gif': (lambda: several('GIF', SEVERAL, duration=100, comment=b'from the album'),
    dict(mode='P', n=4, loop=None, comment=b'from the album', off=3)),
    'clear.gif': (clear_gif, dict(mode='P', n=3, loop=0, off=3)),
    # WebP
    'lossy.webp': (lambda: save(grey(), 'WEBP', **META), dict(exif=True, xmp=True, icc=srgb_profile(), lossless=False, off=2)),
    'lossless.webp': (lambda: save(grey(), 'WEBP', lossless=True), dict(lossless=True)),
    'alpha.webp': (lambda: save(hole('RGBA'), 'WEBP', lossless=True, exact=True), dict(mode='RGBA', notes=[COLOUR])),
    'animated.webp': (lambda: several('WEBP', SEVERAL, duration=[100, 200, 300, 400], loop=3, lossless=True),
    dict(mode='RGBA', n=4, loop=3, times=[100, 200, 300, 400], lossless=True)),
    # TIFF
    'grey.tif': (lambda: save(grey(), 'TIFF', dpi=(300, 300), **tiff_tags()),
    dict(xmp=True, dpi=300, iptc=True, artist=True, compression='raw')),
    'fax.tif': (lambda: save(grey().convert('1'), 'TIFF', compression='group4'), dict(compression='tiff_adobe_deflate', notes=[BLACK])),
    'deep.tif': (lambda: save(deep(), 'TIFF'), dict(bits=16, compression='raw')),
    'deep-lzw.tiff': (lambda: save(deep(), 'TIFF', compression='tiff_lzw'), dict(bits=16, compression='tiff_adobe_deflate')),
    'float.tif': (lambda: save(grey().convert('F'), 'TIFF'), dict(bits=16)),
    'integers.tif': (lambda: save(grey().convert('I').point(lambda v: v*257), 'TIFF'), dict(bits=16)),
    'grey-alpha.tif': (lambda: save(hole('LA'), 'TIFF'), dict(mode='RGBA')),
    'colour-alpha.tif': (lambda: save(hole('RGBA'), 'TIFF'), dict(mode='RGBA', notes=[COLOUR])),
    'cmyk.tif': (lambda: save(colour().convert('CMYK'), 'TIFF'), dict(notes=[COLOUR])),
    'lab.tif': (lambda: save(Image.merge('LAB', [grey(), Image.new('L', (W, H), 128), Image.new('L', (W, H), 128)]), 'TIFF'), dict(off=2)),
    'jpeg-inside.tif': (lambda: save(colour(), 'TIFF', compression='jpeg', quality=95), dict(notes=[COLOUR])),
    'pages.tif': (lambda: several('TIFF', [*SEVERAL, colour(), deep(), grey(0, (9, 300))]), dict(n=7)),
    'sideways.tif': (lambda: save(grey(), 'TIFF', **tiff_tags() | dict(tiffinfo={274: 6, 315: 'Aunt Grace'})),
    dict(size=(H, W), artist=True)),
    'circle.tif': (circle_tif, {}),
    # others
    'grey.bmp': (lambda: save(grey(), 'BMP'), {}),
    'one-bit.bmp': (lambda: save(grey().convert('1'), 'BMP'), dict(notes=[BLACK])),
    'colour.bmp': (lambda: save(colour(), 'BMP'), dict(notes=[COLOUR])),
    'grey.avif': (lambda: save(grey(), 'AVIF', quality=90, **META), dict(exif=True, xmp=True, icc=srgb_profile(), off=2)),
    'alpha.avif': (lambda: save(hole('RGBA'), 'AVIF', quality=95), dict(mode='RGBA', notes=[COLOUR], off=3)),
    'animated.avif': (lambda: several('AVIF', SEVERAL, duration=[100, 200, 300, 400], quality=95),
    dict(n=4, times=[100, 200, 300, 400], off=3)),
    'grey.heic': (lambda: heic_plugin() and save(grey(), 'HEIF', quality=95, **META), dict(exif=True, xmp=True, icc=srgb_profile(), off=3)),
    'grey.jp2': (lambda: save(grey(), 'JPEG2000'), {}),
    'deep.jp2': (lambda: save(deep(), 'JPEG2000'), dict(notes=[BITS])),
    'grey.pgm': (lambda: save(grey(), 'PPM'), dict(out='grey_colour.png')),
    'deep.pgm': (lambda: save(deep(), 'PPM'), dict(out='deep_colour.png', bits=16)),
    'one-bit.pbm': (lambda: save(grey().convert('1'), 'PPM'), dict(out='one-bit_colour.png', notes=[BLACK])),
    'grey.tga': (lambda: save(grey(), 'TGA'), dict(out='grey_colour.png')),
    'grey.pcx': (lambda: save(grey(), 'PCX'), dict(out='grey_colour.png')),
    'several-sizes.ico': (lambda: save(colour().crop((0, 0, 32, 32)), 'ICO', sizes=[(16, 16), (32, 32)]),
    dict(out='several-sizes_colour.png', size=(32, 32), notes=[COLOUR])),
    'no-suffix': (lambda: save(grey(), 'JPEG', quality=95), dict(out='no-suffix_colour.png')),
    'Größe mit Leerzeichen ; $x.JPG': (lambda: save(grey(), 'JPEG', quality=95), dict(out='Größe mit Leerzeichen ; $x_colour.JPG')),
}


def frames(path):
    "Pixels and alpha of every picture in a file, upright, 16 bits where there are"
    out = []
    with Image.open(io.BytesIO(Path(path).read_bytes())) as img:
        many = img.format in ('GIF', 'PNG', 'WEBP', 'AVIF', 'TIFF')
        for i in range(getattr(img, 'n_frames', 1) if many else 1):
            img.seek(i)
            img.load()
            out.append(to_pixels(open_photo(img)))
    return out

def light(pixels): return luma(pixels) if pixels.ndim == 3 else pixels/np.iinfo(pixels.dtype).max


@pytest.mark.parametrize('name', KINDS)
def test_what_comes_out(command, name, tmp_path):
    make, want = KINDS[name]
    if name.endswith('.heic') and not heic_plugin(): pytest.skip('pillow-heif is not installed')
    (tmp_path/name).write_bytes(make())
    out = want.get('out', f'{Path(name).stem}_colour{Path(name).suffix}')
    status, stdout, stderr = command(name)
    assert (status, stdout) == (0, [out]), stderr
    notes = want.get('notes', [])
    assert len(stderr) == len(notes) and all(line.startswith(f'colorizer: {name}: ') and note in line for line,
        note in zip(stderr, notes)), stderr
    assert sorted(os.listdir(tmp_path)) == sorted([name, out])

    before, after = frames(tmp_path/name), frames(tmp_path/out)
    assert len(before) == len(after) == want.get('n', 1)
    for (old, clear), (new, still_clear) in zip(before, after):
        assert (clear is None) == (still_clear is None) or Path(name).suffix in ('.gif', '.webp')
        seen = np.ones(old.shape[:2], bool) if clear is None else clear > 0
        if clear is not None and still_clear is not None:
            assert abs(clear.astype(int) - still_clear).max() <= (0 if 'avif' not in name else 3)
        a, b = light(old)[seen], light(new)[seen]
        assert abs(a - b).mean()*255 < want.get('off', 1), name
        chroma = split(to_rgb_array(new))[1]
        # the model says 0.1, where there is room
        if min(old.shape[:2]) > 8 and BLACK not in notes: assert chroma[seen][..., 0].mean() > .02
    img = Image.open(tmp_path/out)
    assert (img.mode, img.size) == (want.get('mode', 'RGB'), want.get('size', (W, H)))
    check(img, tmp_path/name, want)


def check(img, photo, want):
    "The rest of what a row of the table can say"
    img.load()
    info, tags, fmt = img.info, img.getexif(), img.format
    assert tags.get(Tag.Orientation, 1) == 1
    if fmt not in ('GIF', 'BMP', 'JPEG2000'): assert tags[Tag.Software] == SOFTWARE
    if want.get('exif'):
        assert (tags[Tag.Artist], tags[Tag.ImageDescription], tags.get_ifd(IFD.GPSInfo)[2]) == ('Aunt Grace', 'the yard', (51., 30., 0.))
        assert (inner := tags.get_ifd(IFD.Exif))[Tag.MakerNote] == b'notes' and inner[Tag.ExposureTime] == .25
    elif not want.get('artist'):
        assert set(tags) - {256, 257, 258, 259, 262, 273, 277, 278, 279, 282, 283, 284, 296, 317, 338, 700, 33723, 34675} <= {Tag.Software}
    if want.get('artist'): assert tags[Tag.Artist] == 'Aunt Grace'
    assert info.get('icc_profile') == want.get('icc') or fmt == 'AVIF' and not want.get('icc')
    xmp = info.get('xmp') or info.get('XML:com.adobe.xmp')
    assert (xmp.encode() if isinstance(xmp, str) else xmp) == (XMP if want.get('xmp') else None)
    if 'dpi' in want: assert info['dpi'] == pytest.approx((want['dpi'],)*2, rel=1e-4)
    assert info.get('comment') == want.get('comment') or fmt == 'JPEG2000'
    if 'text' in want: assert {k: img.text[k] for k in want['text']} == want['text']
    if want.get('iptc'): assert IPTC in (img.tag_v2[33723] if fmt == 'TIFF' else dict(img.applist)['APP13'])
    if 'sampling' in want: assert JpegImagePlugin.get_sampling(img) == want['sampling']
    if 'table' in want: assert img.quantization[0] == Image.open(photo).quantization[0] and max(img.quantization[1]) <= 20
    for o in want.get('info', ()): assert info[o]
    if 'loop' in want: assert info.get('loop') == want['loop']
    if 'times' in want:
        times = []
        for i in range(img.n_frames):
            img.seek(i), img.load()
            times.append(round(img.info['duration']))
        assert times == want['times']
    if 'compression' in want: assert info['compression'] == want['compression']
    if 'lossless' in want: assert (b'VP8L' in Path(img.filename).read_bytes()) == want['lossless']
    # gamma 1.4 is brighter than sRGB's
    if want.get('brighter'): assert light(frames(photo)[0][0]).mean() > np.asarray(Image.open(photo)).mean()/255 + .03
    if 'bits' in want: assert np.mean(deep_luma(img.filename) % 257 != 0) > .5 or 'float' in img.filename or 'integers' in img.filename


def deep_luma(path):
    "16-bit luma of a PNG or TIFF, by a reader that is not Pillow's; the light of the photo is in there to the last bit but one"
    if Path(path).suffix == '.png': a = unpack_png(Path(path).read_bytes())
    else: a = pytest.importorskip('tifffile').imread(path)
    assert a.dtype == np.uint16
    y = np.rint(luma(a[..., :3])*65535).astype(int)
    if 'deep' in str(path): assert abs(y - np.asarray(deep()).astype(int)).max() <= 1
    return y

def unpack_png(data):
    at, parts = 8, []
    while at < len(data):
        n, kind = struct.unpack('>I4s', data[at:at + 8])
        if kind == b'IHDR': width, height, bits, colours = struct.unpack('>IIBB', data[at + 8:at + 18])
        if kind == b'IDAT': parts.append(data[at + 8:at + 8 + n])
        at += 12 + n
    rows = np.frombuffer(zlib.decompress(b''.join(parts)), np.uint8).reshape(height, -1)
    assert bits == 16 and set(rows[:, 0]) == {2}  # each row less the one above
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view('>u2').reshape(height, width, {2: 3, 6: 4}[colours]).astype(np.uint16)


# What can't be coloured

def cut(data, part=.6): return data[:int(len(data)*part)]

def gif_bomb():
    "A GIF of a few bytes with 50 frames of 10,000 × 10,000 pixels, 5 thousand million in all"
    frame = b'\x21\xf9\x04\x00\x05\x00\x00\x00\x2c\x00\x00\x00\x00' + struct.pack('<HH', 10000, 10000) + b'\x00\x02\x02\x4c\x01\x00'
    return b'GIF89a' + struct.pack('<HH', 10000, 10000) + b'\x80\x00\x00' + b'\0\0\0\xff\xff\xff' + frame*50 + b';'

BROKEN = {
    'empty.png': (lambda: b'', 'empty (0 bytes)'),
    'letter.jpg': (lambda: b'Dear grandson, here is the photo.', 'not an image'),
    'report.jpg': (lambda: b'%PDF-1.4\n' + b'x'*500, 'not an image'),
    'page.jpg': (lambda: b'<!DOCTYPE html><html>404</html>', 'not an image'),
    'drawing.png': (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'not an image'),
    'header.jpg': (lambda: save(grey(), 'JPEG')[:20], ''),
    'cut.jpg': (lambda: cut(save(grey(), 'JPEG')), 'cut short'),
    'cut.png': (lambda: cut(save(grey(), 'PNG')), 'cut short'),
    'cut.gif': (lambda: cut(save(grey(), 'GIF')), 'cut short'),
    'cut.webp': (lambda: cut(save(grey(), 'WEBP')), ''),
    'cut.tif': (lambda: cut(save(grey(), 'TIFF')), ''),
    'cut.bmp': (lambda: cut(save(grey(), 'BMP')), 'cut short'),
    'cut.avif': (lambda: cut(save(grey(), 'AVIF')), ''),
    'cut.jp2': (lambda: cut(save(grey(), 'JPEG2000'), .3), ''),
    'cut-animation.png': (lambda: cut(several('PNG', SEVERAL), .8), ''),
    'cut-animation.webp': (lambda: cut(several('WEBP', SEVERAL, lossless=True), .8), ''),
    'cut-pages.tif': (lambda: cut(several('TIFF', SEVERAL), .9), ''),
    'bad-checksum.png': (lambda: save(grey(), 'PNG')[:29] + b'\0\0' + save(grey(), 'PNG')[31:], ''),
    'no-pixels.png': (lambda: png(5, 5, 8, 0), ''),
    'no-size.png': (lambda: png(0, 5, 8, 0), ''),
    'odd-depth.png': (lambda: png(5, 5, 7, 0, b'\0'*30), ''),
    'bomb.png': (lambda: png(30000, 30000, 8, 0), '178,956,970 pixels'),
    'bomb.gif': (gif_bomb, '178,956,970 pixels'),
    'bomb.tif': (lambda: save(grey(), 'TIFF').replace(struct.pack('<HHIHH', 256, 4, 1, W, 0), struct.pack('<HHII', 256, 4, 1, 2**31 - 9)),
    ''),
}

@pytest.mark.parametrize('name', BROKEN)
def test_what_does_not(command, name, tmp_path):
    make, why = BROKEN[name]
    (tmp_path/name).write_bytes(make())
    status, stdout, stderr = command(name)
    assert (status, stdout, len(stderr)) == (1, [], 1), (stdout, stderr)
    assert stderr[0].startswith(f'colorizer: {name}: ') and why in stderr[0] and len(stderr[0]) < 300, stderr
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize('make', ['folder', 'pipe', 'link', 'nothing'])
def test_what_is_no_file(command, make, tmp_path):
    if make == 'folder': (tmp_path/'photo.jpg').mkdir()
    if make == 'pipe': os.mkfifo(tmp_path/'photo.jpg')
    if make == 'link': (tmp_path/'photo.jpg').symlink_to('photo.jpg')
    before = os.listdir(tmp_path)
    status, stdout, stderr = command('photo.jpg')
    assert (status, stdout, len(stderr)) == (1, [], 1) and stderr[0].startswith('colorizer: photo.jpg: '), stderr
    assert os.listdir(tmp_path) == before


def test_a_limit_that_is_raised_or_lowered(command, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', Image.MAX_IMAGE_PIXELS)
    grey().save(tmp_path/'grey.png')
    assert '2,000 pixels' in command('grey.png', '--max-pixels', 2000)[2][0]
    assert command('grey.png', '--max-pixels', 2400)[0] == 0
    (tmp_path/'large.png').write_bytes(png(20000, 10000, 8, 0, b''.join([b'\0'*20001]*10000)))
    assert '2,400 pixels' in command('large.png', '--max-pixels', 2400)[2][0]
    assert 'cut short' not in command('large.png', '--max-pixels', 10**8)[2][0]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_sixteen_bits_of_colour_stand_upright(tiny, tmp_path, orientation):
    pytest.importorskip('cv2')
    data = png16(3)
    (tmp_path/'deep.png').write_bytes(data[:33] + chunk(b'eXIf', exif(orientation).tobytes()[6:]) + data[33:])
    found = colorize_file(tiny, tmp_path/'deep.png', tmp_path/'out.png')
    assert found['notes'] == []
    a, want = unpack_png((tmp_path/'out.png').read_bytes()), open_photo(tmp_path/'deep.png')
    assert a.shape[1::-1] == want.size and abs(luma(a)*255 - np.asarray(want.convert('L'))).max() < 2


def test_without_opencv_a_note_says_that_8_bits_were_read(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    monkeypatch.setattr('colorizer.inference.files.find_spec', lambda name: None)
    assert colorize_file(tiny, png16(3),
        tmp_path/'out.png')['notes'] == [
        'read with 8 bits per channel, so it comes out with 8 (for 16: pip install "unet-colorizer[deep]")']


def test_metadata_that_is_too_much_is_left_out_and_the_photo_is_not(command, tmp_path):
    save_to = tmp_path/'much.png'
    info = PngImagePlugin.PngInfo()
    info.add_itxt('XML:com.adobe.xmp', XMP.decode() + ' '*70000)
    grey().save(save_to, pnginfo=info)
    status, stdout, stderr = command('much.png', '-o', 'much.jpg')
    assert status == 0 and 'metadata does not fit into JPEG' in stderr[0]
    assert Image.open(tmp_path/'much.jpg').size == (W, H)


@pytest.mark.parametrize('pair', [('pages.tif', 'out.png', 'PNG holds one picture'),
    ('animated.gif', 'out.jpg', 'JPEG holds one picture'), ('deep.png', 'out.webp', BITS)])
def test_a_format_with_less_room_says_so(command, pair, tmp_path):
    name, out, note = pair
    (tmp_path/name).write_bytes(KINDS[name][0]())
    status, _, stderr = command(name, '-o', out)
    assert status == 0 and note in stderr[-1]


def test_transparent_parts_are_white_in_a_jpeg(command, tmp_path):
    hole('LA').save(tmp_path/'hole.png')
    assert command('hole.png', '-o', 'hole.jpg')[0] == 0
    a = np.asarray(Image.open(tmp_path/'hole.jpg'))
    assert a[:, :16].min() > 245 and a[:, 40:].mean() < 220


@pytest.mark.parametrize('kind', ['grey', 'sepia', 'colour'])
def test_photos_in_colour_can_be_left_alone(command, kind, tmp_path):
    dict(grey=grey, sepia=sepia, colour=colour)[kind]().save(tmp_path/'a.jpg', quality=60)
    status, stdout, stderr = command('a.jpg', '--skip-colour')
    assert status == 0 and stdout == ['a_colour.jpg']*(kind != 'colour')
    assert stderr == ['colorizer: a.jpg: in colour already']*(kind == 'colour')
    assert (tmp_path/'a_colour.jpg').exists() == (kind != 'colour')


def test_the_luma_of_a_colour_jpeg_is_taken_as_it_was_stored(model, tmp_path):
    "To the last bit, not by way of RGB, in which colours that no screen can show are cut off"
    lumas, strong = [], [grey(), *map(Image.fromarray, np.random.default_rng(0).integers(0, 256, (2, H, W), np.uint8))]
    (tmp_path/'a.jpg').write_bytes(save(Image.merge('YCbCr', strong), 'JPEG', quality=98, subsampling=0))
    class Spy(Colorizer):
        def colorize_array(self, pixels, **kw): return lumas.append(pixels) or super().colorize_array(pixels, **kw)
    colorize_file(Spy(model, 32), tmp_path/'a.jpg', tmp_path/'out.png')
    stored = Image.open(tmp_path/'a.jpg')
    stored.draft('L', None)
    assert np.array_equal(lumas[0], np.asarray(stored)) and abs(luma(to_rgb_array(Image.open(tmp_path/'a.jpg')))*255 - lumas[0]).max() > 5


@pytest.mark.parametrize('make, big', [(grey, True), (grey, False), (colour, True), (colour, False)])
def test_a_large_jpeg_gets_its_chroma_at_half_the_size_and_nothing_else_changes(make, big, model, monkeypatch, tmp_path):
    "Cameras do the same. The luma is kept, and the colours are those that the small result has"
    monkeypatch.setattr('colorizer.inference.files.LARGE', 600*401 if big else 600*401 + 1)
    photo, how = make().resize((600, 401), Image.Resampling.BICUBIC), {} if make is grey else dict(subsampling=2)
    (tmp_path/'a.jpg').write_bytes(save(photo, 'JPEG', quality=95, **how))
    used, c = [], Colorizer(model, 64)
    monkeypatch.setattr('colorizer.inference.colorizer.merge_halved', lambda *a, **kw: used.append(1) or merge_halved(*a, **kw))
    colorize_file(c, tmp_path/'a.jpg', tmp_path/'out.jpg')
    out, whole = Image.open(tmp_path/'out.jpg'), np.asarray(c.colorize(Image.open(tmp_path/'a.jpg').convert('L')))
    assert bool(used) == big and JpegImagePlugin.get_sampling(out) == (2 if big or make is colour else 0) and out.size == (600, 401)
    assert abs(np.asarray(out).astype(float) - whole).mean() < 1.5
    assert abs(np.asarray(out.convert('L')).astype(float) - np.asarray(Image.open(tmp_path/'a.jpg').convert('L'))).mean() < .8


def test_the_real_photos_are_in_colour_and_their_prints_are_not():
    from colorizer.inference.files import has_colour
    for path in sample_photos().values():
        rgb = to_rgb_array(open_photo(path))
        y = luma(rgb)[..., None]
        assert has_colour(rgb)
        for dark, light in [((0, 0, 0), (1, 1, 1)), ((.2, .1, .02), (1, .94, .8)), ((.02, .08, .25), (.92, .96, 1)),
            ((.24, .08, 0), (1, .9, .6))]:
            old = Image.fromarray(((y*light + (1 - y)*dark)*255).astype(np.uint8))
            assert not has_colour(np.asarray(Image.open(io.BytesIO(save(old, 'JPEG', quality=40))))), (path, dark)


# What Pillow alone would get wrong: right, checked against another reader, or refused

def y16(): return np.linspace(0, 65535, W*H).astype(np.uint16).reshape(H, W)  # all of the range

def tif(a, **options):
    "A TIFF by tifffile, which is not what we write with"
    pytest.importorskip('tifffile').imwrite(data := io.BytesIO(), a, metadata=None, **options)
    return data.getvalue()

def tif12():
    "Two samples in three bytes"
    a = (y16() >> 4).reshape(-1, 2).astype(np.uint32)
    both = (a[:, 0] << 12) | a[:, 1]
    data = np.stack([both >> 16, both >> 8 & 255, both & 255], axis=1).astype(np.uint8).tobytes()
    tags = {256: W, 257: H, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: H, 279: len(data)}
    head = b'II*\0\x08\0\0\0' + struct.pack('<H', len(tags)) + b''.join(struct.pack('<HHII', k, 4, 1, v) for k, v in tags.items()) + b'\0'*4
    return head.ljust(122, b'\0') + data

def planar(channels): return np.stack([y16()//(i + 1) + 900*i for i in range(channels)])

def nodata(a, value):
    a = a.copy()
    a[5:9, 5:9] = value
    return a

def y32(): return (y16()/65535).astype(np.float32)

def with_pixel(value):
    a = y32()
    a[0, 0] = value
    return a

def encoded(y): return np.where(y <= .0031308, 12.92*y, 1.055*y**(1/2.4) - .055)

CUT, GUESS = 'outside clipped', 'no usual range'
DELICATE = {  # name: (content, luma that is right, notes)
    **{f'miniswhite16-{k}.tif': (lambda o=o: tif(65535 - y16(), photometric='miniswhite', **o), lambda: y16()/65535, [])
       for k, o in dict(le={}, be=dict(byteorder='>'), deflate=dict(compression='zlib'), tiled=dict(tile=(16, 16)),
       big=dict(bigtiff=True)).items()},
    'miniswhite-float.tif': (lambda: tif(1 - y32(), photometric='miniswhite'), y32, []),
    **{f'planar16-{n}-{order}.tif': (lambda n=n, order=order: tif(planar(n), photometric='rgb', planarconfig='separate', byteorder=order,
    extrasamples=['unassalpha'] if n == 4 else None),
        lambda: luma(np.moveaxis(planar(3), 0, -1)), []) for n, order in ((3, '<'), (3, '>'), (4, '<'))},
    'packed12.tif': (tif12, lambda: (y16() >> 4)/4095, []),
    'twelve-of-16.tif': (lambda: tif(y16() >> 4, extratags=[(281, 3, 1, 4095, True)]), lambda: (y16() >> 4)/4095, []),
    'twelve-of-16-unsaid.tif': (lambda: tif(y16() >> 4), lambda: (y16() >> 4)/65535, ['very dark']),
    'float-just-over-1.tif': (lambda: tif(with_pixel(1.0001)), y32, [CUT]),
    'float-inf.tif': (lambda: tif(with_pixel(np.inf)), y32, [CUT]),
    'float-nan.tif': (lambda: tif(with_pixel(np.nan)), y32, []),
    'float-negative.tif': (lambda: tif(with_pixel(-.01)), y32, []),
    'float-nodata.tif': (lambda: tif(nodata(y32(), -9999)), lambda: nodata(y32(), 0), []),
    'float-nodata-said.tif': (lambda: tif(nodata(y32(), 777), extratags=[(42113, 2, 0, '777', True)]), lambda: nodata(y32(), 0), []),
    'float-255.tif': (lambda: tif(y32()*255), y32, []),
    'float-65535.tif': (lambda: tif(y32()*65535), y32, []),
    'float-half.tif': (lambda: tif(y32().astype(np.float16), photometric='minisblack'), lambda: y32().astype(np.float16).astype(float), []),
    'float-double.tif': (lambda: tif(y32().astype(np.float64)), y32, []),
    'float-odd.tif': (lambda: tif(y32()*80 - 40), y32, [GUESS]),
    'uint32.tif': (lambda: tif((y32().astype(np.float64)*(2**32 - 1)).astype(np.uint32)), y32, []),
    'uint32-16-bits.tif': (lambda: tif(y16().astype(np.uint32)), y32, []),
    'int32.tif': (lambda: tif((y32().astype(np.float64)*(2**31 - 1)).astype(np.int32)), y32, []),
    'int16.tif': (lambda: tif((y16() >> 1).astype(np.int16)), y32, []),
    'gamma8.png': (lambda: with_gamma(save(Image.fromarray((y16() >> 8).astype(np.uint8)), 'PNG'), 1.), lambda: encoded((y16() >> 8)/255),
    []),
    'gamma16.png': (lambda: with_gamma(save(Image.fromarray(y16()), 'PNG'), 1.), lambda: encoded(y16()/65535), []),
    'gamma-usual.png': (lambda: with_gamma(save(Image.fromarray(y16()), 'PNG'), 1/2.2), lambda: y16()/65535, []),
    **{f'grey-gamma-{g}-{bits}.tif': (lambda g=g,
    bits=bits: save(Image.fromarray(y16() if bits == 16 else (y16() >> 8).astype(np.uint8)), 'TIFF', icc_profile=curve(b'GRAY', g)),
        lambda g=g, bits=bits: encoded((y16()/65535 if bits == 16 else (y16() >> 8)/255)**(round(g*256)/256)), [])
        for g in (1., 1.8, 2.2, 2.4) for bits in (8, 16)},
}

def with_gamma(data, gamma): return data[:33] + chunk(b'gAMA', struct.pack('>I', round(gamma*100000))) + data[33:]


@pytest.mark.parametrize('name', DELICATE)
def test_numbers_mean_what_the_file_says(command, name, tmp_path):
    make, right, notes = DELICATE[name]
    (tmp_path/name).write_bytes(make())
    status, stdout, stderr = command(name, '-o', 'out.png')
    assert status == 0 and len(stderr) == len(notes) and all(n in o for n, o in zip(notes, stderr)), stderr
    with Image.open(tmp_path/'out.png') as img: deep = any(';16' in str(o[-1]) for o in img.tile)
    got = luma(unpack_png((tmp_path/'out.png').read_bytes())[...,
        :3]) if deep else luma(np.asarray(Image.open(tmp_path/'out.png').convert('RGB')))
    off = abs(got - right())
    off[0, 0] = 0  # the odd pixel
    assert off.max() < (.003 if name == 'float-odd.tif' else .0005 if deep else .0045), off.max()  # 8 bits are rounded twice
    assert deep == ('8' not in name or '16' in name or 'float' in name)


def dng():
    "What a raw file looks like to Pillow: a thumbnail, and the picture in a directory below it"
    tifffile = pytest.importorskip('tifffile')
    with tifffile.TiffWriter(data := io.BytesIO()) as f:
        f.write(np.asarray(colour().resize((90, 60))), subifds=1, subfiletype=1, photometric='rgb', metadata=None,
            extratags=[(50706, 1, 4, b'\1\4\0\0', True)])
        f.write(np.asarray(grey(0, (300, 200))).astype(np.uint16)*257, photometric='cfa', metadata=None,
            extratags=[(33421, 3, 2, (2, 2), True), (33422, 1, 4, b'\0\1\1\2', True)])
    return data.getvalue()

def test_a_raw_file_is_developed_or_refused_but_never_its_thumbnail(command, tmp_path, monkeypatch):
    (tmp_path/'photo.dng').write_bytes(dng())
    with monkeypatch.context() as m:
        m.setitem(sys.modules, 'rawpy', None)
        status, stdout, stderr = command('photo.dng')
        assert (status, stdout, len(stderr)) == (1, [], 1) and 'camera raw' in stderr[0] and 'unet-colorizer[raw]' in stderr[0]
        (tmp_path/'photo.cr3').write_bytes(b'\0\0\0\x18ftypcrx ' + b'\0'*200)
        assert 'camera raw' in command('photo.cr3')[2][0]
    pytest.importorskip('rawpy')
    status, stdout, stderr = command('photo.dng')
    assert (status, stdout) == (0, ['photo_colour.png']) and Image.open(tmp_path/'photo_colour.png').size == (300, 200)


def test_kinds_of_tiff_that_cannot_be_read_are_named(command, tmp_path):
    for name, a, options in [('ga16', np.dstack([y16()]*2), dict(photometric='minisblack', extrasamples=['unassalpha'])),
        ('rgbf', np.dstack([y32()]*3), dict(photometric='rgb'))]:
        (tmp_path/f'{name}.tif').write_bytes(tif(a, **options))
        status, stdout, stderr = command(f'{name}.tif')
        assert (status, stdout, len(stderr)) == (1, [], 1) and 'a kind of TIFF that cannot be read' in stderr[0] and ('16' in stderr[0]
            or '32' in stderr[0]), stderr


def test_a_result_that_is_too_large_for_a_tiff_is_named(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr('colorizer.inference.files.TIFF_BYTES', 1000)
    grey().save(tmp_path/'photo.png')
    with pytest.raises(PhotoError, match=r'out\.tif: over 4 GB, more than a TIFF can hold'):
        colorize_file(tiny, tmp_path/'photo.png', tmp_path/'out.tif')
    assert sorted(o.name for o in tmp_path.iterdir()) == ['photo.png']


@pytest.mark.parametrize('a', [y16().astype('>u2'), y16().astype(np.int32), y16().astype(np.uint32), y16().astype(np.int64), y16()/65535,
    (y16() >> 1).astype(np.int16), y32().astype(np.float16)])
def test_arrays_of_any_type(tiny, a):
    got, want = tiny.colorize(a), tiny.colorize(y16())
    assert abs(luma(np.asarray(got)) - luma(np.asarray(want))).max()*255 < 2 and 100 < luma(np.asarray(got)).mean()*255 < 150


@pytest.mark.parametrize('a', [y32()*255, y16().astype(np.int32) - 9, y16().astype(np.uint32)*9, np.full((4, 4), 'x'),
    y32().astype(complex), np.zeros((3, 4, 5))])
def test_arrays_that_are_no_pixels_are_refused(tiny, a):
    for call in (tiny.colorize, to_pixels, tiny.colorize_array):
        with pytest.raises(PhotoError) as e: call(a)
        assert '\n' not in str(e.value)


def damaged_text():
    data = text_png()
    at = data.index(b'tEXt') + 8
    return data[:at] + b'!' + data[at + 1:]

@pytest.mark.parametrize('name, make, note',
    [('text.png', damaged_text, 'left out'), ('noeoi.jpg', lambda: save(grey(), 'JPEG')[:-2], 'end mark'),
    ('noeoi-colour.jpg', lambda: save(grey().convert('RGB'), 'JPEG', progressive=True)[:-2], 'end mark')])
def test_what_browsers_show_is_coloured(command, name, make, note, tmp_path):
    (tmp_path/name).write_bytes(make())
    status, stdout, stderr = command(name, '-o', 'out.png')
    assert status == 0 and len(stderr) == 1 and note in stderr[0], stderr
    want = grey() if name == 'text.png' else Image.open(io.BytesIO(save(grey(), 'JPEG')))
    assert abs(luma(np.asarray(Image.open(tmp_path/'out.png')))*255 - np.asarray(want)).mean() < 1


@pytest.mark.parametrize('n', [3, 30, 300])
def test_a_jpeg_that_lacks_more_than_its_end_mark_is_refused(command, n, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (H, W), np.uint8))
    (tmp_path/'a.jpg').write_bytes(save(noise, 'JPEG', quality=95)[:-n - 2])
    assert command('a.jpg')[0] == 1


def lossless_jpeg():
    "An even grey: every difference to the left neighbour is 0, which takes one bit (ITU-T T.81, annex H)"
    def part(kind, data): return b'\xff' + bytes([kind]) + struct.pack('>H', len(data) + 2) + data
    table, frame = b'\0' + bytes([1] + [0]*15) + b'\0', struct.pack('>BHHB', 8, H, W, 1) + b'\1\x11\0'
    return b'\xff\xd8' + part(0xc4, table) + part(0xc3, frame) + part(0xda, b'\1\1\0\1\0\0') + b'\0'*(W*H//8) + b'\xff\xd9'

def test_a_lossless_jpeg(command, tmp_path):
    try: Image.open(io.BytesIO(lossless_jpeg())).load()
    except OSError: pytest.skip('this Pillow reads no lossless JPEG')
    (tmp_path/'a.jpg').write_bytes(lossless_jpeg())
    status, stdout, stderr = command('a.jpg')
    assert (status, stderr) == (0, []) and abs(luma(np.asarray(Image.open(tmp_path/'a_colour.jpg')))*255 - 128).max() < 2


@needs_heic
@pytest.mark.parametrize('name', ['grey.jpg', 'deep.png', 'alpha.webp'])
def test_heic_from_other_formats(model, name, tmp_path):
    "In a process of its own: nothing else has loaded the plugin"
    (tmp_path/name).write_bytes(KINDS[name][0]())
    r = piped(model, tmp_path, name, '-o', 'out.heic')
    assert r.returncode == 0 and open_photo(tmp_path/'out.heic').size == (W, H), r


def test_heic_without_its_plugin_says_what_to_install(command, tmp_path, monkeypatch):
    grey().save(tmp_path/'a.png')
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    status, stdout, stderr = command('a.png', '-o', 'a.heic')
    assert (status, stdout, len(stderr)) == (1, [], 1) and 'unet-colorizer[heic]' in stderr[0] and os.listdir(tmp_path) == ['a.png']


def test_metadata_that_is_hard_to_keep(command, tmp_path):
    "The resolution turns with the photo; a second comment and the long part of XMP stay"
    turned = exif(6)
    turned.update({Tag.XResolution: 300., Tag.YResolution: 150., Tag.ResolutionUnit: 2})
    long = b'http://ns.adobe.com/xmp/extension/\0' + b'0'*32 + struct.pack('>II', 9, 0) + b'long part'
    data = segment(segment(segment(save(grey(), 'JPEG', exif=turned, dpi=(300, 150), xmp=XMP), 0xe1, long), 0xfe, b'the first'), 0xfe,
        b'the second')
    (tmp_path/'a.jpg').write_bytes(data)
    assert command('a.jpg')[::2] == (0, [])
    out, kept = (tmp_path/'a_colour.jpg').read_bytes(), Image.open(tmp_path/'a_colour.jpg')
    assert kept.info['dpi'] == (150, 300) and (kept.getexif()[Tag.XResolution], kept.getexif()[Tag.YResolution]) == (150, 300)
    assert long in out and out.count(b'the first') == 1 and out.count(b'the second') == 1


@pytest.mark.parametrize('name, out, note',
    [('text.png', 'a.jpg', 'text fields'), ('everything.jpg', 'a.png', 'IPTC'), ('once.gif', 'a.png', 'comment')])
def test_what_another_format_cannot_hold_is_said(command, name, out, note, tmp_path):
    (tmp_path/name).write_bytes(KINDS[name][0]())
    status, _, stderr = command(name, '-o', out)
    assert status == 0 and any(note in o for o in stderr), stderr


def bw(): return Image.fromarray(np.where(np.asarray(grey()) > 128, 255, 0).astype(np.uint8))

def ppm16(): return b'P6 60 40 65535\n' + np.dstack([np.asarray(deep())]*3).astype('>u2').tobytes()

def sgi16(): return save(grey(), 'SGI', bpc=2)

def jp2_16():
    cv2 = pytest.importorskip('cv2')
    return cv2.imencode('.jp2', np.dstack([np.asarray(deep())]*3))[1].tobytes()

def heic10():
    heif = pytest.importorskip('pillow_heif')
    heif.register_heif_opener()
    f = heif.from_bytes('RGB;16', (W, H), np.dstack([np.asarray(deep())]*3).astype('<u2').tobytes())
    f.save(data := io.BytesIO(), quality=90)
    return data.getvalue()

def three_heic():
    heic_plugin()
    return several('HEIF', [grey(), grey(3), grey(5)])

SAID = {'halftone.png': (lambda: save(bw(), 'PNG'), BLACK), 'halftone.tif': (lambda: save(bw(), 'TIFF'), BLACK),
    'palette.png': (lambda: save(bw().quantize(2), 'PNG'), BLACK), 'palette.gif': (lambda: save(bw(), 'GIF'), BLACK),
        'wide.ppm': (ppm16, BITS), 'wide.jp2': (jp2_16, BITS), 'wide.heic': (heic10, BITS), 'three.heic': (three_heic, 'holds 3 pictures')}

@pytest.mark.parametrize('name', SAID)
def test_what_is_dropped_is_said(command, name, tmp_path, monkeypatch):
    make, note = SAID[name]
    if name.endswith('.heic') and not heic_plugin(): pytest.skip('pillow-heif is not installed')
    (tmp_path/name).write_bytes(make())
    monkeypatch.setattr('colorizer.inference.decoding._opencv_pixels', lambda img: 1/0)
    status, _, stderr = command(name, '-o', 'out.png')
    assert status == 0 and [note in o for o in stderr] == [True], stderr


def test_a_wide_ppm_keeps_its_bits_with_opencv(command, tmp_path):
    pytest.importorskip('cv2')
    (tmp_path/'deep.ppm').write_bytes(ppm16())
    assert command('deep.ppm', '-o', 'deep_out.png')[::2] == (0, [])
    deep_luma(tmp_path/'deep_out.png')


@pytest.mark.parametrize('make, mark', [(grey, (30, 40, 160)), (sepia, (30, 40, 160)), (grey, (255, 140, 0)), (sepia, (255, 140, 0))])
def test_ink_and_a_date_stamp_do_not_make_a_colour_photo(command, make, mark, tmp_path):
    img = make().convert('RGB').resize((600, 400))
    img.paste(mark, (430, 330, 580, 380))  # 3 % of the area
    img.save(tmp_path/'a.png')
    assert command('a.png', '--skip-colour')[1:] == (['a_colour.png'], [])


# What folders hold besides photos

def test_two_photos_that_want_one_result_give_the_same_answer_every_time(command, tmp_path):
    (tmp_path/'F').mkdir()
    grey().save(tmp_path/'F'/'a.tga')
    grey(5).save(tmp_path/'F'/'b.png')
    (tmp_path/'F'/'b.png').rename(tmp_path/'F'/'a.tga.png')
    said, results = [], []
    for _ in range(3):
        status, _, stderr = command('F')
        said.append((status, stderr[1:]))
        results.append((tmp_path/'F_colour'/'a.tga.png').read_bytes())
    assert said[0] == said[1] == said[2] and said[0][0] == 1 and 'a.tga' in said[0][1][0] and len(set(results)) == 1


def test_names_that_are_not_utf8(model, tmp_path):
    if sys.platform in ('darwin', 'win32'): pytest.skip('no such names there')
    (tmp_path/'N').mkdir()
    name = os.fsdecode(b'bad\xe9\xe8name.jpg')
    grey().save(tmp_path/'N'/name)
    for words, out in [(['N'], b'N_colour/bad\xe9\xe8name.jpg'), ([f'N/{name}', '-o', 'N_colour/x.png'], b'N_colour/x.png'),
        ([f'N/{name}'], b'N/bad\xe9\xe8name_colour.jpg')]:
        r = piped(model, tmp_path, *words)
        assert (r.returncode, r.stdout.strip()) == (0, out) and os.path.exists(tmp_path/os.fsdecode(out)), r
    # the last one lies among the photos
    assert {b'1 coloured', b'1 done before'} <= set(piped(model, tmp_path,
        'N').stderr.splitlines()[-1].removeprefix(b'colorizer: ').split(b', '))


def test_what_is_left_out_of_a_folder_is_mentioned(command, tmp_path, monkeypatch):
    (tmp_path/'X').mkdir()
    monkeypatch.setattr('colorizer.inference.folders.can_read_raw', lambda: False)
    for o in ('a.dng', 'b.CR2', 'c.jxl', 'd.mp4', 'e.mov', 'letter.doc'): (tmp_path/'X'/o).write_bytes(b'x')
    status, stdout, stderr = command('X')
    assert status == 1 and any('2 camera raw files left out' in o for o in stderr) and any('2 video clips left out' in o
        for o in stderr) and any('1 picture' in o for o in stderr), stderr
    grey().save(tmp_path/'X'/'f.png')
    status, stdout, stderr = command('X')
    assert (status, len(stdout)) == (0, 1) and any('2 video clips' in o for o in stderr) and not any('letter' in o for o in stderr)


@pytest.mark.parametrize('word', ['', 'https://example.org/a.jpg', 's3://museum/a.jpg'])
def test_words_that_are_no_file(command, word, tmp_path):
    status, stdout, stderr = command(word)
    assert (status, stdout, len(stderr)) == (1, [], 1) and ('name' in stderr[0] or 'address' in stderr[0]), stderr


def test_the_same_photo_twice_and_names_that_are_too_long(command, tmp_path):
    grey().save(tmp_path/'a.png')
    status, stdout, _ = command('a.png', './a.png')
    assert (status, stdout) == (0, ['a_colour.png'])
    assert 'too long' in command('a.png', '-o', 'x'*300 + '.png')[2][0]


def test_bytes_of_other_types_and_threads_that_cannot_be(tiny, model):
    data = save(grey(), 'PNG')
    want = np.asarray(tiny.colorize(data))
    for o in (bytearray(data), memoryview(data)): assert np.array_equal(np.asarray(tiny.colorize(o)), want)
    for n in (0, -1):
        with pytest.raises(ValueError, match='threads must be at least 1'): Colorizer(model, threads=n)


def test_an_rgb_profile_stays_with_the_picture(tiny):
    profile = curve(b'RGB ', 1.8)
    assert tiny.colorize(save(grey(), 'JPEG', icc_profile=profile)).info['icc_profile'] == profile
    assert next(tiny.colorize_batch([save(grey(), 'JPEG', icc_profile=profile)])).info['icc_profile'] == profile
    assert 'icc_profile' not in tiny.colorize(grey()).info


@pytest.mark.parametrize('version, quota, cores',
    [(2, '150000 100000', 2), (2, '50000 100000', 1), (2, 'max 100000', 8), (1, ('300000', '100000'), 3), (1, ('-1', '100000'), 8)])
def test_threads_follow_the_quota_of_a_container(version, quota, cores, tmp_path, monkeypatch):
    from colorizer.inference.session import _threads
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    (tmp_path/'self').write_text('0::/docker/abc\n' if version == 2 else '4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n')
    here = tmp_path/('' if version == 2 else 'cpu')/'docker'/('' if version == 2 else 'abc')  # of version 2, in a folder above
    here.mkdir(parents=True)
    files = {'cpu.max': quota} if version == 2 else {'cpu.cfs_quota_us': quota[0], 'cpu.cfs_period_us': quota[1]}
    for k, v in files.items(): (here/k).write_text(v)
    assert _threads(tmp_path, tmp_path/'self') == cores


# Files that nobody would think of

FUZZ = int(os.environ.get('FUZZ', 0))  # so many files, different ones at each run; else a few hundred, always the same

FUZZED = {k: KINDS[k][0] for k in ('everything.jpg', 'colour-420.jpg', 'progressive.jpg', 'cmyk.jpg', 'two-pictures.mpo.jpg',
    'palette-clear.png', 'deep.png', 'text.png', 'animated.png', 'still.gif', 'clear.gif',
    'lossy.webp', 'lossless.webp', 'animated.webp', 'grey.tif', 'fax.tif', 'deep-lzw.tiff', 'jpeg-inside.tif', 'pages.tif', 'grey.bmp',
    'one-bit.bmp', 'grey.avif', 'grey.heic', 'grey.jp2', 'grey.pgm', 'grey.tga', 'grey.pcx', 'several-sizes.ico')
    if k != 'grey.heic' or heic_plugin()}

def mutated(data, edits, keep):
    "`data` cut off at `keep` (0 to 1), with bytes changed, put in or taken out at places (0 to 1)"
    data = bytearray(data)
    for kind, where, value in edits:
        at = int(where*len(data))
        if kind == 'set': data[at:at + 1] = bytes([value])
        elif kind == 'insert': data[at:at] = bytes([value])*3
        elif kind == 'delete': del data[at:at + value]
        else: data[at:at + 4] = struct.pack('>I' if value%2 else '<I', [0, 1, 2**16, 2**31 - 1, 2**32 - 1, value][value%6])
    return bytes(data[:int(keep*len(data)) + 1])


@pytest.fixture(scope='module')
def tiny(model): return Colorizer(model, 32, threads=1)

def test_mutated_files_end_in_a_photo_or_in_one_line(tiny, tmp_path):
    "Never anything else: no other exception, no partial file. A crash or a hang would end the whole test run"
    hypothesis = pytest.importorskip('hypothesis')
    st = hypothesis.strategies
    places = st.one_of(st.floats(0, .999), st.floats(0, .1))  # headers are at the beginning, mostly
    edit = st.tuples(st.sampled_from(['set', 'set', 'set', 'insert', 'delete', 'number']), places, st.integers(0, 255))
    seeds, counts = {k: v() for k, v in FUZZED.items()}, {}

    @hypothesis.settings(max_examples=FUZZ or 600, deadline=None, database=None, derandomize=not FUZZ,
        suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(st.sampled_from(sorted(seeds)), st.lists(edit, max_size=4),
        st.sampled_from([1.]*12 + [.01, .1, .3, .5, .7, .9, .97]), st.sampled_from(['same', '.png', '.tif', '.jpg', '.webp']))
    def run(name, edits, keep, suffix):
        target = tmp_path/f'out{format_for(name) if suffix == "same" else suffix}'
        try: status = colorize_file(tiny, mutated(seeds[name], edits, keep), target)['status']
        except PhotoError as e:
            status = 'error'
            assert len(str(e)) < 400 and '\n' not in str(e) and 'cannot be written' not in str(e), e
        counts[status] = counts.get(status, 0) + 1
        assert [p.name for p in tmp_path.iterdir()] == ([target.name] if status == 'coloured' else [])
        if status == 'coloured':
            with Image.open(target) as img: img.load()
            target.unlink()
    monkey = pytest.MonkeyPatch()
    monkey.setattr(Image, 'MAX_IMAGE_PIXELS', 10**6)  # a wrong size may be a large one, and take its time
    try: run()
    finally: monkey.undo()
    assert min(counts.get('coloured', 0), counts.get('error', 0)) > 60, counts


# Folders

@pytest.fixture
def album(tmp_path):
    "A folder with folders in it, photos, a bad one, other things, and a link in a circle"
    folder = tmp_path/'my album'
    (folder/'1984 Sommer'/'Größe').mkdir(parents=True)
    for i, name in enumerate(['cat.jpg', '1984 Sommer/a.png', '1984 Sommer/a.pgm', '1984 Sommer/Größe/b.tif']): grey(i).save(folder/name)
    (folder/'bad.jpg').write_text('not a photo')
    (folder/'notes.txt').write_text('not a photo either')
    (folder/'._cat.jpg').write_text('what macOS puts there')
    (folder/'1984 Sommer'/'round').symlink_to(folder)
    (folder/'gone.png').symlink_to('nowhere')
    return folder

RESULTS = ['1984 Sommer/Größe/b.tif', '1984 Sommer/a.pgm.png', '1984 Sommer/a.png', 'cat.jpg']

def visible(folder): return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob('*') if p.is_file()
    and not p.name.startswith('.'))

def state(folder): return {p.relative_to(folder): (p.stat().st_ino, p.stat().st_mtime_ns) for p in Path(folder).rglob('*') if p.is_file()
    and not p.name.startswith('.')}


def test_a_folder_keeps_its_structure_and_what_is_done_stays(command, album, tmp_path):
    untouched = {p: p.read_bytes() for p in album.rglob('*') if p.is_file() and 'round' not in p.parts}
    status, stdout, stderr = command('my album', '-r')
    out = tmp_path/'my album_colour'
    assert (status, stdout) == (1, [str(Path('my album_colour', o)) for o in RESULTS])
    assert stderr[0] == 'colorizer: 4 coloured, 2 failed' and [o.split(': ')[1] for o in stderr[1:]] == [str(Path('my album', o))
        for o in ('bad.jpg', 'gone.png')]
    assert visible(out) == sorted(RESULTS) and {p: p.read_bytes() for p in untouched} == untouched

    before = state(out)
    status, stdout, stderr = command('my album', '-r')
    assert (status, stdout, stderr[0]) == (1, [], 'colorizer: 4 done before, 2 failed') and state(out) == before
    os.utime(album/'cat.jpg')  # another date is no other photo
    assert command('my album', '-r')[1] == []
    grey(9).save(album/'cat.jpg')
    assert command('my album', '-r')[1] == [str(Path('my album_colour/cat.jpg'))]
    assert len(command('my album', '-r', '--saturation', '2')[1]) == 4 and len(command('my album', '-r', '--saturation', '2')[1]) == 0
    (out/'cat.jpg').unlink()
    assert len(command('my album', '-r', '--saturation', '2')[1]) == 1
    for hint in ('1,1,#c03030', '1,1,#3030c0'): assert [len(command('my album', '-r', '--hint', hint)[1]) for _ in range(2)] == [4, 0]


def test_a_folder_without_r(command, album, tmp_path):
    status, stdout, stderr = command('my album', '-o', 'out')
    assert stdout == [str(Path('out/cat.jpg'))] and 'left out (-r looks into them)' in stderr[0].replace('looks into it', 'looks into them')


def test_results_that_somebody_changed_are_not_replaced(command, album, tmp_path):
    command('my album', '-r')
    result = tmp_path/'my album_colour'/'cat.jpg'
    result.write_bytes(result.read_bytes() + b'touched up by hand')
    mine = result.read_bytes()
    status, stdout, stderr = command('my album', '-r', '--saturation', '2')
    assert len(stdout) == 3 and any('cat.jpg: exists already' in o for o in stderr) and result.read_bytes() == mine
    assert len(command('my album', '-r', '--saturation', '2', '--force')[1]) == 4 and result.read_bytes() != mine


@pytest.mark.parametrize('out', ['my album', 'my album/', './my album/../my album', 'link'])
def test_a_folder_is_never_its_own_result(command, album, out, tmp_path):
    (tmp_path/'link').symlink_to(album)
    before = state(album)
    status, stdout, stderr = command('my album', '-r', '-o', out)
    assert (status, stdout, len(stderr)) == (1, [], 1) and 'never overwritten' in stderr[0] and state(album) == before


def test_results_inside_of_the_folder_are_not_coloured_again(command, album, tmp_path):
    for _ in range(2): status, stdout, stderr = command('my album', '-r', '-o', 'my album/in colour')
    assert stdout == [] and stderr[0] == 'colorizer: 4 done before, 2 failed'
    assert len(command('my album', '-r')[1]) == 4  # nor by a run that has its results elsewhere


def test_json_and_compare(command, album, tmp_path):
    import json
    colour().save(album/'c.png')
    status, stdout, stderr = command('my album', '-r', '--json', '--compare', '--skip-colour')
    rows = {Path(o['photo']).name: o for o in map(json.loads, stdout)}
    assert status == 1 and {k: o['status'] for k, o in rows.items()} == {'a.png': 'coloured', 'a.pgm': 'coloured', 'b.tif': 'coloured',
        'cat.jpg': 'coloured',
        'bad.jpg': 'failed', 'gone.png': 'failed', 'c.png': 'skipped'}
    assert rows['cat.jpg']['size'] == [W,
        H] and 'not an image' in rows['bad.jpg']['error'] and rows['c.png']['notes'] == ['in colour already']
    assert all(Path(o[k]).is_file() for o in rows.values() if o['status'] == 'coloured' for k in ('out', 'compare'))
    statuses = [json.loads(o)['status'] for o in command('my album', '-r', '--json', '--compare', '--skip-colour')[1]]
    assert sorted(statuses) == ['done before']*4 + ['failed']*2 + ['skipped']
    Path(rows['cat.jpg']['compare']).unlink()
    assert len(command('my album', '-r', '--compare')[1]) == 4  # the cat and its picture, and c.png and its own


def test_a_file_in_the_way_of_the_results_is_said_once(command, album, tmp_path):
    (tmp_path/'plain').write_text('a file')
    for out in ('plain', 'plain/below'):
        status, stdout, stderr = command('my album', '-o', out)
        assert (status, stdout) == (1, []) and [o for o in stderr if f'{out}: this folder cannot be created' in o] == stderr[-1:], stderr


def test_folders_that_cannot_be_read_or_written(command, album, tmp_path):
    (album/'1984 Sommer').chmod(0)
    try:
        if os.access(album/'1984 Sommer', os.R_OK): pytest.skip('this user may do anything')
        status, stdout, stderr = command('my album', '-r')
        assert len(stdout) == 1 and any('cannot be read' in o for o in stderr)
        tmp_path.chmod(0o500)
        assert 'cannot be created' in command('my album', '-o', 'elsewhere')[2][0]
    finally:
        tmp_path.chmod(0o700)
        (album/'1984 Sommer').chmod(0o700)


@pytest.fixture
def many(tmp_path):
    "300 small photos, two of them bad"
    (tmp_path/'many'/'more').mkdir(parents=True)
    for i in range(300): grey(i, (30 + i % 7, 20)).save(tmp_path/'many'/('more/' if i % 3 else '')/f'{i:03}.{("jpg", "png", "tif")[i % 3]}')
    for i in (33, 200): next((tmp_path/'many').rglob(f'{i:03}.*')).write_text('not a photo')
    return tmp_path/'many'

def start(tmp_path, model, code=None):
    env = os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    words = [*(['-c', code] if code else ['-m', 'colorizer']), 'many', '-r', '--model', str(model), '--size', '32']
    return subprocess.Popen([sys.executable, *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_folder_survives_being_killed(model, many, tmp_path):
    "Killed three times while it works, then left alone: all is there, nothing was done twice, nothing is half done"
    out, done = tmp_path/'many_colour', {}
    for enough in (60, 140, 220):
        run = start(tmp_path, model)
        while len(state(out)) < enough and run.poll() is None: time.sleep(.005)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert run.returncode == -signal.SIGKILL
        assert {k: v for k, v in state(out).items() if k in done} == done  # as they were
        done = state(out)
        for path in done:
            with Image.open(out/path) as img: img.load()
    stdout, stderr = start(tmp_path, model).communicate()
    assert len(stdout.splitlines()) == 298 - len(done) and {k: v for k, v in state(out).items() if k in done} == done
    assert visible(out) == [o for o in visible(many) if o[-7:-4] not in ('033', '200')] and not list(out.rglob('*.part'))
    first = stderr.splitlines()[0]
    assert first == f'colorizer: {298 - len(done)} coloured, {len(done)} done before, 2 failed' or '2 failed' in first
    assert [Path(o.split(': ')[1]).stem for o in stderr.splitlines()[1:]] == ['033', '200']
    for path in visible(out): assert abs(light(frames(out/path)[0][0]) - light(frames(many/path)[0][0])).mean() < 2/255


KILL = """
import os, signal, sys
from colorizer.cli import main
replace, left = os.replace, [9]
def deadly(part, path):
    left[0] -= 1
    if not left[0] and WHEN == 'before': os.kill(os.getpid(), signal.SIGKILL)
    replace(part, path)
    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
os.replace = deadly
main(sys.argv[1:])
"""

@pytest.mark.parametrize('when, done', [('before', 8), ('after', 9)])
def test_killed_just_before_or_after_a_result_gets_its_name(model, many, when, done, tmp_path):
    run = start(tmp_path, model, f'WHEN = {when!r}' + KILL)
    run.communicate()
    out = tmp_path/'many_colour'
    assert run.returncode == -signal.SIGKILL and len(state(out)) == done and len(list(out.rglob('*.part'))) == (when == 'before')
    before = state(out)
    stdout, stderr = start(tmp_path, model).communicate()
    assert len(stdout.splitlines()) == 298 - done and {k: v for k, v in state(out).items()
        if k in before} == before and not list(out.rglob('*.part'))


# Pipes

def piped(model, tmp_path, *words, data=b''):
    env = os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.run([sys.executable, '-m', 'colorizer', *words, '--model', str(model), '--size', '32'], cwd=tmp_path, env=env,
        input=data, capture_output=True)

def test_pipes(model, tmp_path):
    for name in ('grey.jpg', 'alpha.webp', 'deep.png', 'animated.gif', 'grey.pgm'):
        r = piped(model, tmp_path, '-', data=KINDS[name][0]())
        assert r.returncode == 0, r
        img = Image.open(io.BytesIO(r.stdout))
        assert (img.size, img.format) == ((W, H), dict(jpg='JPEG', webp='WEBP', png='PNG', gif='GIF', pgm='PNG')[name.split('.')[1]])
    r = piped(model, tmp_path, '-', '-o', 'out.png', data=KINDS['grey.jpg'][0]())
    assert (r.returncode, r.stdout, r.stderr) == (0, b'out.png\n', b'') and Image.open(tmp_path/'out.png').mode == 'RGB'
    assert Image.open(io.BytesIO(piped(model, tmp_path, 'out.png', '-o', '-').stdout)).size == (W, H)
    for words, why in [(['-', 'out.png'], b'reads a single photo'), (['-', '--json'], b'nothing else'), (['-'], b'standard input'),
        (['.', '-o', '-'], b'one photo')]:
        r = piped(model, tmp_path, *words)
        assert (r.returncode, r.stdout, len(r.stderr.splitlines())) == (1, b'', 1) and why in r.stderr, r


# From Python

def test_threads_give_what_one_thread_gives(model):
    from concurrent.futures import ThreadPoolExecutor
    c, photos = Colorizer(model, 64), [grey(i) for i in range(24)]
    want = [np.asarray(c.colorize(o)) for o in photos]
    with ThreadPoolExecutor(8) as ex: got = list(ex.map(lambda o: np.asarray(c.colorize(o)), photos))
    assert all((a == b).all() for a, b in zip(want, got, strict=True))


def test_batches(model, tmp_path):
    c = Colorizer(model, 32)
    grey().save(tmp_path/'a.png')
    photos = [grey(1), str(tmp_path/'a.png'), hole('LA'), np.asarray(grey(0, (20, 90))), deep(), colour(), grey(2)]*3
    got = list(c.colorize_batch(iter(photos), batch=4))
    for o, img in zip(photos, got, strict=True):
        want = c.colorize(o)
        assert img.mode == want.mode and abs(np.asarray(img).astype(int) - np.asarray(want)).max() <= 1
    with pytest.raises(PhotoError, match='nowhere'): list(c.colorize_batch([grey(), 'nowhere.jpg']))
    assert [type(o) for o in c.colorize_batch([grey(), 'nowhere.jpg', grey()], errors='return')] == [Image.Image, PhotoError, Image.Image]


def test_models_and_providers_that_are_none(model, tmp_path):
    from colorizer.inference.session import ModelError
    (tmp_path/'weights.pth').write_bytes(b'PK\3\4' + b'x'*99)
    for kw, why in [(dict(model=tmp_path/'weights.pth'), 'not an ONNX model'), (dict(model=tmp_path/'none.onnx'), 'no such model'),
        (dict(providers='cuda'), 'onnxruntime-gpu'),
                    (dict(providers='abacus'), 'no such provider')]:
        if kw.get('providers') == 'cuda' and 'CUDAExecutionProvider' in __import__('onnxruntime').get_available_providers(): continue
        with pytest.raises(ModelError, match=why): Colorizer(**kw)
    assert Colorizer(model, providers='cpu').session.get_providers() == ['CPUExecutionProvider']


@pytest.mark.parametrize('change, why',
    [('name', 'not a colorizer model'), ('channels', 'not a colorizer model'), ('size', 'fixed size'), ('format', 'of format 2')])
def test_onnx_models_of_another_kind(model, change, why, tmp_path):
    import onnx
    from colorizer.inference.session import ModelError
    m = onnx.load(model)
    dims = m.graph.input[0].type.tensor_type.shape.dim
    if change == 'name': m.graph.input[0].name = m.graph.node[0].input[0] = 'image'
    elif change == 'channels':
        dims[1].dim_value = 3
        m.graph.initializer[0].CopyFrom(onnx.helper.make_tensor('w', 1, (2, 3, 1, 1), [0.]*6))
    elif change == 'size': dims[2].dim_value = dims[3].dim_value = 256
    else: m.metadata_props[0].value = '2'
    onnx.save(m, tmp_path/'other.onnx')
    with pytest.raises(ModelError, match=why): Colorizer(tmp_path/'other.onnx')
