"""Rotated boxes: the geometry of two, and the base class of their losses."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor

from .base import BaseLoss
from .boxes import TINY, at_least, product, squared_length
from .checks import check_same_shape
from .numeric import coordinates_first
from .polygons import Points, overlap_with_rectangle


def corners(across: Points, down: Points) -> Points:
    """Add and subtract the half sides of a box: its corners, (4, *)."""
    (ux, uy), (vx, vy) = across, down
    x = torch.stack([ux + vx, vx - ux, -ux - vx, ux - vx])
    y = torch.stack([uy + vy, vy - uy, -uy - vy, uy - vy])
    return x, y


def turned_corners(size: Tensor, angle: Tensor) -> Points:
    """The corners of a box about 0, with its size (2, *), that is turned."""
    width, height = (size / 2).unbind()
    cos, sin = angle.cos(), angle.sin()
    return corners((width * cos, width * sin), (-height * sin, height * cos))


def corners_of(boxes: Tensor) -> Tensor:
    r"""The corners (\*, 8), x, y, x, y, of rotated boxes (\*, 5)."""
    (x0, y0), size, (angle, ) = coordinates_first(boxes).split([2, 2, 1])
    x, y = turned_corners(size, angle)
    return torch.stack([x + x0, y + y0], dim=1).flatten(0, 1).movedim(0, -1)


def turned_offset(pred: Tensor,
                  target: Tensor) -> Tuple[Points, Tensor, Tensor, Tensor]:
    r"""Predicted boxes (\*, 5) in the frames of their targets.

    Returns the offset of the centre, the size (2, \*) and the angle of the
    prediction, and the size of the target.
    """
    centre, size, angle = coordinates_first(pred).split([2, 2, 1])
    target_centre, target_size, turn = coordinates_first(target).split(
        [2, 2, 1])
    dx, dy = (centre - target_centre).unbind()
    cos, sin = turn[0].cos(), turn[0].sin()
    offset = dx * cos + dy * sin, dy * cos - dx * sin
    return offset, size, (angle - turn)[0], target_size


class RotatedFrame:
    r"""Predicted boxes (\*, 5) and their targets, in the targets' frames.

    There, a target is a rectangle about 0 with its sides along the axes. Only
    the difference of the angles counts, so equal boxes overlap exactly, far
    from 0 too. A side below 0 counts as 0.

    Args:
        pred (Tensor): Centre, width, height and angle in radians.
        target (Tensor): As the prediction.
        eps (float): Lower bound of areas as denominators, relative to the
            squared mean of the target's sides.
    """

    def __init__(self, pred: Tensor, target: Tensor, eps: float) -> None:
        self.offset, size, self.turn, target_size = turned_offset(pred, target)
        size, target_size = size.clamp(min=0), target_size.clamp(min=0)
        x, y = turned_corners(size, self.turn)
        self.x, self.y = x + self.offset[0], y + self.offset[1]
        self.size, self.half, self.eps = size, target_size / 2, eps
        self.least_area = eps / 4 * target_size.sum(dim=0)**2 + TINY
        self.areas = product(size) + product(target_size)

    def least_length(self) -> Tensor:
        """Return the lower bound of lengths as denominators."""
        return self.eps * self.half.sum(dim=0) + TINY**0.5

    def all_corners(self) -> Tensor:
        r"""Return the corners of both boxes, (\*, 16), x, y, x, y."""
        width, height = self.half.unbind()
        none = torch.zeros_like(width)
        x, y = corners((width, none), (none, height))
        both = torch.cat([self.x, x]), torch.cat([self.y, y])
        return torch.stack(both, dim=1).flatten(0, 1).movedim(0, -1)

    def squared_diagonal(self) -> Tensor:
        """Return that of the smallest box around both, in this frame."""
        sides = [
            torch.maximum(axis.amax(dim=0), half) -
            torch.minimum(axis.amin(dim=0), -half)
            for axis, half in zip((self.x, self.y), self.half)
        ]
        return at_least(self.least_area, squared_length(torch.stack(sides)))


class RotatedPair(RotatedFrame):
    """Predicted boxes, their targets and the exact overlap of each two."""

    def __init__(self, pred: Tensor, target: Tensor, eps: float) -> None:
        super().__init__(pred, target, eps)
        self.intersection = overlap_with_rectangle(self.x, self.y, self.half)
        self.union = at_least(self.least_area, self.areas - self.intersection)
        # Rounding must not make a loss below 0.
        self.iou = (self.intersection / self.union).clamp(max=1)


class RotatedLoss(BaseLoss):
    r"""Base of the losses of rotated boxes (\*, 5).

    Shape:
        - pred, target: (N, 5), centre x and y, width, height and angle in
          radians. The convention of the angle (``'oc'``, ``'le90'``,
          ``'le135'``) does not matter, only the box.
        - weight: (N,), or (N, 5), which is averaged.
        - returns: 0-dim, or (N,) for ``'none'``.
    """

    def element_shape(self, pred: Any, target: Any) -> Sequence[int]:
        """Check the coordinates and return the shape without them."""
        return shape_of_boxes(pred, target)

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Average weights that are given for each coordinate."""
        if isinstance(weight, Tensor) and weight.shape == (*shape, 5):
            weight = weight.to(dtype).mean(dim=-1)
        return super().element_weight(weight, shape, dtype)


def shape_of_boxes(pred: Any, target: Any) -> Sequence[int]:
    """Check rotated boxes and return their shape without the coordinates."""
    check_same_shape(pred, target)
    if pred.ndim == 0 or pred.shape[-1] != 5:
        raise ValueError('rotated boxes must have x, y, width, height and '
                         'angle on the last axis, got the shape '
                         f'{tuple(pred.shape)}')
    return pred.shape[:-1]
