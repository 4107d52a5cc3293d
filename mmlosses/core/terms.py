"""Losses that return several terms, each reduced on its own."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor

from .base import BaseLoss, Inputs
from .reduction import reduce_loss


class TermsLoss(BaseLoss):
    """A loss of several terms per image: its elements have the shape (B, T).

    The formula normalises each term by its own count. So ``'mean'`` sums over
    the images, as ``'sum'`` does, and an ``avg_factor`` divides each term. A
    weight (B,) has one number for each image.
    """

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Return the weight (B, 1) of each image."""
        weight = super().element_weight(weight, shape[:1], dtype)
        return weight if weight is None else weight.unsqueeze(-1)

    def prepare(self, *args: Any, **kwargs: Any) -> Inputs:
        inputs = super().prepare(*args, **kwargs)
        inputs.denominator = 1
        return inputs

    def reduce(self, loss: Tensor, inputs: Inputs, reduction: str) -> Tensor:
        """Reduce each term: (T,), or (B, T) for ``'none'``."""
        terms = [
            reduce_loss(term, reduction, inputs.denominator, inputs.avg_factor)
            for term in loss.unbind(-1)
        ]
        return torch.stack(terms, dim=-1)


def add_terms(loss: Tensor, terms: Sequence[Tensor]) -> Tensor:
    """Add terms to a loss; ``sum`` would start from a 0."""
    for term in terms:
        loss = loss + term
    return loss
