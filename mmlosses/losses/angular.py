"""Angle between predicted and true directions."""
from __future__ import annotations
import math
from typing import Sequence, Tuple

import torch
from torch import Tensor

from mmlosses.registry import MODELS
from .base import BaseLoss
from .gradient import with_slope
from .numeric import axis_first
from .reduction import check_same_shape

# Shorter vectors are zero: their gradient, 1 / length, would not be finite.
SHORTEST = 16 * torch.finfo(torch.float32).tiny


def unit_scale(vectors: Tensor) -> Tensor:
    """The largest component of each vector, as a constant; 0 if too small.

    Dividing by it keeps products of components from running over or under.
    An angle does not depend on the length of its sides, so the gradient is
    right without that of this scale.
    """
    scale = vectors.detach().abs().amax(dim=-1)
    return torch.where(scale < SHORTEST, torch.zeros_like(scale), scale)


def angular_loss(pred: Tensor,
                 target: Tensor,
                 delta: float = 0.2,
                 dim: int = -1,
                 period: str = 'full') -> Tensor:
    r"""Power of the angle between two vectors of the plane.

    .. math::
        \theta^{1 + \delta}, \qquad
        \theta = \mathrm{atan2}(|p \times t|, p \cdot t)

    A vector of zeros is taken to be perpendicular to the other.

    Args:
        pred (Tensor): Predicted vectors (cos, sin), of any length.
        target (Tensor): True vectors (cos, sin), of any length.
        delta (float): What makes the power steeper than linear.
        dim (int): The axis that holds (cos, sin).
        period (str): ``'full'``, or ``'half'`` for vectors of the doubled
            angles of lines: theta is then half of the angle between them.

    Shape:
        - pred, target: (\*), of size 2 along ``dim``.
        - returns: (\*) without the axis ``dim``.

    Returns:
        Tensor: The loss of each vector.
    """
    exponent, factor = 1 + delta, 0.5 if period == 'half' else 1.0
    return with_slope(
        angle_power,
        angle_power_with_slope,
        pred.movedim(dim, -1),
        target.movedim(dim, -1).to(pred.dtype),
        exponent=exponent,
        factor=factor)


def angle_power(pred: Tensor, target: Tensor, exponent: float,
                factor: float) -> Tensor:
    """(factor * angle) ** exponent of vectors on the last axis."""
    scales = [unit_scale(x) for x in (pred, target)]
    zero = (scales[0] == 0) | (scales[1] == 0)
    # Replaced before the angle: the gradient of atan2(0, 0) is not finite.
    pred, target = [
        torch.where(zero[..., None], x.new_zeros(()), x) /
        torch.where(zero, torch.ones_like(scale), scale)[..., None]
        for x, scale in zip((pred, target), scales)
    ]
    (p_cos, p_sin), (t_cos, t_sin) = pred.unbind(-1), target.unbind(-1)
    cross = p_cos * t_sin - p_sin * t_cos
    dot = p_cos * t_cos + p_sin * t_sin
    cross = torch.where(zero, torch.ones_like(cross), cross)
    # Not atan2 of abs(cross), which has no gradient at 180 degrees, where
    # turning to either side is downhill.
    theta = torch.atan2(cross, dot).abs()
    return (factor * theta)**exponent


def angle_power_with_slope(pred: Tensor, target: Tensor, exponent: float,
                           factor: float) -> Tuple[Tensor, Tensor]:
    r"""The same and its derivative.

    .. math::
        \frac{\partial \theta}{\partial p}
        = \pm \frac{(p_{sin}, -p_{cos})}{\|p\|^2}
    """
    units = [axis_first(x) for x in (pred, target)]
    scales = [x.abs().amax(dim=0) for x in units]
    zero = (scales[0] < SHORTEST) | (scales[1] < SHORTEST)
    (p_cos, p_sin), (t_cos, t_sin) = [
        x.div_(scale.masked_fill_(zero, 1)) for x, scale in zip(units, scales)
    ]
    cross = (p_cos * t_sin).sub_(p_sin * t_cos)
    dot = t_cos.mul_(p_cos).add_(t_sin.mul_(p_sin))
    theta = torch.atan2(cross, dot, out=cross).masked_fill_(zero, math.pi / 2)
    angle = torch.abs(theta, out=dot).mul_(factor)
    power = angle.pow(exponent)
    # No angle, no side to turn to: 0, whatever it is divided by.
    steep = theta.sign_().mul_(exponent * factor).mul_(power)
    steep = steep.div_(angle.clamp_(min=torch.finfo(angle.dtype).tiny))
    square = (p_cos * p_cos).addcmul_(p_sin, p_sin).mul_(scales[0])
    steep = steep.div_(square).masked_fill_(zero, 0)
    # In the memory of the target's copy.
    torch.mul(p_sin, steep, out=t_cos)
    torch.mul(p_cos, steep.neg_(), out=t_sin)
    return power, torch.stack([t_cos, t_sin], dim=-1)


