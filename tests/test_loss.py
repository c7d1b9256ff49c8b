"The feature loss as a training run meets it: weights from a file, a descent from grey to colour, fastai's tensors and mixed precision"
import pytest
import torch
from safetensors.torch import save_file

from colorizer.training.loss import FeatureLoss, reference_photos, to_chroma
from colorizer.training.vgg import LossError, vgg_features

LAYERS = (3, 8, 11)


@pytest.fixture(scope='module')
def vgg():
    torch.manual_seed(0)
    return vgg_features(pretrained=False, layers=LAYERS)


@pytest.fixture(scope='module')
def photos(): return reference_photos(32)[2:5]


def with_chroma(photos, chroma):
    "RGB with the light of `photos` and other colours"
    cb, cr = (chroma-to_chroma(photos)).unbind(1)
    return photos + torch.stack([1.402*cr, -.344136*cb-.714136*cr, 1.772*cb], dim=1)


@pytest.mark.parametrize('name', ['full.pth', 'features.safetensors'])
def test_weights_from_a_file_make_the_same_loss(vgg, photos, tmp_path, name):
    "torchvision's whole model and a half-precision file of the first layers only both load"
    state = vgg.state_dict()
    if name.endswith('.pth'):
        torch.save({**{f'features.{k}': v for k, v in state.items()}, 'classifier.6.bias': torch.zeros(1000)}, tmp_path/name)
    else: save_file({k: v.half() for k, v in state.items()}, tmp_path/name)
    loss, again = FeatureLoss(vgg), FeatureLoss(vgg_features(weights=tmp_path/name, layers=LAYERS), LAYERS)
    pred = photos.flip(0)
    assert again(pred, photos).item() == pytest.approx(loss(pred, photos).item(), rel=2e-3)
    assert again.components == pytest.approx(loss.components, rel=1e-2)


def test_a_wrong_file_gives_one_line(vgg, tmp_path):
    save_file(vgg.state_dict(), tmp_path/'short.safetensors')
    (tmp_path/'page.pth').write_text('<html>404</html>')
    for name, says in {'short.safetensors': 'lacks 12.weight', 'page.pth': "can't be read", 'none.pth': 'no weights file'}.items():
        with pytest.raises(LossError, match=says) as e: vgg_features(weights=tmp_path/name)
        assert '\n' not in str(e.value) and name in str(e.value)


@pytest.mark.parametrize('weights', [dict(), dict(pixel_weight=0, chroma_weight=0), dict(feature_weights=0, gram_weights=0)],
                         ids=['all', 'features only', 'pixels only'])
def test_descent_from_grey_finds_the_colours(vgg, photos, weights):
    "Gradients of the loss, and of its parts, lead from a grey photo to its colours"
    loss, truth = FeatureLoss(vgg, LAYERS, **weights), to_chroma(photos)
    chroma = torch.zeros_like(truth, requires_grad=True)
    opt = torch.optim.Adam([chroma], lr=.01)
    history = []
    for _ in range(60):
        value = loss(with_chroma(photos, chroma), photos)
        opt.zero_grad(); value.backward(); opt.step()
        history.append(value.item())
        assert sum(loss.components.values()) == pytest.approx(history[-1], rel=1e-4)
    assert history[-1] < .35*history[0]
    assert (chroma-truth).abs().mean() < .35*truth.abs().mean()


def test_mixed_precision_memory_format_and_fastai_tensors_agree(vgg, photos):
    from fastai.torch_core import TensorImage, TensorMask
    loss, pred = FeatureLoss(vgg, LAYERS), photos.flip(0)[..., :31]
    target = photos[..., :31]
    plain = loss(pred, target)
    wrapped = loss(TensorImage(pred), TensorMask(target))  # types that fastai does not let meet
    assert type(wrapped) is torch.Tensor and wrapped.item() == pytest.approx(plain.item())
    half = loss.to(memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = half(pred.to(memory_format=torch.channels_last), target.to(memory_format=torch.channels_last))
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(plain.item(), rel=.01)


def test_a_batch_costs_the_mean_of_its_photos(vgg, photos):
    "No photo's loss depends on its neighbours, so a smaller batch does not change what is learned"
    loss, pred = FeatureLoss(vgg, LAYERS), photos.roll(1, 0)
    alone = [loss(p[None], t[None]).item() for p, t in zip(pred, photos)]
    assert loss(pred, photos).item() == pytest.approx(sum(alone)/len(alone), rel=1e-4)
