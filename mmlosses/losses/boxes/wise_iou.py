"""Wise-IoU, which weights each box relative to the running mean."""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, box_pair,
                                 squared_length)
from mmlosses.core.checks import check_choice, check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.statistics import StatisticsLoss
from mmlosses.registry import MODELS


def wise_iou_loss(pair: BoxPair) -> Tensor:
    """Return the loss of each pair, version 1 of :class:`WIoULoss`."""
    square = pair.squared_diagonal().detach()
    attention = torch.exp(squared_length(pair.offset()) / square)
    return attention * (1 - pair.iou)


@MODELS.register_module()
class WIoULoss(BoxLoss, StatisticsLoss):
    r"""Wise IoU: focuses on boxes of ordinary quality.

    .. math::
        L = r \, e^{\rho^2(b, b^{gt}) / c^2} (1 - IoU), \qquad
        \beta = \frac{1 - IoU}{\overline{1 - IoU}}
        \\
        r_1 = 1, \qquad r_2 = \beta^\gamma, \qquad
        r_3 = \frac{\beta}{\delta \alpha^{\beta - \delta}}

    with the centres b and the diagonal c of the smallest enclosing box.
    Gradients flow through :math:`\rho` and the last factor only. The outlier
    degree :math:`\beta` is relative to a running mean: the buffer
    ``mean_iou_loss``, which starts at 1. In training mode each call updates
    it, after use, with the boxes whose weight is not 0. Distributed training
    needs ``SyncStatisticsHook``, with which each iteration updates it once, by
    the boxes of all ranks. Version 1 has none.

    Args:
        version (int): 1, centre distance only; 2, poor boxes count more; 3,
            the paper's choice. Default: 3.
        gamma (float): Exponent of version 2; the paper uses 0.5. Default: 0.5.
        alpha (float): Base of version 3, above 1, as the paper. Default: 1.9.
        delta (float): Outlier degree of :math:`r_3 = 1`; the paper uses 3.
            Default: 3.0.
        momentum (float): Update rate of the running mean. The paper uses
            :math:`1 - 0.05^{1 / n}` for n iterations until the precision grows
            slowly: 1e-4 for n = 30,000. Default: 1e-4.

    Differs from upstream:
        - The authors' code updates the mean before use, with the boxes of one
          process, synchronises with the host, and makes it a parameter.
    """
    info = LossInfo(
        purpose='boxes with wrong labels; version 1: also from far away',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        search=dict(alpha=(1.2, 3.0), delta=(1.0, 6.0)),
        paper=Paper(
            'Zanjia Tong, Yuhang Chen, Zewei Xu, Rong Yu',
            'Wise-IoU: Bounding Box Regression Loss with Dynamic Focusing '
            'Mechanism', '', 2023, '2301.10051'))
    mean_iou_loss: Tensor

    def __init__(self,
                 version: int = 3,
                 gamma: float = 0.5,
                 alpha: float = 1.9,
                 delta: float = 3.0,
                 momentum: float = 1e-4,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('version', version, (1, 2, 3))
        check_number('gamma', gamma, above=0)
        check_number('alpha', alpha, above=1)
        check_number('delta', delta, above=0)
        check_number('momentum', momentum, least=0, most=1)
        self.version = version
        self.gamma, self.alpha, self.delta = gamma, alpha, delta
        self.momentum = momentum
        if version > 1:
            # It moves by the sum of 1 - IoU, and the number of boxes.
            self.register_statistics('mean_iou_loss', torch.ones(()), (2, ))

    def box_loss(self, pair: BoxPair, mean: Tensor | None = None) -> Tensor:
        loss = wise_iou_loss(pair)
        if self.version == 1:
            return loss
        mean = self.mean_iou_loss if mean is None else mean
        mean = mean.to(loss.dtype).clamp(min=self.eps)
        # Rounding can take the IoU past 1.
        outlier = (1 - pair.iou.detach()).clamp(min=0) / mean
        if self.version == 2:
            return outlier**self.gamma * loss
        gain = outlier * self.alpha**(self.delta - outlier) / self.delta
        return gain * loss

    def loss_and_error(self, pred: Tensor, target: Tensor,
                       mean: Tensor | None) -> Tuple[Tensor, Tensor]:
        """Return the loss of each box, and 1 - IoU for the running mean."""
        pair = box_pair(pred, target.to(pred.dtype), self.eps)
        return self.box_loss(pair, mean), 1 - pair.iou.detach()

    def unreduced(self, inputs: Inputs) -> Tensor:
        """Compute the loss and, in training mode, update the running mean."""
        mean = self.seen('mean_iou_loss') if self.version > 1 else None
        loss, error = self.run_formula(
            type(self).loss_and_error, inputs.pred, inputs.target, mean)
        if self.is_moving():
            self.record(self.sums(error, inputs.removed))
        return loss

    def sums(self, error: Tensor, removed: Tensor | None) -> Tensor:
        """Return the sum of 1 - IoU of the kept boxes, and their number."""
        # A non-finite prediction would stay in the mean for ever.
        counted = error.isfinite()
        if removed is not None:
            counted = counted & ~removed
        return torch.stack([
            error.masked_fill(~counted, 0).sum(),
            counted.sum().to(error.dtype)
        ])

    def moved(self, sums: Tensor) -> Tensor:
        """Return the running mean after a step."""
        total, number = sums.unbind()
        step = total / number.clamp(min=1) - self.mean_iou_loss
        return self.mean_iou_loss + self.momentum * step * (number > 0)
