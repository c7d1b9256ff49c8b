"The data path end to end: archives from a server that misbehaves, the cache, and the batches"
import hashlib
import os
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')
from fastai.torch_core import set_seed
from PIL import Image, JpegImagePlugin

from colorizer.training import augmentation, data, div2k as download_code, photo_cache
from colorizer.training.div2k import ZipOfPhotos, check_numbers, download, extract, fetch_div2k
from colorizer.training.data import colour_dls, split_photos, to_grey
from colorizer.training.photo_cache import DataError, prepare, skipped
from colorizer.inference.photo import find_photos
from colorizer.inference.colour import luma
from colorizer.inference.photo import sample_photos


# Server

class Handler(BaseHTTPRequestHandler):
    "Serves `server.data` with Range and If-Range; notes requests; misbehaves as told"
    def do_GET(self):
        s = self.server
        asked, same = self.headers.get('Range'), self.headers.get('If-Range') in (None, s.etag) or s.ignores_if_range
        s.log.append(asked)
        if s.errors: return self.send_error(s.errors.pop(0))
        first = int(re.fullmatch(r'bytes=(\d+)-', asked)[1]) if asked and s.ranges and same else 0
        if first >= len(s.data): return self.send_error(416)
        body = s.data[first:]
        self.send_response(206 if first else 200)
        self.send_header('Content-Length', len(body))
        if s.etag: self.send_header('ETag', s.etag)
        if first: self.send_header('Content-Range', f'bytes {first}-{len(s.data)-1}/{len(s.data)}')
        self.end_headers()
        self.wfile.write(body[:s.cuts.pop(0)] if s.cuts else body)

    def log_message(self, *args): pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '*')
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    s.log, s.cuts, s.errors, s.ranges, s.etag, s.ignores_if_range = [], [], [], True, '"v1"', False
    s.url = f'http://127.0.0.1:{s.server_port}'
    thread = threading.Thread(target=s.serve_forever, kwargs=dict(poll_interval=.01))
    thread.start()
    yield s
    s.shutdown(); s.server_close(); thread.join()


def made_photo(i, size=(120, 90)):
    "A colour picture that doesn't compress to nothing"
    rng = np.random.default_rng(i)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    noise = rng.integers(-8, 9, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(small.resize(size, Image.Resampling.BICUBIC)).astype(int) + noise).clip(0, 255).astype(np.uint8))


def zipped(files):
    out = BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as z:
        for name, content in files.items(): z.writestr(name, content)
    return out.getvalue()


def png(img):
    img.save(out := BytesIO(), 'PNG')
    return out.getvalue()


@pytest.fixture
def div2k(server, monkeypatch):
    "A tiny archive with DIV2K's layout, on the server and as what `fetch_div2k` expects"
    server.data = zipped({'DIV2K_train_HR/': b''} | {f'DIV2K_train_HR/{i:04}.png': png(made_photo(i)) for i in range(1, 5)})
    monkeypatch.setitem(download_code.DIV2K, 'train',
        ZipOfPhotos('DIV2K_train_HR.zip', range(1, 5), size=len(server.data), sha256=hashlib.sha256(server.data).hexdigest()))
    monkeypatch.setattr(download_code.time, 'sleep', lambda s: None)
    return server


def fetch(server, root): return fetch_div2k(root, base_url=server.url, progress=False)

def names(folder): return sorted(o.name for o in Path(folder).iterdir())

def one_line(e): return '\n' not in str(e.value) and len(str(e.value)) < 400


# DIV2K

def test_real_archives_are_declared():
    "Address, size and hash as in TensorFlow Datasets' url_checksums/div2k.txt"
    assert download_code.DIV2K_URL == 'https://data.vision.ee.ethz.ch/cvl/DIV2K/'
    assert download_code.DIV2K['train'] == ZipOfPhotos('DIV2K_train_HR.zip', range(1, 801), '', 3530603713,
        '9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335')
    assert download_code.DIV2K['valid'] == ZipOfPhotos('DIV2K_valid_HR.zip', range(801, 901), '', 448993893,
        '20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc')
    small = download_code.DIV2K_SMALL  # the MD5s that several public downloaders agree on
    assert (small['train'].name, small['train'].md5, small['train'].numbers) == ('DIV2K_train_LR_x8.zip',
        '613db1b855721b3d2b26f4194a1d22a6', range(1, 801))
    assert (small['valid'].name, small['valid'].md5, small['valid'].numbers) == ('DIV2K_valid_LR_x8.zip',
        'c5aeea2004e297e9ff3abfbe143576a5', range(801, 901))


