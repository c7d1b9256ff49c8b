"""The benchmark's command makes its page, and what it compares gives the same result. Nothing here is timed."""
import json, os, subprocess, sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent/'benchmarks'


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(*words):
    return subprocess.run([sys.executable, BENCHMARKS/'run.py', *map(str, words)], capture_output=True, text=True,
                          env=dict(os.environ, OMP_NUM_THREADS='1'))


def test_one_command_makes_the_page(tmp_path):
    r = run('--quick', 'data', '--out', tmp_path)
    assert r.returncode == 0, r.stderr
    found, page = json.loads((tmp_path/'results.json').read_text()), (tmp_path/'RESULTS.md').read_text()
    assert sorted(o.name for o in tmp_path.iterdir()) == ['RESULTS.md', 'results.json']
    assert found['machine']['versions']['torch'] == torch.__version__.split('+')[0] and found['machine']['date'] in page
    t, = found['sections']['Data']['targets']
    assert t['met'] in ('yes', 'no') and t['found'] in page and t['asked'] == '20'
    times = found['times']['data 64']
    assert all(o > 0 for v in times.values() for o in v) and len({len(v) for v in times.values()}) == 1  # they took turns
    assert sum(times['cache']) < sum(times['2K PNG, decoded twice (grey block, colour block)'])


def test_an_unknown_section_is_named():
    r = run('inferense')
    assert r.returncode == 2 and 'no such section: inferense' in r.stderr


def test_variants_take_turns_and_ratios_are_of_rounds(benchmarks):
    from timing import interleaved, ratios, table
    seen = []
    times = interleaved({'a': lambda: seen.append('a'), 'b': lambda: seen.append('b')}, budget=5, most=4)
    assert seen == ['a', 'b']*5 and len(times['a']) == len(times['b']) == 4  # the first round doesn't count
    assert ratios({'slow': [4., 10., 6.], 'fast': [2., 2., 2.]}, 'slow', 'fast') == [3., 2.5, 4.]
    assert table([{'x': 1}, {'x': 2, 'y': 3}]).splitlines() == ['| x | y |', '|---|---|', '| 1 | – |', '| 2 | 3 |']


def test_lesson_7_and_ours_are_the_same_loss(benchmarks):
    import run as bench
    from colorizer.training.loss import FeatureLoss
    from colorizer.training.vgg import vgg_features
    torch.manual_seed(0)
    vgg = vgg_features('vgg16_bn', pretrained=False, layers=(12,))
    theirs, ours = bench.Lesson7Loss(vgg, (5, 12), (5, 15)), FeatureLoss(vgg, (5, 12), 1/.226, 0, (5., 15.), (25*5e3, 225*5e3), scale=False)
    target, pred = torch.rand(2, 2, 3, 32, 32)
    pred.requires_grad_()
    a, b = theirs(pred, target), ours(pred, target)
    assert a.item() == pytest.approx(b.item(), rel=1e-4)
    g, h = (torch.autograd.grad(o, pred)[0] for o in (a, b))
    assert (g - h).abs().max() < 1e-3*h.abs().max()


def test_the_loss_computes_only_what_counts(monkeypatch):
    from colorizer.training import loss
    def never(*_): raise AssertionError('computed for nothing')
    monkeypatch.setattr(loss, 'chroma_loss', never)
    pair = torch.rand(2, 2, 3, 16, 16)
    loss.FeatureLoss(chroma_weight=0)(*pair)
    with pytest.raises(AssertionError): loss.FeatureLoss()(*pair)
