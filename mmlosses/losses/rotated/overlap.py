"""Overlap of rotated boxes, alone and with their convex hull."""
from __future__ import annotations
from typing import Any

from torch import Tensor

from mmlosses.core.checks import check_choice
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.kernels.rotated import iou_and_derivative, iou_of_pairs
from mmlosses.core.rotated import RotatedOverlapLoss, RotatedPair
from mmlosses.registry import MODELS


def rotated_iou(pred: Tensor, target: Tensor, eps: float = 1e-6) -> Tensor:
    r"""The IoU (\*) of rotated boxes (\*, 5), with a gradient.

    Args: see :class:`RotatedIoULoss`.
    """
    return with_gradient(
        iou_of_pairs, iou_and_derivative, pred, target, eps=eps)


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

    def rotated_loss(self, pair: RotatedPair) -> Tensor:
        hull = pair.hull_area()
        # Rounding must not make the hull smaller than the boxes in it.
        return 2 - pair.iou - (pair.union / hull).clamp(max=1)
