"""The `colorizer` command, run as a user runs it: in a process of its own, in a folder of its own."""
import io, os, resource, shutil, struct, subprocess, sys, zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from colorizer.inference.session import default_model
from colorizer.inference.colour import luma, split
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array
from known import known_model

ROOT = Path(__file__).parent.parent
NOT_FOR_COLOURING = 'torch torchvision fastai skimage matplotlib onnx IPython pillow_heif'.split()
HEAVY = [*NOT_FOR_COLOURING, 'numpy', 'PIL', 'onnxruntime', 'fastcore', 'tqdm']

BLOCK = """
import os, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in os.environ.get('BLOCKED', '').split(): raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.fixture
def colorizer(tmp_path, tmp_path_factory):
    "Runs the command in `tmp_path`; `blocked` names modules that can't be imported, as if they were not installed"
    site = tmp_path_factory.mktemp('site')
    (site/'sitecustomize.py').write_text(BLOCK)
    def run(*words, blocked=NOT_FOR_COLOURING, code=None, **kw):
        env = os.environ | dict(PYTHONPATH=f'{site}{os.pathsep}{ROOT}', BLOCKED=' '.join(blocked), OMP_NUM_THREADS='1', COLUMNS='120')
        command = [sys.executable, *(['-c', code] if code else ['-m', 'colorizer']), *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, encoding='utf-8', timeout=300, **kw)
    return run


@pytest.fixture
def model(tmp_path_factory):
    "A tiny model whose answer is known: Cb = 0.1, Cr = luma - 0.5"
    return known_model(tmp_path_factory.mktemp('model')/'known.onnx')


@pytest.fixture
def grey(tmp_path):
    "A grey photo in the folder"
    open_photo(sample_photos()['flower']).convert('L').save(tmp_path/'grey.jpg', quality=95)
    return tmp_path/'grey.jpg'


def listing(folder): return {p.relative_to(folder): p.read_bytes() if p.is_file() else None for p in Path(folder).rglob('*')}

def written(result): return [Path(o) for o in result.stdout.splitlines()]

def one_line(result, *parts):
    "The command failed with one line that contains `parts`"
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and len(lines) == 1, result
    assert lines[0].startswith('colorizer: ') and all(o in lines[0] for o in parts), lines
    return lines[0]


# It colours

@pytest.mark.parametrize('saturation', ['1', '6'])  # strong colours leave the gamut and have to be fitted
def test_colours_a_grey_photo_and_keeps_its_luma(colorizer, grey, saturation, tmp_path):
    r = colorizer('grey.jpg', '-o', 'out.png', '--saturation', saturation)
    assert (r.returncode, r.stderr, r.stdout) == (0, '', 'out.png\n')
    before, after = to_rgb_array(open_photo(grey)), to_rgb_array(open_photo(tmp_path/'out.png'))
    assert after.shape == before.shape
    assert abs(luma(after) - luma(before)).max()*255 <= .501  # the rounding of three channels to 8 bits
    assert abs(split(after)[1]).mean() > .005  # in colour


def test_the_models_answer_is_what_comes_out(colorizer, model, tmp_path):
    Image.new('L', (100, 60), 128).save(tmp_path/'flat.png')
    assert colorizer('flat.png', '--model', model).returncode == 0
    _, chroma = split(to_rgb_array(open_photo(tmp_path/'flat_colour.png')))
    assert np.allclose(chroma.mean((0, 1)), [.1, .002], atol=.003)
    assert colorizer('flat.png', '--model', model, '--saturation', '2', '-o', 'twice.png').returncode == 0
    _, chroma = split(to_rgb_array(open_photo(tmp_path/'twice.png')))
    assert np.allclose(chroma.mean((0, 1)), [.2, .004], atol=.003)


def test_colours_of_the_original_are_not_used(colorizer, tmp_path):
    photo = open_photo(sample_photos()['coffee'])
    photo.save(tmp_path/'colour.png')
    Image.fromarray(np.rint(luma(to_rgb_array(photo))*255).astype(np.uint8)).save(tmp_path/'grey.png')
    assert colorizer('colour.png', 'grey.png').returncode == 0
    a, b = (to_rgb_array(open_photo(tmp_path/f'{k}_colour.png')).astype(int) for k in ('colour', 'grey'))
    assert abs(a - b).mean() < 1


def test_metadata_is_kept_and_the_photo_is_upright(colorizer, tmp_path):
    exif = Image.Exif()
    exif.update({ExifTags.Base.Orientation: 6, ExifTags.Base.Artist: 'Aunt Grace'})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    upright = open_photo(sample_photos()['cat'])
    upright.rotate(90, expand=True).save(tmp_path/'phone.jpg', exif=exif, icc_profile=profile, quality=95)
    assert colorizer('phone.jpg').returncode == 0
    out = Image.open(tmp_path/'phone_colour.jpg')
    assert out.size == upright.size
    assert abs(luma(to_rgb_array(out)) - luma(to_rgb_array(upright))).mean() < .02
    assert out.getexif()[ExifTags.Base.Artist] == 'Aunt Grace' and ExifTags.Base.Orientation not in out.getexif()
    assert out.info['icc_profile'] == profile


@pytest.mark.parametrize('mode', '1 L LA P RGBA CMYK I;16 I F'.split())
def test_any_kind_of_image(colorizer, mode, tmp_path):
    photo, suffix = open_photo(sample_photos()['cat']).resize((90, 60)), '.tif' if mode in ('CMYK', 'F', 'I') else '.png'
    if mode == 'I;16': img = Image.fromarray(np.asarray(photo.convert('L')).astype(np.uint16)*257)
    elif mode == 'P': img = photo.quantize(256)
    else: img = photo.convert('L').convert(mode) if mode in ('LA', 'I', 'F') else photo.convert(mode)
    img.save(tmp_path/f'scan{suffix}')
    r = colorizer(f'scan{suffix}', '-o', 'out.png')
    assert r.returncode == 0, r
    y = luma(to_rgb_array(open_photo(tmp_path/'out.png')))
    if mode != '1': assert abs(y - luma(to_rgb_array(photo))).mean() < .03  # scaled, not clipped


def test_several_photos_go_to_a_folder_and_a_bad_one_does_not_stop_the_rest(colorizer, grey, tmp_path):
    shutil.copy(grey, tmp_path/'second.jpg')
    (tmp_path/'notes.txt').write_text('not a photo')
    r = colorizer('grey.jpg', 'notes.txt', 'second.jpg', '-o', 'out')
    one_line(r, 'notes.txt')
    assert written(r) == [Path('out/grey.jpg'), Path('out/second.jpg')]
    assert sorted(p.name for p in (tmp_path/'out').iterdir()) == ['grey.jpg', 'second.jpg']


def test_compare_writes_a_before_after_picture(colorizer, grey, tmp_path):
    r = colorizer('grey.jpg', '--compare')
    assert r.returncode == 0 and written(r) == [Path('grey_colour.jpg'), Path('grey_colour_compare.jpg')]
    a = to_rgb_array(open_photo(tmp_path/'grey_colour_compare.jpg'))
    w = open_photo(grey).width
    assert 2*w <= a.shape[1] < 2.1*w
    left, right = (abs(split(o[40:-10])[1]).mean() for o in (a[:, 10:w - 10], a[:, w + 20:-10]))
    assert left < .003 < right  # grey, then coloured


def test_the_shipped_model_colours_the_embedded_photos_in_different_ways(colorizer, tmp_path):
    r = colorizer('demo', '-o', 'pictures')
    assert r.returncode == 0, r
    paths = written(r)
    assert [p.stem for p in paths] == [*sample_photos(), 'overview'] and all((tmp_path/p).is_file() for p in paths)
    means = []
    for name, path in sample_photos().items():
        a, width = to_rgb_array(open_photo(tmp_path/'pictures'/f'{name}.jpg')), open_photo(path).width
        grey, colour = (split(a[40:-10, 4 + i*(width + 4):][:, 10:width - 10])[1] for i in (0, 1))
        assert abs(grey).mean() < .003 and abs(colour).mean() > .008, name
        means.append(colour.mean((0, 1)))
    assert np.std(means, axis=0).max() > .005  # not one tint for all


# It refuses

def truncated(kind):
    f = io.BytesIO()
    open_photo(sample_photos()['cat']).save(f, kind)
    return f.getvalue()[:len(f.getvalue())//2]

def bomb():
    "A PNG that says it has 900 million pixels"
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 30000, 30000, 8, 0, 0, 0, 0)) + chunk(b'IDAT',
        b'') + chunk(b'IEND', b'')

def chatty():
    "A TIFF with a code that its LZW can't have, of which libtiff tells the error stream by itself"
    f = io.BytesIO()
    open_photo(sample_photos()['cat']).save(f, 'TIFF', compression='tiff_lzw')
    data = bytearray(f.getvalue())
    data[2000:2100] = b'\xff'*100
    return bytes(data)

BAD = {
    'missing.jpg': (None, 'no such file'),
    'folder.jpg': ('folder', 'no photos in this folder'),
    'empty.jpg': (b'', 'empty'),
    'letter.jpg': (b'Dear grandson, here is the photo.', 'not an image'),
    'cut.jpg': (truncated('JPEG'), 'cut short'),
    'cut.png': (truncated('PNG'), 'cut short'),
    'cut.tif': (truncated('TIFF'), ''),
    'cut.webp': (truncated('WEBP'), ''),
    'chatty.tif': (chatty(), ''),
    'header.jpg': (truncated('JPEG')[:20], ''),
    'huge.png': (bomb(), 'too large'),
}

@pytest.mark.parametrize('name', BAD)
def test_bad_photo(colorizer, name, tmp_path):
    content, why = BAD[name]
    if content == 'folder': (tmp_path/name).mkdir()
    elif content is not None: (tmp_path/name).write_bytes(content)
    before = listing(tmp_path)
    r = colorizer(name)
    one_line(r, name, why)
    assert r.stdout == '' and listing(tmp_path) == before


@pytest.mark.parametrize('out, why', [
    ('grey.jpg/out.jpg', 'no folder'), ('grey.jpg/', 'cannot be created'), ('nowhere/out.jpg', 'no folder'),
    ('out.xyz', 'unknown file type'), ('out', 'unknown file type'), ('grey.jpg', 'never overwritten'), ('link.jpg', 'never overwritten'),
    ('old.jpg', 'exists already'), ('x'*300 + '.jpg', 'too long')])
@pytest.mark.parametrize('force', [False, True])
def test_bad_output(colorizer, grey, out, why, force, tmp_path):
    (tmp_path/'old.jpg').write_text('the only scan of something')
    (tmp_path/'link.jpg').symlink_to(grey)
    before = listing(tmp_path)
    r = colorizer('grey.jpg', '-o', out, *['--force']*force)
    if out == 'old.jpg' and force: assert r.returncode == 0 and open_photo(tmp_path/'old.jpg').size == open_photo(grey).size
    else:
        one_line(r, why)
        assert r.stdout == '' and listing(tmp_path) == before


def test_unwritable_folder(colorizer, grey, tmp_path):
    folder = tmp_path/'locked'
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK): pytest.skip('this user may write anywhere')
    one_line(colorizer('grey.jpg', '-o', 'locked/out.jpg'), 'cannot be written')
    assert not list(folder.iterdir())


def test_the_file_types_it_writes_are_listed_in_order(colorizer, grey):
    from colorizer.inference.files import FORMATS
    listed = one_line(colorizer('grey.jpg', '-o', 'out.xyz'), 'unknown file type').partition('Use one of ')[2].split()
    assert listed == sorted(FORMATS)


def test_a_folder_that_cannot_be_written_to_is_said_once(colorizer, grey, tmp_path):
    if not Path('/proc/self').exists(): pytest.skip('there is no folder here that even root may not write to')
    photos = [shutil.copy(grey, tmp_path/f'{i}.jpg') for i in range(3)]
    for words in (photos, [tmp_path]):
        r = colorizer(*words, '-o', '/proc/self')
        assert r.returncode == 1 and r.stdout == ''
        said = [o for o in r.stderr.splitlines() if '/proc/self' in o]
        assert len(said) == 1 and 'this folder cannot be written to' in said[0] and len(r.stderr.splitlines()) <= 2, r


def test_a_single_photo_and_a_folder_name_their_results_alike(colorizer, grey, tmp_path):
    (tmp_path/'album').mkdir()
    Image.new('L', (60, 40), 90).save(tmp_path/'album'/'scan.pgm')
    shutil.copy(grey, tmp_path/'album')
    for words, folder in ((['album'], 'all'), (['album/scan.pgm', 'album/grey.jpg'], 'each')):
        assert colorizer(*words, '-o', f'{folder}/').returncode == 0
    assert sorted(p.name for p in (tmp_path/'each').iterdir()) == sorted(p.name for p in (tmp_path/'all').iterdir()
        if not p.name.startswith('.')) == ['grey.jpg', 'scan.pgm.png']
    # beside the photo itself, its name is taken
    assert written(colorizer('album/grey.jpg', '-o', 'album/')) == [Path('album/grey_colour.jpg')]


@pytest.mark.parametrize('word, why', [('', 'the name is empty'),
    ('https://example.org/a.jpg', 'an address, not a file. Download it first'), ('s3://museum/a.jpg', 'colorizer archive')])
def test_what_cannot_be_a_file_does_not_stop_the_rest(colorizer, grey, word, why):
    r = colorizer(word, 'grey.jpg', '-o', 'out')
    one_line(r, word, why)
    assert written(r) == [Path('out/grey.jpg')]


def test_a_photo_given_twice_is_coloured_once(colorizer, grey, tmp_path):
    r = colorizer('grey.jpg', f'{tmp_path}/grey.jpg')
    assert (r.returncode, written(r)) == (0, [Path('grey_colour.jpg')]) and 'given twice' in r.stderr and len(r.stderr.splitlines()) == 1


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp', '.bmp'])
def test_a_full_disk_leaves_nothing_behind(colorizer, grey, suffix, tmp_path):
    old = tmp_path/f'old{suffix}'
    old.write_text('an earlier result')
    before = listing(tmp_path)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as good as a full disk
    one_line(colorizer('grey.jpg', '-o', old.name, '--force', preexec_fn=limit), old.name, 'cannot be written')
    assert listing(tmp_path) == before


def test_ctrl_c(colorizer, grey, tmp_path):
    before = listing(tmp_path)
    code = """
