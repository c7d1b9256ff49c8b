"""Fill a folder of the site with the demo: its own files, ONNX Runtime for browsers from npm, the model, and grey photos to try.

    python docs/demo/build.py OUT
"""
import hashlib, json, shutil, subprocess, sys
from importlib.resources import files
from pathlib import Path

from PIL import Image

from colorizer.inference.files import IN_COLOUR
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.colour import luma
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array

HERE = Path(__file__).parent
OWN = ('demo.js', 'demo.css', 'slider.js', 'worker.js', 'colour.js')
SLIDER = files('colorizer')/'pages'/'slider.css'  # the one that before_after has in notebooks
WASM = 'ort-wasm-simd-threaded.wasm'
RUNTIME = ('ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', WASM)
EXAMPLES = {  # name: (what can be seen, who made it and its licence: see colorizer/photos/README.md)
    'china': ('a pavilion above a lake', 'danielbuechele, CC BY 2.0'),
    'astronaut': ('an astronaut', 'NASA, public domain'),
    'flower': ('a dahlia', 'vultilion, CC BY 2.0'),
    'cat': ('a cat', 'Stefan van der Walt, CC0'),
}

def runtime() -> tuple:  # folder, version
    "ONNX Runtime as the lock file names it; npm fetches it where it isn't there yet."
    wanted = json.loads((HERE/'package-lock.json').read_text())['packages']['node_modules/onnxruntime-web']['version']
    here = HERE/'node_modules'/'onnxruntime-web'
    if not (here/'package.json').exists() or json.loads((here/'package.json').read_text())['version'] != wanted:
        npm = shutil.which('npm')
        if npm is None:
            raise SystemExit('docs/demo: npm is missing; the demo takes ONNX Runtime for browsers from there. Install Node.js 18 or newer')
        subprocess.run([npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], cwd=HERE, check=True, stdout=subprocess.DEVNULL)
    return here/'dist', wanted

def facts(version) -> dict:
    "What the page must know of the model and of the library; nothing of it stands in the JavaScript."
    colorizer = Colorizer()
    meta, data = colorizer.session.get_modelmeta().custom_metadata_map, colorizer.path.read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    return dict(size=colorizer.size, saturation=colorizer.saturation, in_colour=IN_COLOUR,
        strength=json.loads(meta.get('colorizer.facts', '{}')).get('strength', 1),
        network=json.loads(meta.get('colorizer.config', '{}')).get('name'),
        model=dict(file='model.onnx', bytes=len(data), version=sha[:12], sha256=sha),
        runtime=dict(file=WASM, version=version),
        examples=[dict(file=f'examples/{k}.jpg', name=k, alt=alt, credit=credit) for k, (alt, credit) in EXAMPLES.items()])

def build(
    out: Path,  # folder, which is made if need be
):
    "Write the demo into `out`."
    dist, version = runtime()
    found = facts(version)
    (out/'examples').mkdir(parents=True, exist_ok=True)
    for name in OWN: shutil.copyfile(HERE/name, out/name)
    (out/'slider.css').write_text(SLIDER.read_text(encoding='utf-8'), encoding='utf-8')
    for name in RUNTIME: shutil.copyfile(dist/name, out/name)
    shutil.copyfile(Colorizer().path, out/'model.onnx')
    for name in EXAMPLES:
        grey = luma(to_rgb_array(open_photo(sample_photos()[name])))
        Image.fromarray((grey*255 + .5).astype('uint8')).save(out/'examples'/f'{name}.jpg', quality=88, optimize=True)
    found['runtime']['bytes'] = (out/WASM).stat().st_size
    (out/'model.json').write_text(json.dumps(found, indent=1))

if __name__ == '__main__': build(Path(sys.argv[1]))
