"""`colorizer export`: trained weights in, a model that colours without torch out."""
import hashlib, json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
import onnx
from onnx import numpy_helper
from torch import nn

from colorizer.training.architecture import create_unet
from colorizer.cli import main
from colorizer.training.export import model_from_onnx
from colorizer.training.narrow_decoder import fold_batchnorm
from colorizer.inference.colorizer import Colorizer
from colorizer.inference.colour import luma, split
from colorizer.inference.photo import open_photo, sample_photos, to_rgb_array
from colorizer.training.checkpoints import save_weights


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    "A model that a training run could have saved: not grey, BatchNorm in its decoder"
    torch.manual_seed(0)
    model = create_unet('mobilenet_v2', pretrained=False)
    nn.init.normal_(model.decoder.out.weight, std=.05)
    with torch.no_grad():
        for m in [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]:
            m.running_mean.uniform_(-.2, .2), m.running_var.uniform_(.5, 2.)
    return save_weights(model, tmp_path_factory.mktemp('run')/'last.safetensors', {'seed': 7, 'photos': 'made up'}), model.eval()


def test_weights_become_a_model_that_colours_the_same(weights, tmp_path, capsys):
    path, model = weights
    out = tmp_path/'mine.onnx'
    assert main(['export', str(path), str(out)]) == 0
    assert hashlib.sha256(out.read_bytes()).hexdigest() in capsys.readouterr().out
    photo = open_photo(sample_photos()['coffee']).resize((150, 100))
    y = luma(to_rgb_array(photo))
    with torch.no_grad(): want = model.chroma(torch.from_numpy(np.ascontiguousarray(y[:96, :128]))[None, None])[0].permute(1, 2, 0).numpy()
    colorizer = Colorizer(out)
    (got,) = colorizer.session.run(['chroma'], {'luma': np.ascontiguousarray(y[None, None, :96, :128])})
    assert want.std() > .001 and abs(got[0].transpose(1, 2, 0) - want).max() < .01*abs(want).max() + 1e-3
    coloured = to_rgb_array(colorizer.colorize(photo))
    assert coloured.shape == (100, 150, 3) and abs(split(coloured)[1]).max() > .002 and abs(luma(coloured) - y).max() < .01


def test_other_weights_in_a_trace_are_a_trace_of_other_weights(weights, trace_once):
    "What lets the tests trace once"
    from colorizer.training import export
    def network(seed):
        torch.manual_seed(seed)
        return fold_batchnorm(create_unet('mobilenet_v2', pretrained=False).eval())  # as it is exported
    export._trace(network(1))
    quick, fresh = export._trace(network(2)), trace_once(network(2))
    assert quick.graph.node == fresh.graph.node
    a, b = ({t.name: numpy_helper.to_array(t) for t in o.graph.initializer} for o in (quick, fresh))
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('words', [dict(name='mobilenet_v2'), dict(name='resnet34', head='rgb')], ids=lambda o: o['name'])
def test_a_graph_traced_at_one_size_is_that_of_any_size(words, trace_once):
    "So no size of the example is in it. All that can differ is what the values within are called"
    from colorizer.training import export
    def nodes(proto):
        names = {}
        def number(values): return [names.setdefault(v, len(names)) for v in values]
        return [(n.op_type, number(n.input), number(n.output), [a.SerializeToString() for a in n.attribute]) for n in proto.graph.node]
    model = fold_batchnorm(create_unet(**words, pretrained=False).eval())
    quick, other = trace_once(model), export._graph(model, (3, 1, 32, 128))
    assert {o.op_type for o in quick.graph.node} <= export._ANY_SIZE  # which means that it was traced once
    assert nodes(quick) == nodes(other)
    sizes = [[d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in (*quick.graph.input, *quick.graph.output)]
    assert sizes == [['n', 1, '32*h', '32*w'], ['n', 2, '32*h', '32*w']]


@pytest.mark.usefixtures('trace_once')
def test_a_model_is_replaced_only_when_told_to(weights, tmp_path, capsys):
    out = tmp_path/'model.onnx'
    out.write_text('a model that took a week')
    assert main(['export', str(weights[0]), str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'colorizer: {out}: exists already. Add --force') and out.read_text() == 'a model that took a week'
    assert main(['export', str(weights[0]), str(out), '--force']) == 0 and Colorizer(out)


@pytest.mark.usefixtures('trace_once')
def test_facts_go_along_and_training_can_go_on(weights, tmp_path):
    path, model = weights
    out = tmp_path/'mine.onnx'
    assert main(['export', str(path), str(out), '--float32']) == 0
    facts = {p.key: p.value for p in onnx.load(out).metadata_props}
    assert facts['colorizer.format'] == '1' and json.loads(facts['colorizer.facts']) == {
        'seed': 7, 'photos': 'made up', 'strength': 1.}
    again, x = model_from_onnx(out), torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(again.chroma(x), model.chroma(x), atol=1e-4, rtol=1e-3)
    again.train()(x).sum().backward()
    assert all(p.grad is not None for p in again.parameters())


@pytest.mark.usefixtures('trace_once')
def test_the_mean_of_two_runs(weights, tmp_path, capsys):
    path, model = weights
    other = create_unet('mobilenet_v2', pretrained=False)
    other.load_state_dict({k: 3*v if v.is_floating_point() else v for k, v in model.state_dict().items()})
    save_weights(other, tmp_path/'other.safetensors')
    assert main(['export', str(path), str(tmp_path/'mean.onnx'), '--float32', '--mean-with', str(tmp_path/'other.safetensors')]) == 0
    mean, x = model_from_onnx(tmp_path/'mean.onnx'), torch.rand(1, 1, 64, 64)
    other.load_state_dict({k: 2*v if v.is_floating_point() else v for k, v in model.state_dict().items()})
    with torch.no_grad(): torch.testing.assert_close(mean.chroma(x), other.eval().chroma(x), atol=1e-3, rtol=1e-2)
    assert json.loads({p.key: p.value for p in onnx.load(tmp_path/'mean.onnx').metadata_props}['colorizer.facts'])['mean_of'] == 2
    save_weights(create_unet('mobilenet_v2', pretrained=False, head='rgb'), tmp_path/'rgb.safetensors')
    capsys.readouterr()
    assert main(['export', str(path), str(tmp_path/'no.onnx'), '--mean-with', str(tmp_path/'rgb.safetensors')]) == 1
    assert 'of the same architecture' in capsys.readouterr().err and not (tmp_path/'no.onnx').exists()


@pytest.mark.usefixtures('trace_once')
@pytest.mark.parametrize('spoil', ['missing', 'truncated', 'foreign', 'swapped', 'no folder'])
def test_what_cant_be_exported_gives_one_line_and_no_file(weights, spoil, tmp_path, capsys):
    path, out = tmp_path/'w.safetensors', tmp_path/'mine.onnx'
    if spoil == 'truncated': path.write_bytes(weights[0].read_bytes()[:-10])
    if spoil == 'foreign':
        from safetensors.torch import save_file
        save_file({'x': torch.zeros(3)}, path)
    if spoil == 'swapped': path, out = tmp_path/'in.onnx', tmp_path/'w.safetensors'
    if spoil == 'no folder': path, out = weights[0], tmp_path/'nowhere'/'mine.onnx'
    before = set(tmp_path.rglob('*'))
    assert main(['export', str(path), str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('colorizer: ') and ('w.safetensors' in lines[0] or 'mine.onnx' in lines[0])
    assert set(tmp_path.rglob('*')) == before
