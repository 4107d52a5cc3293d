"""Functions with a finite gradient where torch's is infinite."""
from __future__ import annotations
import math
from typing import Tuple

import torch
from torch import Tensor

from .checks import is_between, least_of

# On processors with AVX-512, the log1p of torch 2.4 to 2.15, and with it
# softplus and binary cross entropy, is ten times slower until the process
# has computed a power of enough numbers.
torch.ones(64, dtype=torch.float32, device='cpu').pow(1.5)

# mmdet's value, for every dtype.
EPS_LOG = 1e-12

# Below this length the direction of a vector is not reliable.
MIN_NORM = 1e-6


def coordinates_first(tensor: Tensor) -> Tensor:
    """Copy the last axis to the front, which makes GIoU 1.4 times as fast."""
    return torch.stack(tensor.unbind(-1))


def mean_of_last(tensor: Tensor) -> Tensor:
    """The mean over the last axis; the gradient of torch's fills a copy."""
    return tensor.sum(dim=-1) / tensor.shape[-1]


def safe_power(base: Tensor, exponent: float | Tensor) -> Tensor:
    """base ** exponent for a base >= 0, with a finite gradient at 0."""
    return base.clamp(min=torch.finfo(base.dtype).tiny).pow(exponent)


def safe_sqrt(square: Tensor) -> Tensor:
    """Return the square root, with gradient 0 at 0."""
    zero = square <= 0  # not where it is NaN
    root = torch.where(zero, torch.ones_like(square), square).sqrt()
    return torch.where(zero, torch.zeros_like(root), root)


def unit_vectors(vectors: Tensor) -> Tensor:
    """Normalise vectors on the last axis to length 1; tiny ones stay.

    The gradient at a zero vector, as a dead ReLU emits it, is that of the
    identity. ``F.normalize`` instead multiplies it by 1e12.
    """
    return vectors / safe_length(vectors)


def safe_length(vectors: Tensor) -> Tensor:
    """Return the divisor of :func:`unit_vectors`: the length, or about 1."""
    square = (vectors * vectors).sum(dim=-1, keepdim=True)
    return (square + (square <= MIN_NORM**2)).sqrt()


def logs_of_probability(prob: Tensor) -> Tuple[Tensor, Tensor]:
    """Return log p and log(1 - p), finite and without gradient at 0 and 1.

    There it would be 1e12: infinite in half precision and, times the 0 of the
    sigmoid before it, NaN. Values out of range count as 0 or 1.
    """
    prob = bounded_probability(prob)
    return (prob + EPS_LOG).log(), (1 - prob + EPS_LOG).log()


def log_of_probability(prob: Tensor) -> Tensor:
    """Return the first of :func:`logs_of_probability`."""
    return (bounded_probability(prob) + EPS_LOG).log()


def without_impossible(log_prob: Tensor, target: Tensor) -> Tensor:
    """Return 0 for a log-probability of -inf whose target is 0.

    Such is a class that a logit of -inf masks: their product is NaN.
    """
    least = least_of(log_prob)
    if least is not None and math.isfinite(least):
        return log_prob
    impossible = (target == 0) & torch.isinf(log_prob)
    return log_prob.masked_fill(impossible, 0)


def bounded_probability(prob: Tensor) -> Tensor:
    """Return a probability, without gradient unless it is within (0, 1)."""
    if is_between(prob, 0, 1):
        return prob
    inside = (prob > 0) & (prob < 1)
    return torch.where(inside, prob, prob.detach().clamp(0, 1))
