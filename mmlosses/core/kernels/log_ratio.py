"""Logarithm of a ratio, of which autograd keeps three copies."""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor


def log_ratio(pred: Tensor, target: Tensor, valid: Tensor,
              eps: float) -> Tensor:
    r"""Return :math:`\log (t / \max(p, \epsilon))`, 0 unless it is valid.

    The gradient is that of the prediction, 0 below ``eps``.
    """
    pred, target = [torch.where(valid, x, 1) for x in (pred, target)]
    return target.log() - pred.clamp(min=eps).log()


def log_ratio_and_derivative(pred: Tensor, target: Tensor, valid: Tensor,
                             eps: float) -> Tuple[Tensor, Tensor]:
    r"""Return the same and its derivative, :math:`-1 / p`."""
    bounded, invalid = pred.clamp(min=eps), ~valid
    ratio = (target / bounded).masked_fill_(invalid, 1)
    derivative = bounded.reciprocal_().neg_()
    return ratio.log_(), derivative.masked_fill_(invalid | (pred < eps), 0)