def test_fetch(div2k, tmp_path):
    folder = fetch(div2k, tmp_path)
    assert folder == tmp_path/'DIV2K_train_HR' and names(folder) == ['0001.png', '0002.png', '0003.png', '0004.png']
    assert names(tmp_path) == ['DIV2K_train_HR']
    assert (np.asarray(Image.open(folder/'0003.png')) == np.asarray(made_photo(3))).all()
    assert fetch(div2k, tmp_path) == folder and div2k.log == [None]
    (folder/'0004.png').unlink()
    with pytest.raises(DataError, match='lacks 0004.png') as e: fetch(div2k, tmp_path)
    assert one_line(e)


def test_small_archives_come_the_same_way(server, tmp_path, monkeypatch):
    "As DIV2K_train_LR_x8.zip is laid out; of its checksums only an MD5 is known"
    server.data = zipped({f'DIV2K_train_LR_x8/{i:04}x8.png': png(made_photo(i)) for i in range(1, 4)})
    md5 = hashlib.md5(server.data).hexdigest()
    monkeypatch.setitem(download_code.DIV2K_SMALL, 'train', ZipOfPhotos('DIV2K_train_LR_x8.zip', range(1, 4), 'x8', md5=md5))
    monkeypatch.setattr(download_code.time, 'sleep', lambda s: None)
    server.cuts = [20_000]
    folder = fetch_div2k(tmp_path, small=True, base_url=server.url, progress=False)
    assert folder.name == 'DIV2K_train_LR_x8' and names(folder) == ['0001x8.png', '0002x8.png', '0003x8.png'] and server.log == [None,
        'bytes=20000-']
    monkeypatch.setitem(download_code.DIV2K_SMALL, 'train', ZipOfPhotos('DIV2K_train_LR_x8.zip', range(1, 4), 'x8', md5='0'*32))
    with pytest.raises(DataError, match='wrong size or checksum'):
        fetch_div2k(tmp_path/'b', small=True, base_url=server.url, progress=False)


@pytest.mark.parametrize('there, says', [
    (['0001x4.png', '0002x4.png', '0003x4.png', '0004x4.png'], 'holds 0001x4.png where 0001.png is expected'),
    (['0001.png', '0003.png'], 'lacks 0002.png and 1 more'),
    (['0001.png', '0002.png', '0003.png', '0004.png', '0801.png'],
    'holds 0801.png, not in DIV2K_train_HR.zip: are training and validation photos mixed up?'),
    (['0801.png', '0802.png'], 'holds 0801.png where 0001.png is expected'),
])
def test_a_folder_that_is_not_div2k_is_one_line(div2k, tmp_path, there, says):
    (tmp_path/'DIV2K_train_HR').mkdir()
    for o in there: made_photo(1).save(tmp_path/'DIV2K_train_HR'/o)
    with pytest.raises(DataError, match=re.escape(says)) as e: fetch(div2k, tmp_path)
    assert one_line(e) and div2k.log == []


def test_validation_photos_and_second_scales_are_not_trained_on(tmp_path):
    folder = tmp_path/'my div2k'
    train = [folder/'0001x4.png', folder/'0800x4.png', tmp_path/'0801.png']  # the last is not in a folder of that name
    if 'div2k' not in str(tmp_path).lower(): assert check_numbers(train) == train
    with pytest.raises(DataError, match='0801x4.png and 1 more: validation photos') as e:
        check_numbers([*train, folder/'0801x4.png', folder/'0900.png'])
    assert one_line(e)
    with pytest.raises(DataError, match='0001x4.png: used for training and'): check_numbers(train, [folder/'HR'/'0001.png'])
    with pytest.raises(DataError, match='0001x4.png and .*0001.png are the same photo'): check_numbers([*train, folder/'x2'/'0001.png'])


