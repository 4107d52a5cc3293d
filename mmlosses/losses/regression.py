"""Regression losses: L1, squared error, smooth L1, wing and depths."""
from __future__ import annotations
import math
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import check_number, check_numbers, check_same_shape
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.kernels.log_ratio import log_ratio, log_ratio_and_derivative
from mmlosses.core.kernels.piecewise import (balanced_l1_and_derivative,
                                             soft_wing_and_derivative,
                                             wing_and_derivative)
from mmlosses.core.keypoints import (HeatmapLoss, KeypointArguments,
                                     KeypointLoss, SampleSumLoss)
from mmlosses.core.numeric import safe_sqrt
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
                     target: Tensor | float = 0.0,
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


def wing_loss(pred: Tensor,
              target: Tensor | float = 0.0,
              omega: float = 10.0,
              epsilon: float = 2.0) -> Tensor:
    """Return the wing loss of each number, see :class:`WingLoss`."""
    error = (pred - target).abs()
    # The logarithm is not used, and must not overflow, beyond omega.
    near = omega * (error.clamp(max=omega) / epsilon).log1p()
    step = omega - omega * math.log1p(omega / epsilon)
    return torch.where(error < omega, near, error - step)


def soft_wing_loss(pred: Tensor,
                   target: Tensor | float = 0.0,
                   omega1: float = 2.0,
                   omega2: float = 20.0,
                   epsilon: float = 0.5) -> Tensor:
    """Return the loss of each number, see :class:`SoftWingLoss`."""
    error = (pred - target).abs()
    # In two parts: their quotient would overflow far away.
    far = (error + epsilon).log() - math.log(omega1 + epsilon)
    return torch.where(error < omega1, error, omega1 + omega2 * far)


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
    masks_after_formula = True

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
    masks_after_formula = True

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return mse_loss(pred, target)


@MODELS.register_module(name=['SmoothL1Loss', 'SoftWeightSmoothL1Loss'])
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
          multiplies the loss, as here: the same loss under both names.
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
        search=dict(beta=(0.01, 2.0)),
        paper=Paper('Ross Girshick', 'Fast R-CNN', 'ICCV', 2015, '1504.08083'))
    masks_after_formula = True

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
        search=dict(alpha=(0.1, 1.0), gamma=(1.0, 3.0)),
        paper=Paper(
            'Jiangmiao Pang, Kai Chen, Jianping Shi, Huajun Feng, Wanli '
            'Ouyang, Dahua Lin',
            'Libra R-CNN: Towards Balanced Learning for Object Detection',
            'CVPR', 2019, '1904.02701'))
    masks_after_formula = True

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
        return with_gradient(
            balanced_l1_loss,
            balanced_l1_and_derivative,
            pred - target,
            alpha=self.alpha,
            gamma=self.gamma,
            beta=self.beta)


