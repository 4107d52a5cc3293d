"""Differences of the sides, with the distance between the centres."""
from __future__ import annotations
from typing import Any, Dict

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.boxes import (TINY, BoxArguments, BoxLoss, BoxPair, Terms,
                                 at_least, product, squared_length)
from mmlosses.core.checks import check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.terms import add_terms
from mmlosses.registry import MODELS


def eiou_penalty(pair: BoxPair) -> Terms:
    """The three penalties of :class:`EIoULoss`."""
    enclosing = at_least(pair.least_length(), pair.enclosing())
    centre = squared_length(pair.offset()) / squared_length(enclosing)
    width, height = (pair.size_error() / enclosing)**2
    return centre, width, height


@MODELS.register_module()
class EIoULoss(BoxLoss):
    r"""Efficient IoU: adds the distances of centres, widths and heights.

    .. math::
        L = 1 - IoU + \frac{\rho^2(b, b^{gt})}{(w^c)^2 + (h^c)^2}
        + \frac{(w - w^{gt})^2}{(w^c)^2} + \frac{(h - h^{gt})^2}{(h^c)^2}

    with the centres b and the sides :math:`w^c`, :math:`h^c` of the smallest
    enclosing box. Focal-EIoU multiplies it by :math:`IoU^\gamma`, without a
    gradient: poor boxes count less, and non-overlapping boxes learn nothing.

    Args:
        focal_gamma (float, optional): Exponent :math:`\gamma` of Focal-EIoU;
            the paper uses 0.5. ``None`` is EIoU. Default: None.

    Differs from upstream:
        - mmdet's ``EIoULoss`` is a different loss: Extended IoU, Hanyang Peng
          and Shiqi Yu, IEEE Transactions on Image Processing 2021. Its
          ``smooth_point`` is therefore not an argument here. That loss is
          :class:`ExtendedIoULoss`.
    """
    info = LossInfo(
        purpose='box regression by overlap, centre and sides, also from far '
        'away; Focal-EIoU',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        paper=Paper(
            'Yi-Fan Zhang, Weiqiang Ren, Zhang Zhang, Zhen Jia, Liang Wang, '
            'Tieniu Tan',
            'Focal and Efficient IOU Loss for Accurate Bounding Box '
            'Regression', 'Neurocomputing', 2022, '2101.08158'))
    published = {'smooth_point': 'refused: it is of ``ExtendedIoULoss``'}

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Dict[str, Any]) -> Any:
        """Say where mmdet's loss of this name is."""
        if 'smooth_point' in kwargs:
            raise TypeError(
                'EIoULoss is Efficient IoU and takes no smooth_point, got '
                f"{kwargs['smooth_point']!r}: mmdet's EIoULoss, Extended IoU, "
                'is mmlosses.ExtendedIoULoss')
        return super().own_arguments(args, kwargs)

    def __init__(self,
                 focal_gamma: float | None = None,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        if focal_gamma is not None:
            check_number('focal_gamma', focal_gamma, above=0)
        self.focal_gamma = focal_gamma

    def box_loss(self, pair: BoxPair) -> Tensor:
        loss = add_terms(1 - pair.iou, eiou_penalty(pair))
        if self.focal_gamma is None:
            return loss
        # A gradient through the weight would push boxes apart.
        return pair.iou.detach()**self.focal_gamma * loss


def side_difference(pair: BoxPair) -> Tensor:
    """Return the difference of each side, relative to the longer one."""
    longer = torch.maximum(pair.size, pair.target_size)
    return pair.size_error().abs() / at_least(pair.least_length(), longer)


def siou_penalty(pair: BoxPair, theta: float = 4.0) -> Terms:
    """The penalties of :class:`SIoULoss`, distance and shape cost."""
    offset = pair.offset()
    square = squared_length(offset).clamp(min=TINY)
    angle_cost = 2 * product(offset).abs() / square
    rho = (offset / at_least(pair.least_length(), pair.enclosing()))**2
    distance = 1 - torch.exp((angle_cost - 2) * rho)
    shape = (1 - torch.exp(-side_difference(pair)))**theta
    return distance.sum(dim=0) / 2, shape.sum(dim=0) / 2


@MODELS.register_module()
class SIoULoss(BoxLoss):
    r"""SCYLLA IoU: adds a direction-aware centre distance and a shape cost.

    .. math::
        L = 1 - IoU + \frac{\Delta + \Omega}{2}
        \\
        \Delta = \sum_{t = x, y} \left(1 - e^{-(2 - \Lambda) \rho_t}\right),
        \qquad
        \rho_x = \left(\frac{b_x - b_x^{gt}}{w^c}\right)^2, \qquad
        \Lambda = \sin 2\alpha
        = \frac{2 |b_x - b_x^{gt}| |b_y - b_y^{gt}|}{\rho^2(b, b^{gt})}
        \\
        \Omega = \sum_{t = w, h} \left(1 - e^{-\omega_t}\right)^\theta,
        \qquad
        \omega_w = \frac{|w - w^{gt}|}{\max(w, w^{gt})}

    with the centres b, the angle :math:`\alpha` of the line between them, and
    the sides :math:`w^c`, :math:`h^c` of the smallest enclosing box.

    Args:
        theta (float): Exponent of the shape cost, 2 to 6 in the paper.
            Default: 4.0.
        neg_gamma (bool): mmdet's name of the sign; only True. Default: True.

    Differs from upstream:
        - The distance cost of mmdet has the wrong sign, unless
          ``neg_gamma=True``: it decreases as the boxes move apart, and
          training pushes them apart.
        - The sine of twice the angle is computed without the paper's arcsine,
          whose gradient is infinite at 90 degrees.
    """
    info = LossInfo(
        purpose='box regression by overlap, centre direction and sides',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        search=dict(theta=(2.0, 6.0)),
        paper=Paper(
            'Zhora Gevorgyan',
            'SIoU Loss: More Powerful Learning for Bounding Box Regression',
            '', 2022, '2205.12740'))

    def __init__(self,
                 theta: float = 4.0,
                 neg_gamma: bool = True,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_number('theta', theta, least=1)
        if not neg_gamma:
            raise ValueError('neg_gamma=False, the default of mmdet, pushes '
                             'boxes apart: leave it out')
        self.theta, self.neg_gamma = theta, neg_gamma

    def penalties(self, pair: BoxPair) -> Terms:
        return siou_penalty(pair, self.theta)


def shape_iou_penalty(pair: BoxPair, scale: float = 0.0) -> Terms:
    """The penalties of :class:`ShapeIoULoss`: distance and shape cost."""
    width, height = at_least(pair.least_length(), pair.target_size)
    share = torch.sigmoid(scale * (width / height).log())
    across = 2 * torch.stack([1 - share, share])  # h', w'
    distance = (across * pair.offset()**2).sum(dim=0)
    shape = (1 - torch.exp(-across * side_difference(pair)))**4
    return distance / pair.squared_diagonal(), shape.sum(dim=0) / 2


@MODELS.register_module()
class ShapeIoULoss(BoxLoss):
    r"""Shape IoU: weights errors by the shape of the target.

    .. math::
        L = 1 - IoU + h' \frac{(b_x - b_x^{gt})^2}{c^2}
        + w' \frac{(b_y - b_y^{gt})^2}{c^2}
        + \frac{1}{2} \sum_{t = w, h} \left(1 - e^{-\omega_t}\right)^4
        \\
        \omega_w = h' \frac{|w - w^{gt}|}{\max(w, w^{gt})}, \qquad
        \omega_h = w' \frac{|h - h^{gt}|}{\max(h, h^{gt})}
        \\
        w' = \frac{2 (w^{gt})^s}{(w^{gt})^s + (h^{gt})^s}, \qquad
        h' = \frac{2 (h^{gt})^s}{(w^{gt})^s + (h^{gt})^s}

    with the centres b and the diagonal c of the smallest enclosing box. An
    error across the longer side of the target counts more.

    Args:
        scale (float): Exponent s, which the paper ties to the object size of
            the dataset. 0 weights both sides equally. Default: 0.0.
    """
    info = LossInfo(
        purpose="box regression for long, thin objects, by the target's shape",
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        search=dict(scale=(0.0, 2.0)),
        paper=Paper(
            'Hao Zhang, Shuaijie Zhang',
            'Shape-IoU: More Accurate Metric considering Bounding Box Shape '
            'and Scale', '', 2023, '2312.17663'))

    def __init__(self,
                 scale: float = 0.0,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_number('scale', scale, least=0)
        self.scale = scale

    def penalties(self, pair: BoxPair) -> Terms:
        return shape_iou_penalty(pair, self.scale)
