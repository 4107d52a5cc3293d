"""Losses that weight elements by how many have a similar gradient."""
from __future__ import annotations
from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments, Inputs
from mmlosses.core.checks import (check_number, check_sigmoid, check_size,
                                  is_visible)
from mmlosses.core.classification import (ClassificationArguments,
                                          ClassificationLoss)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.statistics import StatisticsLoss
from mmlosses.registry import MODELS


def moving_counts(average: Tensor, counts: Tensor, momentum: float) -> Tensor:
    """Move an average count of each bin; an empty bin keeps its own."""
    moved = momentum * average + (1 - momentum) * counts
    return torch.where(counts > 0, moved, average)


def harmonizing_weight(norm: Tensor,
                       kept: Tensor,
                       bins: int,
                       momentum: float = 0.0,
                       average: Tensor | None = None) -> Tuple[Tensor, Tensor]:
    r"""Return the weight of each gradient norm, and the count of each bin.

    .. math::
        \beta_i = \frac{N}{M \, S_{b(i)}}, \qquad
        b(i) = \lfloor B g_i \rfloor

    for N norms g from 0 to 1, of which M of B bins hold one or more, and the
    ``average`` S of the counts. Without it, S are the counts. The mask
    ``kept`` broadcasts to the norms.
    """
    index = (norm * bins).long().clamp_(0, bins - 1)  # also of 1 and NaN
    counts = count_bins(index, kept, bins)
    occupied, density = counts > 0, counts.to(norm.dtype)
    if average is not None:
        density = moving_counts(average.to(norm.dtype), density, momentum)
    density = torch.where(occupied, density, torch.ones_like(density))
    total, valid = counts.sum(), occupied.sum()
    weight = total / (density * valid.clamp(min=1))
    return weight.index_select(0, index.flatten()).reshape(norm.shape), counts


def count_bins(index: Tensor, kept: Tensor, bins: int) -> Tensor:
    """Return how many elements of each bin are kept."""
    if is_visible(index):  # ``bincount`` waits for a device
        if not kept.all():
            index = index.masked_fill(~kept, bins)
        return torch.bincount(index.flatten(), minlength=bins)[:bins]
    # A counter for each column, since on a GPU additions to one wait for each
    # other. In integers, as float32 does not count beyond 2^24.
    columns = index.shape[-1] if index.ndim > 1 else 1
    zeros = torch.zeros(bins, columns, dtype=torch.int32, device=index.device)
    kept = kept.int().expand(index.shape).reshape(-1, columns)
    return zeros.scatter_add(0, index.reshape(-1, columns), kept).sum(dim=1)


class HarmonizingLoss(StatisticsLoss):
    """A loss whose elements are weighted by :func:`harmonizing_weight`.

    A subclass defines :meth:`loss_and_norm`.

    Args:
        bins (int): Number of bins of the gradient norm. Default: 10.
        momentum (float): Share of the running average in the count of a bin,
            from 0 to below 1. With 0 the counts are those of the call; above
            it, their average is the buffer ``acc_sum``, which starts at 0 and
            moves in training mode, before use. Default: 0.0.
    """
    acc_sum: Tensor

    def __init__(self,
                 bins: int = 10,
                 momentum: float = 0.0,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_size('bins', bins)
        check_number('momentum', momentum, least=0, below=1)
        self.bins, self.momentum = bins, momentum
        if momentum > 0:
            # It moves by the counts of the bins, and the number of calls.
            self.register_statistics('acc_sum', torch.zeros(bins),
                                     (bins + 1, ))

    def loss_and_norm(self, pred: Tensor,
                      target: Tensor) -> Tuple[Tensor, Tensor]:
        """Return the loss and the gradient norm of each element."""
        raise NotImplementedError

    def loss_and_sums(self, pred: Tensor, target: Tensor, kept: Tensor,
                      buffer: Tensor | None) -> Tuple[Tensor, Tensor]:
        loss, norm = self.loss_and_norm(pred, target)
        weight, counts = harmonizing_weight(norm.detach(), kept, self.bins,
                                            self.momentum, buffer)
        called = (counts.sum(dim=0, keepdim=True) > 0).long()
        return weight * loss, torch.cat([counts, called])

    def moved(self, sums: Tensor) -> Tensor:
        """Return the average after a step, by the mean counts of a call."""
        # Not by their sum: a call divides by the average of its own elements.
        counts = sums[:-1] / sums[-1].clamp(min=1)
        return moving_counts(self.acc_sum, counts, self.momentum)

    def prepare(self, pred: Any, target: Any, weight: Tensor | None,
                avg_factor: float | Tensor | None, **options: Any) -> Inputs:
        """Divide a mean by the number of elements whose weight is not 0."""
        inputs = super().prepare(pred, target, weight, None, **options)
        if inputs.removed is not None:
            kept = (~inputs.removed).expand(tuple(inputs.shape))
            inputs.denominator = kept.sum().clamp(min=1)
        return inputs

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str,
                              *args: Any) -> None:
        """Drop the edges of the bins, which mmdet saves."""
        state_dict.pop(f'{prefix}edges', None)
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class GHMC(HarmonizingLoss, ClassificationLoss):
    r"""Gradient harmonizing for classification: GHM-C.

    .. math::
        L = \frac{1}{N} \sum_i \beta_i \, \mathrm{BCE}(x_i, t_i), \qquad
        \beta_i = \frac{N}{M \, S_{b(i)}}, \qquad g_i = |\sigma(x_i) - t_i|

    Binary decisions are sorted by their gradient norm g into B bins, and each
    of the M occupied bins has the same total weight. Easy negatives, which are
    most, and outliers, which share a bin with few others, change with the
    prediction; :math:`S_b` is the running average of the count of bin b.

    Distributed training with ``momentum`` needs ``SyncStatisticsHook``, with
    which each iteration moves the average once, by the mean count over the
    calls of all ranks.

    Args:
        bins (int): Number of bins B; mmdet's configs use 30. Default: 10.
        momentum (float): Share of the running average in :math:`S`; with 0
            there is none. mmdet's configs use 0.75. Default: 0.0.
        use_sigmoid (bool): For heads that read it; only True. Default: True.
        class_weight (list[float] | Tensor, optional): Weight of each class,
            for its positives and negatives. Default: None.

    Shape:
        - pred: logits (N, C, \*), or any shape.
        - target: integer labels (N, \*), where C is background, or one-hot or
          soft, as pred.
        - weight: (N, \*), or as pred.
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Differs from upstream:
        - A weight is optional and multiplies the loss; mmdet requires it, and
          any weight above 0 counts as 1.
        - ``'mean'`` divides by the number N of elements whose weight is not 0,
          as mmdet does: ``avg_factor`` has no effect. ``'sum'`` works.
        - An element of weight 0 may hold NaN.
        - ``momentum``: evaluation does not move the average, and neither does
          activation checkpointing a second time.
        - No call synchronises with the host, which mmdet's does for each bin.
    """
    info = LossInfo(
        purpose='classification with many easy negatives and outliers',
        slots='``loss_cls`` of RetinaNet with GHM',
        expects='scores',
        search=dict(bins=(5, 50), momentum=(0.0, 0.9)),
        paper=Paper('Buyu Li, Yu Liu, Xiaogang Wang',
                    'Gradient Harmonized Single-stage Detector', 'AAAI', 2019,
                    '1811.05181'))

    def __init__(self,
                 bins: int = 10,
                 momentum: float = 0.0,
                 use_sigmoid: bool = True,
                 **kwargs: Unpack[ClassificationArguments]) -> None:
        check_sigmoid(use_sigmoid)
        super().__init__(bins, momentum, use_sigmoid=True, **kwargs)

    def loss_and_norm(self, pred: Tensor,
                      target: Tensor) -> Tuple[Tensor, Tensor]:
        class_weight = self.weight_of_classes(pred, target)
        target = self.dense_target(pred, target)
        loss = F.binary_cross_entropy_with_logits(
            pred, target, reduction='none')
        if class_weight is not None:
            loss = loss * class_weight
        return loss, (pred.detach().sigmoid() - target).abs_()