def test_interrupted_download_resumes(div2k, tmp_path):
    div2k.cuts = [30_000]
    a = download_code.DIV2K['train']
    with pytest.raises(DataError, match='closed early') as e: download(f'{div2k.url}/{a.name}', tmp_path/a.name, tries=0, progress=False)
    assert one_line(e) and (tmp_path/f'{a.name}.part').stat().st_size == 30_000 and not (tmp_path/a.name).exists()
    fetch(div2k, tmp_path)
    assert div2k.log == [None, 'bytes=30000-'] and names(tmp_path) == ['DIV2K_train_HR']


def test_flaky_line_is_retried_in_one_call(div2k, tmp_path):
    div2k.cuts, div2k.errors = [20_000, 20_000, 20_000, 0, 0], [503]
    fetch(div2k, tmp_path)
    assert div2k.log == [None, None, 'bytes=20000-', 'bytes=40000-'] + 3*['bytes=60000-']


def test_endless_failure_ends(div2k, tmp_path):
    div2k.cuts = [10_000] + [0]*50
    with pytest.raises(DataError, match='download failed') as e: fetch(div2k, tmp_path)
    assert one_line(e) and len(div2k.log) == 5


def test_server_without_ranges_restarts(div2k, tmp_path):
    div2k.ranges, div2k.cuts = False, [30_000]
    fetch(div2k, tmp_path)
    assert div2k.log == [None, 'bytes=30000-'] and names(tmp_path) == ['DIV2K_train_HR']


@pytest.mark.parametrize('etag, ignores, more', [('"v2"', False, b''), ('"v2"', True, b''), ('"v2"', False, b'longer'),
    (None, True, b'longer')])
def test_file_changed_on_the_server(div2k, tmp_path, etag, ignores, more):
    "The first part of the old file is never joined to the second of the new one"
    div2k.cuts = [30_000]
    with pytest.raises(DataError): download(div2k.url+'/x', tmp_path/'x', tries=0, progress=False)
    div2k.data, div2k.etag, div2k.ignores_if_range = div2k.data[::-1]+more, etag, ignores
    assert download(div2k.url+'/x', tmp_path/'x', progress=False).read_bytes() == div2k.data
    assert names(tmp_path) == ['x']
    if not ignores: assert len(div2k.log) == 2  # If-Range: the server itself sends the whole new file


def test_file_on_the_server_became_shorter(div2k, tmp_path):
    div2k.cuts, div2k.etag = [30_000], None
    with pytest.raises(DataError): download(div2k.url+'/x', tmp_path/'x', tries=0, progress=False)
    div2k.data = div2k.data[:20_000]  # the server answers 416
    assert download(div2k.url+'/x', tmp_path/'x', progress=False).read_bytes() == div2k.data


def test_corrupted_archive(div2k, tmp_path):
    right = div2k.data
    div2k.data = right[:1000] + bytes([right[1000] ^ 1]) + right[1001:]
    with pytest.raises(DataError, match='wrong size or checksum') as e: fetch(div2k, tmp_path)
    assert one_line(e) and names(tmp_path) == []
    div2k.data = right
    fetch(div2k, tmp_path)
    assert div2k.log == [None, None]


def test_truncated_archive(div2k, tmp_path):
    right = div2k.data
    div2k.data = right[:-100]  # all that the server has
    with pytest.raises(DataError, match='wrong size'): fetch(div2k, tmp_path)
    assert names(tmp_path) == []
    zip_ = tmp_path/'DIV2K_train_HR.zip'
    zip_.write_bytes(right[:-100])  # put there by hand
    with pytest.raises(DataError, match='Remove it') as e: fetch(div2k, tmp_path)
    assert one_line(e) and zip_.exists()
    with pytest.raises(DataError, match='broken or cut short') as e: extract(zip_, tmp_path/'out', progress=False)
    assert one_line(e) and names(tmp_path) == [zip_.name]


def test_bad_member_leaves_no_folder(div2k, tmp_path):
    "Zip directory intact, content damaged: noticed by the CRC"
    raw = bytearray(zipped({'a/1.png': b'x'*1000}))
    raw[40] ^= 255
    (tmp_path/'a.zip').write_bytes(raw)
    with pytest.raises(DataError, match='broken'): extract(tmp_path/'a.zip', tmp_path/'a', progress=False)
    assert names(tmp_path) == ['a.zip']


