"""Distances between numbers: L1, squared and smooth L1."""
from __future__ import annotations
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor

from mmlosses.core.base import Inputs
from mmlosses.core.checks import check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import KeypointArguments, KeypointLoss
from mmlosses.registry import MODELS

if TYPE_CHECKING:
    from typing_extensions import Unpack


def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""Absolute error, :math:`|p - t|`.

    Args:
        pred (Tensor): The prediction.
        target (Tensor): The target.

    Shape:
        - pred, target: (\*), the same.
        - returns: (\*).

    Returns:
        Tensor: The loss of each number.
    """
    return (pred - target).abs()


def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""Squared error, :math:`(p - t)^2`, without a factor of one half.

    Args:
        pred (Tensor): The prediction.
        target (Tensor): The target.

    Shape:
        - pred, target: (\*), the same.
        - returns: (\*).

    Returns:
        Tensor: The loss of each number.
    """
    return F.mse_loss(pred, target, reduction='none')


def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    r"""Squared error near the target, absolute error farther away.

    .. math::
        \frac{m}{\beta} \left(d - \frac{m}{2}\right), \qquad
        d = |p - t|, \qquad m = \min(d, \beta)

    Args:
        pred (Tensor): The prediction.
        target (Tensor): The target.
        beta (float): Where the square ends. 0 is the absolute error.

    Shape:
        - pred, target: (\*), the same.
        - returns: (\*).

    Returns:
        Tensor: The loss of each number.
    """
    if beta == 0:
        return l1_loss(pred, target)
    return F.smooth_l1_loss(pred, target, reduction='none', beta=beta)


@MODELS.register_module()
class L1Loss(KeypointLoss):
    r"""Mean absolute error.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, |p_i - t_i|

    Differs from upstream:
        - mmpose multiplies prediction and target by the weight, which is the
          same for L1 with weights that are not negative.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
        - mmdet returns a scalar for ``'none'`` where no weight is above 0, for
          which it waits for the device.
    """

    info = LossInfo(
        purpose='any regression',
        slots="Boxes, sizes and offsets of mmdet; ``loss`` of mmpose's "
              "``RegressionHead``",
        expects='numbers',
        source='No paper; the name and number of :class:`torch.nn.L1Loss`.')

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The absolute error of each number."""
        return l1_loss(pred, target)


@MODELS.register_module(name=['MSELoss', 'L2Loss'])
class MSELoss(KeypointLoss):
    r"""Mean squared error; its other name is ``L2Loss``.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, (p_i - t_i)^2

    Differs from upstream:
        - mmpose's ``MSELoss`` multiplies prediction and target by the weight,
          which squares it. Its ``KeypointMSELoss`` multiplies the loss, as
          here.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
        - mmdet's ``L2Loss`` is another loss: it clamps the prediction to
          [0, 1], samples negatives, and writes to the target.
    """

    info = LossInfo(
        purpose='any regression, and heatmaps',
        slots="``loss`` of mmpose's heatmap and regression heads; "
              "``loss_wh`` of YOLOv3",
        expects='numbers',
        source='No paper; the name and number of :class:`torch.nn.MSELoss`.')

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The squared error of each number."""
        return mse_loss(pred, target)


@MODELS.register_module()
class SmoothL1Loss(KeypointLoss):
    r"""Squared error near the target, absolute error farther away.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            d_i^2 / (2 \beta) & d_i < \beta \\
            d_i - \beta / 2 & d_i \ge \beta
        \end{cases}, \qquad d_i = |p_i - t_i|

    Args:
        beta (float): Distance at which the square becomes a line, in the
            units of the prediction. Fast R-CNN uses 1; 0 is the L1 loss.
            Default: 1.0.
        supervise_empty (bool): Whether ``'mean'`` also counts the numbers of
            weight 0. ``False``, as in DEKR's configs, divides the weighted
            sum by how many numbers have a weight above 0, at least by 1. Has
            no effect without a weight or with an ``avg_factor``.
            Default: True.

    Differs from upstream:
        - mmpose's ``SmoothL1Loss`` multiplies prediction and target by the
          weight, which moves ``beta``; its ``SoftWeightSmoothL1Loss``
          multiplies the loss, as here.
        - With ``supervise_empty=False``, mmpose counts the weights as they
          are given, so that a weight (N, K, 1) for (N, K, 2) makes the loss
          twice that of the same weight written out. Here they are the same.
        - mmdet refuses ``beta=0``, and returns a scalar for ``'none'`` where
          no weight is above 0.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
    """

    info = LossInfo(
        purpose='any regression, robust to outliers',
        slots="``loss_bbox`` of mmdet; ``loss`` of mmpose's regression heads "
              "and DEKR",
        expects='numbers',
        paper=Paper(
            'Ross Girshick',
            'Fast R-CNN',
            'ICCV', 2015, '1504.08083'))

    def __init__(self,
                 beta: float = 1.0,
                 *args: Any,
                 supervise_empty: bool = True,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_number('beta', beta, least=0)
        self.beta = beta
        self.supervise_empty = supervise_empty

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each number."""
        return smooth_l1_loss(pred, target, self.beta)

    def prepare(self, pred: Tensor, target: Tensor, weight: Tensor | None,
                avg_factor: float | Tensor | None) -> Inputs:
        """Average over all numbers, or over those with a weight above 0."""
        inputs = super().prepare(pred, target, weight, avg_factor)
        if inputs.weight is not None and not self.supervise_empty:
            positive = (inputs.weight > 0).expand(inputs.shape)
            inputs.denominator = positive.sum().clamp(min=1)
        return inputs
