"""Peak memory and time of colouring one photo, file to file, each in a process of its own.

    python benchmarks/memory.py                    # 1, 12, 24 and 100 megapixels
    python benchmarks/memory.py 24 --format png    # sizes in megapixels; jpg, png or tif; --deep: 16-bit grey

The photo is the embedded `china`, enlarged, with grain added, so that it compresses like a scan. Peak memory is the largest resident set of
the process (getrusage), with everything in it: Python, ONNX Runtime, the model, the photo. Time is that of `colorize_file`; beside it,
decoding
and encoding alone, and one run of the network. All times are seconds of processor time, which a busy machine doesn't change much: strips
that
are merged on two cores at once count twice, so the time on the clock is shorter on a machine that is idle.
"""
import argparse, io, json, resource, subprocess, sys, tempfile, time
from pathlib import Path

SCALE = 1024 if sys.platform == 'darwin' else 1  # macOS gives bytes, Linux kilobytes


def make(path, megapixels, deep, mode='L'):
    "A photo of 3:2 with grain, grey or RGB"
    import numpy as np
    from PIL import Image
    from colorizer.inference.photo import open_photo, sample_photos
    width = round((megapixels*1.5e6)**.5)
    a = np.asarray(open_photo(sample_photos()['china']).convert(mode).resize((width, round(width/1.5)), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, 5, (512, 512))
    noise = np.tile(noise, (a.shape[0]//512 + 1, a.shape[1]//512 + 1))[:a.shape[0], :a.shape[1]]
    a = np.clip(a + (noise if mode == 'L' else noise[..., None]), 0, 255)
    options = dict(quality=90) if path.suffix == '.jpg' else {}
    Image.fromarray((a*257).astype(np.uint16) if deep else a.astype(np.uint8)).save(path, **options)


def measure(path, out):
    "Colour one file; what it took, as JSON on standard output"
    from colorizer.inference.files import colorize_file
    from colorizer.inference.colorizer import Colorizer
    from PIL import Image
    Image.MAX_IMAGE_PIXELS = None
    c = Colorizer()
    import numpy as np
    c.predict_chroma(np.zeros((192, 288), np.float32))  # the first run of a session takes longer than all others
    start = time.process_time()
    c.predict_chroma(np.zeros((192, 288), np.float32))
    network = time.process_time() - start
    idle, start = peak(), time.process_time()
    colorize_file(c, path, out)
    print(json.dumps(dict(peak=peak(), idle=idle, seconds=time.process_time() - start, network=network)))

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024/SCALE


def decode_encode(path, out):
    "Seconds to decode the photo, and to encode the result again as it was encoded"
    from PIL import Image
    Image.MAX_IMAGE_PIXELS = None
    start = time.process_time()
    with Image.open(path) as img: img.load()
    middle = time.process_time()
    with Image.open(out) as img:
        img.load()
        how = dict(qtables=img.quantization, subsampling=0) if img.format == 'JPEG' else {}
        again = time.process_time()
        img.save(io.BytesIO(), img.format, **how)
    return middle - start, time.process_time() - again


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('megapixels', nargs='*', type=float, default=[1, 12, 24, 100])
    parser.add_argument('--format', default='jpg', choices=['jpg', 'png', 'tif'])
    parser.add_argument('--deep', action='store_true', help='16-bit grey (png or tif)')
    parser.add_argument('--child', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child and args.megapixels == [0]: return measure(*args.child)
    if args.child and args.megapixels == [-1]: return print(json.dumps(decode_encode(*args.child)))
    if args.child: return make(Path(args.child[0]), args.megapixels[0], args.deep)
    child = lambda n, *words: subprocess.run([sys.executable, __file__, *words, '--', str(n)], capture_output=True, text=True,
                                             check=True).stdout  # this process stays small: a child's peak begins at its parent's
    print('| megapixels | peak, MB | before the photo, MB | seconds | decode + encode | one network run | seconds ÷ (2·(decode + encode) '
          '+ network) |\n|---:|---:|---:|---:|---:|---:|---:|')
    for n in args.megapixels:
        with tempfile.TemporaryDirectory() as tmp:
            photo, out = (Path(tmp)/f'{k}.{args.format}' for k in ('photo', 'out'))
            child(n, '--child', str(photo), str(out), '--format', args.format, *['--deep']*args.deep)
            o = json.loads(child(0, '--child', str(photo), str(out)))
            decode, encode = json.loads(child(-1, '--child', str(photo), str(out)))
            bound = 2*(decode + encode) + o['network']
            print(f"| {n:g} | {o['peak']:.0f} | {o['idle']:.0f} | {o['seconds']:.2f} | {decode + encode:.2f} | {o['network']:.2f} | "
                  f"{o['seconds']/bound:.2f} |", flush=True)


if __name__ == '__main__': main()
