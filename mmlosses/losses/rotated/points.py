"""Sets of points against quadrilaterals, as RepPoints predict them."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor

from mmlosses.core.base import BaseLoss
from mmlosses.core.boxes import TINY, at_least
from mmlosses.core.checks import check_floating
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.kernels.hulls import (EPS, giou_and_derivative,
                                         giou_of_points)
from mmlosses.core.polygons import Points, following, points_of, sides_of
from mmlosses.registry import MODELS
from ..regression import smooth_l1_loss

# How far inside a quadrilateral a point must be, as an area.
INSIDE = 0.01


def convex_giou_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""The loss (\*) of :class:`ConvexGIoULoss`."""
    return 1 - with_gradient(giou_of_points, giou_and_derivative, pred, target)


class PointSetLoss(BaseLoss):
    """A loss of points (N, 2 M) and quadrilaterals (N, 8), one for each."""

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Check the coordinates and return the shape without them."""
        check_floating('target', target)
        if (pred.ndim == 0 or pred.shape[-1] < 6 or pred.shape[-1] % 2
                or target.shape != pred.shape[:-1] + (8, )):
            raise ValueError(
                f'{self.pred_name} must be at least three points (N, 2 M), as '
                'x, y, x, y, and target the corners (N, 8), got the shapes '
                f'{tuple(pred.shape)} and {tuple(target.shape)}')
        return pred.shape[:-1]


@MODELS.register_module()
class ConvexGIoULoss(PointSetLoss):
    r"""Generalized IoU of the convex hull of points and a quadrilateral.

    .. math::
        L = 1 - \frac{|H \cap T|}{|H \cup T|} + \frac{|C| - |H \cup T|}{|C|}

    with the convex hull H of the points, the target T and the convex hull C of
    both. The greatest value is 2. Points inside H have no gradient. No
    compiled op is needed.

    Shape:
        - pred: (N, 2 M), M >= 3 points x, y, x, y; mmrotate has M = 9.
        - target: (N, 8), the corners in either order.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmrotate's ignores ``avg_factor``, which heads pass.
        - The backward pass of mmrotate's ignores the gradient that it gets:
          a factor of the loss, such as that of ``GradScaler``, has no effect,
          ``'sum'`` and ``'none'`` have the gradient of ``'mean'``, and that
          of sets with a derivative above 1 is replaced by a constant.
        - mmrotate's needs the compiled ``convex_giou`` of mmcv, on a GPU.
    """
    info = LossInfo(
        purpose='sets of points that enclose a rotated box',
        slots='``loss_bbox_init`` and ``loss_bbox_refine`` of Rotated '
        'RepPoints, CFA and Oriented RepPoints',
        expects='points',
        paper=Paper(
            'Zonghao Guo, Chang Liu, Xiaosong Zhang, Jianbin Jiao, Xiangyang '
            'Ji, Qixiang Ye', 'Beyond Bounding-Box: Convex-hull Feature '
            'Adaptation for Oriented and Densely Packed Object Detection',
            'CVPR', 2021))

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return convex_giou_loss(pred, target)


def outermost(points: Points) -> Tensor:
    """The mean and the left, right, top and bottom points, (10, *)."""
    # argmin takes 7 times as long.
    index = torch.stack([
        extreme(axis, dim=0)[1] for axis in points
        for extreme in (torch.min, torch.max)
    ])
    found = [axis.gather(0, index) for axis in points]
    means = [axis.mean(dim=0, keepdim=True) for axis in points]
    return torch.cat(means + found)


def bc_convex_giou_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""The loss (\*) of :class:`BCConvexGIoULoss`."""
    points, corners = points_of(pred, target)
    sides = sides_of(corners)[:2]
    ratio = sides.amax(dim=0) / at_least(
        sides.amax(dim=0) * EPS + TINY, sides.amin(dim=0))
    share = torch.exp(-ratio / 4)
    near = smooth_l1_loss(outermost(points), outermost(corners)).sum(dim=0)
    giou = 1 - convex_giou_loss(pred, target)
    return share * near + 1 - (1 - 2 * share) * giou


