"""Regression losses against independent derivations."""
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlosses.losses import (L1Loss, MSELoss, SiLogLoss, SmoothL1Loss,
                             SoftWingLoss, WingLoss, l1_loss, mse_loss,
                             smooth_l1_loss, soft_wing_loss, wing_loss)

PAIRS = [(L1Loss, {}), (MSELoss, {}), (SmoothL1Loss, {}),
         (SmoothL1Loss, dict(beta=1 / 9))]


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(6, 4, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ] + [torch.rand(6, 4, generator=generator, dtype=torch.float64)]


def tutorial_smooth_l1(pred, target, beta):
    """The tutorial's formula with a beta: 0.5 d^2 / beta or d - beta / 2."""
    losses = []
    for p, t in zip(pred.flatten().tolist(), target.flatten().tolist()):
        d = abs(p - t)
        losses.append(0.5 * d**2 / beta if d < beta else d - 0.5 * beta)
    return torch.tensor(losses, dtype=torch.float64).reshape(pred.shape)


@pytest.mark.parametrize('beta', [0.1, 1 / 9, 1, 3.0])
def test_smooth_l1_matches_tutorial_formula(sample, beta):
    pred, target, _ = sample
    got = smooth_l1_loss(pred, target, beta)
    torch.testing.assert_close(got, tutorial_smooth_l1(pred, target, beta))
    torch.testing.assert_close(
        got, F.smooth_l1_loss(pred, target, reduction='none', beta=beta))


def test_l1_and_mse_match_torch(sample):
    pred, target, _ = sample
    for got, expected in ((l1_loss, F.l1_loss), (mse_loss, F.mse_loss)):
        torch.testing.assert_close(
            got(pred, target),
            expected(pred, target, reduction='none'),
            rtol=0,
            atol=0)


def test_beta_zero_is_l1(sample):
    pred, target, weight = sample
    for beta in (0, 0.0):
        torch.testing.assert_close(
            SmoothL1Loss(beta)(pred, target, weight),
            L1Loss()(pred, target, weight))
    # The limit of small betas.
    torch.testing.assert_close(
        SmoothL1Loss(1e-12)(pred, target),
        L1Loss()(pred, target))


def test_far_target_in_half_precision():
    """The tutorial's masks give 0 * inf = NaN; here 999.5, gradient 1."""
    pred = torch.tensor([1000.0], dtype=torch.float16, requires_grad=True)
    target = torch.zeros(1, dtype=torch.float16)
    distance = pred.detach()
    near = (distance < 1).half()
    mask_form = near * 0.5 * distance**2 + (1 - near) * (distance - 0.5)
    assert torch.isnan(mask_form).all()
    got = SmoothL1Loss()(pred, target)
    got.backward()
    assert got == 999.5 and pred.grad == 1


@pytest.mark.parametrize('distance', [1e30, -1e30, math.inf, -math.inf])
@pytest.mark.parametrize('beta', [0, 1e-30, 1 / 9, 1.0])
def test_gradient_of_a_far_target(distance, beta):
    pred = torch.tensor([distance], requires_grad=True)
    got = SmoothL1Loss(beta)(pred, torch.zeros(1))
    got.backward()
    assert got == abs(distance)
    assert pred.grad == math.copysign(1, distance)


@settings(deadline=None)
@given(
    distance=st.floats(-1e3, 1e3),
    centre=st.floats(-10, 10),
    beta=st.floats(0.01, 100))
def test_properties_of_smooth_l1(distance, centre, beta):
    pred = torch.tensor(centre + distance, dtype=torch.float64)
    pred.requires_grad_()
    target = torch.tensor(centre, dtype=torch.float64)
    got = smooth_l1_loss(pred, target, beta)
    grad, = torch.autograd.grad(got, pred)
    d = (pred - target).item()
    assert got.item() == pytest.approx(
        smooth_l1_loss(target, pred, beta).item())
    assert abs(d) - beta / 2 - 1e-9 <= got.item() <= abs(d) + 1e-9
    assert grad.item() == pytest.approx(
        max(-1.0, min(1.0, d / beta)), abs=1e-12)


