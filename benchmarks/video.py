"""How fast a clip is coloured on one core, and what the picture loses by it: the network at every frame against key frames.

    OMP_NUM_THREADS=1 python benchmarks/video.py                          # 48 frames of 720p, two rounds
    OMP_NUM_THREADS=1 python benchmarks/video.py --frames 240 --rounds 5 --height 1080

The clip is an embedded photo, enlarged, that a window moves over, with new grain in each frame. Each round colours it in all ways, one
after the other, so that other work on the machine meets all of them; figures are medians over the rounds, and ratios are medians of each
round's ratio. Frames a second are those of processor time, which a busy machine changes less than the clock. "flicker" is the change of
chroma along the motion, which is known here (see nbs/library/video.ipynb); "luma" is the PSNR of the result's luma against the clip's.
"""
import argparse, os, platform, statistics, tempfile, time
from importlib.metadata import version
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from colorizer.inference import clips
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.colour import luma
from colorizer.inference.photo import open_photo, sample_photos
from colorizer.inference.pixels import to_rgb_array
from colorizer.inference.video import colorize_video, flicker

STEP = 3, 1  # columns and rows by which the window moves in a frame
WAYS = {'each frame, x264 medium': (1, 'medium'), 'each frame, x264 veryfast': (1, 'veryfast'),
        'every sixth frame, x264 veryfast': (6, 'veryfast')}


def write(path, frames, height):
    "The clip, losslessly"
    width, rng = height*16//9, np.random.default_rng(0)
    y = np.rint(luma(to_rgb_array(open_photo(sample_photos()['coffee'])))*255).astype(np.uint8)
    size = width + STEP[0]*frames, height + STEP[1]*frames
    big = np.asarray(Image.fromarray(y).resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    with av.open(str(path), 'w') as out:
        video = out.add_stream('libx264', rate=24, options={'qp': '0', 'preset': 'ultrafast'})
        video.width, video.height, video.pix_fmt = width, height, 'yuv420p'
        for i in range(frames):
            seen = big[STEP[1]*i:STEP[1]*i + height, STEP[0]*i:STEP[0]*i + width]
            seen = (seen + rng.normal(0, 2.5, seen.shape)).clip(0, 255)*(219/255) + 16
            out.mux(video.encode(clips.to_frame(np.rint(seen).astype(np.uint8), *[np.full((height//2, width//2), 128, np.uint8)]*2)))
        out.mux(video.encode())


def judge(clip, result):
    "Flicker of the chroma along the known motion, and PSNR of the luma"
    lumas, chromas, errors = [], [], []
    with av.open(str(clip)) as a, av.open(str(result)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0)):
            p, q = (clips.luma_plane(o).astype(np.float32) for o in (x, y))
            errors.append(float(((p - q)**2).mean()))
            u, v = (np.frombuffer(o, np.uint8).reshape(o.height, -1)[:, :o.width] for o in y.planes[1:])
            size = y.width//4, y.height//4
            lumas.append(cv2.resize(q/255, size, interpolation=cv2.INTER_AREA))
            chromas.append(np.stack([cv2.resize(o.astype(np.float32)/255, size, interpolation=cv2.INTER_AREA) for o in (u, v)], -1))
    flow = np.full((*lumas[0].shape, 2), np.float32(STEP)/4, np.float32)
    return statistics.mean(flicker(lumas, chromas, [flow]*(len(lumas) - 1))), 10*np.log10(255**2/statistics.mean(errors))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=48)
    parser.add_argument('--height', type=int, default=720)
    parser.add_argument('--rounds', type=int, default=2)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    colorizer, seconds, told = Colorizer(threads=1), {k: [] for k in WAYS}, {}
    colorizer.predict_chroma(np.zeros((256, 448), np.float32))
    with tempfile.TemporaryDirectory() as tmp:
        clip = Path(tmp)/'clip.mp4'
        write(clip, args.frames, args.height)
        for _ in range(args.rounds):
            for name, (every, clips.PRESET) in WAYS.items():
                start, out = time.process_time(), Path(tmp)/'out.mp4'
                colorize_video(clip, out, colorizer, every=every)
                seconds[name].append((time.process_time() - start)/args.frames)
                if name not in told: told[name] = *judge(clip, out), out.stat().st_size/args.frames/1000
                out.unlink()
    first = next(iter(WAYS))
    print(f'{args.frames} frames of {args.height} lines, {args.rounds} rounds; {os.cpu_count()} processors ({platform.machine()}), '
          f'load {os.getloadavg()[0]:.0f} at the end; '
          f'Python {platform.python_version()}, ' + ', '.join(f'{o} {version(o)}' for o in ('av', 'onnxruntime', 'numpy')) + '.\n')
    print('| | frames/s of processor time | ratio | flicker, 1/255 | luma, dB | kB a frame |\n|---|---:|---:|---:|---:|---:|')
    for name, v in seconds.items():
        ratio = statistics.median(a/b for a, b in zip(seconds[first], v))
        shake, db, size = told[name]
        print(f'| {name} | {1/statistics.median(v):.1f} | {ratio:.2f} | {shake:.2f} | {db:.1f} | {size:.0f} |')


if __name__ == '__main__': main()
