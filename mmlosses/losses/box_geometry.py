"""What the losses of boxes share: the geometry of two boxes, the penalties
beside their IoU, and the base class."""
from __future__ import annotations
import math
from typing import Callable, Dict, Sequence, Tuple

import torch
from torch import Tensor

from .base import BaseLoss
from .numeric import axis_first
from .reduction import check_same_shape

Terms = Tuple[Tensor, ...]


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
        axis_first(boxes).split(2) for boxes in (pred, target)
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


def no_penalty(pair: BoxPair) -> Terms:
    """Nothing beside the IoU."""
    return ()


def giou_penalty(pair: BoxPair) -> Terms:
    r"""Share of the enclosing box that neither box covers.

    .. math::
        \frac{|C| - |A \cup B|}{|C|}
    """
    area = product(pair.enclosing()).clamp(min=pair.eps)
    return 1 - pair.union / area,


def diou_penalty(pair: BoxPair) -> Terms:
    r"""Squared distance of the centres, by the diagonal of the enclosing box.

    .. math::
        \frac{\rho^2(b, b^{gt})}{c^2}
    """
    return squared_length(pair.offset()) / pair.squared_diagonal(),


def ciou_penalty(pair: BoxPair) -> Terms:
    r"""The distance of the centres, and the difference of the aspect ratios.

    .. math::
        \frac{\rho^2(b, b^{gt})}{c^2}, \qquad \alpha v, \qquad
        v = \frac{4}{\pi^2} \left(\arctan\frac{w^{gt}}{h^{gt}}
        - \arctan\frac{w}{h}\right)^2, \qquad
        \alpha = \begin{cases} 0 & IoU \le 0.5 \\
        \frac{v}{1 - IoU + v} & IoU > 0.5 \end{cases}

    No gradient flows through :math:`\alpha`.
    """
    angle, target_angle = [
        torch.atan(width / height.clamp(min=pair.eps))
        for width, height in (pair.size, pair.target_size)
    ]
    aspect = (2 / math.pi * (target_angle - angle))**2
    v, iou = aspect.detach(), pair.iou.detach()
    # 0 by 0 at a perfect prediction, were it not for the least denominator.
    alpha = (iou > 0.5) * v / (1 - iou + v).clamp(min=pair.eps)
    return (*diou_penalty(pair), alpha * aspect)


def eiou_penalty(pair: BoxPair) -> Terms:
    r"""The distance of the centres, and the differences of both sides.

    .. math::
        \frac{\rho^2(b, b^{gt})}{(w^c)^2 + (h^c)^2}, \qquad
        \frac{(w - w^{gt})^2}{(w^c)^2}, \qquad
        \frac{(h - h^{gt})^2}{(h^c)^2}
    """
    enclosing = pair.enclosing().clamp(min=pair.eps)
    centre = squared_length(pair.offset()) / squared_length(enclosing)
    width, height = (pair.size_error() / enclosing)**2
    return centre, width, height


def siou_penalty(pair: BoxPair, theta: float = 4.0) -> Terms:
    r"""Half the distance cost, which knows the angle, and half the shape cost.

    .. math::
        \frac{1}{2} \sum_{t = x, y} \left(1 - e^{-(2 - \Lambda) \rho_t}\right),
        \qquad
        \rho_x = \left(\frac{b_x - b_x^{gt}}{w^c}\right)^2, \qquad
        \Lambda = \sin 2\alpha
        = \frac{2 |b_x - b_x^{gt}| |b_y - b_y^{gt}|}{\rho^2(b, b^{gt})}
        \\
        \frac{1}{2} \sum_{t = w, h} \left(1 - e^{-\omega_t}\right)^\theta,
        \qquad
        \omega_w = \frac{|w - w^{gt}|}{\max(w, w^{gt})}
    """
    offset = pair.offset()
    square = squared_length(offset).clamp(min=pair.eps)
    angle_cost = 2 * product(offset).abs() / square
    rho = (offset / pair.enclosing().clamp(min=pair.eps))**2
    distance = 1 - torch.exp((angle_cost - 2) * rho)
    shape = (1 - torch.exp(-side_difference(pair)))**theta
    return distance.sum(dim=0) / 2, shape.sum(dim=0) / 2


