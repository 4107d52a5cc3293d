"""Consistency of two views, for rotated boxes learned from upright ones."""
from __future__ import annotations
from typing import Any, Dict, Sequence

import torch
from torch import Tensor, nn

from mmlosses.core.base import BaseLoss
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.rotated import shape_of_boxes
from mmlosses.registry import MODELS
from ..composite import ours_first

Config = Dict[str, Any]


@MODELS.register_module()
class H2RBoxConsistencyLoss(BaseLoss):
    r"""Consistency of the boxes of a picture and of its rotated copy.

    .. math::
        L = L_c(x, x') + \min\big(
        L_s(B_{wh}, B'_{wh}) + L_a(\sin \Delta, 0), \;
        L_s(B_{hw}, B'_{wh}) + L_a(\cos \Delta, 0)\big)

    of the centres x, the boxes :math:`B_{wh}` of the sizes about 0, and the
    difference :math:`\Delta` of the angles: a box may have its sides swapped
    if it is turned by a right angle.

    Args:
        center_loss_cfg (dict, optional): Loss of the centres. Default:
            ``mmlosses.L1Loss`` with ``loss_weight=0.0``.
        shape_loss_cfg (dict, optional): Loss of the sizes, of boxes x1, y1,
            x2, y2. Default: ``mmlosses.IoULoss``.
        angle_loss_cfg (dict, optional): Loss of sine and cosine. Default:
            ``mmlosses.L1Loss``.

    Shape:
        - pred, target: (N, 5), centre x and y, width, height and angle in
          radians.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmrotate's chooses the minimum once for the batch, after the
          reduction, so that one box swaps the sides of the others. With
          ``'none'`` it chooses for each box, but adds centres (N, 2) to
          shapes (N,), and raises.
        - mmrotate's raises without a weight.
        - Without ``avg_factor``, mmrotate's averages over x and y of the
          centres. Here they are added, as with ``avg_factor``.
    """
    info = LossInfo(
        purpose='rotated boxes learned from upright ones, in two views',
        slots='``loss_bbox_ss`` of H2RBox',
        expects='rotated boxes',
        paper=Paper(
            'Xue Yang, Gefan Zhang, Wentong Li, Xuehui Wang, Yue Zhou, Junchi '
            'Yan', 'H2RBox: Horizontal Box Annotation is All You Need for '
            'Oriented Object Detection', 'ICLR', 2023, '2210.06742'))

    def __init__(self,
                 center_loss_cfg: Config | None = None,
                 shape_loss_cfg: Config | None = None,
                 angle_loss_cfg: Config | None = None,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 **kwargs: Any) -> None:
        super().__init__(
            reduction=reduction, loss_weight=loss_weight, **kwargs)
        self.center_loss_cfg = center_loss_cfg
        self.shape_loss_cfg = shape_loss_cfg
        self.angle_loss_cfg = angle_loss_cfg
        scope = 'mmlosses.'
        self.center_loss = built(center_loss_cfg, scope + 'L1Loss', 0.0)
        self.shape_loss = built(shape_loss_cfg, scope + 'IoULoss', 1.0)
        self.angle_loss = built(angle_loss_cfg, scope + 'L1Loss', 1.0)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Check the coordinates and return the shape without them."""
        return shape_of_boxes(pred, target)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        size, target_size = pred[..., 2:4], target[..., 2:4]
        box, target_box = about_zero(size), about_zero(target_size)
        turn = pred[..., 4] - target[..., 4]
        none = torch.zeros_like(turn)

        def each(loss: nn.Module, *inputs: Tensor) -> Tensor:
            return loss(*inputs, reduction_override='none')

        centres = each(self.center_loss, pred[..., :2], target[..., :2])
        upright = (
            each(self.shape_loss, box, target_box) +
            each(self.angle_loss, turn.sin(), none))
        swapped = (
            each(self.shape_loss, about_zero(size.flip(-1)), target_box) +
            each(self.angle_loss, turn.cos(), none))
        return centres.sum(dim=-1) + torch.minimum(upright, swapped)


def about_zero(size: Tensor) -> Tensor:
    """The box x1, y1, x2, y2 of twice a size, about 0."""
    return torch.cat([-size, size], dim=-1)


def built(config: Config | None, kind: str, loss_weight: float) -> nn.Module:
    """Build a loss from its config, by default one of a kind."""
    if config is None:
        config = {'type': kind, 'loss_weight': loss_weight}
    return MODELS.build(ours_first(config))
