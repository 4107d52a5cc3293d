"""Gradients in fewer passes than autograd makes.

Autograd keeps every intermediate result of a formula and passes over all of
them once more. Where a loss is called on millions of numbers, its derivative
by hand takes fewer passes, and is all that has to be kept.
"""
from __future__ import annotations
from typing import Any, Callable, Dict, Tuple

import torch
from torch import Tensor

from .labels import is_compiling
from .numeric import BITS
from .reduction import pad_right

Formula = Callable[..., Tensor]
FormulaWithSlope = Callable[..., Tuple[Tensor, Tensor]]


def is_transformed() -> bool:
    """Whether a compiler or ``torch.func`` looks at the formula itself."""
    return is_compiling() or torch._C._are_functorch_transforms_active()


def with_slope(formula: Formula, fast: FormulaWithSlope, pred: Tensor,
               *constants: Tensor, **options: Any) -> Tensor:
    """Compute a formula, with its derivative where that is all one needs.

    Args:
        formula (Callable): Makes the loss of each element from ``pred`` and
            ``constants``. It is what a compiler fuses, and what a second
            derivative or that of a constant is taken of.
        fast (Callable): Makes of the same arguments the same loss and its
            derivative, in the shape of ``pred``. An element of the loss
            depends on its own part of ``pred`` only.
        pred (Tensor): The prediction.
        constants (Tensor): The targets.
        options: Other arguments of both.

    Returns:
        Tensor: The loss of each element.
    """
    others = any([constant.requires_grad for constant in constants])
    if others or is_transformed():
        return formula(pred, *constants, **options)
    return WithSlope.apply(formula, fast, options, pred, *constants)


class WithSlope(torch.autograd.Function):
    """Keeps the derivative of a loss, see :func:`with_slope`."""

    @staticmethod
    def forward(ctx: Any, formula: Formula, fast: FormulaWithSlope,
                options: Dict[str, Any], pred: Tensor, *constants:
                Tensor) -> Tensor:
        """Compute the loss and its derivative."""
        loss, slope = fast(pred, *constants, **options)
        ctx.formula, ctx.options = formula, options
        ctx.save_for_backward(slope, pred, *constants)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        """Multiply by the derivative."""
        slope, pred, *constants = ctx.saved_tensors
        if torch.is_grad_enabled():
            # A second derivative is wanted, and the first has no graph.
            loss = ctx.formula(pred, *constants, **ctx.options)
            grad, = torch.autograd.grad(loss, pred, grad, create_graph=True)
        else:
            grad = slope * pad_right(grad, slope.ndim)
        return (None, None, None, grad, *[None for _ in constants])


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
