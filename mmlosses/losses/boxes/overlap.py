"""Overlap alone, and with the empty share of the enclosing box."""
from __future__ import annotations
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, Terms,
                                 at_least, product)
from mmlosses.core.checks import check_choice, check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS
from ..regression import smooth_l1_loss


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


def extended_iou(pair: BoxPair) -> Tensor:
    """The IoU of :class:`ExtendedIoULoss`, below 0 for boxes apart."""
    gap = (pair.sides - pair.errors) / 2  # below 0 between boxes apart
    near = pair.low_error.abs()
    far = near + gap
    first, last = near + gap.clamp(max=0), near + gap.clamp(min=0)
    (x, y), (last_x, last_y) = near.unbind(), last.unbind()
    overlap = product(far) + product(first) - x * last_y - last_x * y
    areas = product(pair.size) + product(pair.target_size)
    return overlap / at_least(pair.least_area, areas - overlap)


@MODELS.register_module()
class ExtendedIoULoss(BoxLoss):
    r"""Extended IoU: mmdet's ``EIoULoss``, also for boxes apart.

    .. math::
        L = \begin{cases} \frac{l^2}{2s} & l < s \\
        l - \frac{s}{2} & l \ge s \end{cases}, \qquad
        l = 1 - \frac{I}{|A| + |B| - I}
        \\
        I = x_2 y_2 + \min(x_1, x_2) \min(y_1, y_2)
        - x_1 \max(y_1, y_2) - \max(x_1, x_2) y_1

    with the corners :math:`x_1, y_1` and :math:`x_2, y_2` of the overlap,
    relative to the top left corner of the smallest enclosing box. I is the
    area of the overlap or, for boxes apart, where :math:`x_1 > x_2` or
    :math:`y_1 > y_2`, a number below 0. The greatest value is 2 - s / 2. Boxes
    apart have another loss in a mirrored picture, by the definition.

    Args:
        smooth_point (float): The error s below which the loss is quadratic.
            Default: 0.1.

    Differs from upstream:
        - mmdet calls it ``EIoULoss``. That is the name of Efficient IoU here,
          and in most papers.
        - mmdet's overflows in half precision.
    """
    info = LossInfo(
        purpose="box regression, mmdet's ``EIoULoss``; also from far away",
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        paper=Paper(
            'Hanyang Peng, Shiqi Yu',
            'A Systematic IoU-Related Method: Beyond Simplified Regression '
            'for Better Localization', 'IEEE Transactions on Image Processing',
            2021))
    stock_name = 'EIoULoss'

    def __init__(self,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 smooth_point: float = 0.1,
                 **kwargs: Any) -> None:
        super().__init__(eps, reduction, loss_weight, **kwargs)
        check_number('smooth_point', smooth_point, above=0)
        self.smooth_point = smooth_point

    def box_loss(self, pair: BoxPair) -> Tensor:
        error = 1 - extended_iou(pair)
        return smooth_l1_loss(error, torch.zeros_like(error),
                              self.smooth_point)
