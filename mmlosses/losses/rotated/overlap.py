"""Overlap of rotated boxes, alone and with what is around them."""
from __future__ import annotations
import math
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments
from mmlosses.core.boxes import at_least
from mmlosses.core.checks import check_choice, check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.kernels.hulls import (area_of_hull,
                                         area_of_hull_and_derivative)
from mmlosses.core.kernels.rotated import iou_and_derivative, iou_of_pairs
from mmlosses.core.rotated import RotatedFrame, RotatedLoss
from mmlosses.registry import MODELS


def rotated_iou(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    r"""The IoU (\*) of rotated boxes (\*, 5), with a gradient.

    Args: see :class:`RotatedIoULoss`.
    """
    return with_gradient(
        iou_of_pairs, iou_and_derivative, pred, target, eps=eps)


class RotatedOverlapLoss(RotatedLoss):
    r"""Base of the losses of the exact overlap of rotated boxes.

    Args:
        eps (float): Lower bound of denominators, relative to the squared mean
            of the target's sides. Default: 1e-6.
    """

    def __init__(self,
                 eps: float = 1e-6,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('eps', eps, above=0)
        self.eps = eps

    def penalty(self, frame: RotatedFrame, iou: Tensor) -> Tensor:
        """Return what is added to 1 - IoU."""
        raise NotImplementedError

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        iou = rotated_iou(pred, target, self.eps)
        return 1 - iou + self.penalty(
            RotatedFrame(pred, target, self.eps), iou)


@MODELS.register_module()
class RotatedIoULoss(RotatedOverlapLoss):
    r"""Intersection over union of rotated boxes, in one of three forms.

    .. math::
        L = -\ln IoU, \qquad L = 1 - IoU \qquad \text{or} \qquad L = 1 - IoU^2

    for ``mode`` ``'log'``, ``'linear'`` and ``'square'``. The exact area is
    computed from torch's own operators, on any device. Boxes that do not
    overlap have the greatest loss and no gradient.

    Args:
        linear (bool): mmrotate's deprecated ``mode='linear'``. Default: False.
        eps (float): The least IoU, and the lower bound of the union, relative
            to the squared mean of the target's sides. Default: 1e-6.
        mode (str): ``'log'``, ``'linear'`` or ``'square'``.
            Default: ``'log'``.

    Differs from upstream:
        - mmrotate's needs the compiled ``diff_iou_rotated_2d`` of mmcv, which
          runs on a GPU only, and not in half precision.
        - mmrotate's loses corners by rounding: a box 1000 pixels from 0 has
          the IoU 0.33 with itself. Here only differences of the boxes count.
        - mmrotate's is NaN for two boxes of size 0.
        - mmrotate's synchronises with the host to look for a positive weight.
        - With ``reduction='none'`` and weights of 0, mmrotate's multiplies the
          loss by 0, so NaN stays.
    """
    info = LossInfo(
        purpose='regression of rotated boxes that overlap their targets',
        slots='``loss_bbox`` of Rotated FCOS, Rotated ATSS and Rotated RTMDet',
        expects='rotated boxes',
        paper=Paper(
            'Dingfu Zhou, Jin Fang, Xibin Song, Chenye Guan, Junbo Yin, '
            'Yuchao Dai, Ruigang Yang', 'IoU Loss for 2D/3D Object Detection',
            '3DV', 2019, '1908.03851'))

    def __init__(self,
                 linear: bool = False,
                 eps: float = 1e-6,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 mode: str = 'log',
                 **kwargs: Any) -> None:
        super().__init__(
            eps, reduction=reduction, loss_weight=loss_weight, **kwargs)
        check_choice('mode', mode, ('log', 'linear', 'square'))
        self.mode = 'linear' if linear else mode
        self.linear = linear

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        iou = rotated_iou(pred, target, self.eps).clamp(min=min(self.eps, 1))
        if self.mode == 'log':
            return -iou.log()
        return 1 - (iou if self.mode == 'linear' else iou**2)


@MODELS.register_module()
class RotatedGIoULoss(RotatedOverlapLoss):
    r"""Generalized IoU of rotated boxes: also learns from boxes apart.

    .. math::
        L = 1 - IoU + \frac{|C| - |A \cup B|}{|C|}

    with the convex hull C of both boxes. The greatest value is 2. At the truth
    the loss has a kink, where its gradient is not 0.

    Differs from upstream:
        - mmrotate has GIoU for sets of points only: ``ConvexGIoULoss``.
    """
    info = LossInfo(
        purpose='regression of rotated boxes, also from far away',
        slots='``loss_bbox`` of Rotated FCOS, Rotated ATSS and Rotated RTMDet',
        expects='rotated boxes',
        paper=Paper(
            'Hamid Rezatofighi, Nathan Tsoi, JunYoung Gwak, Amir Sadeghian, '
            'Ian Reid, Silvio Savarese',
            'Generalized Intersection over Union: A Metric and A Loss for '
            'Bounding Box Regression', 'CVPR', 2019, '1902.09630'),
        source='The form for rotated boxes: the convex hull, as the smallest '
        'convex shape of section 3 of the paper.')

    def penalty(self, frame: RotatedFrame, iou: Tensor) -> Tensor:
        hull = with_gradient(area_of_hull, area_of_hull_and_derivative,
                             frame.all_corners())
        hull = at_least(frame.least_area, hull)
        union = at_least(frame.least_area, frame.areas / (1 + iou))
        # Rounding must not make the hull smaller than the boxes in it.
        return 1 - (union / hull).clamp(max=1)


def centre_distance(frame: RotatedFrame) -> Tensor:
    """The penalty of :class:`RotatedDIoULoss`."""
    x, y = frame.offset
    return (x * x + y * y) / frame.squared_diagonal()


@MODELS.register_module()
class RotatedDIoULoss(RotatedOverlapLoss):
    r"""Distance IoU of rotated boxes: adds the distance between the centres.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2}

    with the centres b and the diagonal c of the smallest box around both that
    has its sides along those of the target. For equal angles it is
    :class:`DIoULoss`.

    Differs from upstream:
        - mmrotate has no DIoU of rotated boxes.
    """
    info = LossInfo(
        purpose='regression of rotated boxes by overlap and centre distance',
        slots='``loss_bbox`` of Rotated FCOS, Rotated ATSS and Rotated RTMDet',
        expects='rotated boxes',
        paper=Paper(
            'Zhaohui Zheng, Ping Wang, Wei Liu, Jinze Li, Rongguang Ye, '
            'Dongwei Ren',
            'Distance-IoU Loss: Faster and Better Learning for Bounding Box '
            'Regression', 'AAAI', 2020, '1911.08287'),
        source='The form for rotated boxes: equation 7 of the paper, in the '
        'frame of the target.')

    def penalty(self, frame: RotatedFrame, iou: Tensor) -> Tensor:
        return centre_distance(frame)


def aspect_difference(frame: RotatedFrame) -> Tensor:
    """The aspect term v of :class:`RotatedCIoULoss`."""
    least = frame.least_length()
    (width, height), (target_width, target_height) = [
        (at_least(least, x), at_least(least, y))
        for x, y in (frame.size, 2 * frame.half)
    ]
    target = torch.atan2(target_width, target_height)
    upright = target - torch.atan2(width, height)
    swapped = target - torch.atan2(height, width)
    square = torch.sin(frame.turn)**2
    return 4 / math.pi**2 * (upright**2 + square * (swapped**2 - upright**2))


@MODELS.register_module()
class RotatedCIoULoss(RotatedOverlapLoss):
    r"""Complete IoU of rotated boxes: adds centre distance and aspect ratio.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{c^2} + \alpha v, \qquad
        v = \frac{4}{\pi^2} \left(\cos^2 \Delta \left(
        \arctan\frac{w^{gt}}{h^{gt}} - \arctan\frac{w}{h}\right)^2
        + \sin^2 \Delta \left(\arctan\frac{w^{gt}}{h^{gt}}
        - \arctan\frac{h}{w}\right)^2\right)

    with b and c as in :class:`RotatedDIoULoss`, the difference
    :math:`\Delta` of the angles, and :math:`\alpha` as in
    :class:`CIoULoss`: 0 up to an IoU of 0.5, above it
    :math:`v / (1 - IoU + v)`, without a gradient. A right angle swaps width
    and height, so v is the same in any convention, and for equal angles L is
    :class:`CIoULoss`.

    Differs from upstream:
        - mmrotate has no CIoU of rotated boxes.
    """
    info = LossInfo(
        purpose='regression of rotated boxes by overlap, centre distance and '
        'aspect ratio',
        slots='``loss_bbox`` of Rotated FCOS, Rotated ATSS and Rotated RTMDet',
        expects='rotated boxes',
        paper=Paper(
            'Zhaohui Zheng, Ping Wang, Dongwei Ren, Wei Liu, Rongguang Ye, '
            'Qinghua Hu, Wangmeng Zuo',
            'Enhancing Geometric Factors in Model Learning and Inference for '
            'Object Detection and Instance Segmentation',
            'IEEE Transactions on Cybernetics', 2021, '2005.03572'),
        source='The form for rotated boxes: in the frame of the target, with '
        'v averaged over both names of the sides.')

    def penalty(self, frame: RotatedFrame, iou: Tensor) -> Tensor:
        aspect = aspect_difference(frame)
        v, share = aspect.detach(), iou.detach()
        alpha = (share > 0.5) * v / (1 - share + v).clamp(min=self.eps)
        return centre_distance(frame) + alpha * aspect