@pytest.mark.parametrize('loss, kwargs', PAIRS)
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('avg_factor', [None, 5, torch.tensor(5)])
def test_matches_mmdet(sample, loss, kwargs, reduction, avg_factor):
    stock = pytest.importorskip('mmdet.models.losses')
    if avg_factor is not None and reduction == 'sum':
        pytest.skip('an error in both')
    stock = getattr(stock, loss.__name__)(**kwargs, loss_weight=0.7)
    # mmdet converts an int to float32, even for float64 inputs.
    rtol = 1e-7 if isinstance(avg_factor, torch.Tensor) else 1e-12
    for weight in (None, sample[2], (sample[2] > 0.5).double()):
        got, expected = [
            x(*sample[:2], weight, avg_factor, reduction)
            for x in (loss(**kwargs, loss_weight=0.7), stock)
        ]
        torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-12)


def test_positional_arguments_match_mmdet():
    loss = SmoothL1Loss(0.5, 'sum', 2.0)
    assert (loss.beta, loss.reduction, loss.loss_weight) == (0.5, 'sum', 2.0)


@pytest.mark.parametrize('supervise_empty', [False, True])
@pytest.mark.parametrize('empty', [False, True])
def test_supervise_empty_matches_mmpose(supervise_empty, empty):
    """DEKR's displacements: weights above 0 only near a person."""
    stock = pytest.importorskip('mmpose.models.losses')
    kwargs = dict(
        use_target_weight=True,
        supervise_empty=supervise_empty,
        beta=1 / 9,
        loss_weight=0.03)
    generator = torch.Generator().manual_seed(0)
    pred, target, weight = [
        torch.rand(2, 6, 5, 5, generator=generator) for _ in range(3)
    ]
    weight = weight * (weight > 0.8) * (not empty)
    expected = stock.SoftWeightSmoothL1Loss(**kwargs)(pred, target, weight)
    got = SmoothL1Loss(**kwargs)(pred, target, weight)
    torch.testing.assert_close(got, expected)
    # An avg_factor replaces either count.
    got = SmoothL1Loss(**kwargs)(pred, target, weight, avg_factor=7)
    loss = smooth_l1_loss(pred, target, 1 / 9)
    torch.testing.assert_close(got, 0.03 * (loss * weight).sum() / 7)


def test_supervise_empty_counts_broadcast_weights():
    """mmpose's value doubles for the same weight as (N, K, 1)."""
    pred, target = torch.ones(2, 3, 2), torch.zeros(2, 3, 2)
    weight = torch.ones(2, 3, 1)
    weight[0] = 0
    loss = SmoothL1Loss(supervise_empty=False)
    for given_weight in (weight, weight.expand(2, 3, 2), weight[..., 0]):
        assert loss(pred, target, given_weight) == 0.5
    stock = pytest.importorskip('mmpose.models.losses')
    stock = stock.SoftWeightSmoothL1Loss(True, supervise_empty=False)
    assert stock(pred, target, weight) == 1.0
    assert stock(pred, target, weight.expand(2, 3, 2)) == 0.5


def test_supervise_empty_compiles_to_one_graph(sample):
    needs_dynamo()
    loss = SmoothL1Loss(supervise_empty=False)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    weight = (sample[2] > 0.5).double()
    torch.testing.assert_close(
        compiled(*sample[:2], weight), loss(*sample[:2], weight))


def test_weight_multiplies_the_loss():
    """mmpose weights the inputs, which squares the weight or shifts beta."""
    pred, target = torch.full((1, 2, 2), 2.0), torch.zeros(1, 2, 2)
    weight = torch.full((1, 2, 1), 0.5)
    assert MSELoss()(pred, target, weight) == 2.0
    assert SmoothL1Loss()(pred, target, weight) == 0.75
    stock = pytest.importorskip('mmpose.models.losses')
    assert stock.MSELoss(use_target_weight=True)(pred, target, weight) == 1.0
    assert stock.SmoothL1Loss(use_target_weight=True)(pred, target,
                                                      weight) == 0.5