def side_difference(pair: BoxPair) -> Tensor:
    """Difference of each side, by the longer one."""
    longer = torch.maximum(pair.size, pair.target_size).clamp(min=pair.eps)
    return pair.size_error().abs() / longer


def mpdiou_penalty(pair: BoxPair,
                   img_shape: Sequence[float] | None = None) -> Terms:
    r"""Squared distances of the corners, by a squared diagonal.

    .. math::
        \frac{d_1^2}{d^2}, \qquad \frac{d_2^2}{d^2}

    with the distances :math:`d_1` of the top left corners and :math:`d_2` of
    the bottom right ones. The diagonal :math:`d` is that of the picture of
    ``img_shape`` (height, width), or of the enclosing box.
    """
    square: float | Tensor
    if img_shape is None:
        square = pair.squared_diagonal()
    else:
        square = img_shape[0]**2 + img_shape[1]**2
    return (squared_length(pair.low_error) / square,
            squared_length(pair.high_error) / square)


def shape_iou_penalty(pair: BoxPair, scale: float = 0.0) -> Terms:
    r"""Distance of the centres and shape cost, by the shape of the target.

    .. math::
        h' \frac{(b_x - b_x^{gt})^2}{c^2} + w' \frac{(b_y - b_y^{gt})^2}{c^2},
        \qquad
        \frac{1}{2} \sum_{t = w, h} \left(1 - e^{-\omega_t}\right)^4
        \\
        \omega_w = h' \frac{|w - w^{gt}|}{\max(w, w^{gt})}, \qquad
        \omega_h = w' \frac{|h - h^{gt}|}{\max(h, h^{gt})}
        \\
        w' = \frac{2 (w^{gt})^s}{(w^{gt})^s + (h^{gt})^s}, \qquad
        h' = \frac{2 (h^{gt})^s}{(w^{gt})^s + (h^{gt})^s}
    """
    width, height = pair.target_size.clamp(min=pair.eps)
    share = torch.sigmoid(scale * (width / height).log())
    across = 2 * torch.stack([1 - share, share])  # h', w'
    distance = (across * pair.offset()**2).sum(dim=0)
    distance = distance / pair.squared_diagonal()
    shape = (1 - torch.exp(-across * side_difference(pair)))**4
    return distance, shape.sum(dim=0) / 2


#: What a mode adds to 1 - IoU.
PENALTIES: Dict[str, Callable[[BoxPair], Terms]] = {
    'iou': no_penalty,
    'giou': giou_penalty,
    'diou': diou_penalty,
    'ciou': ciou_penalty,
    'eiou': eiou_penalty,
    'siou': siou_penalty,
    'mpdiou': mpdiou_penalty,
    'shapeiou': shape_iou_penalty,
}


def check_mode(mode: str) -> None:
    """Raise a ``ValueError`` for a mode that has no penalties."""
    if mode not in PENALTIES:
        raise ValueError(f'mode must be one of {", ".join(PENALTIES)}, got '
                         f'{mode!r}')


class BoxLoss(BaseLoss):
    r"""Base of the losses of boxes: each is a formula of a :class:`BoxPair`.

    One element is one box: ``reduction='none'`` gives (N,).

    Args:
        eps (float): What areas, squared lengths and lengths are at least
            where they are divided by.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight (float): Factor of the reduced loss.

    Raises:
        ValueError: If ``eps`` is not positive.
    """

    def __init__(self, eps: float, reduction: str, loss_weight: float) -> None:
        super().__init__(reduction, loss_weight)
        if not eps > 0:
            raise ValueError(f'eps must be positive, got {eps}')
        self.eps = eps

    def box_loss(self, pair: BoxPair) -> Tensor:
        """The formula: the loss of each pair."""
        raise NotImplementedError

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
