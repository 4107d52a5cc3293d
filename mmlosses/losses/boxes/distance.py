"""Distances of centres and corners, relative to a diagonal."""
from __future__ import annotations
import math
from typing import TYPE_CHECKING, Sequence

import torch
from torch import Tensor

from mmlosses.core.boxes import (BoxArguments, BoxLoss, BoxPair, Terms,
                                 squared_length)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS

if TYPE_CHECKING:
    from typing_extensions import Unpack


def diou_penalty(pair: BoxPair) -> Terms:
    r"""Squared distance of the centres, by the diagonal of the enclosing box.

    .. math::
        \frac{\rho^2(b, b^{gt})}{c^2}
    """
    return squared_length(pair.offset()) / pair.squared_diagonal(),


@MODELS.register_module()
class DIoULoss(BoxLoss):
    r"""Distance IoU: also the distance of the centres.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2}

    with the centres b and the diagonal c of the smallest box around both.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's overflows in half precision: the area of a box of 600
          pixels is infinite.
    """

    info = LossInfo(
        purpose='boxes: overlap and centre',
        slots='The slots of :class:`GIoULoss`',
        expects='boxes',
        paper=Paper(
            'Zhaohui Zheng, Ping Wang, Wei Liu, Jinze Li, Rongguang Ye, '
            'Dongwei Ren',
            'Distance-IoU Loss: Faster and Better Learning for Bounding Box '
            'Regression',
            'AAAI', 2020, '1911.08287'),
        source='equation 7.')

    def penalties(self, pair: BoxPair) -> Terms:
        """The distance of the centres."""
        return diou_penalty(pair)


def ciou_penalty(pair: BoxPair) -> Terms:
    r"""The distance of the centres, and the difference of the aspect ratios.

    .. math::
        \frac{\rho^2(b, b^{gt})}{c^2}, \qquad \alpha v, \qquad
        v = \frac{4}{\pi^2} \left(\arctan\frac{w^{gt}}{h^{gt}}
        - \arctan\frac{w}{h}\right)^2, \qquad
        \alpha = \begin{cases} 0 & IoU \le 0.5 \\
        \frac{v}{1 - IoU + v} & IoU > 0.5 \end{cases}

    No gradient flows through :math:`\alpha`.
    """
    angle, target_angle = [
        torch.atan(width / height.clamp(min=pair.eps))
        for width, height in (pair.size, pair.target_size)
    ]
    aspect = (2 / math.pi * (target_angle - angle))**2
    v, iou = aspect.detach(), pair.iou.detach()
    # 0 by 0 at a perfect prediction, were it not for the least denominator.
    alpha = (iou > 0.5) * v / (1 - iou + v).clamp(min=pair.eps)
    return (*diou_penalty(pair), alpha * aspect)


@MODELS.register_module()
class CIoULoss(BoxLoss):
    r"""Complete IoU: also the centres and the aspect ratio.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2} + \alpha v

    with :math:`\alpha v` of :func:`ciou_penalty`. Only boxes that overlap by
    more than half learn the aspect ratio, and :math:`\alpha` is a constant for
    the gradient: at IoU 0.5 the value jumps by at most 0.17.

    Differs from upstream:
        - mmdet's waits for the device to look for a positive weight.
        - mmdet's value and gradient are NaN where the prediction is the
          target.
        - mmdet's overflows in half precision: the area of a box of 600
          pixels is infinite.
        - torchvision's has no threshold: it learns the aspect ratio of all.
    """

    info = LossInfo(
        purpose='boxes: overlap, centre and aspect ratio',
        slots='The slots of :class:`GIoULoss`',
        expects='boxes',
        paper=Paper(
            'Zhaohui Zheng, Ping Wang, Dongwei Ren, Wei Liu, Rongguang Ye, '
            'Qinghua Hu, Wangmeng Zuo',
            'Enhancing Geometric Factors in Model Learning and Inference for '
            'Object Detection and Instance Segmentation',
            'IEEE Transactions on Cybernetics', 2021, '2005.03572'))

    def penalties(self, pair: BoxPair) -> Terms:
        """The distance of the centres and the aspect ratio."""
        return ciou_penalty(pair)


def mpdiou_penalty(pair: BoxPair,
                   img_shape: Sequence[float] | None = None) -> Terms:
    r"""Squared distances of the corners, by a squared diagonal.

    .. math::
        \frac{d_1^2}{d^2}, \qquad \frac{d_2^2}{d^2}

    with the distances :math:`d_1` of the top left corners and :math:`d_2` of
    the bottom right ones. The diagonal :math:`d` is that of the picture of
    ``img_shape`` (height, width), or of the enclosing box.
    """
    square: float | Tensor
    if img_shape is None:
        square = pair.squared_diagonal()
    else:
        square = img_shape[0]**2 + img_shape[1]**2
    return (squared_length(pair.low_error) / square,
            squared_length(pair.high_error) / square)


@MODELS.register_module()
class MPDIoULoss(BoxLoss):
    r"""Minimum point distance IoU: also the distance of two corners.

    .. math::
        L = 1 - IoU + \frac{d_1^2}{w^2 + h^2} + \frac{d_2^2}{w^2 + h^2}

    with the distances :math:`d_1` of the top left and :math:`d_2` of the
    bottom right corners, and the sides of the picture, as in the paper, or of
    the smallest box around both.

    Args:
        img_shape (tuple[float], optional): Height and width of the picture,
            in the unit of the boxes. ``None`` takes those of the smallest box
            around both, so that the loss does not depend on the scale.
            Default: None.
    """

    info = LossInfo(
        purpose='boxes, also far away: overlap and two corners',
        slots='The slots of :class:`GIoULoss`',
        expects='boxes',
        paper=Paper(
            'Siliang Ma, Yong Xu',
            'MPDIoU: A Loss for Efficient and Accurate Bounding Box '
            'Regression',
            '', 2023, '2307.07662'))

    def __init__(self,
                 img_shape: Sequence[float] | None = None,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        if img_shape is not None and (len(img_shape) != 2
                                      or not min(img_shape) > 0):
            raise ValueError('img_shape must be a height and a width, got '
                             f'{img_shape!r}')
        self.img_shape = img_shape

    def penalties(self, pair: BoxPair) -> Terms:
        """The distances of two corners."""
        return mpdiou_penalty(pair, self.img_shape)