def test_interrupted_extraction(div2k, tmp_path, monkeypatch):
    real, calls = zipfile.ZipFile.extract, []
    def stop(self, o, *args):
        calls.append(o)
        if len(calls) == 3: raise KeyboardInterrupt
        return real(self, o, *args)
    monkeypatch.setattr(zipfile.ZipFile, 'extract', stop)
    with pytest.raises(KeyboardInterrupt): fetch(div2k, tmp_path)
    assert names(tmp_path) == ['DIV2K_train_HR.zip']
    fetch(div2k, tmp_path)
    assert len(div2k.log) == 1 and names(tmp_path) == ['DIV2K_train_HR']


@pytest.mark.parametrize('name', ['../slip.png', '/slip.png', 'a/../../slip.png', '..\\slip.png', 'C:\\slip.png', 'C:slip.png'])
def test_zip_slip(tmp_path, name):
    (tmp_path/'in').mkdir()
    info = zipfile.ZipInfo('ok.png'); info.filename = name  # past ZipInfo's own cleaning
    with zipfile.ZipFile(tmp_path/'in/a.zip', 'w') as z: z.writestr('a/good.png', b'1'); z.writestr(info, b'1')
    with pytest.raises(DataError, match='unsafe name'): extract(tmp_path/'in/a.zip', tmp_path/'in/a', progress=False)
    assert names(tmp_path/'in') == ['a.zip'] and names(tmp_path) == ['in']


def test_zip_symlink(tmp_path):
    info = zipfile.ZipInfo('link'); info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as z: z.writestr(info, '/etc')
    with pytest.raises(DataError, match='unsafe'): extract(tmp_path/'a.zip', tmp_path/'a', progress=False)


def test_no_answer_is_one_line(div2k, tmp_path):
    div2k.errors = [404]
    with pytest.raises(DataError, match='404') as e: fetch(div2k, tmp_path)
    assert one_line(e) and div2k.log == [None]
    with pytest.raises(DataError, match='download failed') as e: fetch_div2k(tmp_path, base_url='http://127.0.0.1:1/', progress=False)
    assert one_line(e)
    with pytest.raises(DataError, match='no such part'): fetch_div2k(tmp_path, 'test')


def test_full_disk_is_said_before(div2k, tmp_path, monkeypatch):
    monkeypatch.setattr(download_code.shutil, 'disk_usage', lambda p: type('U', (), dict(free=10)))
    with pytest.raises(DataError, match='Make room') as e: fetch(div2k, tmp_path)
    assert one_line(e) and div2k.log == []


# Cache

@pytest.fixture
def folder(tmp_path):
    d = tmp_path/'photos'; (d/'sub').mkdir(parents=True)
    for i in range(6): made_photo(i).save(d/f'{i}.png')
    made_photo(6).save(d/'sub'/'6.JPG')
    (d/'.hidden.png').write_bytes(png(made_photo(7)))
    (d/'notes.txt').write_text('not a photo')
    return d


def cached(folder, tmp_path, size=32, **kw): return prepare(folder, tmp_path/'cache', size, progress=False, **kw)

@pytest.fixture
def made(monkeypatch):
    "The sources that were worked on, in this process"
    log, real = [], photo_cache._cache_one
    def spy(job): log.append(Path(job[0]).name); return real(job)
    monkeypatch.setattr(photo_cache, '_cache_one', spy)
    return log


def test_find_photos(folder, tmp_path):
    found = find_photos(folder, folder/'sub', folder/'0.png')
    assert [o.name for o in found] == ['0.png', '1.png', '2.png', '3.png', '4.png', '5.png', '6.JPG']
    (tmp_path/'empty').mkdir()
    for bad in (tmp_path/'empty', tmp_path/'missing'):
        with pytest.raises(ValueError) as e: find_photos(bad)
        assert one_line(e) and str(bad) in str(e.value)


