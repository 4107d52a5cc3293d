"""The Lovasz extension of the Jaccard loss, by sorting."""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor

from ..checks import is_visible
from .gradient import with_gradient
from .masking import BITS


def lovasz_extension(scores: Tensor,
                     mask: Tensor,
                     pixels: Tensor,
                     hinge: bool = False,
                     per_image: bool = False,
                     skip_absent: bool = False) -> Tensor:
    r"""Return the convex surrogate of one minus the IoU of each class.

    .. math::
        \sum_k e_k \, (J_k - J_{k-1}), \qquad e_1 \ge e_2 \ge \dots

    with the Jaccard loss :math:`J_k = 1 - (G - f_k) / (G + b_k)` of a
    prediction that is wrong in the k pixels of the largest errors, of which
    :math:`f_k` are in the foreground of G pixels and :math:`b_k` are not.

    Args:
        scores (Tensor): Probabilities (N, C, P), logits for a hinge.
        mask (Tensor): The foreground of each class, (N, C, P).
        pixels (Tensor): How often each pixel counts, (N, P).
        hinge (bool): If True, the error is the hinge of a logit, else the
            distance of a probability. Default: False.
        per_image (bool): If False, all maps are one. Default: False.
        skip_absent (bool): If True, a class without foreground may have any
            value. Default: False.

    Returns:
        Tensor: (N, C), or (1, C) for all maps.
    """
    return with_gradient(
        plain_extension,
        sorted_extension,
        scores,
        mask,
        pixels,
        hinge=hinge,
        per_image=per_image,
        skip_absent=skip_absent)


def plain_extension(scores: Tensor, mask: Tensor, pixels: Tensor, hinge: bool,
                    per_image: bool, skip_absent: bool) -> Tensor:
    """The formula of :func:`lovasz_extension`."""
    errors, side = errors_of(scores, mask, hinge)
    pixels = side * pixels.unsqueeze(1)
    if not per_image:
        errors, pixels = [
            x.transpose(0, 1).flatten(1).unsqueeze(0) for x in (errors, pixels)
        ]
    errors, order = errors.sort(dim=-1, stable=True, descending=True)
    return (errors * jaccard_steps(pixels.gather(-1, order))).sum(dim=-1)


def sorted_extension(scores: Tensor, mask: Tensor, pixels: Tensor, hinge: bool,
                     per_image: bool,
                     skip_absent: bool) -> Tuple[Tensor, Tensor]:
    """The same and its derivative, class by class, which fits a cache."""
    slopes = torch.empty_like(scores)
    shape = pixels.shape if per_image else (1, pixels.numel())
    pixels = pixels.reshape(shape)
    losses = scores.new_zeros(shape[0], scores.shape[1])
    for c in range(scores.shape[1]):
        foreground = mask[:, c].reshape(shape)
        if skip_absent and is_visible(mask) and not foreground.any():
            slopes[:, c] = 0
            continue
        errors, side = errors_of(scores[:, c].reshape(shape), foreground,
                                 hinge)
        order = descending(errors)
        steps = jaccard_steps((side * pixels).gather(1, order))
        steps = torch.empty_like(steps).scatter_(1, order, steps)
        losses[:, c] = (errors * steps).sum(dim=1)
        slope = -side * steps
        if hinge:
            slope *= errors > 0
        slopes[:, c] = slope.reshape(slopes[:, c].shape)
    return losses, slopes


def errors_of(scores: Tensor, mask: Tensor,
              hinge: bool) -> Tuple[Tensor, Tensor]:
    """Return the error of each pixel, and 1 in the foreground, -1 outside."""
    foreground = mask.to(scores.dtype)
    side = 2 * foreground - 1
    if hinge:
        return (1 - side * scores).clamp(min=0), side
    return foreground - side * scores, side


def descending(values: Tensor) -> Tensor:
    """Return the order of numbers from 0, the largest first, in each row."""
    if values.device.type != 'cpu' or not len(values):
        return values.argsort(dim=1, stable=True, descending=True)
    # The bits of such a number, read as an integer, grow with it, and torch
    # sorts a row of integers five times as fast.
    keys = values.view(BITS[values.dtype])
    keys = torch.iinfo(keys.dtype).max - keys
    orders = [torch.argsort(row, stable=True)[None] for row in keys]
    return torch.cat(orders) if orders[1:] else orders[0]


def jaccard_steps(pixels: Tensor) -> Tensor:
    """By how much each pixel raises the Jaccard loss, after those before it.

    Args:
        pixels (Tensor): How often each pixel counts, on the last axis, in the
            order of their errors, with a minus in the background.
    """
    tiny = torch.finfo(pixels.dtype).tiny
    foreground = pixels.clamp(min=0)
    background = foreground - pixels
    total = foreground.sum(dim=-1, keepdim=True)
    left = foreground.cumsum(dim=-1).neg_().add_(total).clamp_(min=tiny)
    union = background.cumsum(dim=-1).add_(total).clamp_(min=tiny)
    # Not a difference of two losses near 1, which would round the step away.
    # Without foreground, the first of the background raises the loss to 1.
    share = left.div_((union - background).clamp_(min=tiny))
    return share.mul_(background).add_(foreground).div_(union)
