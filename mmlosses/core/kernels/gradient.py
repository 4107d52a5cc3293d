"""Hand-written derivatives: one stored result and one pass over it.

Autograd stores every intermediate result and passes over all of them again.
"""
from __future__ import annotations
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
from torch import Tensor

from ..tensors import is_transformed, pad_right

Formula = Callable[..., Tensor]
FormulaWithGradient = Callable[..., Tuple[Tensor, Tensor]]


def with_gradient(formula: Formula,
                  fast: FormulaWithGradient,
                  pred: Tensor,
                  *constants: Tensor,
                  spread: Callable[[Tensor, Tensor], Tensor] | None = None,
                  **options: Any) -> Tensor:
    """Compute a formula, and its derivative in the same pass if possible.

    ``fast`` returns the same loss and its derivative, in the shape of
    ``pred``; an element may depend on its own part of ``pred`` only. Where the
    derivative has fewer axes, ``spread`` makes the gradient of it and
    ``pred``, which is kept anyway.
    ``formula`` is used under a compiler, for second derivatives and for
    derivatives of the constants, which are the targets.
    """
    if is_transformed() or any([x.requires_grad for x in constants]):
        return formula(pred, *constants, **options)
    return WithGradient.apply(formula, fast, spread, options, pred, *constants)


class WithGradient(torch.autograd.Function):
    """The autograd function of :func:`with_gradient`."""

    @staticmethod
    def forward(ctx: Any, formula: Formula, fast: FormulaWithGradient,
                spread: Any, options: Dict[str, Any], pred: Tensor, *constants:
                Tensor) -> Tensor:
        loss, derivative = fast(pred, *constants, **options)
        ctx.formula, ctx.spread, ctx.options = formula, spread, options
        ctx.save_for_backward(derivative, pred, *constants)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor | None, ...]:
        derivative, pred, *constants = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            loss = ctx.formula(pred, *constants, **ctx.options)
            grad, = torch.autograd.grad(loss, pred, grad, create_graph=True)
        else:
            grad = derivative * pad_right(grad, derivative.ndim)
            if derivative.ndim < pred.ndim:
                grad = ctx.spread(grad, pred)
        return (None, None, None, None, grad, *[None for _ in constants])


def gradients_with_graph(loss: Tensor, inputs: Sequence[Tensor],
                         needed: Sequence[bool],
                         grad: Tensor) -> List[Tensor | None]:
    """Return the gradients that are needed, to be differentiated again."""
    wanted = [x for x, need in zip(inputs, needed) if need]
    found = iter(torch.autograd.grad(loss, wanted, grad, create_graph=True))
    return [next(found) if need else None for need in needed]
