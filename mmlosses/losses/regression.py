"""Distances between numbers: L1, squared and smooth L1."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor

from mmlosses.registry import MODELS
from .keypoints import KeypointLoss


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

    Args:
        reduction (str): ``'mean'`` over all numbers, ``'sum'`` or
            ``'none'``. Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        use_target_weight (bool, optional): ``None`` applies a weight that is
            given, ``False`` ignores it, ``True`` requires it.
            Default: None.
        keypoint_weight (list[float] | Tensor, optional): Weight of each
            keypoint, on axis 1, on top of the weight of the call.
            Default: None.

    Shape:
        - pred, target: any, the same.
        - weight: as pred, or with trailing or broadcast axes left out, such
          as (N,), (N, K) or (N, 1, H, W).
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If ``reduction`` is unknown, the shapes of prediction and
            target differ, or the weight is missing or does not fit.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: any regression.
        - Slots: Boxes, sizes and offsets of mmdet; ``loss`` of mmpose's
          ``RegressionHead``.

    Source:
        No paper; the name and number of :class:`torch.nn.L1Loss`.

    Differs from upstream:
        - mmpose multiplies prediction and target by the weight, which is the
          same for L1 with weights that are not negative.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
        - mmdet returns a scalar for ``'none'`` where no weight is above 0, for
          which it waits for the device.

    Example:
        In a config that inherits one of mmdet's CenterNet configs:

        >>> bbox_head = dict(
        ...     loss_wh=dict(type='mmlosses.L1Loss', loss_weight=0.1))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_wh'])
        >>> pred, target = torch.zeros(2, 4), torch.full((2, 4), 3.0)
        >>> print('%.2f' % loss(pred, target))
        0.30
    """

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The absolute error of each number."""
        return l1_loss(pred, target)


@MODELS.register_module(name=['MSELoss', 'L2Loss'])
class MSELoss(KeypointLoss):
    r"""Mean squared error; its other name is ``L2Loss``.

    .. math::
        L = \frac{1}{N} \sum_i w_i \, (p_i - t_i)^2

    Args:
        reduction (str): ``'mean'`` over all numbers, ``'sum'`` or
            ``'none'``. Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        use_target_weight (bool, optional): ``None`` applies a weight that is
            given, ``False`` ignores it, ``True`` requires it.
            Default: None.
        keypoint_weight (list[float] | Tensor, optional): Weight of each
            keypoint, on axis 1, on top of the weight of the call.
            Default: None.

    Shape:
        - pred, target: any, the same.
        - weight: as pred, or with trailing or broadcast axes left out, such
          as (N,), (N, K) or (N, 1, H, W).
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If ``reduction`` is unknown, the shapes of prediction and
            target differ, or the weight is missing or does not fit.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: any regression, and heatmaps.
        - Slots: ``loss`` of mmpose's heatmap and regression heads; ``loss_wh``
          of YOLOv3.

    Source:
        No paper; the name and number of :class:`torch.nn.MSELoss`.

    Differs from upstream:
        - mmpose's ``MSELoss`` multiplies prediction and target by the weight,
          which squares it. Its ``KeypointMSELoss`` multiplies the loss, as
          here.
        - mmdet and mmpose return NaN where an element of weight 0 holds NaN.
        - mmdet's ``L2Loss`` is another loss: it clamps the prediction to
          [0, 1], samples negatives, and writes to the target.

    Example:
        In a config that inherits one of mmpose's heatmap configs:

        >>> head = dict(loss=dict(
        ...     type='mmlosses.MSELoss', use_target_weight=True))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(head['loss'])
        >>> pred, target = torch.zeros(2, 17, 64, 48), torch.ones(
        ...     2, 17, 64, 48)
        >>> print('%.2f' % loss(pred, target, torch.full((2, 17), 0.5)))
        0.50
    """

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
        reduction (str): ``'mean'`` over all numbers, ``'sum'`` or
            ``'none'``. Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        use_target_weight (bool, optional): ``None`` applies a weight that is
            given, ``False`` ignores it, ``True`` requires it.
            Default: None.
        supervise_empty (bool): Whether ``'mean'`` also counts the numbers of
            weight 0. ``False``, as in DEKR's configs, divides the weighted
            sum by how many numbers have a weight above 0, at least by 1. Has
            no effect without a weight or with an ``avg_factor``.
            Default: True.
        keypoint_weight (list[float] | Tensor, optional): Weight of each
            keypoint, on axis 1, on top of the weight of the call.
            Default: None.

    Shape:
        - pred, target: any, the same.
        - weight: as pred, or with trailing or broadcast axes left out, such
          as (N,), (N, K) or (N, 1, H, W).
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If ``beta`` is below 0, ``reduction`` is unknown, the
            shapes of prediction and target differ, or the weight is missing
            or does not fit.
        TypeError: If ``beta`` is not a number, or the prediction not a
            floating-point tensor.

    Use:
        - For: any regression, robust to outliers.
        - Slots: ``loss_bbox`` of mmdet; ``loss`` of mmpose's regression heads
          and DEKR.

    Source:
        Ross Girshick. Fast R-CNN. ICCV 2015,
        `arXiv:1504.08083 <https://arxiv.org/abs/1504.08083>`_.

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

    Example:
        In a config that inherits one of mmpose's regression configs:

        >>> head = dict(loss=dict(
        ...     type='mmlosses.SmoothL1Loss', use_target_weight=True))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(head['loss'])
        >>> pred = torch.zeros(2, 17, 2)
        >>> target = torch.full((2, 17, 2), 3.0)
        >>> print('%.2f' % loss(pred, target, torch.ones(2, 17, 1)))
        2.50
    """

    def __init__(
            self,
            beta: float = 1.0,
            reduction: str = 'mean',
            loss_weight: float = 1.0,
            use_target_weight: bool | None = None,
            supervise_empty: bool = True,
            keypoint_weight: Sequence[float] | Tensor | None = None) -> None:
        super().__init__(reduction, loss_weight, use_target_weight,
                         keypoint_weight)
        if not isinstance(beta, (int, float)):
            raise TypeError(
                f'beta must be a number, got {type(beta).__name__}')
        if not beta >= 0:
            raise ValueError(f'beta must be at least 0, got {beta}')
        self.beta = beta
        self.supervise_empty = supervise_empty

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each number."""
        return smooth_l1_loss(pred, target, self.beta)

    def weigh(self, loss: Tensor, weight: Tensor | None,
              target: Any) -> Tuple[Tensor, float | Tensor]:
        """Average over all numbers, or over those with a weight above 0."""
        weighted, number = super().weigh(loss, weight, target)
        if weight is None or self.supervise_empty:
            return weighted, number
        return weighted, (weight > 0).expand_as(loss).sum().clamp(min=1)