@pytest.mark.parametrize('loss, shape', [(L1Loss, (2, 3, 2)),
                                         (MSELoss, (2, 3, 2)),
                                         (SmoothL1Loss, (2, 3, 2))])
def test_matches_mmpose_for_weights_zero_and_one(loss, shape):
    stock = pytest.importorskip('mmpose.models.losses')
    stock = getattr(stock, loss.__name__)(use_target_weight=True)
    generator = torch.Generator().manual_seed(0)
    pred, target = [torch.randn(shape, generator=generator) for _ in range(2)]
    weight = torch.tensor([[1., 0, 1], [0, 0, 1]])[..., None]
    torch.testing.assert_close(
        loss(use_target_weight=True)(pred, target, weight),
        stock(pred, target, weight))


def test_mse_matches_mmpose_heatmap_loss():
    stock = pytest.importorskip('mmpose.models.losses')
    generator = torch.Generator().manual_seed(0)
    pred, target = [
        torch.rand(2, 3, 8, 6, generator=generator) for _ in range(2)
    ]
    weight = torch.rand(2, 3, generator=generator)
    torch.testing.assert_close(
        MSELoss(use_target_weight=True)(pred, target, weight),
        stock.KeypointMSELoss(use_target_weight=True)(pred, target, weight))


@pytest.mark.parametrize('loss, kwargs', PAIRS)
@pytest.mark.parametrize('shape', [(2, ), (2, 3), (2, 1, 4, 5), (2, 1, 4),
                                   (2, 3, 4, 5), (2, 3, 1, 1)])
def test_weights_of_maps(loss, kwargs, shape):
    """Per sample, channel or pixel, with all axes of the map or fewer."""
    generator = torch.Generator().manual_seed(0)
    pred, target = [
        torch.randn(2, 3, 4, 5, generator=generator) for _ in range(2)
    ]
    weight = torch.rand(shape, generator=generator)
    full = weight.reshape(shape + (1, ) * (4 - len(shape)))
    loss = loss(reduction='none', **kwargs)
    torch.testing.assert_close(
        loss(pred, target, weight),
        loss(pred, target) * full.expand(pred.shape))


@pytest.mark.parametrize('loss, kwargs', PAIRS)
def test_nan_at_weight_zero(loss, kwargs):
    """mmdet's sum is NaN."""
    pred = torch.tensor([[math.nan], [2.0]], requires_grad=True)
    target, weight = torch.zeros(2, 1), torch.tensor([[0.0], [1.0]])
    got = loss(**kwargs)(pred, target, weight, avg_factor=1)
    got.backward()
    assert torch.isfinite(got) and got > 0
    assert pred.grad[0] == 0 and pred.grad[1] > 0
    stock = pytest.importorskip('mmdet.models.losses')
    stock = getattr(stock, loss.__name__)(**kwargs)
    assert torch.isnan(stock(pred.detach(), target, weight, avg_factor=1))


@pytest.mark.parametrize('loss, kwargs', PAIRS)
def test_stages_may_be_added_in_place(loss, kwargs, sample):
    """CPM and MSPN heads add later stages to the first loss in place."""
    pred, target = sample[0].requires_grad_(), sample[1]
    total = loss(**kwargs)(pred, target)
    total += loss(**kwargs)(2 * pred, target)
    total.backward()
    assert torch.isfinite(pred.grad).all()


def test_mse_alias():
    from mmlosses.registry import MODELS
    assert MODELS.get('mmlosses.L2Loss') is MSELoss