@MODELS.register_module(name=['AngularLoss', 'AngleDistanceLoss'])
class AngularLoss(BaseLoss):
    r"""Power of the angle to the true direction; also ``AngleDistanceLoss``.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, \theta_i^{1 + \delta}, \qquad
        \theta_i = \mathrm{atan2}(|p_i \times t_i|, p_i \cdot t_i)

    with the angle :math:`\theta` in radians between the predicted vector
    :math:`p = (\cos, \sin)` and the true one :math:`t`. The angle does not
    depend on their lengths, and its gradient turns the prediction without
    stretching it, by :math:`(1 + \delta) \theta^\delta / |p|`. A vector of
    zeros, which has no direction, counts as 90 degrees off and has no
    gradient. One element is one vector.

    Args:
        delta (float): What makes the power steeper than linear, so that the
            gradient is 0 at the truth. At least 0. Default: 0.2.
        dim (int): The axis that holds (cos, sin): 1 for maps (N, 2, H, W).
            Default: -1.
        period (str): ``'full'`` for directions, which repeat after 360
            degrees. ``'half'`` for lines, which repeat after 180: the inputs
            are (cos 2a, sin 2a) of the angle a, and theta is the angle
            between the lines, at most 90 degrees; a vector of zeros, 90
            degrees off in 2a, is 45 degrees off in a. Default: ``'full'``.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        use_target_weight (bool, optional): ``None`` applies a weight that is
            given, ``False`` ignores it, ``True`` requires it.
            Default: None.

    Shape:
        - pred, target: the same, of size 2 along ``dim``, such as (N, 2) or,
          with ``dim=1``, (N, 2, H, W).
        - weight: as the loss, such as (N,) or (N, H, W), or as pred with
          size 1 along ``dim``, such as (N, 1, H, W).
        - returns: 0-dim, or the shape of pred without ``dim`` for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If ``delta`` is below 0, ``period`` or ``reduction`` is
            unknown, the shapes of prediction and target differ or are not 2
            along ``dim``, or the weight is missing or does not fit.
        TypeError: If ``delta`` is not a number or ``dim`` not an int, or the
            prediction not a floating-point tensor.

    Use:
        - For: directions and orientations as (cos, sin).
        - Slots: ``loss_guiding_shift`` of mmdet's CentripetalNet;
          ``mmlosses.heads.direction.DirectionHead`` for mmpose.

    Source:
        The formula :math:`\theta^{1 + \delta}` of a question on Stack
        Overflow, "Optimize loss over pixel values across two 4D-tensors",
        2024, which names no paper.

    Differs from upstream:
        - There, theta is the arccosine of the dot product clipped to
          [1e-6, 1 - 1e-6]: beyond 90 degrees the loss is flat, an error of
          80 degrees costs nothing where the prediction has the length 10,
          and float16 rounds the clip away. For unit vectors between 0.1 and
          90 degrees the numbers are the same.

    Example:
        >>> head = dict(loss_angle=dict(
        ...     type='mmlosses.AngularLoss', dim=1))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(head['loss_angle'])
        >>> pred, target = torch.zeros(2, 2, 8, 8), torch.zeros(2, 2, 8, 8)
        >>> pred[:, 0], target[:, 1] = 3, 1  # 0 and 90 degrees
        >>> print('%.4f' % loss(pred, target, torch.ones(2, 8, 8)))
        1.7193
    """

    def __init__(self,
                 delta: float = 0.2,
                 dim: int = -1,
                 period: str = 'full',
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 use_target_weight: bool | None = None) -> None:
        super().__init__(reduction, loss_weight, use_target_weight)
        if not isinstance(delta, (int, float)):
            raise TypeError(
                f'delta must be a number, got {type(delta).__name__}')
        if not 0 <= delta < math.inf:
            raise ValueError(f'delta must be at least 0, got {delta}')
        if not isinstance(dim, int):
            raise TypeError(f'dim must be an int, got {type(dim).__name__}')
        if period not in ('full', 'half'):
            raise ValueError(
                f"period must be 'full' or 'half', got {period!r}")
        self.delta = delta
        self.dim = dim
        self.period = period

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each vector."""
        return angular_loss(pred, target, self.delta, self.dim, self.period)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """The shape without the axis of (cos, sin)."""
        check_same_shape(pred, target)
        shape = list(pred.shape)
        if not -len(shape) <= self.dim < len(shape) or shape[self.dim] != 2:
            raise ValueError(f'pred must have size 2, (cos, sin), along dim '
                             f'{self.dim}, got {tuple(shape)}')
        shape.pop(self.dim)
        return shape

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """The weight given, also with an axis of size 1 for (cos, sin)."""
        if isinstance(weight, Tensor) and weight.ndim == len(shape) + 1:
            axes = list(weight.shape)
            fits = axes.pop(self.dim) == 1 and all(
                [axis in (1, size) for axis, size in zip(axes, shape)])
            if fits:
                weight = weight.squeeze(self.dim)
        return super().element_weight(weight, shape, dtype)

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """Put the axis of (cos, sin) back."""
        return elements.unsqueeze(self.dim)