def test_cache_holds_what_a_stage_needs(folder, tmp_path):
    made_photo(9, (4000, 1000)).save(folder/'7_wide.jpg')
    made_photo(10, (20, 30)).save(folder/'8_tiny.png')
    turned = made_photo(11, (120, 80)); exif = Image.Exif(); exif[0x112] = 6
    turned.save(folder/'9_turned.jpg', exif=exif, quality=98)
    files = cached(folder, tmp_path)
    imgs = [Image.open(o) for o in files]
    assert [o.size for o in imgs] == 6*[(53, 40)] + [(160, 40), (20, 30), (40, 60), (53, 40)]
    assert all(o.format == 'JPEG' and o.mode == 'RGB' and JpegImagePlugin.get_sampling(o) == 0 for o in imgs)
    for i in (0, 6, 8):  # right colours, right way up
        src = made_photo(i) if i < 8 else turned.transpose(Image.Transpose.ROTATE_270)
        got = np.asarray(imgs[9 if i == 6 else i]).astype(float)
        assert np.abs(got - np.asarray(src.resize(got.shape[1::-1], Image.Resampling.LANCZOS))).mean() < 4


def test_small_jpeg_is_copied(folder, tmp_path):
    files = cached(folder/'sub', tmp_path, 128)
    assert files[0].read_bytes() == (folder/'sub/6.JPG').read_bytes()


def test_cache_in_processes_equals_cache_in_one(folder, tmp_path):
    for i in range(10, 50): made_photo(i, (40, 40)).save(folder/f'{i}.png')
    a = prepare(folder, tmp_path/'a', 16, workers=2, progress=False)
    b = prepare(folder, tmp_path/'b', 16, workers=1, progress=False)
    assert len(a) == 47 and [o.read_bytes() for o in a] == [o.read_bytes() for o in b]


def test_second_run_does_nothing(folder, tmp_path, made):
    files = cached(folder, tmp_path)
    assert len(made) == 7
    assert cached(folder, tmp_path) == files and len(made) == 7


def test_cache_resumes_after_a_kill(folder, tmp_path, made, monkeypatch):
    spy = photo_cache._cache_one
    def dies(job):
        if Path(job[0]).name == '4.png': raise KeyboardInterrupt
        return spy(job)
    with monkeypatch.context() as m:
        m.setattr(photo_cache, '_cache_one', dies)
        with pytest.raises(KeyboardInterrupt): cached(folder, tmp_path)
    assert made == ['0.png', '1.png', '2.png', '3.png']
    manifest = tmp_path/'cache/32px/manifest.jsonl'
    manifest.write_bytes(manifest.read_bytes()[:-20])  # the kill came within the last line
    assert len(cached(folder, tmp_path)) == 7
    assert made[4:] == ['3.png', '4.png', '5.png', '6.JPG']


def test_changed_source_is_redone(folder, tmp_path, made):
    before = cached(folder, tmp_path)
    st = (folder/'2.png').stat()
    made_photo(99).save(folder/'2.png')
    os.utime(folder/'2.png', ns=(st.st_atime_ns, st.st_mtime_ns + 1_000_000))
    after = cached(folder, tmp_path)
    assert made[7:] == ['2.png'] and [a == b for a, b in zip(after, before)] == [True, True, False, True, True, True, True]
    assert not before[2].exists()  # nothing names it any more
    assert cached(folder, tmp_path, margin=1.) != [] and len(made) == 15  # other settings: all anew


def test_truncated_and_missing_cached_files_are_rebuilt(folder, tmp_path, made):
    files = cached(folder, tmp_path)
    good = [o.read_bytes() for o in files]
    files[1].write_bytes(good[1][:50]); files[3].unlink()
    assert cached(folder, tmp_path) == files and made[7:] == ['1.png', '3.png']
    assert [o.read_bytes() for o in files] == good


def test_bad_photos_are_listed_not_fatal(folder, tmp_path, made, capsys):
    (folder/'a_text.jpg').write_text('hello')
    (folder/'b_empty.png').write_bytes(b'')
    made_photo(1).save(folder/'c_cut.jpg')
    (folder/'c_cut.jpg').write_bytes((folder/'c_cut.jpg').read_bytes()[:900])
    made_photo(1).convert('L').save(folder/'d_grey.jpg')
    files = prepare(folder, tmp_path/'cache', 32)
    why = {Path(k).name: v for k, v in skipped(tmp_path/'cache', 32).items()}
    assert len(files) == 7 and list(why) == ['a_text.jpg', 'b_empty.png', 'c_cut.jpg', 'd_grey.jpg']
    says = dict(a_text='not an image', b_empty='empty', c_cut='cut short', d_grey='no colour')
    for name, reason in why.items(): assert reason and says[Path(name).stem] in reason
    assert not any('\n' in o for o in why.values()) and '4 of 11 photos skipped' in capsys.readouterr().err
    assert cached(folder, tmp_path) == files and len(made) == 11  # bad ones aren't tried again
    assert len(cached(folder, tmp_path, skip_grey=False)) == 8
    with pytest.raises(DataError, match='none of the 1 photos') as e: prepare(folder/'a_text.jpg', tmp_path/'c', 32)
    assert one_line(e)


