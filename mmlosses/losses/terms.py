"""Losses that return several terms, each reduced on its own."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor

from .base import BaseLoss
from .reduction import align_weight, reduce_loss


class TermsLoss(BaseLoss):
    """A loss of several terms per image: its elements have the shape (B, T).

    Each term is normalised within the formula, by what it counts. So
    ``'mean'`` adds the images, as ``'sum'`` does, but for an ``avg_factor``,
    which divides each term. A weight (B,) is one for each image.
    """

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """The weight (B, 1) of each image."""
        if weight is None:
            return None
        return align_weight(weight, shape[:1]).to(dtype).unsqueeze(-1)

    def weigh(self, loss: Tensor, weight: Tensor | None,
              target: Any) -> Tuple[Tensor, float | Tensor]:
        """Apply the weight; the images are added."""
        return loss if weight is None else loss * weight, 1

    def reduce(self, loss: Tensor, reduction: str, denominator: float | Tensor,
               avg_factor: float | Tensor | None) -> Tensor:
        """Reduce each term: (T,), or (B, T) for ``'none'``."""
        return torch.stack([
            reduce_loss(term, reduction, denominator, avg_factor)
            for term in loss.unbind(-1)
        ],
                           dim=-1)


def add_terms(loss: Tensor, terms: Sequence[Tensor]) -> Tensor:
    """Add terms to a loss; ``sum`` would add a 0 too."""
    for term in terms:
        loss = loss + term
    return loss
