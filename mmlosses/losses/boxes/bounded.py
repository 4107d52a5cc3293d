"""Overlaps of one coordinate at a time."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor

from mmlosses.core.base import Inputs
from mmlosses.core.boxes import BoxLoss, BoxPair
from mmlosses.core.checks import check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS
from ..regression import smooth_l1_loss


def iou_bounds(pair: BoxPair, eps: float = 1e-3) -> Tensor:
    r"""The overlaps :math:`B` of :class:`BoundedIoULoss`, (4, \*)."""
    target = pair.target_size
    shift = 2 * pair.offset().abs()
    centre = ((target - shift) / (target + shift + eps)).clamp(min=0)
    size = target + pair.size_error()  # below 0 if the corners are swapped
    sides = torch.minimum(target / (size.clamp(min=0) + eps),
                          size / (target + eps))
    return torch.cat([centre, sides])


@MODELS.register_module()
class BoundedIoULoss(BoxLoss):
    r"""Bounded IoU: smooth L1 of the overlap, one coordinate at a time.

    .. math::
        L_t = \begin{cases} \frac{(1 - B_t)^2}{2 \beta} & 1 - B_t < \beta \\
        1 - B_t - \frac{\beta}{2} & 1 - B_t \ge \beta \end{cases}
        \qquad t = x, y, w, h
        \\
        B_x = \max\left(0, \frac{w^{gt} - 2 |x - x^{gt}|}{w^{gt} +
        2 |x - x^{gt}| + \epsilon}\right), \qquad
        B_w = \min\left(\frac{w^{gt}}{w + \epsilon},
        \frac{w}{w^{gt} + \epsilon}\right)

    with the centres x, y and the sides w, h; y is as x, and h as w.
    :math:`B_x` is the IoU of the target and the target moved by twice the
    error, so a centre more than half a side away has no gradient.
    :math:`B_w` is the IoU of two boxes that differ in the width only.

    Args:
        beta (float): Where the square becomes linear. Default: 0.2.
        eps (float): Added to denominators, in the unit of the boxes, unlike
            in other box losses. Default: 1e-3.

    Shape:
        - weight: (N,), or (N, 4) for x, y, width and height.
        - returns: 0-dim, or (N, 4) for ``'none'``: x, y, width and height. So
          the mean is over 4 N numbers.

    Differs from upstream:
        - mmdet's divides by a side of swapped corners: 300001 at -0.0011
          pixels, a NaN gradient at -0.001, and a gradient that keeps the
          corners swapped. Here the loss grows by :math:`|w| / w^{gt}`.
        - mmdet's raises for a weight (N,).
    """
    info = LossInfo(
        purpose='box regression where predictions are near their targets',
        slots='``loss_shape`` of guided anchoring; ``loss_bbox`` of RoI heads '
        'with ``reg_decoded_bbox=True``',
        expects='boxes',
        paper=Paper(
            'Lachlan Tychsen-Smith, Lars Petersson',
            'Improving Object Localization with Fitness NMS and Bounded IoU '
            'Loss', 'CVPR', 2018, '1711.00164'))

    def __init__(self,
                 beta: float = 0.2,
                 eps: float = 1e-3,
                 *args: Any,
                 **kwargs: Any) -> None:
        super().__init__(eps, *args, **kwargs)
        check_number('beta', beta, above=0)
        self.beta = beta

    def box_loss(self, pair: BoxPair) -> Tensor:
        error = 1 - iou_bounds(pair, self.eps)
        loss = smooth_l1_loss(error, torch.zeros_like(error), self.beta)
        return loss.movedim(0, -1)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        return *super().element_shape(pred, target), 4

    def prepare(self, *args: Any) -> Inputs:
        """Remove boxes as a whole: all elements are of all coordinates."""
        inputs = super().prepare(*args)
        if inputs.removed is not None:
            removed = inputs.removed.expand(inputs.shape)
            inputs.removed = removed.all(dim=-1)
        return inputs