def test_same_photo_twice_is_kept_once(folder, tmp_path):
    (folder/'sub/copy.png').write_bytes((folder/'0.png').read_bytes())
    assert len(cached(folder, tmp_path)) == 7


def test_unwritable_cache_is_one_line(folder, tmp_path):
    (tmp_path/'file').write_text('')
    with pytest.raises(DataError, match='cannot write to the cache') as e: prepare(folder, tmp_path/'file', 32, progress=False)
    assert one_line(e)


# Batches

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "The embedded photos, cached for 64 pixels"
    return prepare(list(sample_photos().values()), tmp_path_factory.mktemp('cache'), 64, progress=False)


@pytest.mark.parametrize('workers', [0, 2])
def test_input_is_luma_of_target(photos, workers):
    set_seed(0)
    dls = colour_dls(photos*3, 64, bs=4, num_workers=workers, max_lighting=.6, max_warp=.3)
    for dl, n in ((dls.train, len(dls.train)), (dls.valid, len(dls.valid))):
        batches = list(dl)
        assert len(batches) == n > 0
        for x, y in batches:
            assert x.shape[1:] == (1, 64, 64) and y.shape[1:] == (3, 64, 64) and x.dtype == y.dtype == torch.float32
            assert 0 <= y.min() and y.max() <= 1 and torch.equal(x, to_grey(y))
            for grey, rgb in zip(x, y): np.testing.assert_allclose(grey[0].numpy(), luma(rgb.permute(1, 2, 0).numpy()), atol=1e-6)


def test_to_grey_is_bt601():
    rgb = torch.eye(3)[:, :, None, None]  # a red, a green and a blue pixel
    assert torch.allclose(to_grey(rgb).flatten(), torch.tensor([.299, .587, .114]))


