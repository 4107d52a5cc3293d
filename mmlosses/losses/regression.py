"""Regression losses: L1, squared error and smooth L1."""
from __future__ import annotations
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.checks import check_number, check_numbers
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import (HeatmapLoss, KeypointArguments,
                                     KeypointLoss)
from mmlosses.registry import MODELS
from .embedding import MarginL2Loss


def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Return the absolute error :math:`|p - t|` of each number."""
    return (pred - target).abs()


def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of each number, without a factor of 1/2."""
    return F.mse_loss(pred, target.to(pred.dtype), reduction='none')


def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Return the smooth L1 loss of each number, see :class:`SmoothL1Loss`."""
    if beta == 0:
        return l1_loss(pred, target)
    return F.smooth_l1_loss(
        pred, target.to(pred.dtype), reduction='none', beta=beta)


def balanced_l1_loss(pred: Tensor,
                     target: Tensor,
                     alpha: float = 0.5,
                     gamma: float = 1.5,
                     beta: float = 1.0) -> Tensor:
    """Return the loss of each number, see :class:`BalancedL1Loss`."""
    error = (pred - target).abs()
    b = math.expm1(gamma / alpha)
    # The logarithm is not used, and must not overflow, beyond beta.
    near = error.clamp(max=beta)
    inlier = alpha * ((near + 1 / b) * (b * near / beta).log1p() - near)
    return torch.where(error < beta, inlier,
                       gamma * (error + 1 / b) - alpha * beta)


@MODELS.register_module()
class L1Loss(KeypointLoss):
    r"""Mean absolute error.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, |p_i - t_i|

    Differs from upstream:
        - mmpose multiplies prediction and target by the weight, which is
          equivalent for non-negative weights.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
        - mmdet returns a scalar for ``'none'`` where no weight is positive,
          and synchronises with the host to check.
    """
    info = LossInfo(
        purpose='any regression',
        slots="boxes, sizes and offsets of mmdet; ``loss`` of mmpose's "
        '``RegressionHead``',
        expects='numbers',
        source='No paper; same name and values as :class:`torch.nn.L1Loss`.')

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return l1_loss(pred, target)


@MODELS.register_module(name=['MSELoss', 'L2Loss'])
class MSELoss(HeatmapLoss):
    r"""Mean squared error; also registered as ``L2Loss``.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, (p_i - t_i)^2

    mmdet's ``L2Loss`` compares similarities: an argument that only it has,
    ``neg_pos_ub``, ``pos_margin``, ``neg_margin`` or ``hard_mining``, makes
    this a :class:`MarginL2Loss`.

    Differs from upstream:
        - mmpose's ``MSELoss`` multiplies prediction and target by the weight,
          which squares it, its ``KeypointMSELoss`` the loss, as here.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
        - mmdet's ``L2Loss`` also clamps the prediction to [0, 1] without any
          argument, and writes to the target.
    """
    info = LossInfo(
        purpose='any regression, and heatmaps',
        slots="mmpose's heatmap and regression heads; ``loss_wh`` of YOLOv3",
        expects='numbers',
        source='No paper; same name and values as :class:`torch.nn.MSELoss`.')
    namesakes = (MarginL2Loss, )

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return mse_loss(pred, target)


@MODELS.register_module()
class SmoothL1Loss(KeypointLoss):
    r"""Squared error near the target, absolute error beyond ``beta``.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            d_i^2 / (2 \beta) & d_i < \beta \\
            d_i - \beta / 2 & d_i \ge \beta
        \end{cases}, \qquad d_i = |p_i - t_i|

    Args:
        beta (float): Error at which the square becomes linear, in the units of
            the prediction. Fast R-CNN uses 1; 0 is the L1 loss. Default: 1.0.
        supervise_empty (bool): If True, ``'mean'`` also counts the numbers of
            weight 0. If False, as in DEKR's configs, it divides the weighted
            sum by the count of positive weights, at least 1. No effect without
            a weight or with an ``avg_factor``. Default: True.

    Differs from upstream:
        - mmpose's ``SmoothL1Loss`` multiplies prediction and target by the
          weight, which changes ``beta``; its ``SoftWeightSmoothL1Loss``
          multiplies the loss, as here.
        - With ``supervise_empty=False``, mmpose counts weights before
          broadcasting, so that (N, K, 1) for a prediction (N, K, 2) doubles
          the loss. Here the result is the same as with (N, K, 2).
        - mmdet rejects ``beta=0``, and returns a scalar for ``'none'`` without
          positive weights.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
    """
    info = LossInfo(
        purpose='any regression, robust to outliers',
        slots="``loss_bbox`` of mmdet; mmpose's regression heads and DEKR",
        expects='numbers',
        paper=Paper('Ross Girshick', 'Fast R-CNN', 'ICCV', 2015, '1504.08083'))

    def __init__(self,
                 beta: float = 1.0,
                 *args: Any,
                 supervise_empty: bool = True,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_number('beta', beta, least=0)
        self.beta, self.supervise_empty = beta, supervise_empty

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(pred, target, self.beta)

    def prepare(self, *args: Any) -> Inputs:
        """Average over all numbers, or over those with a positive weight."""
        inputs = super().prepare(*args)
        if inputs.weight is not None and not self.supervise_empty:
            positive = (inputs.weight > 0).expand(inputs.shape)
            inputs.denominator = positive.sum().clamp(min=1)
        return inputs


@MODELS.register_module()
class BalancedL1Loss(KeypointLoss):
    r"""Smooth L1 with a larger gradient for inliers, as in Libra R-CNN.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            \frac{\alpha}{b} (b d_i + 1) \log(b d_i / \beta + 1)
            - \alpha d_i & d_i < \beta \\
            \gamma d_i + \gamma / b - \alpha \beta & d_i \ge \beta
        \end{cases}, \quad d_i = |p_i - t_i|, \quad b = e^{\gamma / \alpha} - 1

    Args:
        alpha (float): Gradient of inliers: a smaller one raises it. The paper
            uses 0.5. Default: 0.5.
        gamma (float): Gradient of outliers. The paper uses 1.5. Default: 1.5.
        beta (float): Error from which a number is an outlier, in the units of
            the prediction. Default: 1.0.

    Differs from upstream:
        - mmdet returns NaN where an element of weight 0 holds NaN.
    """
    info = LossInfo(
        purpose='box regression, balanced between inliers and outliers',
        slots='``loss_bbox`` of Libra R-CNN, and any slot of ``SmoothL1Loss``',
        expects='numbers',
        paper=Paper(
            'Jiangmiao Pang, Kai Chen, Jianping Shi, Huajun Feng, Wanli '
            'Ouyang, Dahua Lin',
            'Libra R-CNN: Towards Balanced Learning for Object Detection',
            'CVPR', 2019, '1904.02701'))

    def __init__(self,
                 alpha: float = 0.5,
                 gamma: float = 1.5,
                 beta: float = 1.0,
                 *args: Any,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_numbers(dict(alpha=alpha, gamma=gamma, beta=beta), above=0)
        self.alpha, self.gamma, self.beta = alpha, gamma, beta

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return balanced_l1_loss(pred, target, self.alpha, self.gamma,
                                self.beta)


L2Loss = MSELoss
