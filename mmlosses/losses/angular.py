"""Angle between predicted and true directions."""
from __future__ import annotations
from typing import Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments
from mmlosses.core.checks import check_choice, check_number, check_same_shape
from mmlosses.core.info import LossInfo
from mmlosses.core.kernels.angle import (angle_power,
                                         angle_power_and_derivative, turned)
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.registry import MODELS


def angular_loss(pred: Tensor,
                 target: Tensor,
                 delta: float = 0.2,
                 dim: int = -1,
                 period: str = 'full') -> Tensor:
    """Power of the angle between two vectors of the plane.

    Args: see :class:`AngularLoss`; the result has no axis ``dim``.
    """
    pred, target = pred.movedim(dim, -1), target.movedim(dim, -1)
    factor = 0.5 if period == 'half' else 1.0
    return with_gradient(
        angle_power,
        angle_power_and_derivative,
        pred,
        target.to(pred.dtype),
        spread=turned,
        exponent=1 + delta,
        factor=factor)


def angle_distance_loss(y_true: Tensor,
                        y_pred: Tensor,
                        delta: float = 0.2,
                        epsilon: float = 1e-6) -> Tensor:
    r"""Mean of :func:`angular_loss`, with the target first.

    The function of the question that :class:`AngularLoss` goes back to, for
    directions (\*, 2), such as (batch, height, width, 2). ``epsilon`` clips
    the cosine there; nothing is clipped here, so it has no effect.
    """
    return angular_loss(y_pred, y_true, delta).mean()


@MODELS.register_module(name=['AngularLoss', 'AngleDistanceLoss'])
class AngularLoss(BaseLoss):
    r"""Power of the angle to the true direction; also ``AngleDistanceLoss``.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, \theta_i^{1 + \delta}, \qquad
        \theta_i = \mathrm{atan2}(|p_i \times t_i|, p_i \cdot t_i)

    with the angle :math:`\theta` in radians between the predicted vector
    :math:`p = (\cos, \sin)` and the true one :math:`t`, both of any length.
    The gradient turns the prediction without stretching it, by
    :math:`(1 + \delta) \theta^\delta / |p|`. A zero vector counts as 90
    degrees off and has no gradient. Each element is one vector.

    Args:
        delta (float): Added to the exponent 1, so that the gradient is 0 at
            the target. At least 0. Default: 0.2.
        dim (int): Axis of (cos, sin): 1 for maps (N, 2, H, W). Default: -1.
        period (str): ``'full'`` for directions, with a period of 360 degrees.
            ``'half'`` for lines, with 180: the inputs are (cos 2a, sin 2a) of
            the angle a, and theta is the angle between the lines, at most 90
            degrees; a zero vector, 90 degrees off in 2a, is 45 degrees off in
            a. Default: ``'full'``.

    Shape:
        - pred, target: the same, of size 2 along ``dim``, such as (N, 2) or,
          with ``dim=1``, (N, 2, H, W).
        - weight: such as (N,), (N, H, W) or, with ``dim=1``, (N, 1, H, W).
        - returns: 0-dim, or the shape of pred without ``dim`` for ``'none'``.

    Differs from upstream:
        - There, theta is the arccosine of the dot product clipped to [1e-6, 1
          - 1e-6]: beyond 90 degrees the loss is flat, an error of 80 degrees
          costs nothing where the prediction has length 10, and float16 rounds
          the clip away. Values of unit vectors agree from 0.1 to 90 degrees.
    """
    info = LossInfo(
        purpose='directions and orientations as (cos, sin)',
        slots="``loss_guiding_shift`` of mmdet's CentripetalNet; "
        '``mmlosses.heads.direction.DirectionHead`` for mmpose',
        expects='vectors',
        search=dict(delta=(0.02, 1.0)),
        source='No paper: the formula of a question on Stack Overflow, '
        '"Optimize loss over pixel values across two 4D-tensors", 2024.')

    def __init__(self,
                 delta: float = 0.2,
                 dim: int = -1,
                 period: str = 'full',
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('delta', delta, least=0)
        if not isinstance(dim, int):
            raise TypeError(f'dim must be an int, got {type(dim).__name__}')
        check_choice('period', period, ('full', 'half'))
        self.delta, self.dim, self.period = delta, dim, period

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return angular_loss(pred, target, self.delta, self.dim, self.period)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_same_shape(pred, target)
        shape = list(pred.shape)
        if not -len(shape) <= self.dim < len(shape) or shape[self.dim] != 2:
            raise ValueError(f'pred must have size 2, (cos, sin), along dim '
                             f'{self.dim}, got {tuple(shape)}')
        shape.pop(self.dim)
        return shape

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Also accept a weight with an axis of size 1 for (cos, sin)."""
        if isinstance(weight, Tensor) and weight.ndim == len(shape) + 1:
            axes = list(weight.shape)
            fits = axes.pop(self.dim) == 1 and all(
                [axis in (1, size) for axis, size in zip(axes, shape)])
            if fits:
                weight = weight.squeeze(self.dim)
        return super().element_weight(weight, shape, dtype)

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """Restore the axis of (cos, sin)."""
        return elements.unsqueeze(self.dim)


AngleDistanceLoss = AngularLoss
