"""Clips through the command and the library; the clips are made here, from the embedded photos."""
import os, signal, subprocess, sys, time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip('av', reason='PyAV is not installed (extra: video)')
pytest.importorskip('cv2', reason='OpenCV is not installed (extra: video)')

from colorizer.cli import main
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
    'h264.mp4': {}, 'sound.mp4': dict(sound='aac'), 'film.mkv': dict(sound='aac'), 'old.avi': dict(codec='mpeg4', sound='mp3', options={'q:v': '2'}),
    'lossless.mkv': dict(codec='ffv1', pix='gray'), 'rgb.mkv': dict(codec='ffv1', pix='bgr0'), '444.mp4': dict(pix='yuv444p'), '422.mp4': dict(pix='yuv422p'),
    'ten.mkv': dict(codec='ffv1', pix='yuv420p10le'), 'full.mp4': dict(pix='yuvj420p', full=True), 'bt709.mp4': dict(space=1), 'web.webm': dict(codec='libvpx-vp9', options={'crf': '8', 'b:v': '0'}),
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
    flows = [np.broadcast_to(np.float32([3*scale, 0]), (*chroma[0].shape[:2], 2))]*11
    smoother = Smoother()
    calm = [smoother(*o) for o in zip(small, chroma)]
    assert smoother.cuts == 0
    assert np.mean(flicker(small, calm, flows)) < .6*np.mean(flicker(small, chroma, flows))


def test_a_cut_starts_anew(colorizer):
    frames = [o/np.float32(255) for name in ('coffee', 'rocket') for o in pan(name, 4)]
    chroma = [np.full((64, 96, 2), v, np.float32) for v in [.1]*4 + [-.1]*4]
    smoother = Smoother()
    out = [smoother(*o) for o in zip(frames, chroma)]
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
    p = subprocess.Popen([sys.executable, '-m', 'colorizer', clip.name, '--size', '64'], cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = tmp_path/'.film_colour.mp4.colorizer'
    for _ in range(600):
        if folder.is_dir() and any(folder.glob('*.part')): break
        time.sleep(.1)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130 and out == '', err
    assert err.splitlines() == ['colorizer: film.mp4: what is done is kept. The same command goes on from there', 'colorizer: stopped']
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


@pytest.mark.parametrize('name, why', [('none.mp4', 'no such file'), ('empty.mp4', 'not a clip'), ('text.mp4', 'not a clip'), ('cut.mp4', 'not a clip'), ('sound.mp4', 'no picture'), ('rubbish.mp4', 'damaged after 0:00')])
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
    for words, why in [((clip, '-o', tmp_path/'out.gif'), 'unknown'), ((clip, '-o', clip), 'never overwritten'), ((clip, '-o', tmp_path/'no'/'out.mp4'), 'no folder'),
                       ((clip, '-o', tmp_path/'there.mp4'), 'exists already'), ((clip, '--hint', '1,1,red'), 'is for photos'), ((clip, '--compare'), 'is for photos')]:
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
    assert sorted(p.name for p in (tmp_path/'out').iterdir()) == ['film_colour.mp4', 'photo_colour.png']


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
        r = subprocess.run([sys.executable, '-c', code, clip], env=os.environ | {'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=120)
        peak.append(int(r.stdout))
    assert peak[1] < peak[0] + 15_000, peak  # KB; 270 frames more would be 10 MB as bytes, 40 MB as floats
