"""Losses that return several terms, each reduced on its own."""
from __future__ import annotations
from typing import Sequence

import torch
from torch import Tensor

from .base import BaseLoss, Inputs
from .reduction import align_weight, reduce_loss


class TermsLoss(BaseLoss):
    """A loss of several terms per image: its elements have the shape (B, T).

    The formula normalises each term by its own count. So ``'mean'`` sums over
    the images, as ``'sum'`` does, and an ``avg_factor`` divides each term. A
    weight (B,) has one number for each image.
    """

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Return the weight (B, 1) of each image."""
        if weight is None:
            return None
        return align_weight(weight, shape[:1]).to(dtype).unsqueeze(-1)

    def reduce(self, loss: Tensor, inputs: Inputs, reduction: str) -> Tensor:
        """Reduce each term: (T,), or (B, T) for ``'none'``."""
        return torch.stack([
            reduce_loss(term, reduction, 1, inputs.avg_factor)
            for term in loss.unbind(-1)
        ],
                           dim=-1)


def add_terms(loss: Tensor, terms: Sequence[Tensor]) -> Tensor:
    """Add terms to a loss; ``sum`` would start from a 0."""
    for term in terms:
        loss = loss + term
    return loss
