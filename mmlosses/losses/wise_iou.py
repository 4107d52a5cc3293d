"""Wise-IoU, which weighs boxes by how they compare with the others."""
from __future__ import annotations
from typing import Any, Tuple

import torch
import torch.distributed as dist
from torch import Tensor

from mmlosses.registry import MODELS
from .box_geometry import BoxLoss, BoxPair, box_pair, squared_length
from .buffers import set_buffer

VERSIONS = (1, 2, 3)


def wise_iou_loss(pair: BoxPair) -> Tensor:
    r"""1 - IoU, times a factor that grows with the distance of the centres.

    .. math::
        \exp\left(\frac{\rho^2(b, b^{gt})}{(w^c)^2 + (h^c)^2}\right)
        (1 - IoU)

    No gradient flows through the sides :math:`w^c` and :math:`h^c` of the
    smallest box around both.

    Args:
        pair (BoxPair): The boxes.

    Returns:
        Tensor: The loss of each pair.
    """
    square = pair.squared_diagonal().detach()
    attention = torch.exp(squared_length(pair.offset()) / square)
    return attention * (1 - pair.iou)


@MODELS.register_module()
class WIoULoss(BoxLoss):
    r"""Wise IoU: boxes that are neither good nor hopeless count most.

    .. math::
        L = r \, e^{\rho^2(b, b^{gt}) / c^2} (1 - IoU), \qquad
        \beta = \frac{1 - IoU}{\overline{1 - IoU}}
        \\
        r_1 = 1, \qquad r_2 = \beta^\gamma, \qquad
        r_3 = \frac{\beta}{\delta \alpha^{\beta - \delta}}

    with the centres b and the diagonal c of the smallest box around both.
    Gradients flow through :math:`\rho` and the last factor only. The outlier
    degree :math:`\beta` compares with the running mean of all boxes: the
    buffer ``mean_iou_loss``, which starts at 1. In training mode it moves
    after each call, by the boxes whose weight is not 0, on all ranks together:
    every rank must call the loss equally often. In evaluation mode it stays.
    Version 1 has no running mean.

    Args:
        version (int): 1, the distance only; 2, poor boxes count more; 3, the
            paper's choice. Default: 3.
        gamma (float): Exponent of version 2. The paper has 0.5. Default: 0.5.
        alpha (float): Base of version 3, above 1. The paper has 1.9.
            Default: 1.9.
        delta (float): Outlier degree whose factor is 1 in version 3. The
            paper has 3. Default: 3.0.
        momentum (float): Rate of the running mean. The paper takes
            :math:`1 - 0.05^{1 / n}` for n iterations until the precision
            grows slowly: 1e-4 for n = 30,000. Default: 1e-4.
        eps (float): What the area and the squared diagonal are at least where
            they are divided by. Default: 1e-6.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 4), boxes (x1, y1, x2, y2), in any unit.
        - weight: (N,), or (N, 4), of which the mean counts.
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, or an argument is out of range.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: boxes whose labels are sometimes wrong; far ones by version 1.
        - Slots: The slots of :class:`GIoULoss`.

    Source:
        Zanjia Tong, Yuhang Chen, Zewei Xu, Rong Yu. Wise-IoU: Bounding Box
        Regression Loss with Dynamic Focusing Mechanism. 2023,
        `arXiv:2301.10051 <https://arxiv.org/abs/2301.10051>`_.

    Differs from upstream:
        - The authors' code moves the mean before it is used, by the boxes of
          one process, waits for the device to do it, and lists the mean among
          the parameters.

    Example:
        In a config that inherits mmdet's RetinaNet, whose anchors must be
        decoded for it:

        >>> bbox_head = dict(
        ...     reg_decoded_bbox=True,
        ...     loss_bbox=dict(type='mmlosses.WIoULoss', version=3))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_bbox'])
        >>> pred = torch.tensor([[0., 0., 10., 10.]])
        >>> target = torch.tensor([[2., 0., 10., 8.]])
        >>> print('%.4f' % loss(pred, target))
        0.2375
    """
    mean_iou_loss: Tensor

    def __init__(self,
                 version: int = 3,
                 gamma: float = 0.5,
                 alpha: float = 1.9,
                 delta: float = 3.0,
                 momentum: float = 1e-4,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        if version not in VERSIONS:
            raise ValueError(f'version must be 1, 2 or 3, got {version!r}')
        if not alpha > 1:
            raise ValueError(f'alpha must be above 1, got {alpha}')
        if not min(gamma, delta) > 0:
            raise ValueError('gamma and delta must be positive, got '
                             f'{gamma} and {delta}')
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must be from 0 to 1, got {momentum}')
        self.version = version
        self.gamma = gamma
        self.alpha = alpha
        self.delta = delta
        self.momentum = momentum
        if version > 1:
            self.register_buffer('mean_iou_loss', torch.ones(()))

    def box_loss(self, pair: BoxPair) -> Tensor:
        """WIoU of the version, with the running mean as it is."""
        loss = wise_iou_loss(pair)
        if self.version == 1:
            return loss
        mean = self.mean_iou_loss.to(loss.dtype).clamp(min=self.eps)
        # Rounding takes the IoU past 1.
        outlier = (1 - pair.iou.detach()).clamp(min=0) / mean
        if self.version == 2:
            return outlier**self.gamma * loss
        gain = outlier * self.alpha**(self.delta - outlier) / self.delta
        return gain * loss

    def elementwise(self, pred: Tensor, target: Tensor) -> Any:
        """The loss of each box, and 1 - IoU for :meth:`weigh`."""
        pair = box_pair(pred, target.to(pred.dtype), self.eps)
        return self.box_loss(pair), 1 - pair.iou.detach()

    def weigh(self, loss: Any, weight: Tensor | None,
              target: Any) -> Tuple[Tensor, float | Tensor]:
        """Apply the weight and, in training mode, move the running mean."""
        loss, error = loss
        if self.training and self.version > 1:
            self.move_mean(error, weight)
        return super().weigh(loss, weight, target)

    def move_mean(self, error: Tensor, weight: Tensor | None = None) -> None:
        """Move the running mean towards the mean of 1 - IoU.

        Args:
            error (Tensor): 1 - IoU of each box, without a gradient.
            weight (Tensor, optional): Weight of each: a box of weight 0 does
                not count.
        """
        # A prediction that is no number would stay in the mean for ever.
        counted = error.isfinite()
        if weight is not None:
            counted = counted & (weight != 0)
        total = torch.stack([
            error.masked_fill(~counted, 0).sum(),
            counted.to(error.dtype).sum()
        ])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(total)
        mean = self.mean_iou_loss.to(error.dtype)
        moved = mean + self.momentum * (
            total[0] / total[1].clamp(min=1) - mean)
        set_buffer(self, 'mean_iou_loss', torch.where(total[1] > 0, moved,
                                                      mean))