import os, signal, sys, time
from colorizer.cli import main
def replace(part, path):
    assert os.path.getsize(part) > 1000
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)
os.replace = replace
sys.exit(main(sys.argv[1:]))
"""
    r = colorizer('grey.jpg', code=code)
    assert (r.returncode, r.stderr, r.stdout) == (130, 'colorizer: stopped\n', '') and listing(tmp_path) == before


def test_two_photos_of_one_name_do_not_overwrite_each_other(colorizer, grey, tmp_path):
    (tmp_path/'sub').mkdir()
    Image.new('L', (50, 50)).save(tmp_path/'sub'/'grey.jpg')
    one_line(colorizer('grey.jpg', 'sub/grey.jpg', '-o', 'out', '--force'), 'holds the result for grey.jpg')
    assert open_photo(tmp_path/'out'/'grey.jpg').size == open_photo(grey).size


@pytest.mark.parametrize('content, why', [(None, 'no such model'), (b'', 'not an ONNX model'), (b'text', 'not an ONNX model')])
def test_bad_model(colorizer, grey, content, why, tmp_path):
    if content is not None: (tmp_path/'m.onnx').write_bytes(content)
    one_line(colorizer('grey.jpg', '--model', 'm.onnx'), 'm.onnx', why)


@pytest.mark.parametrize('words', [[], ['--size', '31', 'grey.jpg'], ['--size', 'x', 'grey.jpg'], ['--saturation', 'nan', 'grey.jpg'],
    ['--nonsense', 'grey.jpg'], ['data'], ['demo', 'x']])
def test_wrong_usage_is_status_2(colorizer, grey, words, tmp_path):
    r = colorizer(*words)
    assert r.returncode == 2 and 'usage: colorizer' in r.stderr and 'Traceback' not in r.stderr and r.stdout == ''


def test_a_mistyped_command_is_understood(colorizer, grey, tmp_path):
    r = colorizer('trian', 'grey.jpg', '--out', 'run', '--recipe', 'fast')
    assert (r.returncode, r.stderr) == (2, 'colorizer: trian: neither a file nor a command. Did you mean "colorizer train"?\n')
    one_line(colorizer('Grace'), 'Grace')
    shutil.copy(grey, tmp_path/'trian')
    assert 'Did you mean' not in colorizer('trian').stderr


def test_trained_weights_are_not_a_model_yet(colorizer, grey, tmp_path):
    (tmp_path/'best.safetensors').write_bytes(b'weights')
    one_line(colorizer('grey.jpg', '--model', 'best.safetensors'), 'best.safetensors: trained weights', 'colorizer export best.safetensors')


# It is light, and knows its commands

NO_LIBRARY = '--help', '--version', 'demo --help', 'data --help', 'archive --help', 'course --help', 'evaluate --help'

@pytest.mark.parametrize('words', NO_LIBRARY)
def test_help_needs_no_library(colorizer, words):
    r = colorizer(*words.split(), blocked=HEAVY)
    assert r.returncode == 0 and r.stdout and r.stderr == ''


@pytest.mark.parametrize('word', ['train', 'export'])
def test_help_needs_no_extra(colorizer, word):
    "Nor anything of what colouring needs but fastcore, which reads the fields of a recipe"
    r = colorizer(word, '--help', blocked=[o for o in HEAVY if o != 'fastcore'])
    assert r.returncode == 0 and r.stderr == '' and (word == 'export' or '--recipe fast: ' in r.stdout)


def test_a_missing_extra_is_named(colorizer, grey):
    one_line(colorizer('train', '.', '--out', 'run'), 'pip install "unet-colorizer[train]"')
    one_line(colorizer('evaluate', 'grey.jpg'), 'pip install "unet-colorizer[evaluate]"')
    one_line(colorizer('export', 'best.safetensors', 'model.onnx'), 'pip install "unet-colorizer[train]"')
    one_line(colorizer('data', 'prepare', '.', '--cache', 'c', '--size', '64'), 'has no colour')  # needs no extra
    one_line(colorizer('archive', '.', 'out', blocked=['fsspec', 'ray', 'pyarrow']), 'pip install "unet-colorizer[archive]"')
    one_line(colorizer('grey.jpg', blocked=['onnxruntime']), 'pip install "unet-colorizer"')


def test_every_command_has_help(colorizer):
    from colorizer.cli import COMMANDS
    code = """
