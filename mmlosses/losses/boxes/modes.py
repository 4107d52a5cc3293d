"""Powers and rescaled boxes, with the penalties of any other box loss."""
from __future__ import annotations
from typing import Callable, Dict

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.boxes import BoxArguments, BoxLoss, BoxPair, Terms
from mmlosses.core.checks import check_choice, check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.numeric import safe_power
from mmlosses.core.terms import add_terms
from mmlosses.registry import MODELS
from .distance import ciou_penalty, diou_penalty, mpdiou_penalty
from .overlap import giou_penalty
from .shape import eiou_penalty, shape_iou_penalty, siou_penalty

#: The penalties that a mode adds to 1 - IoU.
PENALTIES: Dict[str, Callable[[BoxPair], Terms]] = {
    'iou': lambda pair: (),
    'giou': giou_penalty,
    'diou': diou_penalty,
    'ciou': ciou_penalty,
    'eiou': eiou_penalty,
    'siou': siou_penalty,
    'mpdiou': mpdiou_penalty,
    'shapeiou': shape_iou_penalty,
}


@MODELS.register_module()
class AlphaIoULoss(BoxLoss):
    r"""Raises the IoU and each penalty to the power alpha.

    .. math::
        L = 1 - IoU^\alpha + \sum_i P_i^\alpha

    with the penalties :math:`P_i` of a ``mode``, as :math:`\rho^2 / c^2` of
    ``'diou'``. :math:`\alpha > 1` weights accurate boxes more.

    Args:
        alpha (float): Power :math:`\alpha`; the paper uses 3. Default: 3.0.
        mode (str): ``'iou'``, ``'giou'``, ``'diou'`` or ``'ciou'``, as in the
            paper; also ``'eiou'``, ``'siou'``, ``'mpdiou'`` or ``'shapeiou'``.
            Default: ``'iou'``.
    """
    info = LossInfo(
        purpose='box regression that weights accurate boxes more',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        search=dict(alpha=(1.0, 6.0)),
        paper=Paper(
            'Jiabo He, Sarah Erfani, Xingjun Ma, James Bailey, Ying Chi, '
            'Xian-Sheng Hua',
            'Alpha-IoU: A Family of Power Intersection over Union Losses for '
            'Bounding Box Regression', 'NeurIPS', 2021, '2110.13675'))

    def __init__(self,
                 alpha: float = 3.0,
                 mode: str = 'iou',
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_number('alpha', alpha, above=0)
        check_choice('mode', mode, tuple(PENALTIES))
        self.alpha, self.mode = alpha, mode

    def box_loss(self, pair: BoxPair) -> Tensor:
        terms = PENALTIES[self.mode](pair)
        # For alpha >= 2, both derivatives of the power are finite at IoU 0.
        power = torch.pow if self.alpha >= 2 else safe_power
        return add_terms(1 - power(pair.iou, self.alpha),
                         [safe_power(term, self.alpha) for term in terms])


@MODELS.register_module()
class InnerIoULoss(BoxLoss):
    r"""The IoU of boxes that are scaled about their centres.

    .. math::
        L = 1 - IoU_{inner} + \sum_i P_i

    with the penalties :math:`P_i` of a ``mode``, for the original boxes: the
    loss of that mode plus :math:`IoU - IoU_{inner}`.

    Args:
        ratio (float): Scale of the sides, in the paper from 0.5 to 1.5. Below
            1 accurate boxes learn faster, above 1 poor ones. Default: 0.7.
        mode (str): ``'iou'``, ``'giou'``, ``'diou'``, ``'ciou'``, ``'eiou'``
            or ``'siou'``, as in the paper; also ``'mpdiou'`` or
            ``'shapeiou'``. Default: ``'iou'``.
    """
    info = LossInfo(
        purpose='box regression in any mode, with the IoU of rescaled boxes',
        slots='any slot with decoded boxes, such as ``loss_bbox`` of FCOS',
        expects='boxes',
        search=dict(ratio=(0.5, 1.5)),
        paper=Paper(
            'Hao Zhang, Cong Xu, Shuaijie Zhang',
            'Inner-IoU: More Effective Intersection over Union Loss with '
            'Auxiliary Bounding Box', '', 2023, '2311.02877'))

    def __init__(self,
                 ratio: float = 0.7,
                 mode: str = 'iou',
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_number('ratio', ratio, above=0)
        check_choice('mode', mode, tuple(PENALTIES))
        self.ratio, self.mode = ratio, mode

    def box_loss(self, pair: BoxPair) -> Tensor:
        terms = PENALTIES[self.mode](pair)
        return add_terms(1 - pair.scaled(self.ratio).iou, terms)
