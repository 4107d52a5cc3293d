"""Functions whose gradient torch makes infinite at a point that occurs."""
from __future__ import annotations

import torch
from torch import Tensor


def safe_power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent for a base from 0, with a finite gradient at 0."""
    return base.clamp(min=torch.finfo(base.dtype).tiny).pow(exponent)


def safe_sqrt(square: Tensor) -> Tensor:
    """The square root, with the gradient 0 at 0."""
    positive = square > 0
    root = torch.where(positive, square, torch.ones_like(square)).sqrt()
    return torch.where(positive, root, torch.zeros_like(root))
