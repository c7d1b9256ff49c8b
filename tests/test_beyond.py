"""Colour classes and the critic: what the papers' equations promise, what the exported graph says, and who learns in which phase."""
import copy

import numpy as np
import pytest

torch = pytest.importorskip('torch')
from torch import nn

from colorizer.training.architecture import create_unet, ycbcr_to_rgb
from colorizer.training.classes import (annealed_mean, class_loss, class_unet, class_shares, entropy, most_likely, rebalance,
                                        soft_encode, used_colours)
from colorizer.training.critic import PatchCritic, critic_loss, fit_against, fit_batches, fooling_loss
from colorizer.training.export import export_onnx, model_from_onnx
from colorizer.training.loss import relative_loss
from colorizer.training.weights import UnetError

GRID = torch.cartesian_prod(*[torch.arange(-4, 5)*.04]*2)  # 81 classes in the middle of the plane


def some_chroma(n=2, side=8, reach=.15): return (torch.rand(n, 2, side, side)*2-1)*reach


def one_pixel(logits): return torch.as_tensor(logits, dtype=torch.float32)[None, :, None, None]


@pytest.fixture(scope='module')
def unet():
    torch.manual_seed(0)
    model = create_unet(pretrained=False, norm=False).eval()
    nn.init.normal_(model.decoder.out.weight, std=.02)  # a new one paints nothing
    return model


@pytest.fixture(scope='module')
def classes(unet):
    torch.manual_seed(0)
    model = class_unet(unet, GRID, torch.rand(len(GRID)).softmax(0), temperature=.38).eval()
    nn.init.normal_(model.decoder.out.weight, std=.3)
    return model


@pytest.fixture(scope='module')
def exported(classes, tmp_path_factory):
    path = tmp_path_factory.mktemp('classes')/'classes.onnx'
    export_onnx(classes, path, half=False)
    return path


def test_a_colour_comes_back_from_its_soft_target():
    torch.manual_seed(0)
    chroma = some_chroma()
    index, weight = soft_encode(chroma, GRID)
    assert torch.allclose(weight.sum(1), torch.ones(2, 8, 8)) and (weight[:, 0] >= weight[:, 4]).all()
    soft, hard = (GRID[index]*weight[..., None]).sum(1), GRID[index[:, 0]]
    off = lambda o: (o.movedim(-1, 1)-chroma).norm(dim=1).mean()
    assert off(soft) < .6*off(hard) and off(hard) < .02
    assert (hard.movedim(-1, 1)-chroma).abs().max() <= .02 + 1e-6  # half a square


def test_the_weights_are_a_gaussian_of_the_distance():
    chroma = torch.tensor([.01, 0.]).reshape(1, 2, 1, 1)
    index, weight = soft_encode(chroma, GRID, k=2)
    d = (GRID[index[0, :, 0, 0]]-chroma[0, :, 0, 0]).square().sum(1)
    assert torch.allclose(d.sqrt(), torch.tensor([.01, .03]), atol=1e-6)
    z = np.exp(-d.numpy()/(2*.02**2))  # σ is half the side of a square
    assert np.allclose(weight[0, :, 0, 0], z/z.sum(), atol=1e-5)


def test_photos_decide_which_colours_are_classes():
    chroma = torch.zeros(1, 2, 10, 10)
    chroma[0, 0, 0, 0], chroma[0, 1, 5:] = .31, -.119
    assert {tuple(round(o, 2) for o in c) for c in used_colours(chroma).tolist()} == {(0., 0.), (.32, 0.), (0., -.12)}
    assert len(used_colours(chroma, least=.02)) == 2  # the lone pixel is no class any more


def test_rebalancing_is_the_papers():
    w = rebalance(torch.tensor([.9, .1]), .5)
    raw = np.array([1/(.45+.25), 1/(.05+.25)])
    assert np.allclose(w, raw/(raw*[.9, .1]).sum())
    torch.manual_seed(0)
    share = class_shares(some_chroma(), GRID)
    assert share.sum() == pytest.approx(1)
    for even in (.1, .5, 1.): assert (rebalance(share, even)*share).sum() == pytest.approx(1)
    assert torch.allclose(rebalance(share, 1.), torch.ones(len(GRID)))


def test_the_loss_weights_each_pixel_by_its_own_class():
    torch.manual_seed(0)
    logits, chroma, weights = torch.randn(2, len(GRID), 8, 8), some_chroma(), torch.rand(len(GRID))
    index, soft = soft_encode(chroma, GRID)
    dense = torch.zeros_like(logits).scatter_(1, index, soft)
    each = -(dense*logits.log_softmax(1)).sum(1)
    assert torch.allclose(class_loss(logits, chroma, GRID, weights), (each*weights[dense.argmax(1)]).mean(), atol=1e-5)
    assert torch.allclose(class_loss(logits, chroma, GRID), each.mean(), atol=1e-5)


def test_the_annealed_mean_goes_from_mean_to_mode():
    torch.manual_seed(0)
    logits, centres = torch.randn(1, len(GRID), 4, 4, dtype=torch.float64), GRID.double()
    p = logits.softmax(1)
    assert torch.allclose(annealed_mean(logits, centres, 1.), torch.einsum('nqhw,qc->nchw', p, centres))
    assert torch.allclose(annealed_mean(logits, centres, 1e-8), most_likely(logits, centres), atol=1e-8)
    sharp = (p.log()/.38).exp()
    assert torch.allclose(annealed_mean(logits, centres, .38), torch.einsum('nqhw,qc->nchw', sharp/sharp.sum(1, keepdim=True), centres))
    assert torch.allclose(annealed_mean(logits+7, centres, .38), annealed_mean(logits, centres, .38))  # a constant doesn't count


