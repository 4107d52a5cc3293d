"""RLELoss against quadrature, plain loops and mmpose."""
import math

import pytest
import torch

from mmlosses.losses import RealNVP, RLELoss

NAN = math.nan


def trained(flow, seed=0):
    """Make the density of a flow far from a Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in flow.parameters():
        spread = 0.6 / parameter.shape[-1]**0.5
        parameter.data += spread * torch.randn(
            parameter.shape, generator=generator)
    return flow


def build(**kwargs):
    loss = RLELoss(**kwargs)
    trained(loss.flow_model)
    return loss.double()


def keypoints(dtype=torch.float64):
    """Positions, raw deviations and targets of 17 keypoints."""
    generator = torch.Generator().manual_seed(0)
    pred, sigma, target = torch.randn(
        3, 5, 17, 2, generator=generator, dtype=dtype)
    weight = torch.rand(5, 17, 1, generator=generator, dtype=dtype).round()
    return pred.requires_grad_(), sigma.requires_grad_(), target, weight


def test_density_of_the_flow_integrates_to_one():
    """By the trapezoidal rule, exact for smooth functions that vanish."""
    torch.manual_seed(0)
    flow = trained(RealNVP()).double()
    x = torch.linspace(-15, 15, 201, dtype=torch.float64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(x, x)).exp()
    assert density.sum().item() * (x[1] - x[0]).item()**2 == pytest.approx(
        1, abs=1e-3)
    # And it is no Gaussian.
    assert abs(density.max().item() - 1 / 2 / math.pi) > 0.005


def network(layers, given, tanh):
    """A network of three layers in plain numbers."""
    for number, layer in enumerate(layers):
        weight, bias = [x.tolist() for x in layer]
        given = [
            sum([w * x for w, x in zip(row, given)]) + b
            for row, b in zip(weight, bias)
        ]
        if number < 2:
            given = [x if x > 0 else 0.01 * x for x in given]
    return [math.tanh(x) for x in given] if tanh else given


def log_prob_by_hand(state, point):
    """Invert the couplings x' = x exp(s(y)) + t(y) from the last to first."""
    point, log_det = list(point), 0.0
    for i in range(5, -1, -1):
        kept = 1 - i % 2
        given = [0.0, 0.0]
        given[kept] = point[kept]
        s, t = [
            network([(state[f'{name}.{i}.{layer}.weight'],
                      state[f'{name}.{i}.{layer}.bias'])
                     for layer in (0, 2, 4)], given, name == 's')[1 - kept]
            for name in 'st'
        ]
        point[1 - kept] = (point[1 - kept] - t) / math.exp(s)
        log_det -= s
    square = sum([x * x for x in point])
    return -square / 2 - math.log(2 * math.pi) + log_det


@pytest.mark.parametrize('kwargs', [
    {},
    dict(residual=False),
    dict(q_distribution='gaussian'),
    dict(size_average=False),
])
def test_matches_plain_numbers(kwargs):
    pred, sigma, target, _ = [x[:2, :3] for x in keypoints()]
    loss, total = build(**kwargs), 0.0
    state = loss.flow_model.state_dict()
    for position, raw, true in zip(
            *[x.reshape(-1, 2).tolist() for x in (pred, sigma, target)]):
        std = [1 / (1 + math.exp(-x)) for x in raw]
        error = [(p - t) / s for p, t, s in zip(position, true, std)]
        total -= 2 * log_prob_by_hand(state, error)
        for e, s in zip(error, std):
            total += math.log(s)
            if not kwargs.get('residual', True):
                continue
            if 'q_distribution' in kwargs:
                density = math.exp(-e * e / 2) / math.sqrt(2 * math.pi)
            else:
                density = math.exp(-abs(e)) / 2
            total -= math.log(density / s)
    expected = total if 'size_average' in kwargs else total / 2
    got = loss(pred, sigma, target)
    assert got.item() == pytest.approx(expected)


