"""Losses of an error that is small or large, without a choice between them.

Each is a function of the error up to its knot, plus one of what is beyond,
which is 0 for small errors. ``torch.where`` and its gradient take as long as
twenty sums on a CPU. Each function returns the loss and its derivative.

They take the error, which autograd has to keep once, not its two parts; the
adaptive wing loss also depends on the target itself.
"""
from __future__ import annotations
import math
from typing import Tuple

from torch import Tensor

Errors = Tuple[Tensor, Tensor, Tensor]


def split(error: Tensor, knot: float) -> Errors:
    """Return the sign of the error, and its size below and beyond a knot."""
    size = error.abs()
    near = size.clamp(max=knot)
    return error.sign(), near, size.sub_(near)


def wing_and_derivative(error: Tensor, omega: float,
                        epsilon: float) -> Tuple[Tensor, Tensor]:
    """The wing loss."""
    sign, near, beyond = split(error, omega)
    slope = (near + epsilon).reciprocal_().mul_(omega)
    slope.add_(beyond.sign(), alpha=1 - omega / (omega + epsilon))
    loss = near.div_(epsilon).log1p_().mul_(omega).add_(beyond)
    return loss, slope.mul_(sign)


def soft_wing_and_derivative(error: Tensor, omega1: float, omega2: float,
                             epsilon: float) -> Tuple[Tensor, Tensor]:
    """The soft wing loss."""
    sign, near, beyond = split(error, omega1)
    slope = (beyond + (epsilon + omega1)).reciprocal_().mul_(omega2)
    slope.sub_(1).mul_(beyond.sign()).add_(1)
    loss = near.add_(beyond.div_(epsilon + omega1).log1p_(), alpha=omega2)
    return loss, slope.mul_(sign)


def balanced_l1_and_derivative(error: Tensor, alpha: float, gamma: float,
                               beta: float) -> Tuple[Tensor, Tensor]:
    """The balanced L1 loss."""
    b = math.expm1(gamma / alpha)
    sign, near, beyond = split(error, beta)
    logs = (near * (b / beta)).log1p_()
    slope = alpha * logs
    if beta != 1:  # the inliers do not end with the slope gamma
        slope.add_((near * b + beta).reciprocal_(), alpha=alpha * (1 - beta))
        slope.sub_(beyond.sign(), alpha=alpha * (1 - beta) / (beta * (1 + b)))
    loss = logs.mul_(near + 1 / b).sub_(near).mul_(alpha)
    return loss.add_(beyond, alpha=gamma), slope.mul_(sign)


def adaptive_wing_and_derivative(pred: Tensor, target: Tensor, alpha: float,
                                 omega: float, epsilon: float,
                                 theta: float) -> Tuple[Tensor, Tensor]:
    r"""The adaptive wing loss.

    .. math::
        \omega \log (1 + r) + A (d - d'), \quad A = \frac{\omega q r}{(1 + r)
        d'}, \quad r = (d' / \epsilon)^q, \quad q = \alpha - t, \quad
        d' = \min(d, \theta)

    The slope A is the derivative, up to its sign, on both sides of the knot.
    """
    sign, near, beyond = split(pred - target, theta)
    slope = alpha - target
    ratio = (near / epsilon).pow_(slope)
    slope.mul_(ratio).mul_(omega).div_(ratio + 1)
    slope.div_(near.add_(near == 0))
    loss = ratio.log1p_().mul_(omega).addcmul_(slope, beyond)
    return loss, slope.mul_(sign)
