"""Gradients that are 0 for removed elements, without a copy of the inputs."""
from __future__ import annotations
from typing import Any, Tuple

import torch
from torch import Tensor

# The integers of the same size as a number: its bits.
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def without_gradient(tensor: Tensor, removed: Tensor) -> Tensor:
    """Return a tensor whose gradient is 0 where it is removed.

    Args:
        tensor (Tensor): Any input.
        removed (Tensor): A mask that broadcasts to it.

    Returns:
        Tensor: The same numbers.
    """
    if not tensor.requires_grad:
        return tensor
    return WithoutGradient.apply(tensor, removed)


class WithoutGradient(torch.autograd.Function):
    """Removes gradients, even NaN, see :func:`without_gradient`."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, removed: Tensor) -> Tensor:
        """Change nothing."""
        ctx.save_for_backward(removed)
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        """Put 0 for what is removed."""
        removed, = ctx.saved_tensors
        integer = BITS.get(grad.dtype)
        if torch.is_grad_enabled() or integer is None:
            return torch.where(removed, grad.new_zeros(()), grad), None
        # All bits of 0.0 are 0. It takes half the time of a choice.
        kept = removed.to(integer) - 1
        return (grad.view(integer) & kept).view(grad.dtype), None