@pytest.mark.parametrize('beta, error, words', [
    (-1, ValueError, 'at least 0, got -1'),
    (math.nan, ValueError, 'at least 0 and finite, got nan'),
    ('1', TypeError, 'number, got str'),
])
def test_wrong_beta(beta, error, words):
    with pytest.raises(error, match=words):
        SmoothL1Loss(beta=beta)


@pytest.mark.parametrize('loss', [L1Loss, MSELoss, SmoothL1Loss])
def test_shapes_are_never_broadcast(loss):
    with pytest.raises(ValueError, match=r'\(4, 1\) and \(4,\)'):
        loss()(torch.zeros(4, 1), torch.zeros(4))


def test_supervise_empty_of_one_positive_by_hand():
    """One of six numbers counts, so nothing is divided."""
    pred, target = torch.full((2, 3), 3.0), torch.zeros(2, 3)
    weight = torch.zeros(2, 3)
    weight[1, 2] = 0.5
    loss = SmoothL1Loss(supervise_empty=False)
    assert loss(pred, target, weight) == 0.5 * 2.5
    assert SmoothL1Loss()(pred, target, weight) == 0.5 * 2.5 / 6
    assert smooth_l1_loss(torch.tensor(3.0), torch.tensor(0.0)) == 2.5


def wing_by_hand(error, omega, epsilon):
    """Equation 5 of the wing paper, with C as defined below it."""
    c = omega - omega * math.log(1 + omega / epsilon)
    if abs(error) < omega:
        return omega * math.log(1 + abs(error) / epsilon)
    return abs(error) - c


def soft_wing_by_hand(error, omega1, omega2, epsilon):
    """L1, then a logarithm shifted to join it at omega1."""
    shift = omega1 - omega2 * math.log(1 + omega1 / epsilon)
    if abs(error) < omega1:
        return abs(error)
    return omega2 * math.log(1 + abs(error) / epsilon) + shift


WINGS = [
    (WingLoss, wing_loss, wing_by_hand, {}, (10, 2)),
    (WingLoss, wing_loss, wing_by_hand, dict(omega=3, epsilon=0.5), (3, 0.5)),
    (SoftWingLoss, soft_wing_loss, soft_wing_by_hand, {}, (2, 20, 0.5)),
    (SoftWingLoss, soft_wing_loss, soft_wing_by_hand,
     dict(omega1=1, omega2=5, epsilon=2), (1, 5, 2)),
]
# Their corners are at 1, 2, 3 and 10.
ERRORS = [0, 1e-6, 0.5, 0.999, 1, 1.001, 2, -2.5, 3, 9.99, 10, -10.1, 500]


@pytest.mark.parametrize('loss, function, by_hand, kwargs, args', WINGS)
def test_wing_matches_the_equations(loss, function, by_hand, kwargs, args):
    pred = torch.tensor(ERRORS, dtype=torch.float64).reshape(1, -1, 1) + 7
    target = torch.full_like(pred, 7)
    expected = [by_hand(error, *args) for error in ERRORS]
    got = function(pred, target, **kwargs).flatten().tolist()
    assert got == pytest.approx(expected)
    # Two samples: the sum over the numbers of each, averaged.
    both = torch.cat([pred, target]), torch.cat([target, target])
    assert loss(**kwargs)(*both).item() == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize('loss, gradients', [
    (WingLoss, [0, 5, 10 / 3, 1, 1]),
    (SoftWingLoss, [0, 1, 1, 20 / 500.5, 0]),
])
def test_gradient_of_wing(loss, gradients):
    """0 at the target, and finite at any distance."""
    # log1p of torch 2.0 is infinite above 1.2e38.
    far = 3e38 if hasattr(torch, 'compiler') else 2e38
    pred = torch.tensor([[0, 1e-9, 1, 500, far]], requires_grad=True)
    got = loss()(pred, torch.zeros(1, 5))
    got.backward()
    assert got.isfinite()
    torch.testing.assert_close(
        pred.grad, torch.tensor([gradients]), rtol=1e-5, atol=1e-7)


