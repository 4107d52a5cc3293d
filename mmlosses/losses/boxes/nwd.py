"""Distance between boxes as Gaussians."""
from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.boxes import BoxArguments, BoxLoss
from mmlosses.core.checks import check_number
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS


@MODELS.register_module()
class NWDLoss(BoxLoss):
    r"""Normalized Gaussian Wasserstein distance, for tiny objects.

    .. math::
        L = 1 - e^{-W / C}, \qquad
        W^2 = \|b - b^{gt}\|^2 + \frac{(w - w^{gt})^2}{4}
        + \frac{(h - h^{gt})^2}{4}

    with the centres b. Without the IoU, a box of a few pixels that misses its
    target by one has a small loss. It depends on the unit of the boxes.

    Args:
        constant (float): C, in the unit of the boxes. The paper uses the mean
            object size of its dataset, AI-TOD: 12.8 pixels. Default: 12.8.
        eps (float): W / C below which the gradient vanishes. Default: 1e-6.
    """
    info = LossInfo(
        purpose='box regression for tiny, small objects of a few pixels',
        slots='any slot with boxes in pixels, as ``loss_bbox`` of FCOS',
        expects='pixel boxes',
        search=dict(constant=(2.0, 100.0)),
        paper=Paper(
            'Jinwang Wang, Chang Xu, Wen Yang, Lei Yu',
            'A Normalized Gaussian Wasserstein Distance for Tiny Object '
            'Detection', '', 2021, '2110.13389'))

    def __init__(self,
                 constant: float = 12.8,
                 **kwargs: Unpack[BoxArguments]) -> None:
        super().__init__(**kwargs)
        check_number('constant', constant, above=0)
        self.constant = constant

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        # Centres and half sides are half sums and half differences of the
        # corners, so W^2 is half the sum of the squared corner errors.
        error = (pred - target.to(pred.dtype)) / self.constant
        square = (error**2).sum(dim=-1) / 2
        # Smooth at 0, where the gradient of a square root is infinite.
        distance = (square + self.eps**2).sqrt() - self.eps
        return 1 - torch.exp(-distance)
