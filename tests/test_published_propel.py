"""The names and calls of torchpropel's documentation, against plain loops."""
import math

import pytest
import torch
from scipy.integrate import dblquad
from scipy.stats import norm

from mmlosses.losses import (PROPEL, PROPELLoss, g_function, getloss,
                             h_function, unpack_prediction)
from mmlosses.registry import MODELS


def g_by_loops(mean1, var1, mean2, var2):
    """The documented equation of G."""
    exponent, product = 0.0, 1.0
    for m1, v1, m2, v2 in zip(mean1, var1, mean2, var2):
        exponent += (2 * m1 * m2 - m1**2 - m2**2) / (2 * (v1 + v2))
        product *= v1 + v2
    return math.exp(exponent) / (
        math.sqrt(2 * math.pi)**len(mean1) * math.sqrt(product))


def h_by_loops(var):
    """The documented equation of H."""
    return 1 / ((2 * math.sqrt(math.pi))**len(var) * math.sqrt(math.prod(var)))


def loss_by_loops(mean, var, means, variances):
    """The documented equation of the loss of one sample."""
    number = len(means)
    t1 = 2 / number * sum(
        [g_by_loops(mean, var, *other) for other in zip(means, variances)])
    t2 = h_by_loops(var)
    for i in range(number):
        t2 += h_by_loops(variances[i]) / number**2
        for j in range(i + 1, number):
            t2 += 2 / number**2 * g_by_loops(means[i], variances[i], means[j],
                                             variances[j])
    return -math.log(t1) + math.log(t2)


def sample(batch, number, n):
    """Means and variances of targets and of a prediction."""
    generator = torch.Generator().manual_seed(n)
    shapes = (batch, n), (batch, n), (batch, number, n), (batch, number, n)
    drawn = [
        torch.rand(shape, generator=generator, dtype=torch.float64)
        for shape in shapes
    ]
    return drawn[0], 0.1 + drawn[1], drawn[2], 0.1 + drawn[3]


DIMENSIONS = pytest.mark.parametrize('n', (1, 2, 3))
COMPONENTS = pytest.mark.parametrize('number', (1, 2, 4))


@DIMENSIONS
def test_g_and_h(n):
    target, target_var, mean, var = sample(5, 3, n)
    g = g_function(target, target_var, mean, var)
    h = h_function(var)
    assert g.shape == h.shape == (5, 3)
    for b in range(5):
        for i in range(3):
            assert math.isclose(
                g[b, i],
                g_by_loops(target[b].tolist(), target_var[b].tolist(),
                           mean[b, i].tolist(), var[b, i].tolist()))
            assert math.isclose(h[b, i], h_by_loops(var[b, i].tolist()))


def test_g_and_h_are_integrals_with_variances():
    """Of a product and of a square, in two dimensions."""
    mean = torch.tensor([[0.1, -0.2], [0.5, 0.3]]).double()
    var = torch.tensor([[0.3, 0.5], [0.2, 0.4]]).double()

    def density(index):
        return lambda *x: norm.pdf(x, mean[index].numpy(), var[index].sqrt().
                                   numpy()).prod()

    one, two = density(0), density(1)
    product = dblquad(lambda x, y: one(x, y) * two(x, y), -4, 4, -4, 4)[0]
    square = dblquad(lambda x, y: one(x, y)**2, -4, 4, -4, 4)[0]
    got = g_function(mean[0], var[0], mean[1], var[1])
    assert got.shape == () and math.isclose(got, product, rel_tol=1e-6)
    assert math.isclose(h_function(var[0]), square, rel_tol=1e-6)


@pytest.mark.parametrize('shape', ((), (1, 1, 1)))
def test_one_variance_counts_for_each_dimension(shape):
    """The package passes (1, 1, 1)."""
    target, _, mean, var = sample(2, 3, 2)
    one = torch.full(shape, 0.3, dtype=torch.float64)
    for function in (g_function, getloss):
        torch.testing.assert_close(
            function(target, one, mean, var),
            function(
                target,
                one.expand(2, 2) if not shape else one.reshape(1, 1).expand(
                    2, 2), mean, var))


@DIMENSIONS
@COMPONENTS
def test_getloss(n, number):
    target, target_var, mean, var = sample(4, number, n)
    got = getloss(target, target_var, mean, var)
    assert got.shape == (4, )
    for b in range(4):
        expected = loss_by_loops(target[b].tolist(), target_var[b].tolist(),
                                 mean[b].tolist(), var[b].tolist())
        assert math.isclose(got[b], expected, rel_tol=1e-9)
    assert getloss(target, target_var, target.unsqueeze(1),
                   target_var.unsqueeze(1)).abs().max() < 1e-12


def test_getloss_is_finite_far_away():
    """There G is 0, and its logarithm in the package infinite."""
    target, target_var, mean, var = sample(4, 2, 2)
    mean = (mean + 1e3).requires_grad_()
    assert (g_function(target, target_var, mean, var) == 0).all()
    loss = getloss(target, target_var, mean, var)
    loss.sum().backward()
    assert loss.isfinite().all() and mean.grad.abs().min() > 0


@DIMENSIONS
def test_the_class(n):
    """``PROPEL(sigma, reduction)`` of (batch, gaussians, 2 * dimensions)."""
    assert PROPEL is PROPELLoss is MODELS.get('PROPEL')
    target, _, mean, std = sample(3, 2, n)
    pred = torch.cat([mean, std], dim=-1)
    means, stds = unpack_prediction(pred, n)
    assert means.equal(mean) and stds.equal(std)
    elements = getloss(target, torch.tensor(0.2**2).double(), means, stds**2)
    torch.testing.assert_close(
        PROPEL(sigma=0.2, reduction='none')(pred, target), elements)
    torch.testing.assert_close(
        PROPEL(sigma=0.2)(pred, target), elements.mean())
    with pytest.raises(ValueError, match='means'):
        unpack_prediction(pred, n + 1)


def test_package():
    """It has this base of the logarithm, and is right in one dimension."""
    package = pytest.importorskip('torchpropel.propel')
    target, target_var, mean, var = sample(4, 3, 1)
    expected = package.getloss(target, target_var.unsqueeze(1), mean, var)[0]
    got = getloss(target, target_var, mean, var) / math.log(10)
    torch.testing.assert_close(got, expected.diagonal())
