"""Focal losses of labels, in 0.63 of autograd's time for the plain one."""
from __future__ import annotations
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..numeric import safe_power
from ..tensors import one_hot


def label_focal_loss(pred: Tensor, labels: Tensor, gamma: float,
                     alpha: float | None) -> Tensor:
    r"""The focal loss of each class of each label; label C is background.

    .. math:: -\alpha (1 - p)^\gamma \log p \text{ or, for other classes, }
        -(1 - \alpha) p^\gamma \log(1 - p), \quad p = \sigma(x)
    """
    positive = one_hot(labels, pred.shape[1])
    # A positive is a negative with the sign of the logit flipped.
    logits = torch.where(positive, -pred, pred)
    loss = safe_power(logits.sigmoid(), gamma) * -F.logsigmoid(-logits)
    if alpha is None or alpha < 0:
        return loss
    return torch.where(positive, alpha * loss, (1 - alpha) * loss)


def label_focal_and_derivative(pred: Tensor, labels: Tensor, gamma: float,
                               alpha: float | None) -> Tuple[Tensor, Tensor]:
    """Return the same and its derivative."""
    share = None if alpha is None or alpha < 0 else alpha
    loss, derivative = focal_and_derivative(pred, gamma)
    if share is not None:
        loss.mul_(1 - share)
        derivative.mul_(1 - share)
    index, background = own_class(pred, labels)
    own, of_own = focal_and_derivative(-pred.gather(1, index), gamma)
    for every, one, sign in ((loss, own, 1.0), (derivative, of_own, -1.0)):
        one = one * (sign if share is None else sign * share)
        set_own(every, index, background, one)
    return loss, derivative


def own_class(pred: Tensor, labels: Tensor) -> Tuple[Tensor, Tensor]:
    """Return indices on axis 1, 0 for background, and which are such."""
    index = labels.unsqueeze(1)
    background = index == pred.shape[1]
    return index.masked_fill(background, 0), background


def set_own(every: Tensor, index: Tensor, background: Tensor,
            own: Tensor) -> None:
    """Write the numbers of the labels into those of all classes."""
    own = torch.where(background, every.gather(1, index), own)
    every.scatter_(1, index, own)


def quality_focal_and_derivative(pred: Tensor, labels: Tensor, quality: Tensor,
                                 beta: float) -> Tuple[Tensor, Tensor]:
    r"""Return quality focal loss, summed over the classes, and its derivative.

    The label has :math:`|p - q|^\beta (s - q x)`, with the quality q and s as
    in :func:`focal_and_derivative`; other classes have q = 0.
    """
    loss, derivative = focal_and_derivative(pred, beta)
    index, background = own_class(pred, labels)
    logits, quality = pred.gather(1, index), quality.unsqueeze(1)
    prob = torch.sigmoid(logits)
    entropy = F.softplus(logits, threshold=50) - quality * logits
    error = prob - quality
    power = safe_power(error.abs(), beta)
    # As in `safe_power`, without a derivative where the error is 0.
    nonzero = torch.where(error == 0, torch.ones_like(error), error)
    slope = (error != 0) * beta * power / nonzero * prob * (1 - prob)
    set_own(loss, index, background, power * entropy)
    set_own(derivative, index, background, slope * entropy + power * error)
    return loss.sum(dim=1), derivative


def neighbour_entropy(pred: Tensor, target: Tensor) -> Tensor:
    """Return the cross entropy with the two bins beside each target.

    The bins are on the last axis of ``pred``.
    """
    left, share = bin_before(pred, target)
    log_prob = F.log_softmax(pred, dim=-1)
    before, after = [log_prob.gather(-1, x) for x in (left, left + 1)]
    return -torch.lerp(before, after, share).squeeze(-1)


def neighbour_entropy_and_derivative(pred: Tensor,
                                     target: Tensor) -> Tuple[Tensor, Tensor]:
    r"""Return the same and its derivative.

    .. math:: \mathrm{softmax}(x)_j - w_j, \quad L = -\sum_j w_j \log p_j

    with the shares w of the two bins, and 0 for the others.
    """
    left, share = bin_before(pred, target)
    right = left + 1
    log_prob = F.log_softmax(pred, dim=-1)
    before, after = [log_prob.gather(-1, x) for x in (left, right)]
    loss = torch.lerp(before, after, share).squeeze(-1).neg_()
    derivative = log_prob.exp_().scatter_add_(-1, left, share - 1)
    return loss, derivative.scatter_add_(-1, right, share.neg_())


def bin_before(pred: Tensor, target: Tensor) -> Tuple[Tensor, Tensor]:
    r"""Return the bin left of each target, and the share of the next.

    Both are (\*, 1).
    """
    last = pred.shape[-1] - 1
    target = target.unsqueeze(-1).clamp(0, last)
    left = target.long().clamp_(0, last - 1)
    return left, target - left


