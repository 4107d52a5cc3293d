"""AngularLoss against independent derivations of its value."""
import math

import pytest
import torch
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlosses.core.kernels.angle import angle_power, angle_power_and_derivative
from mmlosses.losses import AngularLoss, angular_loss

DEGREES = [0.1, 1, 10, 45, 80, 89.9]


def unit(degrees):
    radians = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=-1)


def tutorial_loss(pred, target, delta=0.2):
    """The tutorial's formula for one vector: arccos of a clipped product."""
    dot = sum(p * t for p, t in zip(pred.tolist(), target.tolist()))
    return math.acos(max(1e-6, min(dot, 1 - 1e-6)))**(1 + delta)


@pytest.mark.parametrize('delta', [0, 0.2, 1.0])
@pytest.mark.parametrize('degrees', DEGREES)
def test_matches_tutorial_formula_below_90_degrees(degrees, delta):
    target = unit(33.0)
    for pred in (unit(33.0 + degrees), unit(33.0 - degrees)):
        got = angular_loss(pred, target, delta)
        assert got.item() == pytest.approx(
            tutorial_loss(pred, target, delta), rel=1e-9)
        assert got.item() == pytest.approx(
            math.radians(degrees)**(1 + delta), rel=1e-12)


@pytest.mark.parametrize('degrees', [90.01, 120, 150, 179.99])
def test_gradient_beyond_90_degrees(degrees):
    """The tutorial's clip is flat there: 1.719268 for each."""
    pred, target = unit(degrees).requires_grad_(), unit(0.0)
    got = angular_loss(pred, target)
    got.backward()
    assert got.item() == pytest.approx(math.radians(degrees)**1.2)
    assert pred.grad.norm().item() == pytest.approx(1.2 *
                                                    math.radians(degrees)**0.2)
    assert tutorial_loss(pred.detach(), target) == pytest.approx(
        1.719268, abs=1e-5)


def test_gradient_of_opposite_vectors():
    """Both directions are downhill; the gradient takes one of them."""
    pred = torch.tensor([[-1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    got = AngularLoss(reduction='none')(pred, target)
    torch.testing.assert_close(got, torch.full((2, ), math.pi**1.2))
    got.sum().backward()
    expected = 1.2 * math.pi**0.2 / torch.tensor([1.0, 2.0])
    torch.testing.assert_close(pred.grad.norm(dim=-1), expected)
    better = AngularLoss()(pred - 0.01 * pred.grad, target)
    assert better < got.mean()


@pytest.mark.parametrize('delta', [0, 0.2])
def test_zero_gradient_at_target(delta):
    pred = torch.tensor([[0.6, 0.8], [3.0, 0.0]], requires_grad=True)
    got = AngularLoss(delta)(pred, pred.detach() * 2)
    got.backward()
    assert got == 0 and (pred.grad == 0).all()


@pytest.mark.parametrize('length', [1e-30, 1e-6, 1, 2, 5, 10, 1e30])
def test_loss_ignores_length(length):
    """At 80 degrees, the tutorial's loss falls to 0.00038 at length 10."""
    pred = (length * unit(80.0)).float().requires_grad_()
    target = unit(0.0).float()
    got = angular_loss(pred, target)
    assert got.item() == pytest.approx(math.radians(80)**1.2, rel=1e-5)
    grad, = torch.autograd.grad(got, pred)
    assert torch.isfinite(grad).all()
    # Orthogonal to the prediction, with slope 1 / length.
    size = 1.2 * math.radians(80)**0.2 / length
    tangent = torch.stack([-pred[1], pred[0]]).detach() / length
    torch.testing.assert_close(
        grad, tangent * size, rtol=1e-4, atol=size / 1e5)
    if length == 10:
        assert tutorial_loss(pred.detach(), target) == pytest.approx(
            3.8e-4, rel=0.1)


@pytest.mark.parametrize('radians', [1e-6, 1e-5, 1e-4, 3e-4, 1e-2])
def test_small_angles_in_float32(radians):
    """float32 arccos gives 3.45e-4 for 3e-4, and 0 for 1e-4."""
    pred = torch.tensor([math.cos(radians), math.sin(radians)])
    got = angular_loss(pred, torch.tensor([1.0, 0.0]), delta=0)
    assert got.item() == pytest.approx(radians, rel=1e-5)
    if radians == 1e-4:
        assert torch.acos(pred[0]) == 0


@pytest.mark.parametrize('period, degrees', [('full', 90), ('half', 45)])
def test_zero_vectors_count_as_90_degrees(period, degrees):
    """atan2(0, 0) would be 0."""
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1e-40, 0.0]])
    pred = vectors.clone().requires_grad_()
    target = vectors[[1, 0, 2, 1]]
    got = AngularLoss(period=period, reduction='none')(pred, target)
    torch.testing.assert_close(got,
                               torch.full((4, ),
                                          math.radians(degrees)**1.2))
    got.sum().backward()
    assert (pred.grad == 0).all()