@MODELS.register_module()
class WingLoss(SampleSumLoss):
    r"""Wing loss for facial landmarks: a logarithm near the target, then L1.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            \omega \ln(1 + d_i / \epsilon) & d_i < \omega \\
            d_i - \omega + \omega \ln(1 + \omega / \epsilon)
            & d_i \ge \omega
        \end{cases}, \qquad d_i = |p_i - t_i|

    with the number N of samples: it sums over the numbers of each.

    Args:
        omega (float): Error at which the logarithm becomes linear, in the
            units of the prediction. The paper uses 10 pixels. mmpose's heads
            predict positions in [0, 1], where only the logarithm counts.
            Default: 10.0.
        epsilon (float): Curvature of the logarithm: the smaller, the larger
            the gradient near the target. The paper uses 2. Default: 2.0.

    Differs from upstream:
        - mmpose multiplies prediction and target by the weight, so half the
          weight is not half the loss.
        - mmpose returns NaN where an element of weight 0 holds NaN, and for
          an empty batch.
        - mmpose takes predictions (N, K, D) only, and fails on weights of
          shape (N, K).
    """
    info = LossInfo(
        purpose='facial landmarks: small errors count more than in L1',
        slots="``loss`` of mmpose's ``RegressionHead``",
        expects='numbers',
        search=dict(omega=(2.0, 30.0), epsilon=(0.5, 5.0)),
        paper=Paper(
            'Zhen-Hua Feng, Josef Kittler, Muhammad Awais, Patrik Huber, '
            'Xiao-Jun Wu',
            'Wing Loss for Robust Facial Landmark Localisation with '
            'Convolutional Neural Networks', 'CVPR', 2018, '1711.06753'))
    masks_after_formula = True

    def __init__(self,
                 omega: float = 10.0,
                 epsilon: float = 2.0,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(dict(omega=omega, epsilon=epsilon), above=0)
        self.omega, self.epsilon = omega, epsilon

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return with_gradient(
            wing_loss,
            wing_and_derivative,
            pred - target,
            omega=self.omega,
            epsilon=self.epsilon)


@MODELS.register_module()
class SoftWingLoss(SampleSumLoss):
    r"""Wing loss that is L1 near the target, and a logarithm beyond.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            d_i & d_i < \omega_1 \\
            \omega_1 + \omega_2 \ln \frac{\epsilon + d_i}
            {\epsilon + \omega_1} & d_i \ge \omega_1
        \end{cases}, \qquad d_i = |p_i - t_i|

    with the number N of samples: it sums over the numbers of each. The
    gradient is :math:`\omega_2 / (\epsilon + d)` beyond :math:`\omega_1`: it
    jumps there, to 8 by default, so medium errors count most.

    Args:
        omega1 (float): Error at which L1 becomes a logarithm, in the units of
            the prediction. mmpose's heads predict positions in [0, 1], where
            only L1 counts with the default. Default: 2.0.
        omega2 (float): Factor of the logarithm. Default: 20.0.
        epsilon (float): Curvature of the logarithm. Default: 0.5.

    Differs from upstream:
        - mmpose multiplies prediction and target by the weight, so half the
          weight is not half the loss.
        - mmpose returns NaN where an element of weight 0 holds NaN, and for
          an empty batch.
        - mmpose takes predictions (N, K, D) only, and fails on weights of
          shape (N, K).
    """
    info = LossInfo(
        purpose='facial landmarks: medium errors count most',
        slots="``loss`` of mmpose's ``RegressionHead``",
        expects='numbers',
        paper=Paper(
            'Chunze Lin, Beier Zhu, Quan Wang, Renjie Liao, Chen Qian, Jiwen '
            'Lu, Jie Zhou',
            'Structure-Coherent Deep Feature Learning for Robust Face '
            'Alignment', 'TIP', 2021))
    masks_after_formula = True

    def __init__(self,
                 omega1: float = 2.0,
                 omega2: float = 20.0,
                 epsilon: float = 0.5,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(omega1=omega1, omega2=omega2, epsilon=epsilon), above=0)
        self.omega1, self.omega2, self.epsilon = omega1, omega2, epsilon

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return with_gradient(
            soft_wing_loss,
            soft_wing_and_derivative,
            pred - target,
            omega1=self.omega1,
            omega2=self.omega2,
            epsilon=self.epsilon)


def silog_loss(pred: Tensor,
               target: Tensor,
               eps: float = 1e-6,
               lambd: float = 0.5) -> Tensor:
    """Return the loss of each depth map (N,), see :class:`SiLogLoss`."""
    pred, target = pred.flatten(1), target.flatten(1)
    valid = target > eps
    error = with_gradient(
        log_ratio,
        log_ratio_and_derivative,
        pred,
        target.to(pred.dtype),
        valid,
        eps=eps)
    number = valid.sum(dim=1, dtype=torch.int32).clamp(min=1)
    mean = error.sum(dim=1) / number
    square = error.square().sum(dim=1) / number
    return safe_sqrt(square - lambd * mean.square())


@MODELS.register_module()
class SiLogLoss(BaseLoss):
    r"""Scale-invariant error of the logarithms of depths.

    .. math::
        L = \frac{1}{N} \sum_n w_n \sqrt{\frac{1}{P} \sum_i d_i^2
        - \lambda \left(\frac{1}{P} \sum_i d_i\right)^2}, \qquad
        d_i = \log t_i - \log p_i

    over the P valid pixels of a map, those with a target above ``eps``.

    Args:
        eps (float): Depths up to it are not annotated, and predictions are
            raised to it, without gradient. Default: 1e-6.
        lambd (float): 0 is the error of the logarithms, 1 ignores a common
            factor of all depths. The paper uses 0.5, BTS 0.85, with ten times
            the ``loss_weight``. Default: 0.5.

    Shape:
        - pred, target: depths (N, \*), such as (N, 1, H, W).
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmseg's gradient is NaN for a perfect prediction.
        - mmseg leaves out pixels whose prediction is NaN, which hides that a
          training has diverged.
    """
    info = LossInfo(
        purpose='depth maps',
        slots="``loss_decode`` of mmseg's VPD",
        expects='numbers',
        paper=Paper(
            'David Eigen, Christian Puhrsch, Rob Fergus',
            'Depth Map Prediction from a Single Image using a Multi-Scale '
            'Deep Network', 'NeurIPS', 2014, '1406.2283'),
        source='The root and 0.85: Jin Han Lee, Myung-Kyu Han, Dong Wook Ko, '
        'Il Hong Suh. From Big to Small: Multi-Scale Local Planar Guidance '
        'for Monocular Depth Estimation. 2019, `arXiv:1907.10326 '
        '<https://arxiv.org/abs/1907.10326>`_.')

    def __init__(  # type: ignore[misc]
            self,
            reduction: str = 'mean',
            loss_weight: float = 1.0,
            eps: float = 1e-6,
            loss_name: str | None = None,
            lambd: float = 0.5,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(reduction, loss_weight, loss_name=loss_name, **kwargs)
        check_number('eps', eps, above=0)
        check_number('lambd', lambd, least=0, most=1)
        self.eps, self.lambd = eps, lambd

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_same_shape(pred, target)
        if pred.ndim < 2:
            raise ValueError('pred must have the shape (N, *) with at least '
                             f'two axes, got {tuple(pred.shape)}')
        return pred.shape[:1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return silog_loss(pred, target, self.eps, self.lambd)


L2Loss = MSELoss
SoftWeightSmoothL1Loss = SmoothL1Loss
