"""`colorizer archive` on a real Ray cluster of two processors, on this machine: what survives when processes are killed."""
import hashlib, json, os, signal, subprocess, sys, time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from colorizer.inference.colour import luma, split
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array
from known import known_model

ray = pytest.importorskip('ray', reason='needs the archive extra: pip install "unet-colorizer[archive]"')
import psutil
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
QUIET = dict(RAY_USAGE_STATS_ENABLED='0', RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER='0', RAY_worker_niceness='0', RAY_AUTH_MODE='token',
             RAY_AUTH_TOKEN='b'*64, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
HEAD = """
import sys, ray
for i in range(3):
    try: ray.init(address='local', num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False); break
    except Exception: ray.shutdown()  # Ray gives itself 30 seconds, which a busy machine may exceed
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
BROKEN = {'letter.jpg': b'Dear grandson', 'empty.png': b'', 'sub/cut.jpg': None, 'sub/noise.tif': bytes(range(256))*40}


@pytest.fixture(scope='module')
def cluster():
    "The address of a Ray cluster that listens on the loopback interface, and the process that keeps it"
    with subprocess.Popen([sys.executable, '-c', HEAD], env=os.environ | QUIET, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as head:
        try:
            yield next(o for o in (head.stdout.readline().strip() for _ in range(99))
                       if o.startswith('127.0.0.1:')), psutil.Process(head.pid)
        finally: head.stdin.close()


@pytest.fixture
def photos(tmp_path):
    "36 photos and four broken ones"
    src = tmp_path/'src'
    (src/'sub'/'sub').mkdir(parents=True)
    samples = [open_photo(o).convert('L').reduce(2) for o in sample_photos().values()]
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = 'Aunt Grace'
    for i in range(36):
        samples[i%7].rotate(i, expand=True).save(src/('', 'sub', 'sub/sub')[i%3]/f'{i:02}{(".jpg", ".png", ".jpg", ".tif")[i%4]}',
                                                 exif=exif)
    for k, data in BROKEN.items(): (src/k).write_bytes((src/'00.jpg').read_bytes()[:2000] if data is None else data)
    return src


def start(*words, cwd):
    return subprocess.Popen([sys.executable, '-m', 'colorizer', 'archive', *map(str, words)], cwd=cwd, env=os.environ | QUIET,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def archive(*words, cwd):
    "Run to the end: exit status, JSON lines, what was said"
    run = start(*words, '--json', cwd=cwd)
    out, err = run.communicate(timeout=600)
    return run.returncode, [json.loads(o) for o in out.splitlines()], err

def colouring(run):
    "The worker processes of a run"
    def works(o):
        with suppress(psutil.NoSuchProcess): return any(k in o.cmdline() for k in ('archive', '--multiprocessing-fork'))
    return {o for o in psutil.Process(run.pid).children() if works(o)}

def lines(run, n): return [json.loads(run.stdout.readline()) for _ in range(n)]

def complete(src, dst):
    "Every photo has one whole result and one row that tells the truth, and there is nothing else"
    rows = {o['path']: o for o in pq.read_table(dst/'.colorizer-archive'/'results.parquet').to_pylist()}
    names = {p.relative_to(src).as_posix() for p in src.rglob('*') if p.is_file()}
    assert set(rows) == names and len(names) == 40
    there = {p.relative_to(dst).as_posix() for p in dst.rglob('*') if p.is_file()}
    assert there == names - set(BROKEN) | {'.colorizer-done.jsonl', '.colorizer-archive/results.parquet'}
    for k, row in rows.items():
        if k in BROKEN: assert row['status'] == 'failed' and row['reason'].startswith(k) and row['sha256'] is None
        else:
            assert row['status'] in ('coloured', 'done before') and hashlib.sha256((dst/k).read_bytes()).hexdigest() == row['sha256'], row
            assert open_photo(dst/k).size == open_photo(src/k).size == (row['width'], row['height'])
    return rows

def stamps(dst): return {p.relative_to(dst).as_posix(): p.stat().st_mtime_ns for p in dst.rglob('*.[jpt]*g') if p.is_file()}

def counts(said):
    out = {}
    for o in said: out[o['status']] = out.get(o['status'], 0) + 1
    return out


def test_a_machine_of_its_own(photos, tmp_path):
    "Without a cluster, to a file:// URL; a bad photo stops nothing and is named at the end"
    dst = tmp_path/'dst'
    status, said, err = archive('src', f'file://{dst}', cwd=tmp_path)
    assert status == 1 and counts(said) == dict(coloured=36, failed=4), err
    assert all(any(f'colorizer: {k}: ' in o for o in err.splitlines()) for k in BROKEN) and 'Traceback' not in err
    complete(photos, dst)
    a, b = (to_rgb_array(open_photo(o/'00.jpg')) for o in (photos, dst))
    assert abs(luma(a) - luma(b)).mean() < .01 and abs(split(b)[1]).mean() > .005  # the photo's own light, in colour
    assert Image.open(dst/'00.jpg').getexif()[ExifTags.Base.Artist] == 'Aunt Grace'


def test_a_worker_of_a_single_machine_is_killed(photos, tmp_path):
    "Another process takes its place and its block"
    dst = tmp_path/'dst'
    run = start('src', dst, '--max-workers', 2, '--json', cwd=tmp_path)
    lines(run, 2)
    workers = colouring(run)
    assert len(workers) == 2
    victim = min(workers, key=lambda o: o.pid)
    victim.kill()
    while not (new := colouring(run) - workers) and run.poll() is None: time.sleep(.02)
    out, err = run.stdout.read(), run.stderr.read()  # `communicate` would lose what was read ahead of the two lines
    run.wait(timeout=60)
    assert run.returncode == 1 and 'Traceback' not in err, err
    rows = complete(photos, dst)
    assert f':{new.pop().pid}' in ' '.join(o['worker'] for o in rows.values())  # whether or not the dead one had finished a block
    assert len([json.loads(o) for o in out.splitlines()]) == 38
    assert not [o for o in workers if o.is_running() and o.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_ends_all_and_the_same_command_resumes(photos, tmp_path):
    dst = tmp_path/'dst'
    run = start('src', dst, '--max-workers', 2, '--json', cwd=tmp_path)
    lines(run, 6)
    workers = psutil.Process(run.pid).children()
    for o in [*workers, psutil.Process(run.pid)]: o.send_signal(signal.SIGINT)  # as a terminal does
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and 'Traceback' not in err, err
    psutil.wait_procs(workers, timeout=20)
    assert not [o for o in workers if o.is_running() and o.status() != psutil.STATUS_ZOMBIE]
    status, said, err = archive('src', dst, cwd=tmp_path)
    assert counts(said)['done before'] >= 4 and sum(counts(said).values()) == 40, err
    complete(photos, dst)


def test_photos_in_colour_are_told_and_a_cluster_is_not_needed(tmp_path):
    (tmp_path/'src').mkdir()
    for k in ('cat', 'coffee'): (tmp_path/'src'/f'{k}.jpg').write_bytes(sample_photos()[k].read_bytes())
    open_photo(sample_photos()['rocket']).convert('L').save(tmp_path/'src'/'grey.png')
    status, said, err = archive('src', 'dst', cwd=tmp_path)
    note = 'colorizer: 2 photos: in colour already, so its own colours are replaced (--skip-colour leaves it alone)'  # one note, not two
    assert status == 0 and note in err and '3 coloured' in err, err
    rows = pq.read_table(tmp_path/'dst'/'.colorizer-archive'/'results.parquet').to_pylist()
    assert len(rows) == 3
    status, said, err = archive('src', 'again', '--skip-colour', cwd=tmp_path)
    assert status == 0 and '2 skipped' in err and 'in colour already' not in err, err


def test_a_worker_is_killed(cluster, photos, tmp_path):
    dst = tmp_path/'dst'
    run = start('src', dst, '--address', cluster[0], '--json', cwd=tmp_path)
    lines(run, 2)
    victim = next(o for o in cluster[1].children(recursive=True) if o.name().startswith('ray::MapWorker')
                  or 'ray::MapWorker' in ' '.join(o.cmdline()))
    victim.kill()
    out, err = run.communicate(timeout=600)
    assert run.returncode == 1 and 'Traceback' not in err, err
    rows = complete(photos, dst)
    assert all(o['status'] in ('coloured', 'failed') for o in rows.values())  # whoever did them, they were done in this run
    assert len([json.loads(o) for o in out.splitlines()]) == 38  # and Ray's own words are not among them


def test_the_driver_is_killed_and_other_settings_come(cluster, photos, tmp_path):
    dst, model = tmp_path/'dst', known_model(tmp_path/'known.onnx')
    run = start('src', dst, '--address', cluster[0], '--json', cwd=tmp_path)
    lines(run, 6)
    run.kill()
    run.communicate()
    time.sleep(1)  # what its workers still wrote
    before = stamps(dst)
    assert len(before) >= 3 and not (dst/'.colorizer-archive'/'results.parquet').exists()
    for p in before: open_photo(dst/p)  # whole

    status, said, err = archive('src', dst, '--address', cluster[0], cwd=tmp_path)
    assert status == 1 and counts(said)['done before'] >= 3 and sum(counts(said).values()) == 40, err
    complete(photos, dst)
    after = stamps(dst)
    assert {k: after[k] for k in before} == before  # none of them was made again

    (dst/'00.jpg').write_bytes(b'somebody has painted on it')
    status, said, err = archive('src', dst, '--model', model, cwd=tmp_path)  # here without the cluster, which takes longer
    assert status == 1 and counts(said) == dict(coloured=35, failed=5) and '00.jpg: exists already' in err, err
    assert (dst/'00.jpg').read_bytes() == b'somebody has painted on it'
    (dst/'00.jpg').unlink(), after.pop('00.jpg')
    assert not set(stamps(dst).values()) & set(after.values())  # all others were


@pytest.mark.parametrize('words, why', [(['nowhere', 'dst'], 'no such folder'), (['src', 'src'], 'never overwritten'),
                                        (['src', 'nonsense://dst'], 'no file system'),
                                        (['src', 'dst', '--model', 'src/00.jpg'], 'not an ONNX model')])
def test_bad_usage_is_one_line(photos, words, why, tmp_path):
    status, said, err = archive(*words, cwd=tmp_path)
    assert status == 1 and said == [] and len(err.splitlines()) == 1 and why in err, err
    assert not (tmp_path/'dst').exists() and not list(photos.glob('.colorizer*'))