def soft_focal_and_derivative(pred: Tensor, target: Tensor, gamma: float,
                              alpha: float | None) -> Tuple[Tensor, Tensor]:
    r"""Return the focal loss of soft labels t and its derivative.

    .. math::
        a \, w^\gamma H, \qquad
        a \, w^{\gamma - 1} (\gamma (1 - 2 t) \sigma (1 - \sigma) H
        + w (\sigma - t)), \quad
        w = t + (1 - 2 t) \sigma, \quad H = s - t x,
        \quad a = \alpha t + (1 - \alpha) (1 - t)

    with :math:`\sigma` and s as in :func:`focal_and_derivative`.
    """
    prob = torch.sigmoid(pred)
    entropy = F.softplus(pred, threshold=50).addcmul_(target, pred, value=-1)
    sign = torch.rsub(target, 1, alpha=2)
    wrong = torch.addcmul(target, prob, sign)
    factor = wrong
    if gamma != 2:  # as in `safe_power`
        factor = wrong.clamp(min=torch.finfo(wrong.dtype).tiny).pow(gamma - 1)
    if alpha is not None and alpha >= 0:
        factor = (sign * (0.5 - alpha)).add_(0.5).mul_(factor)
    slope = sign.mul_(prob)
    slope = slope.addcmul_(slope, prob, value=-1).mul_(entropy)
    derivative = prob.sub_(target).mul_(wrong).add_(slope, alpha=gamma)
    return entropy.mul_(wrong).mul_(factor), derivative.mul_(factor)


def asymmetric_and_derivative(pred: Tensor, target: Tensor, gamma_pos: float,
                              gamma_neg: float, clip: float | None,
                              eps: float) -> Tuple[Tensor, Tensor]:
    r"""Return the asymmetric loss by sigmoid and its derivative.

    With the probability P that counts for a target and W = 1 - P, they are

    .. math::
        -W^\gamma \log P, \qquad
        W' \left(\gamma W^{\gamma - 1} (-\log P) + W^\gamma / P\right)
    """
    margin, least = clip or 0.0, max(eps, torch.finfo(pred.dtype).tiny)
    prob, rest, others = torch.sigmoid(pred), torch.sigmoid(-pred), 1 - target
    beyond = (prob - margin).clamp_(min=0)
    wrong = (rest * target).addcmul_(beyond, others)
    right = (prob * target).addcmul_((rest + margin).clamp_(max=1), others)
    # Half of the logarithm is that of a number near 1, by its distance.
    entropy = (2 * right).clamp_(2 * least, 1).log_()
    entropy.add_((-wrong.clamp(max=0.5)).log1p_()).neg_()
    exponent = (gamma_neg * others).add_(target, alpha=gamma_pos)
    power = safe_power(wrong, exponent)
    # A derivative neither below the margin nor of a bounded logarithm.
    slope = beyond.sign_().mul_(others).sub_(target).mul_(prob).mul_(rest)
    derivative = exponent.mul_(power).div_(wrong.add_(wrong == 0))
    derivative.mul_(entropy)
    derivative.addcdiv_(power * (right >= least), right.clamp_(min=least))
    return power.mul_(entropy), derivative.mul_(slope)


def varifocal_and_derivative(pred: Tensor, target: Tensor, alpha: float,
                             gamma: float, iou_weighted: bool,
                             least_positive: float) -> Tuple[Tensor, Tensor]:
    """Return the varifocal loss and its derivative."""
    prob, rest = torch.sigmoid(pred), torch.sigmoid(-pred)
    entropy = F.softplus(-pred, threshold=50).addcmul_(1 - target, pred)
    positive = (target > least_positive).to(pred.dtype)
    power = prob * prob if gamma == 2 else safe_power(prob, gamma)
    negative = power.mul_(1 - positive).mul_(alpha)
    share = positive.mul_(target) if iou_weighted else positive
    share.add_(negative)
    derivative = (prob.sub_(target)).mul_(share)
    derivative.addcmul_(negative.mul_(rest).mul_(gamma), entropy)
    return share.mul_(entropy), derivative


def focal_and_derivative(logits: Tensor,
                         gamma: float) -> Tuple[Tensor, Tensor]:
    r"""Return the focal loss of negatives and its derivative.

    .. math::
        \sigma^\gamma s, \quad \sigma^\gamma (\gamma (1 - \sigma) s + \sigma),
        \quad s = \log(1 + e^{logits})
    """
    prob = torch.sigmoid(logits)
    # The default threshold is not exact in double precision.
    entropy = F.softplus(logits, threshold=50)
    power = prob * prob if gamma == 2 else prob.pow(gamma)
    # Finite where the loss is: not (gamma s) - (gamma s) p.
    derivative = torch.addcmul(entropy, entropy, prob, value=-1)
    derivative.mul_(gamma).add_(prob).mul_(power)
    return power.mul_(entropy), derivative