@pytest.mark.openmmlab
@pytest.mark.parametrize('loss, kwargs', [row[::3] for row in WINGS])
def test_wing_matches_mmpose(loss, kwargs):
    stock = pytest.importorskip('mmpose.models.losses')
    stock = getattr(stock, loss.__name__)(
        use_target_weight=True, loss_weight=0.5, **kwargs)
    generator = torch.Generator().manual_seed(0)
    pred, target = [
        8 * torch.randn(5, 7, 2, generator=generator) for _ in range(2)
    ]
    pred.requires_grad_()
    weight = torch.rand(5, 7, 1, generator=generator).round()
    ours = loss(use_target_weight=True, loss_weight=0.5, **kwargs)
    results = []
    for each in (ours, stock):
        value = each(pred, target, weight)
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)
    # Weights (N, K), at which mmpose fails.
    torch.testing.assert_close(ours(pred, target, weight[..., 0]), value)


@pytest.mark.parametrize('loss', [WingLoss, SoftWingLoss])
def test_half_the_weight_is_half_the_wing(loss):
    """mmpose weights the coordinates, which moves the corner."""
    pred, target = torch.full((1, 2, 2), 12.0), torch.zeros(1, 2, 2)
    half = torch.full((1, 2, 1), 0.5)
    torch.testing.assert_close(loss()(pred, target, half),
                               0.5 * loss()(pred, target))


def test_soft_weight_smooth_l1_is_smooth_l1():
    from mmlosses.registry import MODELS
    assert MODELS.get('mmlosses.SoftWeightSmoothL1Loss') is SmoothL1Loss


# --- SiLogLoss ---


@pytest.mark.parametrize('lambd', [0, 0.5, 1])
def test_depths_match_loops(lambd):
    torch.manual_seed(0)
    pred, target = torch.rand(2, 3, 1, 4, 5).double() + 0.1
    target[:, :, 0, :2], pred[:, :, 1, 0] = 0, 1e-9
    got = SiLogLoss('none', eps=1e-3, lambd=lambd)(pred, target)
    for n in range(3):
        errors = [
            math.log(t) - math.log(max(p, 1e-3)) for p, t in zip(
                pred[n].flatten().tolist(), target[n].flatten().tolist()) if t
        ]
        mean = sum(errors) / len(errors)
        square = sum([error**2 for error in errors]) / len(errors)
        expected = math.sqrt(square - lambd * mean**2)
        assert got[n].item() == pytest.approx(expected, rel=1e-9)


def test_a_factor_of_all_depths():
    """With lambd=1 it does not count, with 0.5 half of its square does."""
    target = torch.rand(2, 1, 4, 5).double() + 0.1
    pred = 2 * target
    assert SiLogLoss(lambd=1)(pred, target) < 1e-6
    expected = math.log(2) * math.sqrt(0.5)
    assert SiLogLoss()(pred, target).item() == pytest.approx(expected)


def test_gradient_of_depths_is_finite():
    """That of the root of 0 is infinite, NaN in mmseg for the first map."""
    pred = torch.full((2, 1, 2, 2), 3.0).requires_grad_()
    target = torch.tensor([3.0, 0.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    got = SiLogLoss()(pred, target)
    assert got == 0 and not torch.autograd.grad(got, pred)[0].any()


def test_depths_that_are_not_annotated_may_be_anything():
    pred = torch.rand(1, 1, 4, 5) + 0.1
    target = torch.rand(1, 1, 4, 5) + 0.1
    target[..., 0] = 0
    expected = SiLogLoss()(pred, target)
    pred[..., 0] = math.nan
    target[..., :2, 0] = math.nan
    assert SiLogLoss()(pred, target) == expected
    # A NaN elsewhere shows that a training has diverged.
    pred[..., 1] = math.nan
    assert SiLogLoss()(pred, target).isnan()


def test_shape_of_depths():
    with pytest.raises(ValueError, match=r'\(N, \*\)'):
        SiLogLoss()(torch.ones(3), torch.ones(3))