def test_validation_is_never_augmented(photos):
    dls = colour_dls(photos, 64, bs=3, valid=photos[:3], max_lighting=.9)
    for seed in (0, 1):
        set_seed(seed)
        list(dls.train)
        (x, y), = list(dls.valid)
        for path, rgb in zip(photos, y):
            img = Image.open(path); (w, h), s = img.size, min(img.size)
            middle = img.resize((64, 64), Image.Resampling.BICUBIC, box=((w-s)//2, (h-s)//2, (w-s)//2+s, (h-s)//2+s))
            np.testing.assert_allclose(rgb.permute(1, 2, 0).numpy()*255, np.asarray(middle), atol=1e-3)


def test_training_is_augmented_and_can_be_left_plain(photos):
    def batch(seed, **kw):
        set_seed(seed)
        return colour_dls(photos, 64, bs=4, valid=photos[:3], **kw).one_batch()[1]
    assert not torch.equal(batch(0), batch(1))
    assert torch.equal(batch(0, augment=False), batch(1, augment=False))
    lit = batch(0, min_scale=1., max_warp=0.) - batch(0, min_scale=1., max_warp=0., max_lighting=0.)
    assert lit.abs().max() > .01


def test_old_prints_age_the_input_and_nothing_else(photos):
    "fasttransform calls by type: a method for tuples would never be called, and nothing would age"
    def batches(p):
        set_seed(0)
        dls = colour_dls(photos, 64, bs=4, valid=photos[:3], max_lighting=0., max_warp=0., min_scale=1., old_prints=p)
        return dls.one_batch(), next(iter(dls.valid))
    def apart(x, y): return (x - to_grey(y)).abs().amax((1, 2, 3))
    (fresh, _), (aged, _) = batches(0.), batches(1.)
    assert apart(*fresh).max() == 0 and (apart(*aged) > .01).all()
    assert torch.equal(aged[1], fresh[1])
    assert apart(*batches(1.)[1]).max() == 0  # held-out photos stay as they are


def test_flip_and_warp_move_pixels_as_said():
    "Left-right symmetric flips, and a tilt enlarges the side it brings nearer; nothing comes from outside"
    x = torch.linspace(-1, 1, 64)[None, None, None].repeat(1, 1, 64, 1)
    def look(*v): return augmentation.flip_warp(x, *torch.tensor(v)[:, None, None, None])
    torch.testing.assert_close(look(-1., 0., 0.), x.flip(-1))
    tilted = look(1., .2, 0.)[0, 0, 32]
    u = (2*torch.arange(64)+1)/64 - 1
    torch.testing.assert_close(tilted, .8*u/(1+.2*u)*64/63, atol=1e-4, rtol=0)
    assert look(1., .2, .2).abs().max() <= 1


def test_split_is_disjoint_seeded_and_stable(photos):
    names = [f'{i:05}.jpg' for i in range(2000)]
    train, held = split_photos(names)
    assert not set(train) & set(held) and set(train) | set(held) == set(names) and .08 < len(held)/2000 < .12
    assert split_photos(names[::-1])[1] == held[::-1] and split_photos(names, seed=1)[1] != held
    assert set(split_photos(names[:500])[1]) == set(held) & set(names[:500])  # whatever else is there
    assert held[:3] == ['00004.jpg', '00014.jpg', '00033.jpg']  # the same on every machine
    for seed in range(5):
        dls = colour_dls(photos, 64, bs=2, seed=seed)
        assert dls.valid_ds.photos and not set(dls.train_ds.photos) & set(dls.valid_ds.photos)
    dls = colour_dls(photos, 64, bs=2, valid=photos[:2])
    assert dls.valid_ds.photos == photos[:2] and dls.train_ds.photos == photos[2:]


def test_epochs_repeat_with_the_seeds(photos):
    def epochs(seed=42, **kw):
        random_state = seed+5
        data.random.seed(random_state)  # the order must not depend on it
        dls = colour_dls(photos, 64, bs=2, **kw)
        set_seed(seed)
        return [b[1] for _ in range(2) for b in dls.train]
    a, b, c, d = epochs(), epochs(), epochs(7), epochs(7, augment=False)
    assert all(map(torch.equal, a, b)) and not all(map(torch.equal, a, c))
    assert not all(map(torch.equal, d[:3], d[3:]))  # the second epoch has another order
    assert all(map(torch.equal, d, epochs(8, augment=False)))


def test_photos_smaller_than_the_stage(photos, tmp_path):
    made_photo(1, (20, 30)).save(tmp_path/'small.png')
    x, y = colour_dls([tmp_path/'small.png']*2, 64, bs=2, valid=photos[:1]).one_batch()
    assert y.shape == (2, 3, 64, 64) and y.std() > .05


def test_impossible_requests_are_one_line(photos, tmp_path):
    with pytest.raises(DataError, match='fewer than one batch') as e: colour_dls(photos, 64, bs=64)
    assert one_line(e)
    with pytest.raises(DataError, match='no photos to validate on'): colour_dls(photos, 64, bs=2, valid=[])
    with pytest.raises(ValueError, match='no such file'): colour_dls(tmp_path/'nowhere', 64)


def test_show_batch_pairs_grey_and_colour(photos):
    plt = pytest.importorskip('matplotlib.pyplot')
    plt.switch_backend('Agg')
    colour_dls(photos, 64, bs=3).show_batch(max_n=3)
    shown = [o.images[0] for o in plt.gcf().axes if o.images]
    assert [np.asarray(o.get_array()).ndim for o in shown] == [2, 3]*3
    assert shown[0].get_cmap()(0.)[:3] == (0, 0, 0) and shown[0].get_clim() == (0, 1)  # black is black
    plt.close('all')


def test_a_learner_takes_them(photos):
    from fastai.learner import Learner
    net = torch.nn.Conv2d(1, 3, 1)
    learn = Learner(dls := colour_dls(photos, 64, bs=2), net, loss_func=torch.nn.functional.l1_loss)
    with learn.no_logging(): learn.fit(1)
    assert len(learn.recorder.losses) == len(dls.train) > 0 and np.isfinite(learn.recorder.values[0]).all()
