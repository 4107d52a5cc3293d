"""Overlap of boxes in 3D, along the axes or turned about the vertical one."""
from __future__ import annotations

from torch import Tensor

from mmlosses.core.boxes_3d import Box3DLoss, axis_aligned_iou, rotated_iou_3d
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS

PAPER = Paper(
    'Dingfu Zhou, Jin Fang, Xibin Song, Chenye Guan, Junbo Yin, Yuchao Dai, '
    'Ruigang Yang', 'IoU Loss for 2D/3D Object Detection', '3DV', 2019,
    '1908.03851')


@MODELS.register_module()
class AxisAlignedIoULoss(Box3DLoss):
    r"""Intersection over union of boxes with their sides along the axes.

    .. math::
        L = 1 - \frac{|A \cap B|}{|A \cup B|}

    of volumes. Boxes that do not overlap have the loss 1 and no gradient.

    Shape:
        - pred, target: (N, 6), boxes (x1, y1, z1, x2, y2, z2) in any unit.
        - weight: (N,), or (N, 6), which is averaged.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmdet3d's ``eps`` is a volume of 1e-6, in the unit of the boxes: a
          cube with sides of 0.005 has the loss 0.875 with itself.
        - mmdet3d's is NaN in half precision: the volume of a box of 60 units
          is infinite.
        - mmdet3d's synchronises with the host to look for a positive weight,
          and fails on weights (N, 6), and on weights (N,) that are all 0.
        - mmdet3d's multiplies weights of 0 into NaN.
    """
    info = LossInfo(
        purpose='regression of 3D boxes without an angle',
        slots='``bbox_loss`` of FCAF3D, ``iou_loss`` of VoteNet',
        expects='3D boxes',
        paper=PAPER)
    coordinates = ('x1', 'y1', 'z1', 'x2', 'y2', 'z2')

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return 1 - axis_aligned_iou(pred, target, self.eps)


@MODELS.register_module()
class RotatedIoU3DLoss(Box3DLoss):
    r"""Intersection over union of boxes that are turned about the vertical.

    .. math::
        L = 1 - \frac{|A \cap B| \, h}{|A| h_A + |B| h_B - |A \cap B| \, h}

    of the areas A and B of the boxes as seen from above, their heights and
    the height h that they share. The overlap of A and B is exact, from torch's
    own operators, on any device. Boxes that do not overlap have the loss 1 and
    no gradient.

    Shape:
        - pred, target: (N, 7), centre x, y and z, sizes along x, y and z
          before the turn, and the yaw in radians, from x to y.
        - weight: (N,), or (N, 7), which is averaged.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmdet3d's needs the compiled ``diff_iou_rotated_3d`` of mmcv, which
          runs on a GPU only, and not in half precision.
        - mmcv's loses corners by rounding: at 1000 metres, a box has the IoU
          0.34 with itself. Here only differences of the boxes count.
        - mmcv's is NaN for two boxes of size 0.
        - mmdet3d's synchronises with the host to look for a positive weight,
          and multiplies weights of 0 into NaN.
    """
    info = LossInfo(
        purpose='regression of 3D boxes with a yaw',
        slots='``bbox_loss`` of FCAF3D and ImVoxelNet',
        expects='3D boxes',
        paper=PAPER)
    coordinates = ('x', 'y', 'z', 'w', 'l', 'h', 'yaw')

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return 1 - rotated_iou_3d(pred, target, self.eps)
