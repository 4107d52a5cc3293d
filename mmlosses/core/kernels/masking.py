"""Gradients that are 0 for removed elements, without copying the inputs."""
from __future__ import annotations
from typing import Any, Tuple

import torch
from torch import Tensor

# Integers of the same size, to view the bits of a number.
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def without_gradient(tensor: Tensor, removed: Tensor) -> Tensor:
    """Return the same values, with gradient 0 where a mask is True."""
    if not tensor.requires_grad:
        return tensor
    return WithoutGradient.apply(tensor, removed)


class WithoutGradient(torch.autograd.Function):
    """Removes gradients, even NaN, see :func:`without_gradient`."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, removed: Tensor) -> Tensor:
        ctx.save_for_backward(removed)
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        removed, = ctx.saved_tensors
        integer = BITS.get(grad.dtype)
        if torch.is_grad_enabled() or integer is None:
            return torch.where(removed, grad.new_zeros(()), grad), None
        # All bits of 0.0 are 0. This takes half the time of torch.where.
        kept = removed.to(integer) - 1
        return (grad.view(integer) & kept).view(grad.dtype), None
