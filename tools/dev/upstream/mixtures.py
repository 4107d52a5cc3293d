"""Probabilistic regression."""
from __future__ import annotations
import math

import torch
import torchpropel
from upstream import Shown, gradient, kind, outcome, shows

import mmlosses.losses as mmlosses


def two_alike(size: int, sigma: float) -> torch.Tensor:
    """A mixture of two components at 0 with the deviation sigma."""
    means, sigmas = torch.zeros(1, 2, size), torch.full((1, 2, size), sigma)
    return torch.cat([means, sigmas], dim=2)


@shows(
    'PROPELLoss',
    torchpropel.PROPEL,
    'negative in three dimensions',
    'a density overlaps itself completely: -log(1)',
    tests=['test_probabilistic.py::test_upstream_is_not_zero_at_identity'])
def propel_dimensions() -> Shown:
    """The term of the target is that of one dimension."""
    stock = torchpropel.PROPEL(0.2)(two_alike(3, 0.2), torch.zeros(1, 3))
    ours = mmlosses.PROPELLoss(0.2)(two_alike(3, 0.2), torch.zeros(1, 3))
    right = 0.0
    return stock, ours, right


@shows(
    'PROPELLoss',
    torchpropel.PROPEL,
    'learns the wrong deviation',
    'the minimum is where the two densities are equal, at sigma',
    tests=['test_probabilistic.py::test_upstream_learns_the_wrong_deviation'])
def propel_deviation() -> Shown:
    """In more than one dimension its minimum is at another sigma."""
    candidates = [0.4 + 0.01 * n for n in range(101)]

    def best(loss: torch.nn.Module) -> float:
        return min(
            candidates,
            key=lambda sigma: float(
                loss(two_alike(3, sigma).double(),
                     torch.zeros(1, 3).double())))

    stock = best(torchpropel.PROPEL(1.0))
    ours = best(mmlosses.PROPELLoss(1.0))
    right = 1.0
    return stock, ours, right


@shows('PROPELLoss', torchpropel.PROPEL, 'fails for one component',
       'a density overlaps itself completely: -log(1)')
def propel_component() -> Shown:
    """It indexes pairs of components, and there are none."""
    pred = two_alike(1, 0.2)[:, :1]
    stock = outcome(lambda: torchpropel.PROPEL(0.2)(pred, torch.zeros(1, 1)))
    ours = mmlosses.PROPELLoss(0.2)(pred, torch.zeros(1, 1))
    right = 0.0
    return stock, ours, right


@shows('PROPELLoss', torchpropel.PROPEL, 'infinite for a far target',
       'the squared distance over four variances: 5**2 / (4 * 0.2**2)')
def propel_far() -> Shown:
    """The exponential underflows in float32, so the logarithm is infinite."""
    stock = torchpropel.PROPEL(0.2)(two_alike(1, 0.2), torch.full((1, 1), 5.))
    ours = mmlosses.PROPELLoss(0.2)(two_alike(1, 0.2), torch.full((1, 1), 5.))
    right = 5**2 / (4 * 0.2**2)
    return stock, ours, right


@shows('PROPELLoss', torchpropel.PROPEL, 'NaN gradient for a far target',
       'd/dmu of the squared distance over four variances, half each')
def propel_gradient() -> Shown:
    """One far target ends the training."""
    pred, target = two_alike(1, 0.2), torch.full((1, 1), 5.)
    stock = gradient(lambda x: torchpropel.PROPEL(0.2)(x, target), pred)[0, :,
                                                                         0]
    ours = gradient(lambda x: mmlosses.PROPELLoss(0.2)(x, target), pred)[0, :,
                                                                         0]
    right = [-2 * 5 / (4 * 0.2**2) / 2] * 2
    return stock, ours, right


@shows('PROPELLoss', torchpropel.PROPEL, 'NaN gradient for a scale of 0',
       'a network that starts at 0 needs a finite gradient')
def propel_zero() -> Shown:
    """The square root has an infinite gradient at 0, multiplied by 0."""
    pred, target = two_alike(1, 0.0), torch.full((1, 1), 0.1)
    stock = kind(gradient(lambda x: torchpropel.PROPEL(0.2)(x, target), pred))
    ours = kind(gradient(lambda x: mmlosses.PROPELLoss(0.2)(x, target), pred))
    right = 'finite'
    return stock, ours, right


@shows('PROPELLoss', torchpropel.PROPEL, 'logarithm to base 10',
       'the paper has the natural logarithm; the overlap is exp(-1 / 0.16)')
def propel_logarithm() -> Shown:
    """The loss is 2.3 times smaller than that of the paper."""
    stock = torchpropel.PROPEL(0.2)(two_alike(1, 0.2), torch.ones(1, 1))
    ours = mmlosses.PROPELLoss(0.2)(two_alike(1, 0.2), torch.ones(1, 1))
    right = -math.log(math.exp(-1 / 0.16))
    return stock, ours, right


@shows('PROPELLoss', torchpropel.PROPEL, "an axis too many for 'none'",
       "'none' returns one loss per sample")
def propel_none() -> Shown:
    """It returns (1, B), which broadcasts against (B,) to (B, B)."""
    pred, target = two_alike(1, 0.2).repeat(5, 1, 1), torch.zeros(5, 1)
    stock = torchpropel.PROPEL(0.2, reduction='none')(pred, target).shape
    ours = mmlosses.PROPELLoss(0.2, reduction='none')(pred, target).shape
    right = (5, )
    return stock, ours, right
