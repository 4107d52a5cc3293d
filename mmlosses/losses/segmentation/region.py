"""Losses of the overlap of regions: Tversky, and clDice of centrelines."""
from __future__ import annotations
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments
from mmlosses.core.checks import check_number, check_numbers, check_size
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.label_maps import (LabelMapArguments, LabelMapLoss,
                                      class_masks, class_probabilities)
from mmlosses.core.numeric import safe_power
from mmlosses.registry import MODELS


def tversky_loss(prob: Tensor,
                 mask: Tensor,
                 pixels: Tensor,
                 alpha: float = 0.3,
                 beta: float = 0.7,
                 smooth: float = 1) -> Tensor:
    r"""One minus the Tversky index of each class, see :class:`TverskyLoss`.

    Args:
        prob (Tensor): Probabilities (N, C, \*).
        mask (Tensor): The mask of each class, of the same shape.
        pixels (Tensor): How often each pixel counts, (N, \*).
    """
    mask, pixels = mask.to(prob.dtype), pixels.unsqueeze(1)
    right = mask * prob
    # Not one minus the index, which would round small losses away.
    wrong = alpha * (prob - right) + beta * (mask - right)
    axes = list(range(2, prob.ndim))
    if axes:
        right, wrong = [(pixels * x).sum(dim=axes) for x in (right, wrong)]
    else:  # a point each
        right, wrong = pixels * right, pixels * wrong
    return wrong / (right + wrong + smooth + torch.finfo(prob.dtype).tiny)