def test_entropy_is_in_bits():
    assert entropy(one_pixel([0., 0.])).item() == pytest.approx(1) and entropy(one_pixel([0.]*8)).item() == pytest.approx(3)
    p = np.array([.7, .2, .1])
    assert entropy(one_pixel(np.log(p))).item() == pytest.approx(-(p*np.log2(p)).sum(), abs=1e-5)


def test_an_untrained_head_says_what_is_common(unet):
    share = torch.rand(len(GRID)); share /= share.sum()
    model = class_unet(unet, GRID, share, temperature=1.).eval()
    with torch.no_grad(): out = model.chroma(torch.rand(1, 1, 64, 64))
    assert torch.allclose(out, (share[:, None]*GRID).sum(0)[None, :, None, None].expand_as(out), atol=1e-5)
    assert model.decoder.blocks[0] is not unet.decoder.blocks[0]  # a copy: training it leaves the other as it is


def test_the_exported_graph_decodes(classes, exported):
    ort = pytest.importorskip('onnxruntime')
    session = ort.InferenceSession(exported, providers=['CPUExecutionProvider'])
    for shape in ((1, 1, 64, 64), (2, 1, 96, 32)):
        luma = torch.rand(shape)
        said = torch.from_numpy(session.run(None, {'luma': luma.numpy()})[0])
        with torch.no_grad():
            here = classes.chroma(luma)
            mean = annealed_mean(classes.decoder.logits(classes.encoder(luma)), GRID, 1.)
            mean = nn.functional.interpolate(mean, scale_factor=2, mode='bilinear')
        assert said.shape == (shape[0], 2, *shape[2:]) and torch.allclose(said, here, atol=1e-4)
        assert (said-mean).abs().max() > 1e-2  # it has the temperature, too


def test_a_file_with_a_class_head_is_not_taken_for_another_network(exported):
    with pytest.raises(UnetError, match='classes'): model_from_onnx(exported)


def test_classes_want_a_narrow_decoder(unet):
    with pytest.raises(UnetError, match='narrow decoder'): class_unet(create_unet(pretrained=False, head='rgb'), GRID, torch.ones(81))
    with pytest.raises(UnetError, match='narrow decoder'): class_unet(class_unet(unet, GRID, torch.ones(81)), GRID, torch.ones(81))


def state(m): return copy.deepcopy(m.state_dict())
def same(a, b): return all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def pair(unet):
    torch.manual_seed(0)
    model = copy.deepcopy(unet)
    model.encoder.requires_grad_(False)
    rgb = torch.rand(4, 3, 64, 64)
    grey = rgb.mean(1, keepdim=True)
    return model, PatchCritic((8, 8)), [(grey, rgb)]*6


def test_the_critic_alone_leaves_the_colouriser_alone(pair):
    model, critic, batches = pair
    before, learned = state(model), state(critic)
    log = fit_batches(critic.parameters(), batches, 6, lambda grey, rgb: critic_loss(critic, rgb, model(grey)), lr=1e-2)
    assert len(log) == 6 and same(before, state(model)) and not same(learned, state(critic))
    assert all(p.grad is None for p in model.parameters())
    assert log[-1] < log[0]


def test_together_both_learn_but_what_is_frozen(pair):
    model, critic, batches = pair
    encoder, decoder, learned, looks = state(model.encoder), state(model.decoder), state(critic), []
    log = fit_against(model, critic, batches, 4, relative_loss, look=looks.append)
    assert looks == [1, 2, 3, 4] and [set(o) for o in log] == [{'critic', 'own', 'fooling'}]*4
    assert same(encoder, state(model.encoder)) and not same(decoder, state(model.decoder)) and not same(learned, state(critic))


def test_the_colourisers_step_does_not_teach_the_critic(pair):
    "With a rate of 0 the critic stays as it is: the gradient that runs through it to the colouriser must not be stepped on"
    model, critic, batches = pair
    weights = [p.detach().clone() for p in critic.parameters()]
    fit_against(model, critic, batches, 3, relative_loss, weight=100., critic_lr=1e-12)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(weights, critic.parameters()))


def test_a_critic_that_wants_colour_gets_more_of_it():
    class Amount(nn.Module):
        def __init__(self): super().__init__(); self.amount = nn.Parameter(torch.tensor(.2))
        def forward(self, grey): return ycbcr_to_rgb(grey, self.amount*torch.ones_like(grey).expand(-1, 2, -1, -1))
    class Likes(nn.Module):  # calls what is vivid real, and never learns
        def __init__(self): super().__init__(); self.w = nn.Parameter(torch.ones(()), requires_grad=True)
        def forward(self, rgb): return self.w*(rgb.amax(1, keepdim=True)-rgb.amin(1, keepdim=True))
    grey, after = torch.full((2, 1, 8, 8), .5), {}
    for weight in (0., 1.):
        model = Amount()
        pairs = [(grey, grey.expand(-1, 3, -1, -1))]*20
        fit_against(model, Likes(), pairs, 20, lambda pred, rgb: 0*pred.sum(), weight, lr=.05, critic_lr=1e-9)
        after[weight] = model.amount.item()
    assert after[1.] > .3 and abs(after[0.]-.2) < .05


def test_fooling_is_the_critics_loss_on_painted_patches():
    score = torch.randn(2, 1, 4, 4)
    critic = lambda rgb: score
    p = score.sigmoid()
    assert torch.allclose(fooling_loss(critic, None), -p.log().mean(), atol=1e-5)
    assert torch.allclose(critic_loss(critic, torch.zeros(1), torch.zeros(1)), -(p.log().mean()+(1-p).log().mean())/2, atol=1e-5)
