"""PROPELLoss and KeypointPROPELLoss against independent derivations."""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.stats import norm

from mmlosses.losses import KeypointPROPELLoss, PROPELLoss, propel_loss

RAW = dict(
    std=lambda std: std,
    var=lambda std: std**2,
    log_var=lambda std: 2 * std.log(),
    softplus=lambda std: torch.log(torch.expm1(std)),
    sigmoid=lambda std: torch.logit(std))


def mixture(batch, components, n, seed=0):
    """Means near the targets, deviations between 0.2 and 0.8."""
    generator = torch.Generator().manual_seed(seed)
    kwargs = dict(generator=generator, dtype=torch.float64)
    mean = torch.randn(batch, components, n, **kwargs)
    std = 0.2 + 0.6 * torch.rand(batch, components, n, **kwargs)
    return mean, std, torch.randn(batch, n, **kwargs)


def density(mean, std):
    """The density of a mixture with equal weights."""
    mean, std = mean.numpy(), std.numpy()
    return lambda *x: norm.pdf(np.array(x), mean, std).prod(-1).mean()


def tutorial_loss(mean, std, target, sigma):
    """The tutorial's formula in plain Python, with variances in G and H."""
    components, n = len(mean), len(target)

    def g(mean_1, var_1, mean_2, var_2):
        exponent, product = 0.0, 1.0
        for d in range(n):
            exponent -= (mean_1[d] - mean_2[d])**2 / (2 *
                                                      (var_1[d] + var_2[d]))
            product *= var_1[d] + var_2[d]
        return math.exp(exponent) / (
            math.sqrt(2 * math.pi)**n * math.sqrt(product))

    def h(var):
        return 1 / ((2 * math.sqrt(math.pi))**n * math.sqrt(math.prod(var)))

    variance = [[s**2 for s in row] for row in std]
    sigma = [s**2 for s in sigma]
    t1 = 2 / components * sum(
        g(target, sigma, m, v) for m, v in zip(mean, variance))
    t2 = h(sigma) + sum(h(v) for v in variance) / components**2
    for i in range(components):
        for j in range(i + 1, components):
            t2 += 2 / components**2 * g(mean[i], variance[i], mean[j],
                                        variance[j])
    return -math.log(t1) + math.log(t2)


@pytest.mark.parametrize('sigma', [0.3, 1.0])
@pytest.mark.parametrize('components', [1, 2])
def test_matches_quadrature_in_one_dimension(components, sigma):
    mean, std, target = mixture(1, components, 1)
    f = density(target, target.new_tensor([sigma]))
    g = density(mean[0], std[0])
    points = [*mean.flatten().tolist(), target.item()]
    fg, ff, gg = [
        quad(
            lambda x: a(x) * b(x),
            -9,
            9,
            points=points,
            limit=200,
            epsabs=1e-13)[0] for a, b in ((f, g), (f, f), (g, g))
    ]
    got = propel_loss(torch.cat([mean, std], -1), target, sigma)
    assert got.item() == pytest.approx(-math.log(2 * fg / (ff + gg)), rel=1e-8)


def test_matches_quadrature_in_two_dimensions():
    mean = torch.tensor([[[0.3, -0.2], [-0.1, 0.4]]], dtype=torch.float64)
    std = torch.tensor([[[0.7, 0.5], [0.4, 0.6]]], dtype=torch.float64)
    target = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    sigma = [0.5, 0.8]
    # On a grid the trapezoidal rule is exact to rounding for Gaussians.
    x, step = np.linspace(-6, 6, 601, retstep=True)
    grid = np.stack(np.meshgrid(x, x, indexing='ij'), -1)[..., None, :]
    f = norm.pdf(grid, target.numpy(), sigma).prod(-1).mean(-1)
    g = norm.pdf(grid, mean[0].numpy(), std[0].numpy()).prod(-1).mean(-1)
    fg, ff, gg = [(a * b).sum() * step**2 for a, b in ((f, g), (f, f), (g, g))]
    got = propel_loss(torch.cat([mean, std], -1), target, sigma)
    assert got.item() == pytest.approx(-math.log(2 * fg / (ff + gg)), rel=1e-9)
    # Validate the grid for one integral by adaptive quadrature.
    f, g = density(target, torch.tensor(sigma)), density(mean[0], std[0])
    adaptive, _ = dblquad(
        lambda y, x: f(x, y) * g(x, y), -4, 4, -4, 4, epsabs=1e-5)
    assert adaptive == pytest.approx(fg, abs=1e-4)


