"""Kernels of a weight bank that should differ from each other."""
from __future__ import annotations
from typing import Any, Iterable, Sequence

import torch
from torch import Tensor, nn

from mmlosses.core.base import BaseLoss, Inputs
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.numeric import unit_vectors
from mmlosses.registry import MODELS


def kernel_correlation(kernels: Tensor) -> Tensor:
    """The sum of the squared cosines of all pairs of kernels (K, D)."""
    kernels = unit_vectors(kernels)
    return (kernels @ kernels.T).triu(diagonal=1).square().sum()


def bank_of(module: Any) -> Tensor:
    """The kernels (K, C * D) of a layer with a bank (C, K * D)."""
    bank = module.weight_bank
    bank = bank.reshape(len(bank), module.num_kernels, -1)
    return bank.transpose(0, 1).flatten(1)


@MODELS.register_module()
class PAConvRegularizationLoss(BaseLoss):
    r"""Correlation of the kernels in the weight banks of PAConv.

    .. math::
        L = \frac{1}{N} \sum_n \sum_{i < j} \left(\frac{k_{ni} \cdot k_{nj}}
        {\lVert k_{ni} \rVert \lVert k_{nj} \rVert}\right)^2

    with the kernels :math:`k_{ni}` of each of N layers. It does not look at
    predictions: it is called with the modules of a model, and takes those with
    a ``weight_bank`` and ``num_kernels``. Each element is one layer.

    Shape:
        - modules: modules, some of which have a ``weight_bank``
          (C, ``num_kernels`` \* D), as mmdet3d's ``PAConv`` and
          ``PAConvCUDA``.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Raises:
        ValueError: If no module has a weight bank.

    Differs from upstream:
        - mmdet3d's takes layers of its own two classes only.
        - mmdet3d's is NaN for a kernel of zeros, and fails with a message
          about stacking where no layer is a PAConv.
    """
    info = LossInfo(
        purpose='kernels of PAConv that differ from each other',
        slots="``loss_regularization`` of mmdet3d's ``EncoderDecoder3D``",
        expects='any',
        paper=Paper(
            'Mutian Xu, Runyu Ding, Hengshuang Zhao, Xiaojuan Qi',
            'PAConv: Position Adaptive Convolution with Dynamic Kernel '
            'Assembling on Point Clouds', 'CVPR', 2021, '2103.14635'))
    pred_name = 'weight_bank'

    def forward(self,
                modules: Iterable[nn.Module],
                reduction_override: str | None = None,
                *,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                **kwargs: Any) -> Tensor:
        """Compute the loss of the layers with a weight bank."""
        banks = tuple([
            bank_of(module) for module in modules
            if hasattr(module, 'weight_bank')
        ])
        if not banks:
            raise ValueError('no module has a weight_bank, as the PAConv of '
                             'mmdet3d has: remove loss_regularization')
        return super().forward(banks, (), weight, avg_factor,
                               reduction_override, **kwargs)

    def element_shape(self, pred: Sequence[Tensor],
                      target: Any) -> Sequence[int]:
        return (len(pred), )

    def mask_removed(self, inputs: Inputs) -> None:
        """Zero the kernels of removed layers, whatever their shapes."""
        assert inputs.removed is not None
        removed = inputs.removed.expand(inputs.shape).unbind()
        inputs.pred = tuple([
            torch.where(each, bank.new_zeros(()), bank)
            for each, bank in zip(removed, inputs.pred)
        ])

    def elementwise(self, pred: Sequence[Tensor], target: Any) -> Tensor:
        return torch.stack([kernel_correlation(bank) for bank in pred])
