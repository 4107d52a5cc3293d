"""Angles as bins that overlap, with an offset in each."""
from __future__ import annotations
from typing import Any, Sequence

import torch.nn.functional as F
from torch import Tensor

from mmlosses.core.base import BaseLoss, Inputs
from mmlosses.core.checks import check_floating
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.numeric import unit_vectors
from mmlosses.registry import MODELS


def multibin_loss(pred: Tensor, target: Tensor, kept: Tensor) -> Tensor:
    r"""The loss (\*) of each angle, see :class:`MultiBinLoss`.

    The mean number of bins is that of the angles of which ``kept`` (\*) is 1.
    """
    bins = target.shape[-1] // 2
    inside, offset = target.split(bins, dim=-1)
    scores, vectors = pred.unflatten(-1, (2 * bins, 2)).split(bins, dim=-2)
    no, yes = scores.unbind(-1)
    # The cross entropy of two scores is the binary one of their difference.
    entropy = F.binary_cross_entropy_with_logits(
        yes - no, inside, reduction='none')
    sin, cos = unit_vectors(vectors).unbind(-1)
    error = (sin - offset.sin()).abs() + (cos - offset.cos()).abs()
    number = inside.sum() / kept.sum().clamp(min=1)
    number = number.masked_fill(number == 0, 1)
    return entropy.mean(dim=-1) + (inside * error).sum(dim=-1) / number


@MODELS.register_module()
class MultiBinLoss(BaseLoss):
    r"""Angles as bins that overlap, with an offset in each: MultiBin.

    .. math::
        L = \frac{1}{N B} \sum_{n, b} CE(c_{nb}, v_{nb}) +
        \frac{1}{V} \sum_{n, b} v_{nb} \left(|s_{nb} - \sin o_{nb}| +
        |t_{nb} - \cos o_{nb}|\right), \qquad V = \sum_{n, b} v_{nb}

    with B bins of each of N angles: v is 1 for the bins that an angle is in,
    one or, where they overlap, two; o is its offset from the centre of the
    bin; c are two scores, outside and inside; (s, t) is the predicted sine and
    cosine, normalised to the length 1. Each element is one angle.

    Shape:
        - pred: (N, 4 B): the two scores of each bin, then sine and cosine of
          the offset in each bin.
        - target: (N, 2 B): v, 0 or 1, of each bin, then o in radians.
        - num_dir_bins: B, by default as of target.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``. It has V / N of the angles
          whose weight is not 0.

    Differs from upstream:
        - mmdet3d's returns after the first of the bins: the others learn
          nothing, and the cross entropy of the first is divided by B.
        - mmdet3d's divides by zero if no angle is in the first bin, and has
          the cross entropy NaN without an angle.
        - mmdet3d's ``MonoFlexHead`` passes no ``num_dir_bins``, which
          mmdet3d's loss requires: they do not work together.
        - mmdet3d's ignores ``reduction``, of which the default is ``'none'``:
          it returns the mean.
        - mmdet3d's synchronises with the host for each bin.
    """
    info = LossInfo(
        purpose='angles of 3D boxes seen by one camera',
        slots='``loss_dir`` of MonoFlex',
        expects='numbers',
        paper=Paper(
            'Arsalan Mousavian, Dragomir Anguelov, John Flynn, Jana Kosecka',
            '3D Bounding Box Estimation Using Deep Learning and Geometry',
            'CVPR', 2017, '1612.00496'),
        source='The form of MonoFlex: Yunpeng Zhang, Jiwen Lu, Jie Zhou. '
        'Objects are Different: Flexible Monocular 3D Object Detection. '
        'CVPR 2021, `arXiv:2104.02323 <https://arxiv.org/abs/2104.02323>`_.')

    def forward(self,
                pred: Tensor,
                target: Tensor,
                num_dir_bins: int | None = None,
                reduction_override: str | None = None,
                *,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                **kwargs: Any) -> Tensor:
        """Compute the loss; ``num_dir_bins`` precedes the usual arguments."""
        check_floating('target', target)
        if num_dir_bins not in (None, target.shape[-1] // 2):
            raise ValueError(
                'num_dir_bins must be half the size of the last axis of '
                f'target, got {num_dir_bins} and {tuple(target.shape)}')
        return super().forward(pred, target, weight, avg_factor,
                               reduction_override, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if (pred.ndim == 0 or pred.shape[-1] % 4 or pred.shape[-1] == 0
                or target.shape != (*pred.shape[:-1], pred.shape[-1] // 2)):
            raise ValueError('pred must have the shape (N, 4 B) and target '
                             f'(N, 2 B), got {tuple(pred.shape)} and '
                             f'{tuple(target.shape)}')
        return pred.shape[:-1]

    def prepare(self, *args: Any, **kwargs: Any) -> Inputs:
        """Mark the angles to leave out: masked, a 1 becomes a 0."""
        inputs = super().prepare(*args, **kwargs)
        inputs.extras = (inputs.pred.new_ones(tuple(inputs.shape)), )
        return inputs

    def check_values(self, inputs: Inputs) -> None:
        bins = inputs.target.shape[-1] // 2
        self.check_range('target', inputs.target[..., :bins], inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor, *extras:
                    Tensor) -> Tensor:
        return multibin_loss(pred, target, *extras)
