"""Distances of centres and corners, relative to a diagonal."""
from __future__ import annotations
import math
from typing import Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, Terms,
                                 at_least, squared_length)
from mmlosses.core.checks import check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS


def diou_penalty(pair: BoxPair) -> Terms:
    """The penalty of :class:`DIoULoss`."""
    return squared_length(pair.offset()) / pair.squared_diagonal(),


@MODELS.register_module()
class DIoULoss(BoxLoss):
    r"""Distance IoU: adds the distance between the centres.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2}

    with the centres b and the diagonal c of the smallest enclosing box.
    """
    info = LossInfo(
        purpose='box regression by overlap and centre distance',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        paper=Paper(
            'Zhaohui Zheng, Ping Wang, Wei Liu, Jinze Li, Rongguang Ye, '
            'Dongwei Ren',
            'Distance-IoU Loss: Faster and Better Learning for Bounding Box '
            'Regression', 'AAAI', 2020, '1911.08287'),
        source='equation 7.')

    def penalties(self, pair: BoxPair) -> Terms:
        return diou_penalty(pair)


def ciou_penalty(pair: BoxPair, above: float = 0.5) -> Terms:
    """The two penalties of :class:`CIoULoss`, the second above an IoU."""
    least = pair.least_length()
    angle, target_angle = [
        torch.atan(width / at_least(least, height))
        for width, height in (pair.size, pair.target_size)
    ]
    aspect = (2 / math.pi * (target_angle - angle))**2
    v, iou = aspect.detach(), pair.iou.detach()
    # Without the bound, a perfect prediction gives 0 / 0.
    alpha = (iou > above) * v / (1 - iou + v).clamp(min=pair.eps)
    return (*diou_penalty(pair), alpha * aspect)


@MODELS.register_module()
class CIoULoss(BoxLoss):
    r"""Complete IoU: adds the centre distance and the aspect ratio.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2} + \alpha v, \qquad
        v = \frac{4}{\pi^2} \left(\arctan\frac{w^{gt}}{h^{gt}}
        - \arctan\frac{w}{h}\right)^2, \qquad
        \alpha = \begin{cases} 0 & IoU \le 0.5 \\
        \frac{v}{1 - IoU + v} & IoU > 0.5 \end{cases}

    with the centres b and the diagonal c of the smallest enclosing box. No
    gradient flows through :math:`\alpha`. At IoU 0.5 L jumps by up to 0.17.

    Differs from upstream:
        - mmdet's value and gradient are NaN at a perfect prediction.
        - torchvision's has no threshold: the aspect ratio counts at every IoU.
    """
    info = LossInfo(
        purpose='box regression by overlap, centre distance and aspect ratio',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        paper=Paper(
            'Zhaohui Zheng, Ping Wang, Dongwei Ren, Wei Liu, Rongguang Ye, '
            'Qinghua Hu, Wangmeng Zuo',
            'Enhancing Geometric Factors in Model Learning and Inference for '
            'Object Detection and Instance Segmentation',
            'IEEE Transactions on Cybernetics', 2021, '2005.03572'))

    def penalties(self, pair: BoxPair) -> Terms:
        return ciou_penalty(pair)


def mpdiou_penalty(pair: BoxPair,
                   img_shape: Sequence[float] | None = None) -> Terms:
    """The two penalties of :class:`MPDIoULoss`."""
    square: float | Tensor = pair.squared_diagonal()
    if img_shape is not None:
        square = img_shape[0]**2 + img_shape[1]**2
    return (squared_length(pair.low_error) / square,
            squared_length(pair.high_error) / square)


@MODELS.register_module()
class MPDIoULoss(BoxLoss):
    r"""Minimum point distance IoU: adds the distances of two corners.

    .. math::
        L = 1 - IoU + \frac{d_1^2}{w^2 + h^2} + \frac{d_2^2}{w^2 + h^2}

    with the distances :math:`d_1`, :math:`d_2` of the top left and the bottom
    right corners, and the size w, h of ``img_shape`` or the enclosing box.

    Args:
        img_shape (tuple[float], optional): Height and width of the image, as
            in the paper, in the unit of the boxes. ``None`` takes the smallest
            enclosing box, which makes the loss scale-invariant. Default: None.
    """
    info = LossInfo(
        purpose='box regression by overlap and corners, also from far away',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        paper=Paper(
            'Siliang Ma, Yong Xu',
            'MPDIoU: A Loss for Efficient and Accurate Bounding Box '
            'Regression', '', 2023, '2307.07662'))

    def __init__(self,
                 img_shape: Sequence[float] | None = None,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        if img_shape is not None:
            if not isinstance(img_shape, (list, tuple)) or len(img_shape) != 2:
                raise ValueError('img_shape must be a height and a width, got '
                                 f'{img_shape!r}')
            for side in img_shape:
                check_number('img_shape', side, above=0)
        self.img_shape = img_shape

    def penalties(self, pair: BoxPair) -> Terms:
        return mpdiou_penalty(pair, self.img_shape)
