"""Overlap alone, and with the empty share of the enclosing box."""
from __future__ import annotations
from typing import Any, Callable, Dict

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, Terms,
                                 at_least, product)
from mmlosses.core.checks import check_choice, check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.tensors import autocast_off, upcast
from mmlosses.core.terms import add_terms
from mmlosses.registry import MODELS
from ..regression import smooth_l1_loss
from .distance import ciou_penalty
from .shape import siou_penalty


def giou_penalty(pair: BoxPair) -> Terms:
    """The penalty of :class:`GIoULoss`."""
    area = at_least(pair.least_area, product(pair.enclosing()))
    return 1 - pair.union / area,


#: The penalties of mmyolo's modes; its alpha has no threshold.
YOLO_PENALTIES: Dict[str, Callable[[BoxPair], Terms]] = {
    'iou': lambda pair: (),
    'giou': giou_penalty,
    'siou': siou_penalty,
    'ciou': lambda pair: ciou_penalty(pair, -1),
}


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
        iou_mode (str, optional): As mmyolo's ``IoULoss``, instead of ``mode``:
            ``'iou'``, ``'giou'``, ``'siou'`` or ``'ciou'``, the losses of that
            name; the aspect ratio of ``'ciou'`` counts at every IoU.
            Default: None.
        bbox_format (str): ``'xyxy'``, or ``'xywh'`` for boxes (centre x,
            centre y, width, height). Default: ``'xyxy'``.
        return_iou (bool): If True, a call also returns 1 minus the loss of
            each box, before any weight. Default: False.

    With one of the last three arguments, which only mmyolo has, the defaults
    of the others are ``'ciou'``, ``'xywh'`` and True.

    Differs from upstream:
        - mmdet's casts the IoU back to half precision before the logarithm.
        - mmyolo's returns no IoU if all weights are 0, and has no gradient
          where the loss is above 2.
    """
    info = LossInfo(
        purpose='box regression where predictions overlap their targets',
        slots='any slot with decoded boxes: FCOS, YOLOX, YOLOX-Pose, RTMO',
        expects='boxes',
        paper=Paper(
            'Jiahui Yu, Yuning Jiang, Zhangyang Wang, Zhimin Cao, Thomas '
            'Huang', 'UnitBox: An Advanced Object Detection Network', 'ACM MM',
            2016, '1608.01471'))
    published = dict.fromkeys(
        ('iou_mode', 'bbox_format', 'return_iou'),
        "the defaults of mmyolo: ``iou_mode='ciou'``, ``bbox_format='xywh'``, "
        '``return_iou=True``')

    def __init__(self,
                 mode: str = 'log',
                 linear: bool = False,
                 *,
                 iou_mode: str | None = None,
                 bbox_format: str = 'xyxy',
                 return_iou: bool = False,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('mode', mode, ('log', 'linear', 'square'))
        check_choice('iou_mode', iou_mode, (*YOLO_PENALTIES, None))
        check_choice('bbox_format', bbox_format, ('xyxy', 'xywh'))
        if iou_mode is not None and (linear or mode != 'log'):
            raise ValueError('mode and iou_mode are two formulas, got both: '
                             f'mode={mode!r}, iou_mode={iou_mode!r}')
        self.mode = 'linear' if linear else mode
        self.linear, self.iou_mode = linear, iou_mode
        self.bbox_format, self.return_iou = bbox_format, return_iou

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """Take the defaults of mmyolo with one of its arguments."""
        theirs = dict(iou_mode='ciou', bbox_format='xywh', return_iou=True)
        if theirs.keys() & kwargs.keys():
            kwargs = {**theirs, **kwargs}
        return super().own_arguments(args, kwargs)

    def forward(self, pred: Tensor, target: Tensor, *args: Any,
                **kwargs: Any) -> Any:
        """Compute the loss, and with ``return_iou`` the IoU of each box."""
        loss = super().forward(pred, target, *args, **kwargs)
        if not self.return_iou:
            return loss
        with autocast_off(pred.device.type):
            boxes = [self.corners(upcast(x)) for x in (pred, target)]
            return loss, 1 - self.elementwise(*boxes)

    def corners(self, boxes: Tensor) -> Tensor:
        """Return boxes as (x1, y1, x2, y2)."""
        if self.bbox_format == 'xyxy':
            return boxes
        centre, size = boxes.split(2, dim=-1)
        return torch.cat([centre - size / 2, centre + size / 2], dim=-1)

    def prepare(self, pred: Tensor, target: Tensor, *args: Any) -> Inputs:
        self.element_shape(pred, target)
        return super().prepare(self.corners(pred), self.corners(target), *args)

    def box_loss(self, pair: BoxPair) -> Tensor:
        if self.iou_mode is not None:
            return add_terms(1 - pair.iou, YOLO_PENALTIES[self.iou_mode](pair))
        iou = pair.iou.clamp(min=self.eps)
        if self.mode == 'log':
            return -iou.log()
        return 1 - (iou if self.mode == 'linear' else iou**2)


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
        search=dict(smooth_point=(0.01, 1.0)),
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
