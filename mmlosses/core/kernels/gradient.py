"""Gradients in fewer passes than autograd makes.

Autograd keeps every intermediate result of a formula and passes over all of
them once more. Where a loss is called on millions of numbers, its derivative
by hand takes fewer passes, and is all that has to be kept.
"""
from __future__ import annotations
from typing import Any, Callable, Dict, Tuple

import torch
from torch import Tensor

from ..tensors import is_transformed, pad_right

Formula = Callable[..., Tensor]
FormulaWithGradient = Callable[..., Tuple[Tensor, Tensor]]


def with_gradient(formula: Formula, fast: FormulaWithGradient, pred: Tensor,
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
    return WithGradient.apply(formula, fast, options, pred, *constants)


class WithGradient(torch.autograd.Function):
    """Keeps the derivative of a loss, see :func:`with_gradient`."""

    @staticmethod
    def forward(ctx: Any, formula: Formula, fast: FormulaWithGradient,
                options: Dict[str, Any], pred: Tensor, *constants:
                Tensor) -> Tensor:
        """Compute the loss and its derivative."""
        loss, derivative = fast(pred, *constants, **options)
        ctx.formula, ctx.options = formula, options
        ctx.save_for_backward(derivative, pred, *constants)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        """Multiply by the derivative."""
        derivative, pred, *constants = ctx.saved_tensors
        if torch.is_grad_enabled():
            # A second derivative is wanted, and the first has no graph.
            loss = ctx.formula(pred, *constants, **ctx.options)
            grad, = torch.autograd.grad(loss, pred, grad, create_graph=True)
        else:
            grad = derivative * pad_right(grad, derivative.ndim)
        return (None, None, None, grad, *[None for _ in constants])
