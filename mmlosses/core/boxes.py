"""Box losses: the geometry of two boxes, and the base class."""
from __future__ import annotations
from typing import TYPE_CHECKING, Any, Sequence, Tuple

import torch
from torch import Tensor

from .base import BaseLoss, CommonArguments
from .checks import check_number, check_same_shape
from .numeric import coordinates_first
from .terms import add_terms

if TYPE_CHECKING:
    from typing_extensions import Unpack

Terms = Tuple[Tensor, ...]


class BoxArguments(CommonArguments, total=False):
    """The arguments of every box loss."""
    eps: float


class BoxPair:
    r"""Predicted boxes and their targets.

    What has two axes, x and y or width and height, holds them on axis 0.

    The larger of two numbers is half their sum plus half their distance, the
    smaller one half the sum less half the distance. So the sides of the boxes
    and the errors of their corners say how wide the overlap and the enclosing
    box are. A predicted box whose corners have changed places has no size, but
    the enclosing box still holds its centre, and no ratio gets out of hand.

    Args:
        low_error (Tensor): Left and top, prediction less target.
        high_error (Tensor): Right and bottom, prediction less target.
        size (Tensor): Width and height of the predictions.
        target_size (Tensor): Width and height of the targets.
        eps (float): What denominators are at least.

    Shape:
        - low_error, high_error, size, target_size: (2, \*).
    """

    def __init__(self, low_error: Tensor, high_error: Tensor, size: Tensor,
                 target_size: Tensor, eps: float) -> None:
        self.low_error = low_error
        self.high_error = high_error
        self.size = size
        self.target_size = target_size
        self.eps = eps
        self.sides = size + target_size
        self.errors = low_error.abs() + high_error.abs()
        overlap = (self.sides - self.errors).clamp(min=0)  # twice of it
        intersection = product(overlap) / 4
        areas = product(size) + product(target_size)
        self.union = (areas - intersection).clamp(min=eps)
        self.iou = intersection / self.union

    def enclosing(self) -> Tensor:
        """Width and height of the smallest box around both."""
        return (self.sides + self.errors) / 2

    def squared_diagonal(self) -> Tensor:
        """Squared diagonal of the smallest box around both."""
        return squared_length(self.enclosing()).clamp(min=self.eps)

    def offset(self) -> Tensor:
        """From the centre of the target to that of the prediction."""
        return (self.low_error + self.high_error) / 2

    def size_error(self) -> Tensor:
        """Width and height, prediction less target."""
        return self.high_error - self.low_error

    def scaled(self, ratio: float) -> BoxPair:
        """The same boxes with their sides times a ratio, about the centre."""
        offset, half = self.offset(), ratio / 2 * self.size_error()
        return BoxPair(offset - half, offset + half, ratio * self.size,
                       ratio * self.target_size, self.eps)


def box_pair(pred: Tensor, target: Tensor, eps: float = 1e-6) -> BoxPair:
    r"""Pair boxes (x1, y1, x2, y2) on the last axis.

    Args:
        pred (Tensor): Predicted boxes, in pixels or any other unit.
        target (Tensor): The target of each.
        eps (float): What denominators are at least.

    Shape:
        - pred, target: (\*, 4).

    Returns:
        BoxPair: The boxes, and what there is to know about them.
    """
    (low, high), (target_low, target_high) = [
        coordinates_first(boxes).split(2) for boxes in (pred, target)
    ]
    return BoxPair(low - target_low, high - target_high,
                   (high - low).clamp(min=0),
                   (target_high - target_low).clamp(min=0), eps)


def product(pairs: Tensor) -> Tensor:
    """The product of the two numbers on axis 0."""
    # Not by index, whose gradient is a tensor of zeros for each of them.
    one, other = pairs.unbind()
    return one * other


def squared_length(vectors: Tensor) -> Tensor:
    """The squared length of vectors of two numbers on axis 0."""
    across, down = vectors.unbind()
    return across**2 + down**2


class BoxLoss(BaseLoss):
    r"""Base of the box losses: 1 - IoU, and penalties.

    .. math::
        L = 1 - IoU + \sum_i P_i

    A box loss is its :meth:`penalties`, or another :meth:`box_loss`, of a
    :class:`BoxPair`. One element is one box.

    Args:
        eps (float): Least value of areas, lengths and their squares as
            denominators. Default: 1e-6.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Raises:
        ValueError: If ``eps`` is not positive.
    """

    def __init__(self,
                 eps: float = 1e-6,
                 *args: Any,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_number('eps', eps, above=0)
        self.eps = eps

    def penalties(self, pair: BoxPair) -> Terms:
        """Return the terms that are added to 1 - IoU."""
        return ()

    def box_loss(self, pair: BoxPair) -> Tensor:
        """The formula: the loss of each pair."""
        return add_terms(1 - pair.iou, self.penalties(pair))

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each box."""
        return self.box_loss(box_pair(pred, target.to(pred.dtype), self.eps))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """The shape without the coordinates, after checking them."""
        check_same_shape(pred, target)
        if pred.ndim == 0 or pred.shape[-1] != 4:
            raise ValueError('boxes must have four coordinates x1, y1, x2, y2 '
                             f'on the last axis, got {tuple(pred.shape)}')
        return pred.shape[:-1]

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Also a weight of each coordinate, as heads pass it: their mean."""
        if isinstance(weight, Tensor) and weight.shape == (*shape, 4):
            weight = weight.to(dtype).mean(dim=-1)
        return super().element_weight(weight, shape, dtype)