@pytest.mark.parametrize('one, other, between', [(179, 1, 2), (10, 100, 90),
                                                 (0, 180, 0), (30, -50, 80),
                                                 (5, 140, 45)])
def test_half_period_is_angle_between_lines(one, other, between):
    got = angular_loss(unit(2.0 * one), unit(2.0 * other), 0, period='half')
    assert math.degrees(got.item()) == pytest.approx(between, abs=1e-9)


def test_map_matches_tutorial_loop():
    generator = torch.Generator().manual_seed(0)
    target = unit(360 * torch.rand(2, 3, 4, generator=generator))
    pred = unit(360 * torch.rand(2, 3, 4, generator=generator))
    total, below = 0.0, 0
    for b in range(2):
        for h in range(3):
            for w in range(4):
                p, t = pred[b, h, w], target[b, h, w]
                angle = math.atan2(p[1], p[0]) - math.atan2(t[1], t[0])
                angle = abs((angle + math.pi) % (2 * math.pi) - math.pi)
                if angle < math.pi / 2:
                    assert angle**1.2 == pytest.approx(tutorial_loss(p, t))
                    below += 1
                total += angle**1.2
    assert below > 5
    for dim in (1, 3, -1, -3):
        loss = AngularLoss(dim=dim)
        got = loss(pred.movedim(-1, dim), target.movedim(-1, dim))
        assert got.item() == pytest.approx(total / 24, rel=1e-12)


@pytest.mark.parametrize('shape', [(2, ), (2, 4), (2, 4, 5), (2, 1, 4, 5),
                                   (2, 1, 1, 5), (2, 1, 5), (2, 1, 4, 1)])
def test_weights_of_maps(shape):
    """As the loss (N, H, W), or as a map with one channel (N, 1, H, W)."""
    generator = torch.Generator().manual_seed(0)
    pred, target = [
        torch.randn(2, 2, 4, 5, generator=generator) for _ in range(2)
    ]
    weight = torch.rand(shape, generator=generator)
    full = weight.squeeze(1) if len(shape) == 4 else weight
    full = full.reshape(full.shape + (1, ) * (3 - full.ndim))
    loss = AngularLoss(dim=1, reduction='none')
    torch.testing.assert_close(
        loss(pred, target, weight),
        loss(pred, target) * full.expand(2, 4, 5))


def test_background_of_centripetal_maps_is_removed():
    """Zero vectors outside the mask, and avg_factor 0 for an empty mask."""
    pred = torch.randn(2, 2, 4, 5, requires_grad=True)
    target, mask = torch.zeros(2, 2, 4, 5), torch.zeros(2, 1, 4, 5)
    loss = AngularLoss(dim=1)
    got = loss(pred, target, mask, avg_factor=mask.sum())
    got.backward()
    assert got == 0 and (pred.grad == 0).all()
    target[0, 0, 1, 2], mask[0, 0, 1, 2] = 1, 1
    got = loss(pred, target, mask, avg_factor=mask.sum())
    torch.testing.assert_close(
        got, angular_loss(pred[0, :, 1, 2], target[0, :, 1, 2]))


@pytest.mark.parametrize('shape', [(2, 2, 4, 5), (2, 3), (2, 5, 4)])
def test_wrong_weights(shape):
    pred = torch.randn(2, 2, 4, 5)
    with pytest.raises(ValueError) as caught:
        AngularLoss(dim=1)(pred, pred, torch.ones(shape))
    assert str(shape) in str(caught.value)
    assert '(2, 4, 5)' in str(caught.value)


@settings(deadline=None)
@given(
    alpha=st.floats(-720, 720),
    beta=st.floats(-720, 720),
    turn=st.floats(-180, 180),
    length=st.floats(1e-3, 1e3),
    delta=st.floats(0, 2))
def test_properties(alpha, beta, turn, length, delta):
    angle = abs((alpha - beta + 180) % 360 - 180)
    got = angular_loss(length * unit(alpha), unit(beta), delta).item()
    assert got == pytest.approx(
        math.radians(angle)**(1 + delta), rel=1e-9, abs=1e-9)
    for one, other in ((beta, alpha), (alpha + turn, beta + turn), (-alpha,
                                                                    -beta)):
        assert angular_loss(unit(one), unit(other), delta).item() == (
            pytest.approx(got, rel=1e-9, abs=1e-9))


@pytest.mark.slow
@pytest.mark.parametrize('kwargs', [dict(dim=1), dict(period='half')])
def test_compiles_to_one_graph(kwargs):
    needs_dynamo()
    pred = torch.randn(3, 2, 2, requires_grad=True)
    target = torch.randn(3, 2, 2)
    loss = AngularLoss(**kwargs)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    for weight in (torch.ones(3), torch.ones(3, 1, 2), None):
        if kwargs.get('dim') is None and weight is not None:
            weight = torch.ones(3, 2, 1)
        torch.testing.assert_close(
            compiled(pred, target, weight), loss(pred, target, weight))