@pytest.mark.parametrize('n', [1, 2, 3, 6])
@pytest.mark.parametrize('components', [1, 2, 5])
def test_matches_tutorial_formula(components, n):
    mean, std, target = mixture(4, components, n)
    sigma = [0.3 + 0.1 * d for d in range(n)]
    got = propel_loss(torch.cat([mean, std], -1), target, sigma)
    for b in range(4):
        expected = tutorial_loss(mean[b].tolist(), std[b].tolist(),
                                 target[b].tolist(), sigma)
        assert got[b].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize('scale', RAW)
def test_scales_parametrise_deviations(scale):
    mean, std, target = mixture(4, 3, 2)
    expected = propel_loss(torch.cat([mean, std], -1), target, 0.3)
    got = propel_loss(
        torch.cat([mean, RAW[scale](std)], -1), target, 0.3, scale)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=0)


def test_deviation_sign_is_ignored():
    mean, std, target = mixture(4, 3, 2)
    got, expected = [
        PROPELLoss()(torch.cat([mean, sign * std], -1), target)
        for sign in (-1, 1)
    ]
    torch.testing.assert_close(got, expected)


def test_scalar_sigma_applies_to_each_dimension():
    mean, std, target = mixture(4, 3, 2)
    pred = torch.cat([mean, std], -1)
    expected = PROPELLoss(0.3)(pred, target)
    for sigma in ([0.3, 0.3], (0.3, 0.3)):
        torch.testing.assert_close(PROPELLoss(sigma)(pred, target), expected)


@pytest.mark.parametrize('n', [1, 2, 3, 6])
@pytest.mark.parametrize('components', [1, 3])
@pytest.mark.parametrize('sigma', [0.05, 0.5, 3.0])
def test_identity_is_the_minimum(n, components, sigma):
    target = torch.linspace(-1, 1, n, dtype=torch.float64)[None]
    mean = target[:, None].expand(1, components, n)
    pred = torch.cat([mean, torch.full_like(mean, sigma)], -1)
    pred.requires_grad_()
    got = propel_loss(pred, target, sigma)
    grad, = torch.autograd.grad(got.sum(), pred)
    assert abs(got.item()) < 1e-14
    assert grad.abs().max() * sigma < 1e-14


@pytest.mark.parametrize('n, sigma, upstream', [(2, 0.1, -0.169),
                                                (3, 0.2, -0.124),
                                                (3, 0.5, 0.316),
                                                (6, 0.5, 0.966)])
def test_upstream_is_not_zero_at_identity(n, sigma, upstream):
    target = torch.zeros(1, n, dtype=torch.float64)
    pred = torch.cat([torch.zeros(1, 2, n),
                      torch.full((1, 2, n), sigma)], -1).double()
    got = PROPELLoss(sigma, compat='torchpropel')(pred, target)
    assert got.item() == pytest.approx(upstream, abs=1e-3)
    assert abs(PROPELLoss(sigma)(pred, target)) < 1e-7


@pytest.mark.parametrize('n, sigma, upstream', [(3, 1.0, 0.603),
                                                (6, 1.0, 0.454),
                                                (3, 0.1, 0.1515)])
def test_upstream_learns_the_wrong_deviation(n, sigma, upstream):
    std = torch.linspace(0.3, 2, 3401, dtype=torch.float64) * sigma
    scale = std[:, None, None].expand(-1, 1, n)
    pred = torch.cat([torch.zeros_like(scale), scale], -1)
    target = torch.zeros(len(std), n, dtype=torch.float64)
    for compat, best in ((None, sigma), ('torchpropel', upstream)):
        got = propel_loss(pred, target, sigma, compat=compat)
        assert std[got.argmin()].item() == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize('n', [1, 2, 3])
