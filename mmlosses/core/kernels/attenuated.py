"""A loss attenuated by a predicted deviation, of which autograd keeps five."""
from __future__ import annotations
from typing import Any, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import least_of
from ..tensors import is_transformed
from .gradient import gradients_with_graph

# Of e, beyond which an exponential goes on as a line.
MOST_POWER = 40.0


def attenuated(error: Tensor,
               sigma: Tensor,
               alpha: float = 1.0,
               beta: float = 0.0) -> Tensor:
    r"""Return :math:`L e^{-\sigma} + \alpha \sigma` of each number.

    L is the smooth L1 loss of an ``error`` with a sign, and L1 for ``beta``
    0. The exponential goes on as a line where it is above e to the 40, so that
    the gradient stays finite, and shows the way back.
    """
    if is_transformed():
        return plain_attenuated(error, sigma, alpha, beta)
    return Attenuated.apply(error, sigma, alpha, beta)


def plain_attenuated(error: Tensor, sigma: Tensor, alpha: float,
                     beta: float) -> Tensor:
    """Return the same by autograd."""
    power = (-sigma).clamp(max=MOST_POWER)
    factor = power.exp() * (1 - sigma - power)
    return factor * smooth_l1(error, beta) + alpha * sigma


def smooth_l1(error: Tensor, beta: float) -> Tensor:
    """Return the smooth L1 loss of an error."""
    if beta == 0:
        return error.abs()
    zeros = error.new_zeros(()).expand_as(error)
    return F.smooth_l1_loss(error, zeros, reduction='none', beta=beta)


def is_a_line(sigma: Tensor) -> bool:
    """Return True if an exponential may go on as a line."""
    least = least_of(sigma)
    return least is None or not least >= -MOST_POWER


def factor_of(sigma: Tensor, slope: Tensor, line: bool) -> Tensor:
    """Return the factor of the error, whose derivative is minus the slope."""
    if not line:
        return slope
    return slope * (1 - sigma - (-sigma).clamp_(max=MOST_POWER))


class Attenuated(torch.autograd.Function):
    """Keeps its inputs and the exponential."""

    @staticmethod
    def forward(ctx: Any, error: Tensor, sigma: Tensor, alpha: float,
                beta: float) -> Tensor:
        ctx.alpha, ctx.beta, ctx.line = alpha, beta, is_a_line(sigma)
        slope = (-sigma).clamp_(max=MOST_POWER).exp_()
        size = smooth_l1(error, beta)
        # An absolute value takes less time than to keep it.
        ctx.save_for_backward(error, sigma, slope, size if beta else None)
        loss = size * factor_of(sigma, slope, ctx.line)
        return loss.add_(sigma, alpha=alpha)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        error, sigma, slope, size = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            loss = plain_attenuated(error, sigma, ctx.alpha, ctx.beta)
            return (*gradients_with_graph(
                loss,
                (error, sigma), ctx.needs_input_grad[:2], grad), None, None)
        size = error.abs() if size is None else size
        of_sigma = (size * slope).neg_().add_(ctx.alpha).mul_(grad)
        of_error = ((error /
                     ctx.beta).clamp_(-1, 1) if ctx.beta else error.sign())
        factor = factor_of(sigma, slope, ctx.line)
        of_error = of_error.mul_(factor).mul_(grad)
        return of_error, of_sigma, None, None