import sys
from colorizer.cli import main
for word in sys.argv[1:]:
    try: main([word, '--help'])
    except SystemExit as e: assert e.code == 0, e
"""  # in one process: torch takes long to import
    r = colorizer(*COMMANDS, code=code, blocked=[])
    assert r.returncode == 0 and r.stderr == '', r
    for word in COMMANDS: assert f'usage: colorizer {word}' in r.stdout and f'colorizer {word}' in colorizer('--help').stdout, word


def test_data_prepare(colorizer, tmp_path):
    (tmp_path/'photos').mkdir()
    for k in ('cat', 'china'): shutil.copy(sample_photos()[k], tmp_path/'photos')
    r = colorizer('data', 'prepare', 'photos', '--cache', 'cache', '--size', '64', blocked=[])
    assert r.returncode == 0 and r.stdout == f'2 photos in {Path("cache/64px")}\n', r
    assert len(list((tmp_path/'cache'/'64px').glob('*.jpg'))) == 2


def test_evaluate(colorizer, tmp_path):
    shutil.copy(sample_photos()['cat'], tmp_path)
    r = colorizer('evaluate', 'cat.jpg', '--size', '64', blocked=['torch', 'fastai'])
    assert r.returncode == 0 and 'PSNR' in r.stdout and 'grey' in r.stdout, r
    one_line(colorizer('evaluate', 'nowhere', blocked=['torch', 'fastai']), 'nowhere')


@pytest.mark.parametrize('own, says', [({}, 'PASSIVE'), ({'OMP_WAIT_POLICY': 'ACTIVE'}, 'ACTIVE')])
def test_kernels_of_the_course_wait_passively_unless_told_otherwise(tmp_path, own, says):
    "In place of JupyterLab, a process that says what it inherited"
    (tmp_path/'course').mkdir()
    (tmp_path/'course/01_data.ipynb').touch()
    (tmp_path/'jupyterlab.py').write_text("import os; print(os.environ.get('OMP_WAIT_POLICY'))")
    env = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'} | own
    r = subprocess.run([sys.executable, '-m', 'colorizer', 'course', str(tmp_path)], capture_output=True, text=True, cwd=tmp_path,
        env=env | {'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT)])})
    assert (r.returncode, r.stdout.strip()) == (0, says), r.stderr


def test_course_without_notebooks_says_where_they_are(colorizer, tmp_path):
    one_line(colorizer('course', '.'), 'nbs folder')


def test_the_api_of_the_readme(tmp_path):
    "`colorizer.Colorizer`, without naming a module"
    import colorizer
    out = colorizer.Colorizer().colorize(sample_photos()['cat'])
    assert isinstance(out, Image.Image) and (out.mode, out.size) == ('RGB', open_photo(sample_photos()['cat']).size)
    assert default_model().is_file()


@pytest.mark.parametrize('threads', [0, -1])
def test_the_api_refuses_threads_that_make_no_sense(threads):
    import colorizer
    with pytest.raises(ValueError, match=f'threads must be at least 1, not {threads}'): colorizer.Colorizer(threads=threads)


@pytest.mark.parametrize('name', ['colorizer', 'elsewhere'])
def test_the_library_is_found_from_the_folder_above_a_clone(name, tmp_path):
    "The clone's own folder must not be taken for the package, of which it has the name"
    pytest.importorskip('setuptools', '77')
    clone, site = tmp_path/name, tmp_path/'site'
    (clone/'colorizer').mkdir(parents=True)
    for o in ('setup.py', 'settings.ini', 'pyproject.toml', 'README.md', 'LICENSE', 'colorizer/__init__.py'): shutil.copy(ROOT/o, clone/o)
    build = f'from setuptools.build_meta import build_editable; print(build_editable({str(tmp_path)!r}))'
    r = subprocess.run([sys.executable, '-c', build], cwd=clone, capture_output=True, text=True)
    assert r.returncode == 0, r
    shutil.unpack_archive(tmp_path/r.stdout.splitlines()[-1], site, 'zip')
    code = (f'import site, sys; sys.path.insert(0, {str(tmp_path)!r}); site.addsitedir({str(site)!r}); '
            'import colorizer; print(colorizer.__file__, colorizer.__version__)')
    r = subprocess.run([sys.executable, '-I', '-S', '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0 and Path(r.stdout.split()[0]) == clone/'colorizer'/'__init__.py', r