@pytest.mark.parametrize('components', [2, 3, 5])
def test_compat_matches_torchpropel(components, n):
    propel = pytest.importorskip('torchpropel.propel')
    mean, std, target = mixture(4, components, n)
    pred = torch.cat([mean, std], -1).requires_grad_()
    upstream = propel.PROPEL(sigma=0.5, reduction='none').double()
    expected = upstream(pred, target)
    assert expected.shape == (1, 4)
    got = PROPELLoss(0.5, compat='torchpropel', reduction='none')(pred, target)
    torch.testing.assert_close(got, expected[0], rtol=1e-9, atol=1e-9)
    for one, other in zip(
            torch.autograd.grad(got.sum(), pred),
            torch.autograd.grad(expected.sum(), pred)):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_torchpropel_fails_for_one_component_and_far_targets():
    propel = pytest.importorskip('torchpropel.propel')
    pred = torch.tensor([[[0.0, 0.2]]])
    with pytest.raises((RuntimeError, IndexError)):
        propel.PROPEL()(pred, torch.zeros(1, 1))
    pred = torch.tensor([[[0.0, 0, 0, 0.2, 0.2, 0.2]] * 2])
    far = torch.full((1, 3), 2.5)
    assert torch.isinf(propel.PROPEL(0.2)(pred, far))
    assert torch.isfinite(PROPELLoss(0.2)(pred, far))


def test_compat_in_one_dimension_rescales_the_loss():
    mean, std, target = mixture(4, 3, 1)
    pred = torch.cat([mean, std], -1)
    torch.testing.assert_close(
        PROPELLoss(compat='torchpropel')(pred, target) * math.log(10),
        PROPELLoss()(pred, target))


@pytest.mark.parametrize('scale', RAW)
@pytest.mark.parametrize('distance', [1, 100, 1000])
def test_far_targets_are_finite_in_float32(distance, scale):
    """In units of sigma; torchpropel gives inf from 12.5 on."""
    std = torch.full((1, 2, 3), 0.1)
    mean = torch.zeros(1, 2, 3)
    mean[:, 1] = 0.01
    pred = torch.cat([mean, RAW[scale](std)], -1).requires_grad_()
    target = torch.full((1, 3), 0.1 * distance)
    got = PROPELLoss(0.1, scale)(pred, target)
    got.backward()
    assert torch.isfinite(got) and torch.isfinite(pred.grad).all()
    # The exponent of a product of two Gaussians, up to a constant.
    if distance > 1:
        assert got.item() == pytest.approx(
            3 * distance**2 / 4, rel=0.1 if distance == 100 else 0.01)
        assert (pred.grad[..., :3] < 0).any()


@pytest.mark.parametrize('scale', RAW)
@pytest.mark.parametrize('raw', [0.0, -1e-3, 1e-30, -300.0, 300.0, -3e4, 3e4])
def test_any_raw_scale_is_finite(raw, scale):
    mean = torch.tensor([[[0.0, 1.0], [50.0, -3.0]]])
    pred = torch.cat([mean, torch.full_like(mean, raw)], -1).requires_grad_()
    got = PROPELLoss(0.1, scale)(pred, torch.tensor([[0.5, 0.0]]))
    got.backward()
    assert torch.isfinite(got) and got > 0
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize('std', [0.0, 1e-12, 1e15, 1e25])
@pytest.mark.parametrize('distance', [1e3, 1e8, 1e14])
def test_far_components_are_finite_in_float32(distance, std):
    """A pair without overlap has gradient 0, not 0 times inf."""
    mean = torch.tensor([[[0.01], [1.0]]]) * torch.tensor([1, distance])[:,
                                                                         None]
    pred = torch.cat([mean, torch.full_like(mean, std)], -1).requires_grad_()
    target = torch.zeros(1, 1)
    got = propel_loss(pred, target)
    gradient, = torch.autograd.grad(got.sum(), pred)
    assert torch.isfinite(got).all() and torch.isfinite(gradient).all()
    exact = pred.detach().double().requires_grad_()
    expected = propel_loss(exact, target.double())
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradient.double(),
        *torch.autograd.grad(expected.sum(), exact),
        rtol=1e-5,
        atol=1e-10)


