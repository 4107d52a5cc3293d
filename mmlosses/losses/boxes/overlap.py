"""Overlap alone, and with the empty share of the enclosing box."""
from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, Terms,
                                 at_least, product)
from mmlosses.core.checks import check_choice
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS


@MODELS.register_module()
class IoULoss(BoxLoss):
    r"""Intersection over union, in one of three forms.

    .. math::
        L = -\ln IoU, \qquad L = 1 - IoU \qquad \text{or} \qquad L = 1 - IoU^2

    for ``mode`` ``'log'``, ``'linear'`` and ``'square'``. Boxes that do not
    overlap have the greatest loss and no gradient: use it where every positive
    overlaps its target, as in anchor-free heads.

    Args:
        mode (str): ``'log'``, ``'linear'`` or ``'square'``.
            Default: ``'log'``.
        linear (bool): mmdet's deprecated ``mode='linear'``. Default: False.
        eps (float): The least IoU, and the lower bound of the union, relative
            to the squared mean of the target's sides. Default: 1e-6.

    Differs from upstream:
        - mmdet's casts the IoU back to half precision before the logarithm.
    """
    info = LossInfo(
        purpose='box regression where predictions overlap their targets',
        slots='any slot with decoded boxes: FCOS, YOLOX, YOLOX-Pose, RTMO',
        expects='boxes',
        paper=Paper(
            'Jiahui Yu, Yuning Jiang, Zhangyang Wang, Zhimin Cao, Thomas '
            'Huang', 'UnitBox: An Advanced Object Detection Network', 'ACM MM',
            2016, '1608.01471'))

    def __init__(self,
                 mode: str = 'log',
                 linear: bool = False,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('mode', mode, ('log', 'linear', 'square'))
        self.mode = 'linear' if linear else mode
        self.linear = linear

    def box_loss(self, pair: BoxPair) -> Tensor:
        iou = pair.iou.clamp(min=self.eps)
        if self.mode == 'log':
            return -iou.log()
        return 1 - (iou if self.mode == 'linear' else iou**2)


def giou_penalty(pair: BoxPair) -> Terms:
    """The penalty of :class:`GIoULoss`."""
    area = at_least(pair.least_area, product(pair.enclosing()))
    return 1 - pair.union / area,


@MODELS.register_module()
class GIoULoss(BoxLoss):
    r"""Generalized IoU: also learns from non-overlapping boxes.

    .. math::
        L = 1 - IoU + \frac{|C| - |A \cup B|}{|C|}

    with the smallest enclosing box C. The greatest value is 2. Where one box
    contains the other, it is 1 - IoU.

    Differs from upstream:
        - mmdet's is -inf for two boxes of 600 pixels in half precision.
    """
    info = LossInfo(
        purpose='box regression that also learns from non-overlapping boxes',
        slots='``loss_bbox`` of FCOS, ATSS, RTMDet; ``loss_iou`` of DETR; '
        'anchor and RoI heads with ``reg_decoded_bbox=True``',
        expects='boxes',
        paper=Paper(
            'Hamid Rezatofighi, Nathan Tsoi, JunYoung Gwak, Amir Sadeghian, '
            'Ian Reid, Silvio Savarese',
            'Generalized Intersection over Union: A Metric and A Loss for '
            'Bounding Box Regression', 'CVPR', 2019, '1902.09630'))

    def penalties(self, pair: BoxPair) -> Terms:
        return giou_penalty(pair)
