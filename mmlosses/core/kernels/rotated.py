"""Overlap and IoU of rotated boxes, with derivatives: 5 times as fast."""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor

from ..boxes import product
from ..polygons import clip, following, ratio
from ..rotated import RotatedPair


def iou_of_pairs(pred: Tensor, target: Tensor, eps: float) -> Tensor:
    """The IoU of each pair, see :class:`RotatedPair`."""
    return RotatedPair(pred, target, eps).iou


def kept_part(position: Tensor, step: Tensor, other_step: Tensor,
              high: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """From where to where, as shares, each edge is within -high to high.

    The third result is 1, or for an edge along the bounds 1 within, 0 beyond
    and 1/2 on them.
    """
    outside = position - clip(position, -high, high)
    first = -ratio(outside, step, other_step)
    last = 1 - ratio(following(outside), step, other_step)
    along = torch.sign(high - position.abs()) / 2 + 0.5
    eps = torch.finfo(step.dtype).eps
    is_along = step.abs() <= eps * other_step.abs()
    return first, last, torch.where(is_along, along, torch.ones_like(along))


def overlap_of_pairs(pred: Tensor, target: Tensor) -> Tensor:
    """The area that each pair shares."""
    return RotatedPair(pred, target, 0).intersection


def overlap_and_derivative(pred: Tensor,
                           target: Tensor) -> Tuple[Tensor, Tensor]:
    """The same area, and its derivative by the prediction."""
    pair = RotatedPair(pred, target, 0)
    derivative = derivative_of_overlap(pair, pred, target)
    derivative[2:4] *= (pred[..., 2:4] >= 0).movedim(-1, 0)
    return pair.intersection, derivative.movedim(0, -1)


def derivative_of_overlap(pair: RotatedPair, pred: Tensor,
                          target: Tensor) -> Tensor:
    r"""The derivative (5, \*) of the overlap by a prediction with sides >= 0.

    The overlap changes by how far the edges of the prediction within the
    target move outwards. An edge from a to b, kept from the share s to e,
    moves by :math:`(1 - t) \, da + t \, db` at t: the mean of it is that of
    a vertex at each end, with the integrals of 1 - t and of t as weights.
    """
    x, y = pair.x, pair.y
    step, rise = following(x) - x, following(y) - y
    width, height = pair.half.unbind()
    first, last, weight_x = kept_part(x, step, rise, width)
    first_y, last_y, weight_y = kept_part(y, rise, step, height)
    first, last = torch.maximum(first, first_y), torch.minimum(last, last_y)
    length = (last - first).clamp(min=0) * weight_x * weight_y
    at_end = length * (last + first) / 2
    at_start = length - at_end
    # The force on each vertex: of the edges after and before it.
    force_x = at_start * rise + (at_end * rise).roll(1, 0)
    force_y = -at_start * step - (at_end * step).roll(1, 0)

    move_x, move_y = force_x.sum(dim=0), force_y.sum(dim=0)
    away_x, away_y = x - pair.offset[0], y - pair.offset[1]
    turn = (away_x * force_y - away_y * force_x).sum(dim=0)
    # Right minus left, and top minus bottom vertices.
    right_x, right_y, top_x, top_y = [
        (force[i] + force[j] - force[k] - force[m]) / 2
        for i, j, k, m in ((0, 3, 1, 2), (0, 1, 2, 3))
        for force in (force_x, force_y)
    ]
    angle, back = (pred - target)[..., 4], target[..., 4]
    cos, sin = angle.cos(), angle.sin()
    wider = right_x * cos + right_y * sin
    higher = top_y * cos - top_x * sin
    cos, sin = back.cos(), back.sin()
    return torch.stack([
        move_x * cos - move_y * sin, move_x * sin + move_y * cos, wider,
        higher, turn
    ])


def iou_and_derivative(pred: Tensor, target: Tensor,
                       eps: float) -> Tuple[Tensor, Tensor]:
    """The IoU of each pair, and its derivative by the prediction."""
    pair = RotatedPair(pred, target, eps)
    overlap = derivative_of_overlap(pair, pred, target)
    w, h = pred[..., 2].clamp(min=0), pred[..., 3].clamp(min=0)
    none = torch.zeros_like(w)
    areas = torch.stack([none, none, h, w, none])
    free = product(torch.stack([w, h])) + 4 * product(pair.half)
    free = (free - pair.intersection >= pair.least_area).to(pred.dtype)
    share = pair.intersection / pair.union
    derivative = (overlap - share * free * (areas - overlap)) / pair.union
    valid = (pred[..., 2:4] >= 0).movedim(-1, 0)
    derivative[2:4] *= valid
    return pair.iou, derivative.movedim(0, -1)