def directions(number=4000, seed=0):
    """Vectors of any angle, with lengths 0 or from 1e-36 to 1e36."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(number, generator=generator).double()
    length = 10**(72 * torch.rand(number, generator=generator).double() - 36)
    length[::50] = 0
    return (length * torch.stack([angle.cos(), angle.sin()])).T.float()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('period', ['full', 'half'])
@pytest.mark.parametrize('delta', [0, 0.2, 1.5])
def test_handwritten_derivative_matches_formula(delta, period, dtype):
    pred = directions().to(dtype)
    target = directions(seed=1).to(dtype)
    target[1::4] = pred[1::4] * 0.5
    target[2::4] = pred[2::4] * -0.5
    # So close that rounding of the cross product matters.
    target[3::4] = pred[3::4] * (1 + 1e-6 * target[3::4].sign())
    arguments = 1 + delta, 0.5 if period == 'half' else 1.0
    got, slope = angle_power_and_derivative(pred, target, *arguments)
    pred.requires_grad_()
    expected = angle_power(pred, target, *arguments)
    gradient, = torch.autograd.grad(expected.sum(), pred)
    # Exactly opposite vectors may turn either way.
    assert torch.equal(got, expected)
    assert slope.isfinite().all()
    furthest = (math.pi * arguments[1])**arguments[0]
    sure = (expected > 1e-3) & (expected < furthest - 1e-3)
    size = pred.detach().abs().amax(dim=-1, keepdim=True)
    torch.testing.assert_close(
        (slope * size)[sure], (gradient * size)[sure], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dim', [-1, 1])
def test_second_derivatives_and_target_gradients(dim):
    pred, target = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    pred.requires_grad_()
    loss = AngularLoss(dim=dim, reduction='none')
    assert torch.autograd.gradcheck(lambda x: loss(x, target), pred)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), pred)
    assert torch.autograd.gradcheck(lambda x: loss(pred, x),
                                    target.requires_grad_())


def test_integer_and_double_targets():
    """A one-hot direction may have an integer dtype."""
    pred = torch.tensor([[0.0, 2.0]])
    for dtype in (torch.int64, torch.float64, torch.float16):
        target = torch.tensor([[1, 0]], dtype=dtype)
        got = AngularLoss()(pred, target)
        assert got.item() == pytest.approx((math.pi / 2)**1.2)


def test_alias():
    from mmlosses.registry import MODELS
    assert MODELS.get('mmlosses.AngleDistanceLoss') is AngularLoss


@pytest.mark.parametrize('kwargs, error, words', [
    (dict(delta=-0.1), ValueError, 'at least 0, got -0.1'),
    (dict(delta='0'), TypeError, 'number, got str'),
    (dict(period='quarter'), ValueError, "'quarter'"),
    (dict(dim='1'), TypeError, 'int, got str'),
])
def test_wrong_arguments(kwargs, error, words):
    with pytest.raises(error, match=words):
        AngularLoss(**kwargs)


@pytest.mark.parametrize('dim, shape', [(-1, (4, 3)), (1, (4, 3)), (2, (4, 2)),
                                        (-1, (1, )), (0, ())])
def test_wrong_shapes(dim, shape):
    x = torch.zeros(shape)
    with pytest.raises(ValueError) as caught:
        AngularLoss(dim=dim)(x, x)
    assert f'dim {dim}' in str(caught.value)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize('name', ['pred', 'target', 'both'])
def test_compiler_formula_at_zero_vectors(name):
    """The compilable formula equals the hand-written derivative."""
    zero, one = torch.zeros(3, 2).double(), unit([0., 50., 170.])
    pred = one if name == 'target' else zero
    target = one if name == 'pred' else zero
    expected = torch.full((3, ), (math.pi / 2)**1.2, dtype=torch.float64)
    for function in (angle_power,
                     lambda *x: angle_power_and_derivative(*x)[0]):
        torch.testing.assert_close(function(pred, target, 1.2, 1.0), expected)


def test_negative_dim():
    pred, target = torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(
        AngularLoss(dim=-2)(pred, target),
        AngularLoss(dim=0)(pred, target))


def test_misshaped_weight_with_vector_axis():
    """Size 1 at the axis of (cos, sin), but wrong sizes elsewhere."""
    pred = torch.randn(4, 3, 2)
    with pytest.raises(ValueError, match='broadcast'):
        AngularLoss()(pred, pred, torch.ones(2, 3, 1))
    with pytest.raises(ValueError, match='broadcast'):
        AngularLoss()(pred, pred, torch.ones(4, 3, 2))
