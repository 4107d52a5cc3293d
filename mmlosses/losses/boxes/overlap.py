"""Overlap alone, and with the empty share of the enclosing box."""
from __future__ import annotations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, Terms,
                                 product)
from mmlosses.core.checks import check_choice
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS

if TYPE_CHECKING:
    from typing_extensions import Unpack


@MODELS.register_module()
class IoULoss(BoxLoss):
    r"""Intersection over union, in one of three scales.

    .. math::
        L = -\ln IoU, \qquad L = 1 - IoU \qquad \text{or} \qquad L = 1 - IoU^2

    of ``mode`` ``'log'``, ``'linear'`` and ``'square'``. Boxes that do not
    overlap have the greatest loss and no gradient: use it where every positive
    overlaps its target, as in anchor-free heads, or one of the losses below.

    Args:
        mode (str): ``'log'``, ``'linear'`` or ``'square'``.
            Default: ``'log'``.
        linear (bool): mmdet's deprecated name of ``mode='linear'``.
            Default: False.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's casts the IoU back to half precision before the logarithm.
    """

    info = LossInfo(
        purpose='boxes that overlap their targets',
        slots='The slots of :class:`GIoULoss`; YOLOX, YOLOX-Pose and RTMO',
        expects='boxes',
        paper=Paper(
            'Jiahui Yu, Yuning Jiang, Zhangyang Wang, Zhimin Cao, Thomas '
            'Huang',
            'UnitBox: An Advanced Object Detection Network',
            'ACM MM', 2016, '1608.01471'))

    def __init__(self,
                 mode: str = 'log',
                 linear: bool = False,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('mode', mode, ('log', 'linear', 'square'))
        self.mode = 'linear' if linear else mode
        self.linear = linear

    def box_loss(self, pair: BoxPair) -> Tensor:
        """-ln IoU, or 1 - IoU or 1 - IoU^2."""
        iou = pair.iou.clamp(min=self.eps)
        if self.mode == 'log':
            return -iou.log()
        return 1 - (iou if self.mode == 'linear' else iou**2)


def giou_penalty(pair: BoxPair) -> Terms:
    r"""Share of the enclosing box that neither box covers.

    .. math::
        \frac{|C| - |A \cup B|}{|C|}
    """
    area = product(pair.enclosing()).clamp(min=pair.eps)
    return 1 - pair.union / area,


@MODELS.register_module()
class GIoULoss(BoxLoss):
    r"""Generalized IoU: also the empty share of the enclosing box.

    .. math::
        L = 1 - IoU + \frac{|C| - |A \cup B|}{|C|}

    with the smallest box C around both, so that boxes that do not overlap
    learn too. Greatest value: 2. Where one box contains the other it is the
    plain IoU.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's is negative infinity where both boxes are in half precision
          and 600 pixels long.
    """

    info = LossInfo(
        purpose='boxes that may lie apart',
        slots='``loss_bbox`` of FCOS, ATSS and RTMDet; ``loss_iou`` of DETR; '
              'anchor and RoI heads with ``reg_decoded_bbox=True``',
        expects='boxes',
        paper=Paper(
            'Hamid Rezatofighi, Nathan Tsoi, JunYoung Gwak, Amir Sadeghian, '
            'Ian Reid, Silvio Savarese',
            'Generalized Intersection over Union: A Metric and A Loss for '
            'Bounding Box Regression',
            'CVPR', 2019, '1902.09630'))

    def penalties(self, pair: BoxPair) -> Terms:
        """The empty share of the enclosing box."""
        return giou_penalty(pair)