@pytest.mark.parametrize('components', [2, 3, 4, 7])
def test_every_pair_counts_once(components):
    """Against a sum over all ordered pairs, including i = j."""
    mean, std, target = mixture(1, components, 2)
    f = torch.distributions.Normal
    between = f(mean[0, :, None],
                (std[0, :, None]**2 + std[0]**2).sqrt()).log_prob(mean[0])
    own = f(target[0], math.sqrt(2)).log_prob(target[0])
    across = f(target[0], (1 + std[0]**2).sqrt()).log_prob(mean[0])
    expected = torch.log(own.sum().exp() +
                         between.sum(-1).exp().mean()) - torch.log(
                             2 * across.sum(-1).exp().mean())
    got = propel_loss(torch.cat([mean, std], -1), target, 1.0)
    torch.testing.assert_close(got[0], expected, rtol=1e-10, atol=0)


def test_tiny_deviations():
    """The loss rises to that of the smallest deviation and stays there."""
    std = torch.logspace(-8, 0, 9)
    pred = torch.stack([torch.zeros(9), 0.1 * std], -1)[:, None]
    got = PROPELLoss(reduction='none')(pred, torch.zeros(9, 1))
    assert torch.isfinite(got).all()
    assert (got.diff()[4:] < 0).all() and (got[:5] == got[0]).all()


@settings(deadline=None)
@given(
    components=st.integers(1, 4),
    n=st.integers(1, 4),
    sigma=st.floats(0.05, 5),
    factor=st.floats(0.1, 10),
    shift=st.floats(-5, 5),
    seed=st.integers(0, 2**16))
def test_properties(components, n, sigma, factor, shift, seed):
    mean, std, target = mixture(3, components, n, seed)
    pred = torch.cat([mean, std], -1)
    got = propel_loss(pred, target, sigma)
    assert (got >= -1e-12).all()
    # Invariant to the order of components, the origin and the unit.
    for other, other_target, other_sigma in ((pred.flip(1), target, sigma),
                                             (torch.cat([mean + shift, std],
                                                        -1), target + shift,
                                              sigma), (factor * pred,
                                                       factor * target,
                                                       factor * sigma),
                                             (pred.repeat(1, 2,
                                                          1), target, sigma)):
        torch.testing.assert_close(
            propel_loss(other, other_target, other_sigma), got)
    # Symmetric in a single Gaussian and the target.
    if components == 1:
        swapped = [
            propel_loss(
                torch.cat(
                    [target[b:b + 1, None],
                     torch.full((1, 1, n), sigma)], -1), mean[b],
                std[b, 0].tolist()) for b in range(3)
        ]
        torch.testing.assert_close(torch.cat(swapped), got)