def pseudo_huber(error: Tensor, mu: float) -> Tensor:
    r"""Return :math:`\sqrt{d^2 + \mu^2} - \mu`."""
    return pseudo_huber_and_derivative(error, mu)[0]


def pseudo_huber_and_derivative(error: Tensor,
                                mu: float) -> Tuple[Tensor, Tensor]:
    """Return the same and its derivative."""
    root = (error * error + mu * mu).sqrt()
    # Without the difference of two numbers close to mu.
    return error * (error / (root + mu)), error / root


def authentic_smooth_l1(pred: Tensor, target: Tensor,
                        mu: float) -> Tuple[Tensor, Tensor]:
    r"""Return the loss and its gradient norm, from 0 to 1.

    .. math:: \sqrt{d^2 + \mu^2} - \mu \quad \text{and} \quad
        |d| / \sqrt{d^2 + \mu^2}, \qquad d = pred - target
    """
    error = pred - target
    loss = with_gradient(
        pseudo_huber, pseudo_huber_and_derivative, error, mu=mu)
    return loss, (error / (loss + mu)).detach().abs()


@MODELS.register_module()
class GHMR(HarmonizingLoss):
    r"""Gradient harmonizing for regression: GHM-R.

    .. math::
        L = \frac{1}{N} \sum_i \beta_i
        \left( \sqrt{d_i^2 + \mu^2} - \mu \right), \qquad
        \beta_i = \frac{N}{M \, S_{b(i)}}, \qquad
        g_i = \frac{|d_i|}{\sqrt{d_i^2 + \mu^2}}

    with the error :math:`d = pred - target`. Like :class:`GHMC`, it weights an
    element by the number of those of a similar gradient norm g.

    Distributed training with ``momentum`` needs ``SyncStatisticsHook``, as
    that of :class:`GHMC`.

    Args:
        mu (float): Error, in the unit of the target, around which the square
            becomes a line; 0.02 is for deltas. Default: 0.02.
        bins (int): Number of bins. Default: 10.
        momentum (float): Share of the running average in :math:`S`; with 0
            there is none. mmdet's configs use 0.7. Default: 0.0.

    Differs from upstream:
        - A weight is optional and multiplies the loss; mmdet requires it, and
          uses it for N and to drop elements only.
        - ``'mean'`` divides by the number N of elements whose weight is not 0:
          ``avg_factor`` has no effect. ``'sum'`` works.
        - Errors far below ``mu`` do not round to 0.
        - Weights of 0, ``momentum`` and the host as in :class:`GHMC`.
    """
    info = LossInfo(
        purpose='regression with many easy samples and outliers',
        slots='``loss_bbox`` of RetinaNet with GHM',
        expects='numbers',
        paper=GHMC.info.paper)

    def __init__(self,
                 mu: float = 0.02,
                 bins: int = 10,
                 momentum: float = 0.0,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(bins, momentum, **kwargs)
        check_number('mu', mu, above=0)
        self.mu = mu

    def loss_and_norm(self, pred: Tensor,
                      target: Tensor) -> Tuple[Tensor, Tensor]:
        return authentic_smooth_l1(pred, target, self.mu)
