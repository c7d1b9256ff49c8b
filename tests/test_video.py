"""Clips through the command and the library; the clips are made here, from the embedded photos."""
import os, signal, subprocess, sys, time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip('av', reason='PyAV is not installed (extra: video)')
pytest.importorskip('cv2', reason='OpenCV is not installed (extra: video)')

from colorizer.cli import main
from colorizer.inference.clips import Frames, _changing_light, frame_notes, mastering
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.colour import luma
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array
from colorizer.inference.video import Smoother, VideoError, colorize_video, flicker

ROOT = Path(__file__).parent.parent
PHOTO = {k: to_rgb_array(open_photo(p)) for k, p in sample_photos().items()}


def pan(name='coffee', n=12, size=(96, 64), step=3):
    "Grey frames [H,W] of a window that moves to the right by `step` pixels"
    y = np.rint(luma(PHOTO[name])*255).astype(np.uint8)
    y = np.asarray(Image.fromarray(y).resize((240, 160), Image.Resampling.BOX))
    return [np.ascontiguousarray(y[20:20 + size[1], 10 + step*i:10 + step*i + size[0]]) for i in range(n)]


def write(path, frames, codec='libx264', pix='yuv420p', rate=12, times=None, sound=None, full=False, space=None, options=None):
    "A grey clip; `times` are in thousandths of a second"
    with av.open(str(path), 'w') as out:
        video = out.add_stream(codec, rate=rate, options=options or ({'crf': '8'} if codec == 'libx264' else {}))
        c = video.codec_context
        video.height, video.width, video.pix_fmt = *frames[0].shape, pix
        if times: c.time_base = Fraction(1, 1000)
        if full: c.color_range = 2
        if space: c.colorspace = space
        audio = out.add_stream(sound, rate=8000, layout='mono') if sound else None
        for i, y in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.repeat(y[..., None], 3, -1), format='rgb24')
            if times: frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if not sound: return path
        wave = (np.sin(np.arange(8000*len(frames)//rate)*.3)*9000).astype(np.int16)
        for i in range(0, len(wave), 1024):
            a = av.AudioFrame.from_ndarray(wave[None, i:i + 1024], format='s16', layout='mono')
            a.sample_rate, a.pts = 8000, i
            for r in av.AudioResampler(format=audio.format.name, layout='mono', rate=8000).resample(a): out.mux(audio.encode(r))
        out.mux(audio.encode())
    return path


def turn(path, degrees):
    "Say in an MP4 that it is to be shown turned: the matrix in the track header (ISO 14496-12, 8.3.2)"
    data, one = bytearray(path.read_bytes()), 1 << 16
    at = data.index(b'tkhd') + 4 + 40
    m = {90: (0, one, 0, -one, 0, 0, 0, 0, 1 << 30), 180: (-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30)}[degrees]
    data[at:at + 36] = b''.join(o.to_bytes(4, 'big', signed=True) for o in m)
    path.write_bytes(data)


def read(path):
    "RGB frames, and times in seconds"
    with av.open(str(path)) as o: found = [(f.to_ndarray(format='rgb24'), float(f.time)) for f in o.decode(video=0)]
    return [f for f, _ in found], [t for _, t in found]


def packets(path, kind):
    with av.open(str(path)) as o: return [(bytes(p), round(float(p.pts*p.time_base), 3)) for p in o.demux(**{kind: 0}) if p.size]


@pytest.fixture(scope='module')
def colorizer(): return Colorizer(size=64, threads=1)


def colour(*words):
    "The command, in this process"
    return main([*map(str, words), '--size', '64'])


def mean_error(a, b): return np.mean([abs(luma(x[:y.shape[0], :y.shape[1]]) - luma(y)).mean()*255 for x, y in zip(a, b)])


KINDS = {
    'h264.mp4': {}, 'sound.mp4': dict(sound='aac'), 'film.mkv': dict(sound='aac'),
    'old.avi': dict(codec='mpeg4', sound='mp3', options={'q:v': '2'}),
    'lossless.mkv': dict(codec='ffv1', pix='gray'), 'rgb.mkv': dict(codec='ffv1', pix='bgr0'), '444.mp4': dict(pix='yuv444p'),
    '422.mp4': dict(pix='yuv422p'),
    'ten.mkv': dict(codec='ffv1', pix='yuv420p10le'), 'full.mp4': dict(pix='yuvj420p', full=True), 'bt709.mp4': dict(space=1),
    'web.webm': dict(codec='libvpx-vp9', options={'crf': '8', 'b:v': '0'}),
    'motion.mov': dict(codec='mjpeg', pix='yuvj420p', full=True), 'b-frames.mp4': dict(options={'crf': '8', 'bf': '3'}),
}

@pytest.mark.parametrize('name', KINDS)
def test_kinds_of_clips(name, tmp_path, capsys):
    frames = pan(n=6)
    clip = write(tmp_path/name, frames, **KINDS[name])
    assert colour(clip) == 0
    out = Path(capsys.readouterr().out.strip())
    assert out.name == f'{clip.stem}_colour{clip.suffix if clip.suffix in (".mp4", ".mkv", ".mov") else ".mkv"}'
    assert sorted(tmp_path.iterdir()) == sorted([clip, out])  # no trace of the parts
    (before, at), (after, at_after) = read(clip), read(out)
    assert len(after) == len(before) and np.allclose(np.diff(at), np.diff(at_after), atol=.0011)
    assert mean_error(after, before) < 3
    assert np.mean([np.ptp(o.astype(int), axis=-1).mean() for o in after]) > 4  # in colour
    if 'sound' in KINDS[name]: assert [o for o, _ in packets(clip, 'audio')] == [o for o, _ in packets(out, 'audio')]


@pytest.mark.parametrize('matrix, full', [(6, False), (1, False), (1, True)])
def test_a_colour_is_the_same_in_every_colour_space(matrix, full, tmp_path, colorizer):
    "What a player shows has the chroma that the network gave"
    flat = [np.full((64, 96), 128, np.uint8)]*2
    clip = write(tmp_path/'flat.mp4', flat, space=matrix, full=full, pix='yuvj420p' if full else 'yuv420p')
    colorizer = Colorizer(size=64, saturation=3)
    with av.open(str(colorize_video(clip, tmp_path/'out.mp4', colorizer))) as o:
        frame = next(o.decode(video=0))
        assert int(frame.colorspace) == matrix and (int(frame.color_range) == 2) == full
        shown = frame.reformat(format='rgb24', src_colorspace={1: 'itu709', 6: 'itu601'}[matrix]).to_ndarray().astype(float)
    want = colorizer.colorize_array(np.full((64, 96), 128, np.uint8)).astype(float)
    assert abs(shown.mean((0, 1)) - want.mean((0, 1)))[[0, 2]].max() < 5  # R and B; G follows from the matrix


SIZES = [(128, 96), (120, 90), (90, 160), (640, 64), (352, 240), (320, 240), (1000, 100), (64, 36), (33, 517), (16, 16), (2, 2)]

@pytest.mark.parametrize('size', SIZES, ids=lambda o: f'{o[0]}x{o[1]}')
def test_any_size_at_any_render_size(size, tmp_path, capsys):
    "Small clips, strips, and clips that are smaller than what the network is to see"
    y = np.asarray(Image.fromarray(PHOTO['coffee']).convert('L').resize((size[0] + 8, size[1]), Image.Resampling.BOX))
    clip = write(tmp_path/'a.mkv', [np.ascontiguousarray(y[:, i:i + size[0]]) for i in range(3)], codec='ffv1', pix='gray')
    for n in ('auto', 32, 64, 512):
        assert main([str(clip), '-f', '--size', str(n)]) == 0, capsys.readouterr().err
        out, _ = read(tmp_path/'a_colour.mkv')
        assert out[0].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
        assert mean_error(out, read(clip)[0]) < (3 if min(size) > 16 else 6)  # of a few pixels, H.264 keeps less


def matrix(path, values):
    "Write a display matrix (its four numbers that turn) into an MP4's track header (ISO 14496-12, 8.3.2)"
    data = bytearray(path.read_bytes())
    a, b, c, d = (o << 16 for o in values)
    at = data.index(b'tkhd') + 4 + 40
    data[at:at + 36] = b''.join(o.to_bytes(4, 'big', signed=True) for o in (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    path.write_bytes(data)

TURNS = {'hflip': ((-1, 0, 0, 1), lambda y: y[:, ::-1]), 'vflip': ((1, 0, 0, -1), lambda y: y[::-1]),
         'transpose': ((0, 1, 1, 0), lambda y: y.T),
         'antitranspose': ((0, -1, -1, 0), lambda y: y[::-1, ::-1].T), 'clockwise': ((0, 1, -1, 0), lambda y: np.rot90(y, -1)),
         'counter': ((0, -1, 1, 0), np.rot90), 'half': ((-1, 0, 0, -1), lambda y: y[::-1, ::-1]), 'none': ((1, 0, 0, 1), lambda y: y)}

@pytest.mark.parametrize('how', TURNS)
def test_mirrored_and_turned_clips_are_as_players_show_them(how, tmp_path, colorizer):
    values, want = TURNS[how]
    plain = pan(n=1)
    clip = write(tmp_path/'a.mp4', plain)
    matrix(clip, values)
    out, _ = read(colorize_video(clip, tmp_path/'out.mp4', colorizer))
    assert mean_error(out, [np.repeat(want(plain[0])[..., None], 3, -1)]) < 3


@pytest.mark.parametrize('name', ['12:30.mp4', '2020-01-01T12:30:00.mp4', 'a:b/c.mp4', '-x.mp4', 'a%03d.mp4'])
def test_any_name(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    write(tmp_path/'plain.mp4', pan(n=2)).rename(tmp_path/name)
    assert colour('./' + name if name[0] == '-' else name, '-o', 'out:1.mp4') == 0, capsys.readouterr().err
    assert len(read(tmp_path/'out:1.mp4')[0]) == 2
    assert not [o for o in os.listdir() if o.startswith('.')]


SUBTITLES = 'subrip', {'eng': 0, 'fra': 64}

def box(path, video_options=None, sound=('deu', 'eng'), subtitles=SUBTITLES, chapters=True, font=False, cover=None, tags=None, at=0.):
    "A clip with everything: tracks in languages, chapters, a font, a cover, tags; all of it begins at `at` seconds"
    options = {'movflags': 'use_metadata_tags'} if tags and path.suffix == '.mov' else {}
    with av.open(str(path), 'w', container_options=options) as out:
        video = out.add_stream('libx264', rate=12, options={'crf': '8', 'bf': '0'})
        video.width, video.height = 96, 64
        audio = []
        for lang in sound:
            a = out.add_stream('aac', rate=8000, layout='mono')
            a.metadata.update(language=lang, title=f'Sound {lang}')
            a.disposition = 1 if lang == sound[0] else 0
            audio.append(a)
        texts = []
        for lang, flags in (subtitles[1] if subtitles else {}).items():
            s = out.add_stream(subtitles[0])
            s.codec_context.subtitle_header = HEADER
            s.time_base = Fraction(1, 1000)
            s.metadata.update(language=lang)
            s.disposition = flags
            texts.append(s)
        if font: out.add_attachment('font.ttf', 'font/ttf', b'not really a font')
        if cover == 'attached': out.add_attachment('cover.jpg', 'image/jpeg', COVER)
        if cover == 'stream':
            c = out.add_mux_stream('mjpeg', width=32, height=32)
            c.disposition = 1024
        if chapters:
            half = dict(time_base=Fraction(1, 1000))
            out.set_chapters([dict(id=i, start=500*i, end=500*i + 500, metadata={'title': f'Chapter {i}'}, **half) for i in range(2)])
        out.metadata.update(tags or {})
        for i, y in enumerate(pan(n=12)):
            frame = av.VideoFrame.from_ndarray(np.repeat(y[..., None], 3, -1), format='rgb24')
            frame.pts, frame.time_base = i + round(12*at), Fraction(1, 12)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if cover == 'stream':
            p = av.Packet(COVER)
            p.pts, p.dts, p.time_base, p.stream = 0, 0, Fraction(1, 90000), c
            out.mux(p)
        for a in audio:
            for i in range(8):
                f = av.AudioFrame.from_ndarray(np.float32(np.sin(np.arange(1024)*.3)[None]*.2), format='fltp', layout='mono')
                f.sample_rate, f.pts = 8000, 1024*i + round(8000*at)
                out.mux(a.encode(f))
            out.mux(a.encode())
        for s in texts:
            for start in (100, 600):
                shown = av.subtitles.subtitle.SubtitleSet.create(f'0,0,Default,,0,0,0,,words at {start}'.encode(), 0, 300, start)
                p = s.codec_context.encode_subtitle(shown)
                p.pts = p.dts = start + round(1000*at)
                p.duration, p.time_base, p.stream = 300, Fraction(1, 1000), s
                out.mux(p)
    return path

HEADER = (b'[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, '
          b'Fontsize, PrimaryColour, SecondaryColour, OutlineColour, '
          b'BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, '
          b'MarginL, MarginR, MarginV, Encoding\r\n'
          b'Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n\r\n[Events]\r\nFormat: Layer, '
          b'Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n')

def jpeg():
    import io
    Image.new('RGB', (32, 32), 'red').save(out := io.BytesIO(), 'JPEG')
    return out.getvalue()

COVER = jpeg()

def contents(path):
    "What is in a clip beside its picture"
    with av.open(f'file:{path}') as o:
        streams = [(s.type, s.metadata.get('language'), s.metadata.get('title') or s.metadata.get('name'), int(s.disposition) & ~1)
                   for s in o.streams if s.type in ('audio', 'subtitle')]
        return streams, [c['metadata'].get('title') for c in o.chapters()], [s.metadata.get('filename')
            for s in o.streams if s.type == 'attachment'], dict(o.metadata)

def words(path, i=0):
    "Subtitles: (seconds after the first frame, text)"
    first = read(path)[1][0]
    with av.open(f'file:{path}') as o:
        s = o.streams.subtitles[i]
        return [(round(float(p.pts*p.time_base) - first, 2), r.dialogue.decode()) for p in o.demux(s) if p.size
                for r in s.codec_context.decode(p)]


@pytest.mark.parametrize('source, codec', [('mkv', 'subrip'), ('mp4', 'mov_text')])
@pytest.mark.parametrize('target', ['mkv', 'mp4', 'mov'])
def test_tracks_keep_language_title_flags_and_chapters(source, codec, target, tmp_path, colorizer):
    clip, notes = box(tmp_path/f'film.{source}', subtitles=(codec, {'eng': 0, 'fra': 64})), []
    out = colorize_video(clip, tmp_path/f'out.{target}', colorizer, notes=notes)
    streams, chapters, _, _ = contents(out)
    german = 'ger' if target == 'mov' else 'deu'  # the same language: QuickTime has the older code
    assert [o[:3] for o in streams[:2]] == [('audio', german, 'Sound deu'), ('audio', 'eng', 'Sound eng')]
    assert [o[:2] for o in streams[2:]] == [('subtitle', 'eng', ), ('subtitle', 'fra')]
    forced = [o[3] for o in streams[2:]] == [0, 64]
    assert forced == (target != 'mov') and [o[3] for o in streams[2:]][0] == 0  # QuickTime has no such flag, and that is said
    assert notes == ([] if forced else ['subtitles (fra): .mov cannot mark it as forced'])
    assert chapters == ['Chapter 0', 'Chapter 1']
    assert words(out) == [(.1, 'words at 100'), (.6, 'words at 600')]


def test_fonts_and_covers_are_kept_or_missed_aloud(tmp_path, colorizer):
    clip, notes = box(tmp_path/'film.mkv', subtitles=('ass', {'eng': 0}), font=True, cover='attached'), []
    out = colorize_video(clip, tmp_path/'out.mkv', colorizer, notes=notes)
    assert sorted(map(str, contents(out)[2] + covers(out))) == sorted(map(str,
        contents(clip)[2] + covers(clip))) and 'font.ttf' in contents(out)[2] and notes == []
    assert covers(out) == [COVER]
    out = colorize_video(clip, tmp_path/'out.mp4', colorizer, notes=notes)
    assert covers(out) == [COVER] and words(out) == [(.1, 'words at 100'), (.6, 'words at 600')]
    assert notes == ['subtitles (eng) became plain text: .mp4 cannot hold its styles',
                     'attached file (font.ttf) left out: .mp4 cannot hold it']
    again = colorize_video(out, tmp_path/'again.mkv', colorizer, notes=(more := []))
    assert covers(again) == [COVER] and more == []

def covers(path):
    with av.open(f'file:{path}') as o: return [bytes(p) for s in o.streams.video if int(s.disposition) & 1024 for p in o.demux(s) if p.size]


def test_tags_of_phones_are_kept(tmp_path, colorizer):
    tags = {'com.apple.quicktime.location.ISO6709': '+51.5+000.1/', 'com.apple.quicktime.make': 'Apple',
            'com.apple.quicktime.creationdate': '2020-01-01T00:00:00+0000'}
    clip = box(tmp_path/'film.mov', subtitles=None, chapters=False, tags=tags)
    assert tags.items() <= contents(clip)[3].items()
    for kind in ('mov', 'mp4'): assert tags.items() <= contents(colorize_video(clip, tmp_path/f'out.{kind}', colorizer))[3].items()
    mkv = contents(colorize_video(clip, tmp_path/'out.mkv', colorizer))[3]
    assert {k.upper(): v for k, v in tags.items()}.items() <= mkv.items()


@pytest.mark.parametrize('sound', ['flac', 'libopus'])
def test_sound_that_mov_cannot_hold_is_refused_before_the_work(sound, tmp_path, colorizer):
    clip = write(tmp_path/'film.mkv', pan(n=3), sound=sound)
    with pytest.raises(VideoError, match='Use -o out.mkv'): colorize_video(clip, tmp_path/'out.mov', colorizer, progress=lambda *_: 1/0)
    assert len(packets(colorize_video(clip, tmp_path/'out.mkv', colorizer), 'audio')) > 0


HDR = dict(codec='libx265', pix='yuv420p10le', options={'crf': '4', 'x265-params': 'log-level=none'})

@pytest.mark.parametrize('target', ['mkv', 'mp4', 'mov'])
@pytest.mark.parametrize('primaries, transfer, space', [(9, 16, 9), (9, 18, 9), (1, 1, 1), (5, 6, 5)])
def test_colour_tags_and_ten_bits_are_kept(target, primaries, transfer, space, tmp_path, colorizer):
    ten = transfer in (16, 18)
    clip = tmp_path/'film.mkv'
    with av.open(str(clip), 'w') as out:
        video = out.add_stream('libx265' if ten else 'libx264', rate=12, options=HDR['options'] if ten else {'crf': '8'})
        c = video.codec_context
        c.width, c.height, c.pix_fmt = 96, 64, 'yuv420p10le' if ten else 'yuv420p'
        c.color_range, c.color_primaries, c.color_trc, c.colorspace = 1, primaries, transfer, space
        for y in pan(n=4):
            frame = av.VideoFrame(96, 64, c.pix_fmt)
            for i, p in enumerate(frame.planes):
                a = np.full((p.height, p.line_size//(1 + ten)), 512 if ten else 128, np.uint16 if ten else np.uint8)
                if i == 0: a[:, :96] = y.astype(int)*3 + 64 + np.arange(96) % 4 if ten else y*.8 + 16
                p.update(a)
            out.mux(video.encode(frame))
        out.mux(video.encode())
    out = colorize_video(clip, tmp_path/f'out.{target}', colorizer)
    with av.open(str(clip)) as a, av.open(str(out)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0)):
            assert (int(y.color_primaries), int(y.color_trc), int(y.colorspace), int(y.color_range)) == (primaries, transfer, space, 1)
            assert y.format.components[0].bits == (10 if ten else 8)
            p, q = (np.frombuffer(f.planes[0], '<u2' if ten else np.uint8).reshape(f.height, -1)[:, :96].astype(float) for f in (x, y))
            assert abs(p - q).mean() < (8 if ten else 3)


LIGHT = 'master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)', 'max-cll=1000,400'

@pytest.mark.parametrize('target', ['mkv', 'mp4', 'mov'])
@pytest.mark.parametrize('light', [LIGHT, LIGHT[:1], LIGHT[1:]])
def test_hdr_keeps_its_mastering_display_and_light_level(light, target, tmp_path, colorizer):
    clip, notes = tmp_path/'film.mkv', []
    with av.open(str(clip), 'w') as out:
        video = out.add_stream('libx265', rate=12, options={'x265-params': ':'.join(['log-level=none', *light])})
        c = video.codec_context
        c.width, c.height, c.pix_fmt, c.color_primaries, c.color_trc, c.colorspace = 96, 64, 'yuv420p10le', 9, 16, 9
        for y in pan(n=3): out.mux(video.encode(av.VideoFrame.from_ndarray(np.repeat(y[..., None], 3, -1), format='rgb24')))
        out.mux(video.encode())
    out = colorize_video(clip, tmp_path/f'out.{target}', colorizer, notes=notes)
    said = []
    for path in (clip, out):
        with av.open(str(path)) as o: frame = next(o.decode(video=0))
        names = 'MASTERING_DISPLAY_METADATA', 'CONTENT_LIGHT_LEVEL'
        said.append({s.type.name: bytes(s) for s in frame.side_data if s.type.name in names})
        assert mastering(frame) == ':'.join(light)
    assert said[0] == said[1] and notes == []


def test_hdr_in_eight_bits_keeps_its_light(tmp_path, colorizer):
    clip, params = tmp_path/'film.mkv', ':'.join(LIGHT).replace('master-', 'mastering-').replace('max-cll', 'cll')
    write(clip, pan(n=3), options={'crf': '8', 'x264-params': params})
    with av.open(str(colorize_video(clip, tmp_path/'out.mkv', colorizer))) as o:
        assert mastering(next(o.decode(video=0))) == ':'.join(LIGHT)


def test_hdr_that_changes_with_the_scene_is_missed_aloud():
    "No encoder here writes it, so the frame is a stand-in"
    frame = lambda kind: SimpleNamespace(side_data=[SimpleNamespace(type=SimpleNamespace(name=kind))])
    frames = Frames('film.mkv')
    assert not _changing_light(frame('SEI_UNREGISTERED')) and frame_notes(frames) == []
    frames.changing = _changing_light(frame('DYNAMIC_HDR_PLUS')) and _changing_light(frame('DOVI_METADATA'))
    assert frame_notes(frames) == ['HDR10+ or Dolby Vision: the data on each scene left out, the static HDR data kept']


def fields(path, n=6):
    "An interlaced clip: what moves is at two places in the two fields of a frame"
    y = np.asarray(Image.fromarray(PHOTO['coffee']).convert('L').resize((400, 128)))
    at = [np.ascontiguousarray(y[:, 6*i:6*i + 192]) for i in range(2*n)]
    frames = [o.copy() for o in at[::2]]
    for f, second in zip(frames, at[1::2]): f[::2] = second[::2]  # the lower field comes first
    return write(path, frames, codec='mpeg2video', rate=25, options={'q:v': '2', 'flags': '+ildct+ilme'}), at[::2]

def combs(y): return abs(2*y[1:-1].astype(float) - y[:-2] - y[2:]).mean()

def test_interlaced_clips_are_deinterlaced_and_it_is_said(tmp_path, capsys):
    clip, whole = fields(tmp_path/'film.mpg')
    with av.open(str(clip)) as o: assert next(o.decode(video=0)).interlaced_frame
    assert colour(clip) == 0
    assert 'film.mpg: interlaced: the two fields of each frame were made into one picture' in capsys.readouterr().err
    before, at = read(clip)
    after, at_after = read(tmp_path/'film_colour.mkv')
    assert len(after) == len(before) and np.allclose(np.diff(at), np.diff(at_after), atol=.002)
    assert combs(luma(before[2])) > 2*combs(luma(after[2]))
    assert mean_error(after[1:-1], [np.repeat(o[..., None], 3, -1) for o in whole[1:-1]]) < 6


@pytest.mark.parametrize('kind', ['ts', 'mpg', 'mkv'])
def test_a_broadcast_begins_at_0(kind, tmp_path, colorizer):
    clip = tmp_path/f'tv.{kind}'
    if kind == 'mpg': write(clip, pan(n=12), codec='mpeg2video', rate=25, options={'q:v': '2'})
    else: box(clip, subtitles=None, chapters=False, at=36000.)
    out = colorize_video(clip, tmp_path/'out.mkv', colorizer)
    (_, at), (_, after) = read(clip), read(out)
    assert len(at) == len(after) and after[0] < .3 and np.allclose(np.diff(at), np.diff(after), atol=.002)
    with av.open(str(out)) as o: assert o.duration/1e6 < 1.6
    if kind == 'mpg': return
    sound = lambda p: packets(p, 'audio')[0][1]
    assert abs((sound(out) - after[0]) - (sound(clip) - at[0])) < .05  # together as before


@pytest.mark.parametrize('target', ['mkv', 'mp4'])
@pytest.mark.parametrize('source', ['mp4', 'ts', 'webm'])
def test_the_frame_rate_is_announced_right(source, target, tmp_path, colorizer):
    kind = dict(codec='libvpx-vp9', options={'crf': '20', 'b:v': '0'}) if source == 'webm' else {}
    clip = write(tmp_path/f'a.{source}', pan(n=25), rate=25, **kind)
    out = colorize_video(clip, tmp_path/f'out.{target}', colorizer)
    import cv2
    with av.open(str(out)) as o: assert abs(o.streams.video[0].average_rate - 25) < .2
    assert abs(cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FPS) - 25) < .2


@pytest.mark.parametrize('kind', ['mp4', 'mkv', 'ts'])
def test_damage_in_the_middle_costs_what_is_damaged_and_it_is_said(kind, tmp_path, capsys):
    clip = write(tmp_path/f'film.{kind}', pan(n=25)*2, rate=25, options={'crf': '8', 'g': '10', 'bf': '0'})
    whole = len(read(clip)[0])
    data = bytearray(clip.read_bytes())
    middle = len(data)//2
    data[middle:middle + 400] = np.random.default_rng(0).bytes(400)
    clip.write_bytes(data)
    assert colour(clip) == 0
    after, err = read(tmp_path/f'film_colour.{"mp4" if kind == "mp4" else "mkv"}')[0], capsys.readouterr().err
    assert .6*whole < len(after) <= whole and f'film.{kind}: damaged: ' in err
    assert mean_error(after[:10], read(clip)[0][:10]) < 3


def test_a_clip_cut_short_is_coloured_and_it_is_said(tmp_path, capsys):
    clip = write(tmp_path/'film.mkv', pan(n=30)*5, rate=25)
    clip.write_bytes(clip.read_bytes()[:int(.6*clip.stat().st_size)])
    assert colour(clip) == 0
    err = capsys.readouterr().err
    assert 'cut short: it ends at 0:0' in err and 'should last 0:06' in err
    assert 50 < len(read(tmp_path/'film_colour.mkv')[0]) < 120


def test_damaged_sound_leaves_a_gap(tmp_path, capsys):
    clip = write(tmp_path/'film.ts', pan(n=24)*2, sound='aac')
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as o: at = [p.pos for p in o.demux(audio=0) if p.pos]
    here = at[len(at)//2] + 20
    data[here:here + 160] = bytes(160)  # headers of ADTS frames are in there
    clip.write_bytes(data)
    assert colour(clip) == 0
    assert len(read(tmp_path/'film_colour.mkv')[0]) == 48
    assert len(packets(tmp_path/'film_colour.mkv', 'audio')) > .6*len(at)
    assert [o for o in capsys.readouterr().err.splitlines() if 'damaged' in o and 'sound' in o]


def test_uneven_times_are_kept(tmp_path, colorizer):
    times = [0, 40, 55, 300, 301, 1000, 2500]
    clip = write(tmp_path/'phone.mkv', pan(n=7), times=times)
    for out in ('out.mkv', 'out.mp4'):
        colorize_video(clip, tmp_path/out, colorizer, part=3)
        assert np.allclose(read(tmp_path/out)[1], np.array(times)/1000, atol=.0011)


@pytest.mark.parametrize('degrees', [90, 180])
def test_a_clip_on_its_side_stands_up(degrees, tmp_path, colorizer):
    clip = write(tmp_path/'phone.mp4', pan(n=2))
    turn(clip, degrees)
    with av.open(str(clip)) as o:
        frame = next(o.decode(video=0))
        assert frame.rotation % 360 in (degrees, 360 - degrees)
        upright = np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation//90 % 4)
    out = colorize_video(clip, tmp_path/'out.mp4', colorizer)
    with av.open(str(out)) as o: frame = next(o.decode(video=0))
    assert frame.rotation == 0 and mean_error([frame.to_ndarray(format='rgb24')], [upright]) < 3
    clockwise = {90: -1, 180: 2}[degrees]  # the matrix of 90° is what phones write that were held upright
    assert mean_error([frame.to_ndarray(format='rgb24')], [np.rot90(read(write(tmp_path/'plain.mp4', pan(n=1)))[0][0], clockwise)]) < 3


def test_an_odd_size_grows_by_a_line(tmp_path, colorizer):
    clip = write(tmp_path/'odd.mkv', pan(n=2, size=(95, 63)), codec='ffv1', pix='gray')
    out, _ = read(colorize_video(clip, tmp_path/'out.mp4', colorizer))
    assert out[0].shape == (64, 96, 3) and mean_error(out, read(clip)[0]) < 3


def test_colours_do_not_flicker(colorizer):
    "With the true motion, which is known here: 6 of 192 columns"
    rng = np.random.default_rng(0)
    frames = [(o/np.float32(255) + rng.normal(0, .015, o.shape).astype(np.float32)).clip(0, 1) for o in pan(size=(96, 64))]
    chroma = [colorizer.predict_chroma(o) for o in frames]
    small = [np.asarray(Image.fromarray(o).resize(chroma[0].shape[1::-1], Image.Resampling.BICUBIC)) for o in frames]
    scale = chroma[0].shape[1]/96
    flows = [np.full((*chroma[0].shape[:2], 2), [3*scale, 0], np.float32)]*11
    smoother = Smoother()
    calm = [smoother(y, lambda _, c=c: c) for y, c in zip(small, chroma)]
    assert smoother.cuts == 0 and smoother.looks <= 4
    assert np.mean(flicker(small, calm, flows)) < .6*np.mean(flicker(small, chroma, flows))


def test_a_cut_starts_anew(colorizer):
    frames = [o/np.float32(255) for name in ('coffee', 'rocket') for o in pan(name, 4)]
    chroma = [np.full((64, 96, 2), v, np.float32) for v in [.1]*4 + [-.1]*4]
    smoother = Smoother()
    out = [smoother(y, lambda _, c=c: c) for y, c in zip(frames, chroma)]
    assert smoother.cuts == 1 and np.array_equal(out[4], chroma[4])


def test_killed_and_resumed_gives_the_same(tmp_path, colorizer):
    clip = write(tmp_path/'film.mp4', pan(n=24, step=2), sound='aac')
    whole = colorize_video(clip, tmp_path/'whole.mp4', colorizer, part=6)
    code = f'''
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.video import colorize_video
import os, signal
def stop(n, total): n == 15 and os.kill(os.getpid(), signal.SIGKILL)
colorize_video({str(clip)!r}, {str(tmp_path/'again.mp4')!r}, Colorizer(size=64, threads=1), part=6, progress=stop)'''
    r = subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': str(ROOT)}, timeout=120)
    assert r.returncode == -signal.SIGKILL and not (tmp_path/'again.mp4').exists()
    seen = []
    colorize_video(clip, tmp_path/'again.mp4', colorizer, part=6, progress=lambda n, total: seen.append((n, total)))
    assert seen[0] == (13, 24) and seen[-1] == (24, 24)  # two parts were whole
    assert (tmp_path/'again.mp4').read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['again.mp4', 'film.mp4', 'whole.mp4']


def test_parts_of_another_job_are_not_used(tmp_path):
    class Stop(Exception): pass
    def stop(n, total):
        if n == 5: raise Stop
    clip = write(tmp_path/'film.mp4', pan(n=6))
    with pytest.raises(Stop): colorize_video(clip, tmp_path/'out.mp4', Colorizer(size=64), part=2, progress=stop)
    seen = []
    colorize_video(clip, tmp_path/'out.mp4', Colorizer(size=64, saturation=0), part=2, progress=lambda n, total: seen.append(n))
    assert seen == [1, 2, 3, 4, 5, 6]
    assert max(np.ptp(o.astype(int), axis=-1).max() for o in read(tmp_path/'out.mp4')[0]) <= 3  # grey


def test_ctrl_c_keeps_what_is_done(tmp_path):
    clip = write(tmp_path/'film.mp4', pan(n=30)*12, codec='mpeg4')
    p = subprocess.Popen([sys.executable, '-m', 'colorizer', clip.name, '--size', '64'], cwd=tmp_path,
                         env=os.environ | {'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = tmp_path/'.film_colour.mp4.colorizer'
    for _ in range(600):
        if folder.is_dir() and any(folder.glob('*.npz')): break
        time.sleep(.1)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130 and out == '', err
    kept = 48*len(list(folder.glob('*.npz')))
    assert kept >= 48
    assert err.splitlines() == [f'colorizer: film.mp4: stopped. {kept} of 360 frames are kept, and the same command continues from there',
                                'colorizer: stopped']
    assert not list(folder.glob('*.part')) and not (tmp_path/'film_colour.mp4').exists()


def broken(tmp_path):
    good = write(tmp_path/'good.mp4', pan(n=12), sound='aac')
    data = good.read_bytes()
    (tmp_path/'empty.mp4').write_bytes(b'')
    (tmp_path/'text.mp4').write_text('I am a letter')
    (tmp_path/'cut.mp4').write_bytes(data[:len(data)//2])
    (tmp_path/'folder.mp4').mkdir()
    with av.open(str(tmp_path/'sound.mp4'), 'w') as out:
        audio = out.add_stream('aac', rate=8000, layout='mono')
        a = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
        a.sample_rate = 8000
        out.mux(audio.encode(a))
        out.mux(audio.encode())
    rubbish = bytearray(data)
    at = data.index(b'mdat') + 8
    rubbish[at:at + 4000] = np.random.default_rng(0).bytes(4000)
    (tmp_path/'rubbish.mp4').write_bytes(rubbish)


@pytest.mark.parametrize('name, why',
                         [('none.mp4', 'no such file'), ('empty.mp4', 'not a clip'), ('text.mp4', 'not a clip'), ('cut.mp4', 'not a clip'),
                          ('sound.mp4', 'no picture'), ('rubbish.mp4', 'no frame in it can be read')])
def test_broken_clips_are_one_line(name, why, tmp_path, capfd):
    broken(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert colour(tmp_path/name) == 1
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == '' and len(lines) == 1 and lines[0].startswith('colorizer: ') and name in lines[0] and why in lines[0], err
    assert sorted(tmp_path.iterdir()) == before


def test_bad_targets(tmp_path, capfd):
    clip = write(tmp_path/'film.mp4', pan(n=2), sound='aac')
    avi = write(tmp_path/'pcm.avi', pan(n=2), codec='mpeg4', sound='pcm_s16le')
    (tmp_path/'there.mp4').write_bytes(b'mine')
    for words, why in [((clip, '-o', tmp_path/'out.gif'), 'unknown'), ((clip, '-o', clip), 'never overwritten'),
                       ((clip, '-o', tmp_path/'no'/'out.mp4'), 'no folder'),
                       ((clip, '-o', tmp_path/'there.mp4'), 'exists already'), ((clip, '--hint', '1,1,red'), 'is for photos'),
                       ((clip, '--compare'), 'is for photos')]:
        assert colour(*words) == 1
        err = capfd.readouterr().err
        assert err.count('\n') == 1 and why in err, err
    assert (tmp_path/'there.mp4').read_bytes() == b'mine'
    assert colour(avi) == 0  # MKV takes any sound
    assert colour(clip, '-o', tmp_path/'there.mp4', '--force') == 0 and len(read(tmp_path/'there.mp4')[0]) == 2


def test_photos_and_clips_together(tmp_path, capsys):
    clip = write(tmp_path/'film.mp4', pan(n=2))
    Image.fromarray(pan(n=1)[0]).save(tmp_path/'photo.png')
    assert colour(clip, tmp_path/'photo.png', '-o', tmp_path/'out') == 0
    assert sorted(p.name for p in (tmp_path/'out').iterdir()) == ['film.mp4', 'photo.png']


def test_memory_does_not_grow_with_length(tmp_path):
    "Peak memory of 300 frames against 30, each in a process of its own"
    code = '''
import resource, sys
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.video import colorize_video
colorize_video(sys.argv[1], sys.argv[1] + '.mp4', Colorizer(size=32, threads=1), part=50)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)'''
    peak = []
    for n in (30, 300):
        clip = write(tmp_path/f'{n}.mp4', (pan(n=30, size=(128, 96), step=2)*(n//30)))
        r = subprocess.run([sys.executable, '-c', code, clip], env=os.environ | {'PYTHONPATH': str(ROOT)}, capture_output=True, text=True,
                           timeout=120)
        peak.append(int(r.stdout))
    assert peak[1] < peak[0] + 15_000, peak  # KB; 270 frames more would be 10 MB as bytes, 40 MB as floats
