"""Losses of the boundaries of regions."""
from __future__ import annotations
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import check_number, check_same_shape
from mmlosses.core.distance_transform import distance_to_other
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.label_maps import LabelMapLoss
from mmlosses.core.tensors import one_hot
from mmlosses.registry import MODELS


@MODELS.register_module()
class BoundaryLoss(BaseLoss):
    r"""Binary cross entropy of an edge map, balanced between its two classes.

    .. math::
        L = -\frac{1}{N} \left(\frac{n_0}{n_0 + n_1} \sum_{t_i = 1}
        \log \sigma(x_i) + \frac{n_1}{n_0 + n_1} \sum_{t_i = 0}
        \log (1 - \sigma(x_i))\right)

    with the logits x, and the numbers :math:`n_1` of the pixels of the batch
    on an edge, t = 1, and :math:`n_0` of those that are not. All N pixels
    divide. Other targets, such as 255, are ignored. This is the loss of
    PIDNet, not the loss of distance maps of Kervadec et al.

    Shape:
        - bd_pre (pred): logits (N, 1, \*), or as the target.
        - bd_gt (target): (N, \*), of any dtype.
        - weight: (N, \*). A pixel of weight 0 is not counted; other weights
          do not change the counts.
        - returns: 0-dim, or the shape of the target for ``'none'``.

    Differs from upstream:
        - mmseg returns NaN where an ignored pixel holds NaN, and for an empty
          batch, and raises an error for a target that is not contiguous.
        - mmseg takes no ``weight``, ``ignore_index`` or ``reduction``, so that
          only PIDNet can use its loss.
    """
    info = LossInfo(
        purpose='edge maps, where few pixels are on an edge',
        slots="``loss_decode`` of mmseg's PIDNet, the third",
        expects='logits',
        paper=Paper(
            'Jiacong Xu, Zixiang Xiong, Shankar P. Bhattacharyya',
            'PIDNet: A Real-time Semantic Segmentation Network Inspired by '
            'PID Controllers', 'CVPR', 2023, '2206.02066'),
        source='The balance: Saining Xie, Zhuowen Tu. Holistically-Nested '
        'Edge Detection. ICCV 2015, `arXiv:1504.06375 '
        '<https://arxiv.org/abs/1504.06375>`_.')
    pred_name = 'bd_pre'
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            loss_weight: float = 1.0,
            loss_name: str | None = None,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(
            loss_weight=loss_weight, loss_name=loss_name, **kwargs)

    def forward(self, bd_pre: Tensor, bd_gt: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss, see :meth:`BaseLoss.forward`."""
        return super().forward(bd_pre, bd_gt, *args, **kwargs)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                ignore_index: int | None = None) -> Inputs:
        """Remove the pixels that are neither on an edge nor off it."""
        if pred.ndim == target.ndim + 1 and pred.shape[1] == 1:
            pred = pred.squeeze(1)
        inputs = super().prepare(pred, target, *args)
        inputs.target = inputs.target.to(pred.dtype)
        other = (inputs.target != 0) & (inputs.target != 1)
        if ignore_index is not None:
            other = other | (inputs.target == ignore_index)
        inputs.remove(other)
        return inputs

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_same_shape(pred, target)
        return pred.shape

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            pred, target, reduction='none')

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Weigh each class by the share of the other one."""
        loss = super().weigh(loss, inputs)
        if inputs.removed is None:  # each target is 0 or 1
            on = inputs.target.sum() / max(loss.numel(), 1)
            return loss * (on + inputs.target * (1 - 2 * on))
        edge = inputs.target == 1
        there = ~inputs.removed.expand(edge.shape)
        # In int64, the default, the sum takes twenty times as long.
        total, on = [
            x.sum(dtype=torch.int32).to(loss.dtype)
            for x in (there, there & edge)
        ]
        on = on / total.clamp(min=1)
        return loss * torch.where(edge, 1 - on, on)


@MODELS.register_module(
    name=['HausdorffDistanceLoss', 'HuasdorffDisstanceLoss'])
class HausdorffDistanceLoss(LabelMapLoss):
    r"""Errors by their depth inside a region, for the Hausdorff distance.

    .. math::
        L = \frac{1}{N C P} \sum_n \sum_{c > 0} w_c \sum_i
        (p_{nci} - t_{nci})^2
        \left(d(t_{nc})_i^\alpha + d(s_{nc})_i^\alpha\right)

    with the probabilities p of class c, its mask t, the mask s of the pixels
    that are predicted as c, and the P pixels of a map. d is the distance in
    pixels from a pixel of a mask to the nearest one outside, 0 for those
    outside, and the diagonal of the map if the mask covers it. Class 0 is the
    background; a single channel counts as two classes.

    The distance is exact and computed on the device of the prediction, in
    :math:`O(H W \min(H, W))` for all classes of a map. It gets no gradient.

    Args:
        alpha (float): Exponent of the distance: a larger one penalises far
            errors more. The paper and mmseg use 2. Default: 2.0.

    Shape:
        - pred: logits (N, C, H, W).
        - target: integer labels (N, H, W).
        - weight: (N,), or (N, H, W) of the pixels.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - With more than two classes, mmseg compares the probability of each
          class with the number of the label, and takes all of them for one
          region. Here each class has its mask.
        - mmseg counts ignored pixels as background, and raises an
          AssertionError for every ``class_weight``.
        - mmseg computes the distances by SciPy on the CPU, once for each
          class. For a map without background they are arbitrary.
        - The paper also weighs pixels outside a mask by their distance; mmseg
          does not, and its number is kept.
    """
    info = LossInfo(
        purpose='label maps, where large holes and blobs count most',
        slots="``loss_decode`` of mmseg's heads, beside a Dice loss or cross "
        'entropy',
        expects='logits',
        paper=Paper(
            'Davood Karimi, Septimiu E. Salcudean',
            'Reducing the Hausdorff Distance in Medical Image Segmentation '
            'with Convolutional Neural Networks', 'TMI', 2019, '1904.10030'),
        source='As in: Jun Ma, Zhan Wei, Yiwen Zhang, Yixin Wang, Rongfei Lv, '
        'Cheng Zhu, Gaoxiang Chen, Jianan Liu, Chao Peng, Lei Wang, Yunpeng '
        'Wang, Jianan Chen. How Distance Transform Maps Boost Segmentation '
        'CNNs: An Empirical Study. MIDL 2020.')
    stock_name = 'HuasdorffDisstanceLoss'

    def __init__(  # type: ignore[misc]
            self,
            reduction: str = 'mean',
            class_weight: Sequence[float] | Tensor | float | None = None,
            loss_weight: float = 1.0,
            ignore_index: int | None = 255,
            loss_name: str | None = None,
            alpha: float = 2.0,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(
            class_weight,
            ignore_index,
            reduction=reduction,
            loss_weight=loss_weight,
            loss_name=loss_name,
            **kwargs)
        check_number('alpha', alpha, least=0)
        self.alpha = alpha

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if pred.ndim != 4:
            raise ValueError('pred must have the shape (N, C, H, W), got '
                             f'{tuple(pred.shape)}')
        return super().element_shape(pred, target)

    def elementwise(self, pred: Tensor, target: Tensor, pixels: Tensor,
                    weights: Tensor) -> Tensor:
        if pred.shape[1] == 1:
            pred = torch.cat([torch.zeros_like(pred), pred], dim=1)
            weights = torch.cat([0 * weights, weights], dim=1)
        seen, prob = pred.detach().argmax(dim=1), pred.softmax(dim=1)
        far = distance_to_other(torch.cat([target, seen])).to(pred.dtype)
        # Other classes have distance 0 in each of the two masks.
        far = (pixels.repeat(2, 1, 1) * far**self.alpha).unsqueeze(1)
        factor = torch.zeros_like(prob)
        for mask, depth in zip((target, seen), far.split(len(target))):
            factor = factor.scatter_add(1, mask.unsqueeze(1), depth)
        factor = weights[:, 1:, None, None] * factor[:, 1:]
        own = one_hot(target, pred.shape[1])[:, 1:].to(prob.dtype)
        loss = factor * (prob[:, 1:] - own).square()
        size = max(target.shape[1] * target.shape[2], 1)
        return loss.sum(dim=(1, 2, 3)) / (size * pred.shape[1])


HuasdorffDisstanceLoss = HausdorffDistanceLoss
