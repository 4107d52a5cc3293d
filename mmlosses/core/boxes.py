"""Box losses: the geometry of two boxes, and the base class."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from .base import BaseLoss, CommonArguments, Inputs
from .checks import check_number, check_same_shape, is_visible
from .numeric import coordinates_first
from .terms import add_terms

Terms = Tuple[Tensor, ...]

# The least area as a denominator, for boxes of size 0.
TINY = 1e-30

# By what share of a coordinate rounding may swap the corners of a target.
ROUNDING = 0.01

# So many targets are checked: all would cost a tenth of the formula.
SAMPLE = 1000


class BoxArguments(CommonArguments, total=False):
    """The arguments of every box loss."""
    eps: float


class BoxPair:
    r"""Predicted boxes and their targets.

    Tensors (2, \*) hold x and y, or width and height, on axis 0. The geometry
    is computed from half sums and half differences: max(a, b) = (a + b +
    abs(a - b)) / 2, and min with a minus. So the sides and the errors of the
    corners give the overlap and the enclosing box. A predicted box with
    swapped corners has size 0, but the enclosing box still contains its
    centre, and all ratios stay bounded.

    Args:
        low_error (Tensor): Left and top, prediction minus target.
        high_error (Tensor): Right and bottom, prediction minus target.
        size (Tensor): Width and height of the predictions.
        target_size (Tensor): Width and height of the targets.
        eps (float): Lower bound of denominators, see :class:`BoxLoss`.
    """

    def __init__(self, low_error: Tensor, high_error: Tensor, size: Tensor,
                 target_size: Tensor, eps: float) -> None:
        self.low_error, self.high_error = low_error, high_error
        self.size, self.target_size = size, target_size
        self.eps = eps
        self.sides = size + target_size
        self.errors = low_error.abs() + high_error.abs()
        overlap = (self.sides - self.errors).clamp(min=0)  # doubled
        intersection = product(overlap) / 4
        areas = product(size) + product(target_size)
        width, height = target_size.unbind()
        # A guard: the gradient of a target is not that of a denominator of 0.
        self.target_sides = (width + height).detach()
        self.least_area = eps / 4 * self.target_sides**2 + TINY
        self.union = at_least(self.least_area, areas - intersection)
        self.iou = intersection / self.union

    def least_length(self) -> Tensor:
        """Return the lower bound of lengths as denominators."""
        return self.eps / 2 * self.target_sides + TINY**0.5

    def enclosing(self) -> Tensor:
        """Return width and height of the smallest enclosing box."""
        return (self.sides + self.errors) / 2

    def squared_diagonal(self) -> Tensor:
        """Return the squared diagonal of the smallest enclosing box."""
        return at_least(self.least_area, squared_length(self.enclosing()))

    def offset(self) -> Tensor:
        """Return the centre of the prediction minus that of the target."""
        return (self.low_error + self.high_error) / 2

    def size_error(self) -> Tensor:
        """Return width and height, prediction minus target."""
        return self.high_error - self.low_error

    def scaled(self, ratio: float) -> BoxPair:
        """Return the boxes with their sides scaled about the centre."""
        offset, half = self.offset(), ratio / 2 * self.size_error()
        return BoxPair(offset - half, offset + half, ratio * self.size,
                       ratio * self.target_size, self.eps)


def box_pair(pred: Tensor, target: Tensor, eps: float = 1e-6) -> BoxPair:
    r"""Pair predicted boxes (\*, 4), x1, y1, x2, y2, with their targets."""
    (low, high), (target_low, target_high) = [
        coordinates_first(boxes).chunk(2) for boxes in (pred, target)
    ]
    return BoxPair(low - target_low, high - target_high,
                   (high - low).clamp(min=0),
                   (target_high - target_low).clamp(min=0), eps)


def at_least(least: Tensor, numbers: Tensor) -> Tensor:
    """Return the greater of two, in two thirds of the time of ``clamp``."""
    return torch.where(numbers < least, least, numbers)


def product(pairs: Tensor) -> Tensor:
    """Return the product of the two components on axis 0."""
    # Indexing would allocate a gradient of zeros for each component.
    one, other = pairs.unbind()
    return one * other


def squared_length(vectors: Tensor) -> Tensor:
    """Return the squared length of vectors with their components on axis 0."""
    across, down = vectors.unbind()
    return across**2 + down**2


def check_corners(target: Tensor, removed: Tensor | None) -> None:
    """Raise if most targets have swapped corners, where checking is free.

    Some may have: wrong annotations, or predictions of another model.
    """
    if not is_visible(target):
        return
    step = 1 + target.numel() // (4 * SAMPLE)
    sample = target.detach().reshape(-1, 4)[::step]
    low, high = sample.chunk(2, dim=1)
    if not (high < low).any():
        return
    low, high = low.double(), high.double()
    margin = ROUNDING * torch.maximum(low.abs(), high.abs())
    swapped = (high < low - margin).any(dim=1)
    count, kept = int(swapped.sum()), len(sample)
    if removed is not None:
        shape = target.shape[:-1]
        kept -= int(removed.expand(shape).reshape(-1)[::step].sum())
    if 2 * count > kept:
        raise ValueError(
            'target must be boxes (x1, y1, x2, y2), got x2 < x1 or y2 < y1 in '
            f'{count} of {kept}, such as {sample[swapped][0].tolist()}: are '
            'they (x, y, width, height), or encoded deltas?')


class BoxLoss(BaseLoss):
    r"""Base of the box losses: 1 - IoU plus penalties.

    .. math::
        L = 1 - IoU + \sum_i P_i

    A subclass defines :meth:`penalties`, or :meth:`box_loss` for another
    formula, of a :class:`BoxPair`. Each element is one box.

    Args:
        eps (float): Lower bound of denominators, relative to the mean of the
            target's sides for lengths, and to its square for areas. So the
            unit of the boxes does not matter. Default: 1e-6.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2) in any unit. On the CPU,
          targets of which most have x2 < x1 or y2 < y1 are refused.
        - weight: (N,), or (N, 4), which is averaged over the coordinates.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmdet's box losses synchronise with the host to look for a positive
          weight.
        - mmdet's DIoU, CIoU and SIoU losses overflow in half precision: the
          area of a box of 600 pixels is infinite.
        - mmdet's ``eps`` is an area, in the unit of the boxes: normalised
          boxes of 0.0001 count as almost disjoint, and have no gradient.
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
        """Return the loss of each pair."""
        return add_terms(1 - pair.iou, self.penalties(pair))

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.box_loss(box_pair(pred, target.to(pred.dtype), self.eps))

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        check_corners(inputs.target, inputs.removed)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Check the coordinates and return the shape without them."""
        check_same_shape(pred, target)
        if pred.ndim == 0 or pred.shape[-1] != 4:
            raise ValueError('boxes must have four coordinates x1, y1, x2, y2 '
                             f'on the last axis, got {tuple(pred.shape)}')
        return pred.shape[:-1]

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Average weights that are given for each coordinate."""
        if isinstance(weight, Tensor) and weight.shape == (*shape, 4):
            weight = weight.to(dtype).mean(dim=-1)
        return super().element_weight(weight, shape, dtype)
