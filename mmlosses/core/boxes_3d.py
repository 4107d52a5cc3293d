"""Boxes in 3D: their overlaps, and the base class of their losses."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor

from .base import BaseLoss
from .boxes import TINY, at_least
from .checks import check_number, check_same_shape
from .kernels.gradient import with_gradient
from .kernels.rotated import overlap_and_derivative, overlap_of_pairs
from .numeric import coordinates_first


def shared_length(low_error: Tensor, high_error: Tensor,
                  sides: Tensor) -> Tensor:
    """The length that two intervals share, from the sum of their lengths and
    the errors of their ends.

    Where both are the same, the gradient is the mean of those of both sides.
    """
    return ((sides - low_error.abs() - high_error.abs()) / 2).clamp(min=0)


def volume(sizes: Tensor) -> Tensor:
    """The product of the three components on axis 0."""
    width, depth, height = sizes.unbind()
    return width * depth * height


def union_of(pred: Tensor, target: Tensor, shared: Tensor,
             eps: float) -> Tensor:
    """The volume of two boxes of sizes (3, *), with its lower bound."""
    least = eps / 27 * target.detach().sum(dim=0)**3 + TINY
    return at_least(least, volume(pred) + volume(target) - shared)


def axis_aligned_iou(pred: Tensor,
                     target: Tensor,
                     eps: float = 1e-6) -> Tensor:
    r"""The IoU (\*) of boxes (\*, 6), x1, y1, z1, x2, y2, z2."""
    (low, high), (target_low, target_high) = [
        coordinates_first(boxes).split(3) for boxes in (pred, target)
    ]
    size = (high - low).clamp(min=0)
    target_size = (target_high - target_low).clamp(min=0)
    shared = volume(
        shared_length(low - target_low, high - target_high,
                      size + target_size))
    return shared / union_of(size, target_size, shared, eps)


def rotated_iou_3d(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    r"""The IoU (\*) of boxes (\*, 7), centre, sizes and yaw."""
    # As seen from above.
    area = with_gradient(
        overlap_of_pairs, overlap_and_derivative, *[
            torch.cat([x[..., :2], x[..., 3:5], x[..., 6:]], dim=-1)
            for x in (pred, target)
        ])
    size, target_size = [
        coordinates_first(x[..., 3:6]).clamp(min=0) for x in (pred, target)
    ]
    rise = pred[..., 2] - target[..., 2]
    half = (size[2] - target_size[2]) / 2
    shared = area * shared_length(rise - half, rise + half,
                                  size[2] + target_size[2])
    # Rounding must not make a loss below 0.
    union = union_of(size, target_size, shared, eps)
    return (shared / union).clamp(max=1)


class Box3DLoss(BaseLoss):
    r"""Base of the losses of boxes in 3D, with C numbers each.

    Args:
        eps (float): Lower bound of the union, relative to the cube of the mean
            of the target's sides. Default: 1e-6.
    """

    #: The numbers of a box.
    coordinates: Tuple[str, ...]

    def __init__(self,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 eps: float = 1e-6,
                 **kwargs: Any) -> None:
        super().__init__(reduction, loss_weight, **kwargs)
        check_number('eps', eps, above=0)
        self.eps = eps

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Check the coordinates and return the shape without them."""
        check_same_shape(pred, target)
        number = len(self.coordinates)
        if pred.ndim == 0 or pred.shape[-1] != number:
            raise ValueError(
                f'boxes must have {number} numbers '
                f'({", ".join(self.coordinates)}) on the last axis, got the '
                f'shape {tuple(pred.shape)}')
        return pred.shape[:-1]

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Average weights that are given for each coordinate."""
        full = (*shape, len(self.coordinates))
        if isinstance(weight, Tensor) and weight.shape == full:
            weight = weight.to(dtype).mean(dim=-1)
        return super().element_weight(weight, shape, dtype)