@MODELS.register_module()
class BCConvexGIoULoss(ConvexGIoULoss):
    r"""Convex GIoU plus the distance of the centre and outermost points.

    .. math::
        L = \omega \sum_i \mathrm{SmoothL1}(p_i - t_i)
        + 1 - (1 - 2 \omega) \, GIoU, \qquad \omega = e^{-r / 4}

    with the aspect ratio :math:`r \ge 1` of the target. The :math:`p_i` are
    the coordinates of the mean of the points, and of their leftmost, topmost,
    rightmost and lowest one; the :math:`t_i` are those of the corners. So
    nearly square targets are learned from points, and long ones by overlap.
    The loss jumps where another point becomes the outermost one.

    Shape:
        - pred, target, weight: as of :class:`ConvexGIoULoss`.

    Differs from upstream:
        - In mmrotate's, only GIoU has a gradient, the distance has none, and
          the factor of GIoU is left out of it.
        - mmrotate's adds the mean distance of the batch to each element, so
          that one set of points changes the loss of the others.
        - mmrotate's fails without a GPU: it calls ``cuda()``.
        - All that is said of :class:`ConvexGIoULoss`.
    """
    info = LossInfo(
        purpose='sets of points for nearly square and for long targets',
        slots='``loss_bbox_init`` and ``loss_bbox_refine`` of Rotated '
        'RepPoints',
        expects='points',
        source="mmrotate's ``convex_giou_loss.py``.")

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return bc_convex_giou_loss(pred, target)


def spatial_border_loss(pts: Tensor, gt_bboxes: Tensor) -> Tensor:
    r"""The loss (\*) of :class:`SpatialBorderLoss`."""
    (x, y), corners = points_of(pts, gt_bboxes)
    left, top = [axis.unsqueeze(1) for axis in corners]
    across, down = left - x.detach(), top - y.detach()
    cross = across * following(down) - down * following(across)
    inside = (cross >= INSIDE).all(dim=0) | (cross <= -INSIDE).all(dim=0)
    left, top = corners
    x, y = x - (left[0] + left[2]) / 2, y - (top[0] + top[2]) / 2
    square = x * x + y * y
    zero = inside | (square == 0)  # where the root has no finite gradient
    outside = square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)
    number = (~inside).sum(dim=0).clamp(min=1)
    return 0.2 * outside.sum(dim=0) / number


@MODELS.register_module()
class SpatialBorderLoss(PointSetLoss):
    r"""Spatial constraint: points outside of their box are drawn to it.

    .. math::
        L = \frac{0.2}{|O|} \sum_{p \in O} \lVert p - c \rVert

    with the points O outside the box and its centre c; 0 if there are none.

    Shape:
        - pts: (N, 2 M), M >= 3 points x, y, x, y, in units of the stride, as
          the heads pass them. A point less than about 0.01 from the border
          counts as outside.
        - gt_bboxes: (N, 8), the corners of convex boxes, in either order.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmrotate's divides by the number of boxes twice: N boxes with the
          same error have 1 / N of the loss of one. To keep the balance of a
          stock config with about N positives, divide ``loss_weight`` by N.
        - mmrotate's averages over all outside points of a batch, so that a
          set counts by their number; here each set counts the same.
        - In mmrotate's, a weight only counts as positive or not, a point of
          weight 0 has its loss all the same, and ``'none'`` and ``'sum'`` do
          not exist.
        - mmrotate's synchronises with the host, and returns the shape (1,).
    """
    info = LossInfo(
        purpose='points that must stay inside of a rotated box',
        slots='``loss_spatial_init`` and ``loss_spatial_refine`` of Oriented '
        'RepPoints',
        expects='points',
        paper=Paper('Wentong Li, Yijie Chen, Kaixuan Hu, Jianke Zhu',
                    'Oriented RepPoints for Aerial Object Detection', 'CVPR',
                    2022, '2105.11111'))
    pred_name = 'pts'

    def forward(self, pts: Tensor, gt_bboxes: Tensor, *args: Any,
                **kwargs: Any) -> Any:
        return super().forward(pts, gt_bboxes, *args, **kwargs)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return spatial_border_loss(pred, target)
