"""Cross entropy of the hardest pixels."""
from __future__ import annotations
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments, Inputs
from mmlosses.core.buffers import register_weights
from mmlosses.core.checks import (check_ignored, check_index,
                                  check_label_range, check_number, check_size)
from mmlosses.core.classification import SampleLoss
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.top_k import hardest
from mmlosses.core.label_maps import class_weights, mark_labels
from mmlosses.registry import MODELS


@MODELS.register_module()
class OhemCrossEntropy(SampleLoss):
    r"""Cross entropy of the pixels that are not predicted well yet.

    .. math::
        L = -\frac{1}{|H|} \sum_{i \in H} w_{y_i} \log p_{i y_i}

    with the label y of a pixel and its probability p. H holds the pixels with
    :math:`p_{i y_i}` below ``thres`` and, if these are fewer, the
    ``min_kept`` pixels of the batch with the least, at most all but one.
    ``reduction='none'`` gives 0 for all others.

    Args:
        ignore_label (int, optional): Label to ignore, as the ``ignore_index=``
            of a call: its pixels are neither mined nor counted. Default: 255.
        thres (float, optional): Probability from which a pixel is easy; 0.9
            in PIDNet and DDRNet. ``None`` keeps ``min_kept`` pixels in any
            case. Default: 0.7.
        min_kept (int): Pixels of the batch to keep at least. PIDNet keeps
            131072 of six crops of 1024 x 1024. Default: 100000.
        class_weight (Sequence[float] | Tensor | float, optional): Weight of
            each class, or one for all. It does not change the mining, and
            the mean does not divide by it. Default: None.

    Shape:
        - score (pred): logits (N, C, \*).
        - target: integer labels (N, \*).
        - weight: (N, \*). A pixel of weight 0 is neither mined nor counted;
          other weights do not change the mining.
        - returns: 0-dim, or (N, \*) for ``'none'``.

    Differs from upstream:
        - mmseg sorts all pixels, and synchronises with the host twice.
        - Where all pixels are certain, mmseg returns NaN. Where all are
          ignored, its 0 has no graph, so that the backward pass fails.
        - mmseg documents ``thres=None``, and fails with it.
        - Among equal probabilities mmseg keeps none that is beyond
          ``min_kept``. Here the first ones are kept.
        - Only PIDNet and DDRNet can use mmseg's: it refuses ``weight`` and
          ``ignore_index``, which other heads pass.
    """
    info = LossInfo(
        purpose='label maps, by the hardest pixels of the batch',
        slots="``loss_decode`` of mmseg's PIDNet, DDRNet and other heads",
        expects='logits',
        paper=Paper(
            'Abhinav Shrivastava, Abhinav Gupta, Ross Girshick',
            'Training Region-based Object Detectors with Online Hard Example '
            'Mining', 'CVPR', 2016, '1604.03540'),
        source='As in PIDNet: Jiacong Xu, Zixiang Xiong, Shankar P. '
        'Bhattacharyya. PIDNet: A Real-time Semantic Segmentation Network '
        'Inspired by PID Controllers. CVPR 2023, `arXiv:2206.02066 '
        '<https://arxiv.org/abs/2206.02066>`_.')
    pred_name = 'score'
    masks_after_formula = True
    _class_weight: Tensor | None

    def __init__(  # type: ignore[misc]
            self,
            ignore_label: int | None = 255,
            thres: float | None = 0.7,
            min_kept: int = 100000,
            loss_weight: float = 1.0,
            class_weight: Sequence[float] | Tensor | float | None = None,
            loss_name: str | None = None,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(
            loss_weight=loss_weight, loss_name=loss_name, **kwargs)
        check_ignored('ignore_label', ignore_label)
        if thres is not None:
            check_number('thres', thres, least=0)
        check_size('min_kept', min_kept)
        self.ignore_label, self.thres = ignore_label, thres
        self.min_kept = min_kept
        register_weights(self, 'class_weight', class_weight, 'class', True)

    def forward(self, score: Tensor, target: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss, see :meth:`BaseLoss.forward`."""
        return super().forward(score, target, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        samples = self.samples(pred)
        check_index(target)
        if target.shape != samples:
            raise ValueError(f'target must have the shape {tuple(samples)}, '
                             f'got {tuple(target.shape)}')
        return samples

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                ignore_index: int | None = None) -> Inputs:
        """Remove the pixels to ignore."""
        inputs = super().prepare(pred, target, *args)
        inputs.target = target.long()
        inputs.remove(
            mark_labels(inputs.target, (self.ignore_label, ignore_index)))
        return inputs

    def check_values(self, inputs: Inputs) -> None:
        check_label_range(inputs.target, inputs.pred.shape[1], 'target')

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(pred, target, reduction='none')

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Drop the easy pixels; the mean is over the others."""
        kept = self.mine(loss.detach(), inputs.removed)
        # In int64, the default, the sum takes twenty times as long.
        number = kept.sum(dtype=torch.int32)
        inputs.denominator = number.clamp(min=1)
        weights = class_weights(self, inputs.pred)
        loss = super().weigh(loss * weights[inputs.target], inputs)
        return loss * kept  # keeps NaN

    def mine(self, loss: Tensor, removed: Tensor | None) -> Tensor:
        """Return a mask of the hard pixels."""
        there = torch.ones_like(loss, dtype=torch.bool)
        if removed is not None:
            there = there & ~removed
        number = there.sum(dtype=torch.int32).reshape(1, 1)
        number = (number - 1).clamp(min=0, max=self.min_kept)
        rows = loss.reshape(1, -1), there.reshape(1, -1)
        kept = hardest(*rows, number).reshape(loss.shape)
        if self.thres is None:
            return kept
        return kept | (there & (loss.neg().exp() < self.thres))
