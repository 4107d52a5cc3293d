"""Numbers with a predicted log deviation."""
import math

import pytest
import torch
from scipy.stats import laplace

from mmlosses.losses import UncertainL1Loss, UncertainSmoothL1Loss

BOTH = (UncertainL1Loss(), UncertainSmoothL1Loss())


def numbers(*shape):
    torch.manual_seed(0)
    return [2 * torch.randn(shape).double() for _ in range(3)]


def test_absolute_error_is_the_likelihood_of_a_laplacian():
    pred, target, sigma = numbers(20)
    got = UncertainL1Loss(reduction='none')(pred, target, sigma)
    density = laplace(pred.numpy(), sigma.exp().numpy())
    expected = -density.logpdf(target.numpy()) - math.log(2)
    torch.testing.assert_close(got, torch.from_numpy(expected))


@pytest.mark.parametrize('alpha', [0.5, 1.0])
@pytest.mark.parametrize('beta', [0, 1.0, 3.0])
def test_smooth_l1_by_loops(alpha, beta):
    pred, target, sigma = numbers(20)
    loss = UncertainSmoothL1Loss(alpha, beta, 'none', 2.0)
    for got, p, t, s in zip(
            loss(pred, target, sigma).tolist(), pred.tolist(), target.tolist(),
            sigma.tolist()):
        error = abs(p - t)
        near = error < beta
        error = error**2 / (2 * beta) if near else error - beta / 2
        assert got == pytest.approx(2 * (error / math.exp(s) + alpha * s))


@pytest.mark.parametrize('alpha', [0.5, 1.0])
def test_the_best_deviation_is_the_error_by_alpha(alpha):
    target = torch.tensor([0.1, 1.0, 7.0]).double()
    sigma = (target / alpha).log().requires_grad_()
    loss = UncertainL1Loss(alpha, 'sum')
    gradient, = torch.autograd.grad(
        loss(torch.zeros(3).double(), target, sigma), sigma)
    torch.testing.assert_close(gradient, torch.zeros(3).double())


def test_call_of_a_head():
    """PGD passes columns, with the weights and the number of positives."""
    depth, target, sigma = numbers(6, 3)
    weight = torch.rand(6).double()
    weight[2] = 0
    sigma[2] = math.nan
    loss = UncertainSmoothL1Loss(alpha=1.0, beta=3.0, loss_weight=1.0)
    got = loss(
        depth[:, 2],
        target[:, 2],
        sigma=sigma[:, 0],
        weight=weight,
        avg_factor=weight.sum())
    kept = weight > 0
    each = loss(depth[kept, 2], target[kept, 2], sigma[kept, 0], None, None,
                'none')
    torch.testing.assert_close(got, (each * weight[kept]).sum() / weight.sum())


@pytest.mark.parametrize('loss', BOTH)
@pytest.mark.parametrize('error', [0.0, 1.0, 1e4])
def test_extreme_deviations(loss, error):
    """mmdet3d's is infinite or NaN. The gradient leads back."""
    sigma = torch.tensor([-6e4, -200, -90, -12, 90, 6e4], requires_grad=True)
    pred = torch.full((6, ), error, requires_grad=True)
    value = loss(pred, torch.zeros(6), sigma)
    gradients = torch.autograd.grad(value, (pred, sigma))
    assert value.isfinite() and all([x.isfinite().all() for x in gradients])
    assert (gradients[1][:4] < 0).all() == (error > 0)
    assert (gradients[1][4:] > 0).all()
    half = loss(pred.half(), torch.zeros(6), sigma.half())
    torch.testing.assert_close(half, value, rtol=1e-2, atol=0)


def test_line_beyond_the_exponential_is_smooth():
    """No ordinary deviation is changed."""
    sigma = torch.tensor([-39.9, -40.1], dtype=torch.float64)
    sigma.requires_grad_()
    one = torch.ones(2).double()
    loss = UncertainL1Loss(0.0, 'none')(one, 0 * one, sigma)
    gradient, = torch.autograd.grad(loss.sum(), sigma)
    expected = torch.tensor([math.exp(39.9), 1.1 * math.exp(40)],
                            dtype=torch.float64)
    torch.testing.assert_close(loss.detach(), expected)
    expected = torch.tensor([-math.exp(39.9), -math.exp(40)],
                            dtype=torch.float64)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize('loss', BOTH)
def test_gradients(loss):
    inputs = [x.requires_grad_() for x in numbers(5)]
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize('loss', BOTH)
def test_nothing_and_misshaped(loss):
    assert loss(*[torch.zeros(0)] * 3) == 0
    with pytest.raises(ValueError, match=r'one shape, got \(3,\), \(3,\)'):
        loss(torch.zeros(3), torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(TypeError, match='target'):
        loss(torch.zeros(3), torch.zeros(3).long(), torch.zeros(3))