def test_training_converges():
    """torchpropel's own check: 1000 steps at sigma 0.2, loss below 0.3."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, generator=generator)
    pred = torch.rand(2, 2, 6, generator=generator).requires_grad_()
    optimizer = torch.optim.SGD([pred], lr=0.1)
    loss = PROPELLoss(0.2)
    for _ in range(1000):
        optimizer.zero_grad()
        value = loss(pred, target)
        value.backward()
        optimizer.step()
    assert value < 1e-3


def test_keypoints_are_single_gaussians():
    mean, std, _ = mixture(4, 5, 2)
    target = mixture(4, 5, 2, seed=1)[0]
    kwargs = dict(sigma=[0.3, 0.5], reduction='none')
    got = KeypointPROPELLoss(**kwargs)(mean, std, target)
    assert got.shape == (4, 5)
    for k in range(5):
        expected = PROPELLoss(**kwargs)(torch.cat([mean, std], -1)[:, k:k + 1],
                                        target[:, k])
        torch.testing.assert_close(got[:, k], expected)


def test_rle_head_call():
    """Positional, with slices of one output and weights (N, K, 1)."""
    stock = pytest.importorskip('mmpose.models.heads')
    head = stock.RLEHead(
        in_channels=8,
        num_joints=3,
        loss=dict(
            type='mmlosses.KeypointPROPELLoss',
            scale='sigmoid',
            use_target_weight=True))
    output = head((torch.randn(2, 8, 1, 1), ))
    target = torch.rand(2, 3, 2)
    weight = torch.tensor([[1.0, 0.0, 0.5], [1.0, 1.0, 0.0]])
    got = head.loss_module(output[:, :, :2], output[:, :, 2:4], target,
                           weight.unsqueeze(-1))
    got.backward()
    elements = KeypointPROPELLoss(
        scale='sigmoid', reduction='none')(output[..., :2], output[..., 2:],
                                           target)
    torch.testing.assert_close(got, (elements * weight).sum() / 6)
    assert torch.isfinite(head.fc.weight.grad).all()


@pytest.mark.parametrize('scale', RAW)
def test_scales_compile_to_one_graph(scale):
    needs_dynamo()
    mean, std, target = mixture(3, 2, 2)
    pred = torch.cat([mean, std], -1)
    loss = PROPELLoss([0.3, 0.5], scale)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_softplus_gives_the_deviation():
    pred = torch.tensor([[[0.3, -1.0]]])
    target = torch.zeros(1, 1)
    expected = PROPELLoss()(torch.stack(
        [pred[..., 0], F.softplus(pred[..., 1])], -1), target)
    torch.testing.assert_close(
        PROPELLoss(scale='softplus')(pred, target), expected)


def test_loss_has_no_parameters():
    loss = PROPELLoss([0.1, 0.2])
    assert not list(loss.parameters()) and not loss.state_dict()


def test_alias():
    from mmlosses.registry import MODELS
    assert MODELS.get('mmlosses.PROPEL') is PROPELLoss


@pytest.mark.parametrize('kwargs, error, words', [
    (dict(sigma=0), ValueError, 'positive, got 0'),
    (dict(sigma=[0.1, -1]), ValueError, 'positive'),
    (dict(sigma=math.nan), ValueError, 'positive and finite, got nan'),
    (dict(sigma='0.1'), TypeError, "'0.1'"),
    (dict(sigma=[0.1, None]), TypeError, 'None'),
    (dict(scale='sd'), ValueError, "'sd'"),
    (dict(compat='torch'), ValueError, "'torch'"),
    (dict(sigma=[0.1, 0.2], compat='torchpropel'), ValueError, 'one sigma'),
])
@pytest.mark.parametrize('loss', [PROPELLoss, KeypointPROPELLoss])
def test_wrong_arguments(loss, kwargs, error, words):
    with pytest.raises(error, match=words):
        loss(**kwargs)


@pytest.mark.parametrize('pred, target', [
    ((2, 3, 4), (2, 1)),
    ((2, 3, 3), (2, 1)),
    ((2, 4), (2, 2)),
    ((2, 3, 4), (1, 2)),
    ((2, 3, 4), (2, 1, 2)),
    ((2, 0, 4), (2, 2)),
])
def test_wrong_shapes(pred, target):
    with pytest.raises(ValueError) as caught:
        PROPELLoss()(torch.ones(pred), torch.zeros(target))
    assert str(pred) in str(caught.value) and str(target) in str(caught.value)


@pytest.mark.parametrize('mu, sigma, target', [
    ((2, 3, 2), (2, 3, 1), (2, 3, 2)),
    ((2, 3, 2), (2, 3, 2), (2, 1, 2)),
    ((3, 2), (3, 2), (3, 2)),
])
def test_wrong_keypoint_shapes(mu, sigma, target):
    with pytest.raises(ValueError) as caught:
        KeypointPROPELLoss()(torch.ones(mu), torch.ones(sigma),
                             torch.zeros(target))
    for shape in (mu, sigma, target):
        assert str(shape) in str(caught.value)


def test_wrong_number_of_dimensions():
    with pytest.raises(ValueError, match='2 dimensions, but sigma 3'):
        PROPELLoss([0.1] * 3)(torch.ones(1, 1, 4), torch.zeros(1, 2))
    with pytest.raises(ValueError, match='2 dimensions, but sigma 3'):
        x = torch.ones(1, 1, 2)
        KeypointPROPELLoss([0.1] * 3)(x, x, x)
    with pytest.raises(ValueError, match='at least one dimension'):
        PROPELLoss()(torch.ones(1, 1, 0), torch.zeros(1, 0))
