"""Gaussian focal loss, of logits in 0.53 of autograd's time."""
from __future__ import annotations
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import is_between
from ..numeric import EPS_LOG, log_of_probability, safe_power
from .focal import focal_and_derivative


def peak_focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float,
                    pos_weight: float, neg_weight: float) -> Tensor:
    """The loss of logits whose positives are the targets of 1."""
    peak = target == 1
    # A positive is a negative with the sign of the logit flipped.
    logits = torch.where(peak, -logits, logits)
    share = share_of(target, peak, gamma, pos_weight, neg_weight)
    return share * safe_power(logits.sigmoid(), alpha) * -F.logsigmoid(-logits)


def peak_focal_and_derivative(logits: Tensor, target: Tensor, alpha: float,
                              gamma: float, pos_weight: float,
                              neg_weight: float) -> Tuple[Tensor, Tensor]:
    """Return the same and its derivative."""
    peak = target == 1
    share = far_share(target, gamma, neg_weight)
    loss, derivative = focal_and_derivative(
        torch.where(peak, -logits, logits), alpha)
    loss.mul_(share.masked_fill_(peak, pos_weight))
    derivative.mul_(share.masked_fill_(peak, -pos_weight))
    return loss, derivative


def share_of(target: Tensor, peak: Tensor, gamma: float, pos_weight: float,
             neg_weight: float) -> Tensor:
    """Return the share of each pixel, as autograd differentiates it."""
    return torch.where(peak, torch.full_like(target, pos_weight),
                       neg_weight * (1 - target).pow(gamma))


def far_share(target: Tensor, gamma: float, neg_weight: float) -> Tensor:
    """Return the share of a negative, which grows away from the peak."""
    share = 1 - target
    share = share.square_().square_() if gamma == 4 else share.pow_(gamma)
    return share.mul_(neg_weight)


def peak_focal_of_probability(prob: Tensor, target: Tensor, alpha: float,
                              gamma: float, pos_weight: float,
                              neg_weight: float) -> Tensor:
    """The same loss, of probabilities."""
    # One logarithm and one power of each pixel, for either case.
    peak, rest = target == 1, 1 - prob
    share = share_of(target, peak, gamma, pos_weight, neg_weight)
    wrong = safe_power(torch.where(peak, rest, prob), alpha)
    return share * wrong * -log_of_probability(torch.where(peak, prob, rest))


def peak_focal_of_probability_and_derivative(
        prob: Tensor, target: Tensor, alpha: float, gamma: float,
        pos_weight: float, neg_weight: float) -> Tuple[Tensor, Tensor]:
    """Return the same and its derivative."""
    peak, rest = target == 1, 1 - prob
    share = far_share(target, gamma, neg_weight)
    wrong, right = torch.where(peak, rest, prob), torch.where(peak, prob, rest)
    # A derivative neither of a bounded logarithm nor of a bounded power.
    inside: Tensor | None = None
    if not is_between(right, 0, 1):
        inside = (right > 0).logical_and_(right < 1)
        right.clamp_(0, 1)
    right.add_(EPS_LOG)
    entropy = right.log().neg_()
    if alpha == 2:
        power, slope = wrong * wrong, wrong.mul_(2)
    else:
        power = safe_power(wrong, alpha)
        slope = alpha * power / wrong.add_(wrong == 0)
    slope.mul_(entropy)
    slope.addcdiv_(power if inside is None else power * inside, right)
    loss = entropy.mul_(power).mul_(share.masked_fill_(peak, pos_weight))
    return loss, slope.mul_(share.masked_fill_(peak, -pos_weight))