@pytest.mark.openmmlab
@pytest.mark.parametrize('kwargs', [
    dict(use_target_weight=True),
    dict(use_target_weight=True, residual=False),
    dict(use_target_weight=True, q_distribution='gaussian'),
    dict(size_average=False),
])
def test_matches_mmpose(kwargs):
    """Value and gradients, also of the flow; checkpoints fit both ways."""
    stock = pytest.importorskip('mmpose.models.losses').RLELoss(**kwargs)
    ours = RLELoss(**kwargs)
    trained(stock.flow_model)
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(stock.state_dict())
    results = []
    for loss in (ours.double(), stock.double()):
        pred, sigma, target, weight = keypoints()
        args = [weight] if 'use_target_weight' in kwargs else []
        value = loss(pred, sigma, target, *args)
        results.append(
            (value,
             *torch.autograd.grad(value, [pred, sigma, *loss.parameters()])))
    torch.testing.assert_close(*results)
    state = ours.state_dict()
    stock.load_state_dict(state)
    for name, value in stock.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.openmmlab
def test_starts_as_mmpose():
    stock = pytest.importorskip('mmpose.models.losses')
    states = []
    for kind in (RLELoss, stock.RLELoss):
        torch.manual_seed(0)
        states.append(dict(kind().named_parameters()))
    torch.testing.assert_close(*states)


def test_masked_before_the_flow():
    """res-loglikelihood-regression#40; mmpose raises a ValueError."""
    pred, sigma, target, weight = keypoints()
    loss = build()
    expected = loss(pred, sigma, target, weight)
    expected.backward()
    grads = [x.grad for x in (pred, sigma, *loss.parameters())]
    loss.zero_grad()
    hidden = weight == 0
    poisoned = [
        x.detach().masked_fill(hidden, NAN) for x in (pred, sigma, target)
    ]
    for x in poisoned[:2]:
        x.requires_grad_()
    got = loss(*poisoned, weight)
    got.backward()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        [x.grad for x in (*poisoned[:2], *loss.parameters())], grads)
    assert (poisoned[0].grad.masked_select(hidden) == 0).all()


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('distribution', ['laplace', 'gaussian'])
def test_far_targets_and_extreme_deviations(residual, distribution):
    loss = RLELoss(residual=residual, q_distribution=distribution)
    trained(loss.flow_model)
    pred = torch.tensor([[[1e4, -1e4], [0, 0], [1, 1]]], requires_grad=True)
    sigma = torch.tensor([[[-1e3, 1e3], [-200, 200], [-30, -30]]],
                         requires_grad=True)
    got = loss(pred, sigma, torch.zeros(1, 3, 2))
    got.backward()
    assert got.isfinite()
    for x in (pred, sigma, *loss.parameters()):
        assert x.grad.isfinite().all()


def test_float16_of_a_module_cast_to_half():
    pred, sigma, target, weight = [x.detach().half() for x in keypoints()]
    loss = RLELoss().half()
    got = loss(pred, sigma, target, weight)
    assert got.dtype == torch.float32 and got.isfinite()


def test_may_be_negative():
    """A likelihood of a narrow density is above 1 (ultralytics#23577)."""
    zeros = torch.zeros(1, 17, 2)
    assert RLELoss()(zeros, zeros - 8, zeros) < 0


@pytest.mark.slow
def test_learns_a_density():
    """The flow learns errors on a ring, which no Gaussian fits."""
    torch.manual_seed(0)
    flow = RealNVP()
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3)
    angle = 2 * math.pi * torch.rand(512)
    ring = torch.stack([angle.cos(), angle.sin()], dim=-1)
    points = 2 * ring + 0.2 * torch.randn(512, 2)
    before = flow.log_prob(points).mean()
    for _ in range(150):
        optimizer.zero_grad()
        (-flow.log_prob(points).mean()).backward()
        optimizer.step()
    assert flow.log_prob(points).mean() > before + 0.4


@pytest.mark.parametrize('shape', [(5, 17, 3), (5, 34)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r'one shape \(N, K, 2\)'):
        RLELoss()(*[torch.zeros(shape)] * 3)


@pytest.mark.parametrize('sigma', [-300.0, -90.0, -20.0, 50.0])
def test_gradient_of_a_far_and_certain_prediction(sigma):
    """The square of the deviation overflows in a quotient's gradient."""
    pred = torch.full((1, 1, 2), 1e28, requires_grad=True)
    sigma = torch.full((1, 1, 2), sigma, requires_grad=True)
    RLELoss()(pred, sigma, torch.zeros(1, 1, 2)).backward()
    assert pred.grad.isfinite().all() and sigma.grad.isfinite().all()