@MODELS.register_module()
class TverskyLoss(LabelMapLoss):
    r"""One minus the Tversky index: Dice with a price for each kind of error.

    .. math::
        L = \frac{1}{N C} \sum_{n, c} w_c (1 - T_{nc})^{1 / \gamma}, \qquad
        T = \frac{TP + s}{TP + \alpha FP + \beta FN + s}

    with the sums over the pixels of a map :math:`TP = \sum_i p_i t_i`,
    :math:`FP = \sum_i p_i (1 - t_i)` and :math:`FN = \sum_i (1 - p_i) t_i` of
    the probabilities p of a class and its mask t, and ``smooth`` s.

    Args:
        smooth (float): Added to numerator and denominator, so that a class
            that is absent and not predicted has loss 0. Default: 1.
        class_weight (Sequence[float] | Tensor | float, optional): See
            :class:`LabelMapLoss`; the mean does not divide by it.
            Default: None.
        alpha (float): Price of false positives. Default: 0.3.
        beta (float): Price of false negatives. The paper's best is 0.7 with
            ``alpha=0.3``; 0.5 for both is Dice, 1 for both the Jaccard index.
            Default: 0.7.
        gamma (float): Above 1, the gradient is larger for classes with little
            overlap left to gain: the focal Tversky loss, whose paper uses 4/3
            with alpha and beta as here. Default: 1.0.

    Differs from upstream:
        - mmseg takes negative labels for class 0, and labels beyond the
          classes for the last one. Here they are errors.
        - mmseg refuses every ``alpha`` and ``beta`` that do not add up to
          exactly 1, and returns NaN for ``smooth=0`` and an absent class.
        - mmseg ignores ``weight``, ``avg_factor``, ``reduction_override`` and
          ``ignore_index`` of a call, and has no ``reduction``.
        - For one channel, mmseg takes the softmax of one class, which is 1
          whatever the head predicts. Here it is the sigmoid of label 1.
    """
    info = LossInfo(
        purpose='label maps with a small foreground, with a price for misses',
        slots="``loss_decode`` of mmseg's heads",
        expects='logits',
        paper=Paper(
            'Seyed Sadegh Mohseni Salehi, Deniz Erdogmus, Ali Gholipour',
            'Tversky loss function for image segmentation using 3D fully '
            'convolutional deep networks', 'MLMI', 2017, '1706.05721'),
        source='``gamma``: Nabila Abraham, Naimul Mefraz Khan. A Novel Focal '
        'Tversky loss function with improved Attention U-Net for lesion '
        'segmentation. ISBI 2019, `arXiv:1810.07842 '
        '<https://arxiv.org/abs/1810.07842>`_.')

    def __init__(  # type: ignore[misc]
            self,
            smooth: float = 1,
            class_weight: Sequence[float] | Tensor | float | None = None,
            loss_weight: float = 1.0,
            ignore_index: int | None = 255,
            alpha: float = 0.3,
            beta: float = 0.7,
            loss_name: str | None = None,
            gamma: float = 1.0,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(
            class_weight,
            ignore_index,
            loss_weight=loss_weight,
            loss_name=loss_name,
            **kwargs)
        check_numbers(dict(smooth=smooth, alpha=alpha, beta=beta), least=0)
        check_number('gamma', gamma, above=0)
        self.smooth, self.alpha, self.beta = smooth, alpha, beta
        self.gamma = gamma

    def elementwise(self, pred: Tensor, target: Tensor, pixels: Tensor,
                    weights: Tensor) -> Tensor:
        loss = tversky_loss(
            class_probabilities(pred), class_masks(pred, target), pixels,
            self.alpha, self.beta, self.smooth)
        if self.gamma != 1:
            loss = safe_power(loss, 1 / self.gamma)
        return (weights * loss).mean(dim=1)


def soft_skeleton(maps: Tensor, iterations: int = 10) -> Tensor:
    """Centrelines of maps (N, C, H, W) with values from 0 to 1.

    Each iteration erodes the maps by a pixel, and keeps what the opening of
    the eroded map loses.
    """
    skeleton = torch.zeros_like(maps)
    for i in range(iterations + 1):
        if i:
            maps = erode(maps)
        opened = F.max_pool2d(erode(maps), 3, stride=1, padding=1)
        # Unlike clamp, relu keeps its result, which the product keeps too.
        thin = (maps - opened).relu()
        skeleton = skeleton + thin * (1 - skeleton)
    return skeleton


def erode(maps: Tensor) -> Tensor:
    """The minimum of each pixel and its four neighbours."""
    down = F.max_pool2d(-maps, (3, 1), stride=1, padding=(1, 0))
    right = F.max_pool2d(-maps, (1, 3), stride=1, padding=(0, 1))
    return -torch.maximum(down, right)


def cl_dice_loss(prob: Tensor,
                 mask: Tensor,
                 pixels: Tensor,
                 iterations: int = 10,
                 smooth: float = 1) -> Tensor:
    """One minus the clDice of each class (N, C), see :class:`ClDiceLoss`.

    Args:
        prob (Tensor): Probabilities (N, C, H, W).
        mask (Tensor): The mask of each class, of the same shape.
        pixels (Tensor): How often each pixel counts, (N, H, W).
    """
    pixels, mask = pixels.unsqueeze(1), mask.to(prob.dtype)
    seen = (pixels > 0).to(prob.dtype)
    prob, mask = prob * seen, mask * seen
    smooth = smooth + torch.finfo(prob.dtype).tiny

    def share(maps: Tensor, within: Tensor) -> Tensor:
        line = pixels * soft_skeleton(maps, iterations)
        inside, length = [x.sum(dim=(2, 3)) for x in (line * within, line)]
        return (inside + smooth) / (length + smooth)

    precision, sensitivity = share(prob, mask), share(mask, prob)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


@MODELS.register_module()
class ClDiceLoss(LabelMapLoss):
    r"""clDice: do the centrelines of thin structures lie in the other map?

    .. math::
        L = \frac{1}{N |K|} \sum_{n} \sum_{c \in K} w_c
        \left(1 - \frac{2 P S}{P + S}\right), \qquad
        P = \frac{\sum_i k(p)_i t_i + s}{\sum_i k(p)_i + s}, \quad
        S = \frac{\sum_i k(t)_i p_i + s}{\sum_i k(t)_i + s}

    with the probabilities p of a class, its mask t, the soft skeleton k and
    ``smooth`` s. K are all classes but 0, the background; a single channel is
    that of label 1. It says nothing about the width: add a Dice
    loss, as the paper does, equally weighted or up to ten times as much.

    Args:
        iterations (int): Erosions of the soft skeleton, at least the largest
            radius of a structure in pixels. Default: 10.
        smooth (float): Added to numerators and denominators. Default: 1.

    Shape:
        - pred: logits (N, C, H, W).
        - target: integer labels (N, H, W).
        - weight: (N,), or (N, H, W) of the pixels.
        - returns: 0-dim, or (N,) for ``'none'``.
    """
    info = LossInfo(
        purpose='label maps of vessels, roads and other thin structures',
        slots="``loss_decode`` of mmseg's heads, beside a Dice loss",
        expects='logits',
        paper=Paper(
            'Suprosanna Shit, Johannes C. Paetzold, Anjany Sekuboyina, Ivan '
            'Ezhov, Alexander Unger, Andrey Zhylka, Josien P. W. Pluim, '
            'Ulrich Bauer, Bjoern H. Menze',
            'clDice - A Novel Topology-Preserving Loss Function for Tubular '
            'Structure Segmentation', 'CVPR', 2021, '2003.07311'))

    def __init__(self,
                 iterations: int = 10,
                 smooth: float = 1,
                 **kwargs: Unpack[LabelMapArguments]) -> None:
        super().__init__(**kwargs)
        check_size('iterations', iterations)
        check_number('smooth', smooth, least=0)
        self.iterations, self.smooth = iterations, smooth

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if pred.ndim != 4:
            raise ValueError('pred must have the shape (N, C, H, W), got '
                             f'{tuple(pred.shape)}')
        return super().element_shape(pred, target)

    def elementwise(self, pred: Tensor, target: Tensor, pixels: Tensor,
                    weights: Tensor) -> Tensor:
        prob, mask = class_probabilities(pred), class_masks(pred, target)
        if pred.shape[1] > 1:
            prob, mask, weights = prob[:, 1:], mask[:, 1:], weights[:, 1:]
        loss = cl_dice_loss(prob, mask, pixels, self.iterations, self.smooth)
        return (weights * loss).mean(dim=1)
