"""A loss attenuated by a predicted deviation, of which autograd keeps five."""
from __future__ import annotations
from typing import Any, Tuple

import torch
from torch import Tensor

from ..checks import is_visible
from ..tensors import is_transformed
from .gradient import gradients_with_graph

# Of e, beyond which an exponential goes on as a line.
MOST_POWER = 40.0


def attenuated(error: Tensor, sigma: Tensor, alpha: float = 1.0) -> Tensor:
    r"""Return :math:`L e^{-\sigma} + \alpha \sigma` of each number.

    The exponential goes on as a line where it is above e to the 40, so that
    the gradient stays finite, and shows the way back.
    """
    if is_transformed():
        return plain_attenuated(error, sigma, alpha)
    return Attenuated.apply(error, sigma, alpha)


def plain_attenuated(error: Tensor, sigma: Tensor, alpha: float) -> Tensor:
    """Return the same by autograd."""
    power = (-sigma).clamp(max=MOST_POWER)
    return power.exp() * (1 - sigma - power) * error + alpha * sigma


def slope_and_factor(sigma: Tensor) -> Tuple[Tensor, Tensor]:
    """Return minus the derivative of the factor of the error, and it."""
    if (sigma.numel() > 0 and is_visible(sigma)
            and sigma.min().item() >= -MOST_POWER):
        slope = torch.exp(-sigma)
        return slope, slope
    power = (-sigma).clamp_(max=MOST_POWER)
    slope = power.exp()
    return slope, slope * (1 - sigma - power)


class Attenuated(torch.autograd.Function):
    """Keeps its inputs only, and computes the exponential again."""

    @staticmethod
    def forward(ctx: Any, error: Tensor, sigma: Tensor,
                alpha: float) -> Tensor:
        ctx.alpha = alpha
        ctx.save_for_backward(error, sigma)
        _, factor = slope_and_factor(sigma)
        return (alpha * sigma).addcmul_(factor, error)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        error, sigma = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            loss = plain_attenuated(error, sigma, ctx.alpha)
            return (*gradients_with_graph(
                loss, (error, sigma), ctx.needs_input_grad[:2], grad), None)
        slope, factor = slope_and_factor(sigma)
        of_sigma = (slope * error).neg_().add_(ctx.alpha).mul_(grad)
        return factor * grad, of_sigma, None
