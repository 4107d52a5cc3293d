"""Focal losses of heatmaps with Gaussian peaks."""
from __future__ import annotations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.checks import check_index, check_label_range, check_numbers
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gaussian_focal import (
    peak_focal_and_derivative, peak_focal_loss, peak_focal_of_probability,
    peak_focal_of_probability_and_derivative)
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.keypoints import HeatmapLoss, KeypointArguments
from mmlosses.core.numeric import logs_of_probability, safe_power
from mmlosses.registry import MODELS
from .mse import KeypointMSELoss


def gaussian_focal_loss(pred: Tensor,
                        target: Tensor,
                        positives: Tensor | None = None,
                        alpha: float = 2.0,
                        gamma: float = 4.0,
                        pos_weight: float = 1.0,
                        neg_weight: float = 1.0,
                        use_sigmoid: bool = False) -> Tensor:
    r"""Focal loss that down-weights negatives near a peak.

    .. math::
        -w_{pos} n (1 - p)^\alpha \log p
        - w_{neg} [t \neq 1] (1 - t)^\gamma p^\alpha \log (1 - p)

    Args: see :class:`GaussianFocalLoss`; ``positives`` holds how many times
    :math:`n` each element is a positive: by default once, where t is 1.
    """
    if positives is None:
        options: Any = {
            'alpha': alpha,
            'gamma': gamma,
            'pos_weight': pos_weight,
            'neg_weight': neg_weight
        }
        if use_sigmoid:
            return with_gradient(peak_focal_loss, peak_focal_and_derivative,
                                 pred, target, **options)
        return with_gradient(peak_focal_of_probability,
                             peak_focal_of_probability_and_derivative, pred,
                             target.to(pred.dtype), **options)
    if use_sigmoid:
        log_prob, log_rest = F.logsigmoid(pred), F.logsigmoid(-pred)
        # Not 1 - sigmoid(pred), which rounds to 0.
        prob, rest = torch.sigmoid(pred), torch.sigmoid(-pred)
    else:
        log_prob, log_rest = logs_of_probability(pred)
        prob, rest = pred, 1 - pred
    positive = positives * safe_power(rest, alpha) * log_prob
    # A peak is not a negative, not even for gamma 0.
    far = (1 - target).pow(gamma) * (target != 1)
    negative = far * safe_power(prob, alpha) * log_rest
    return -pos_weight * positive - neg_weight * negative


@MODELS.register_module()
class GaussianFocalLoss(HeatmapLoss):
    r"""Focal loss for the heatmaps of CornerNet and CenterNet.

    .. math::
        L = -\begin{cases}
        w_{pos} (1 - p)^\alpha \log p & t = 1 \\
        w_{neg} (1 - t)^\gamma p^\alpha \log (1 - p) & t < 1
        \end{cases}

    Positives are exactly the targets of 1, or those of ``pos_inds`` and
    ``pos_labels``. Heads divide by their number, with ``avg_factor``.

    Args:
        alpha (float): Exponent of the prediction. Default: 2.0.
        gamma (float): Exponent of the target, the paper's beta. Default: 4.0.
        use_sigmoid (bool): If True, ``pred`` holds logits, whose gradient
            stays exact where the sigmoid rounds to 0 or 1. If False, as in
            mmdet's heads, it holds probabilities. Default: False.
        pos_weight (float): Weight of the positives. Default: 1.0.
        neg_weight (float): Weight of the negatives. Default: 1.0.

    Shape:
        - pred, target: any shape, with ``pos_inds`` (N, C); targets are in
          [0, 1], of any dtype.
        - mask: as ``pred``, its axes may be 1: of pixels, by name or as fourth
          argument, as mmpose's bottom-up heads pass it.
        - pos_inds, pos_labels: integers (P,), row and column of positives,
          instead of the targets of 1.
        - returns: 0-dim, or the shape of ``pred`` for ``'none'``.

    Differs from upstream:
        - mmdet takes probabilities only, whose gradient vanishes with the
          sigmoid: a negative of logit 20 has none. CornerNet clamps to
          [0.0001, 0.9999]: no gradient beyond a logit of 9.2.
        - Probabilities of exactly 0 or 1 in half precision, as a sigmoid under
          autocast returns them, give infinity or NaN in mmdet. Here their
          logarithm has no gradient.
        - mmdet's third argument is ``pos_inds``; here it is the weight, as in
          every loss, and ``pos_inds`` and ``pos_labels`` are keywords.
        - With ``pos_inds``, mmdet drops the weight and, without
          ``avg_factor``, adds the mean over positives to that over all
          elements. Here ``'mean'`` is over all elements.
        - With ``gamma=0``, mmdet counts positives as negatives too.
        - CenterNetUpdateHead fills the targets of an image without objects
          with the number of classes, for 80 of which mmdet's loss is 39
          million times too large. Here they count as 0, if they are integers
          or stand beside ``pos_inds``.
    """
    info = LossInfo(
        purpose='heatmaps with Gaussian peaks',
        slots='``loss_heatmap`` of CornerNet, ``loss_center_heatmap`` of '
        "CenterNet, ``decoupled_heatmap_loss`` of mmpose's CID",
        expects='probabilities',
        search=dict(alpha=(1.0, 4.0), gamma=(2.0, 6.0)),
        paper=Paper('Hei Law, Jia Deng',
                    'CornerNet: Detecting Objects as Paired Keypoints', 'ECCV',
                    2018, '1808.01244'),
        source='equation 1.')
    masks_after_formula = True

    def __init__(self,
                 alpha: float = 2.0,
                 gamma: float = 4.0,
                 use_sigmoid: bool = False,
                 pos_weight: float = 1.0,
                 neg_weight: float = 1.0,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(
                alpha=alpha,
                gamma=gamma,
                pos_weight=pos_weight,
                neg_weight=neg_weight),
            least=0)
        self.alpha, self.gamma = alpha, gamma
        self.use_sigmoid = use_sigmoid
        self.pos_weight, self.neg_weight = pos_weight, neg_weight

    @property
    def takes_probabilities(self) -> bool:
        return not self.use_sigmoid

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self,
                    pred: Tensor,
                    target: Tensor,
                    positives: Tensor | None = None) -> Tensor:
        return gaussian_focal_loss(pred, target.to(pred.dtype), positives,
                                   self.alpha, self.gamma, self.pos_weight,
                                   self.neg_weight, self.use_sigmoid)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                pos_inds: Tensor | None = None,
                pos_labels: Tensor | None = None,
                **options: Any) -> Inputs:
        """Count how many times each element is a positive."""
        inputs = super().prepare(pred, target, *args, **options)
        if pos_inds is not None or not target.is_floating_point():
            # Images without objects, which CenterNetUpdateHead fills with C.
            inputs.target = inputs.target.masked_fill(inputs.target > 1, 0)
        if pos_inds is None and pos_labels is None:
            return inputs
        if pos_inds is None or pos_labels is None:
            name = 'pos_inds' if pos_inds is None else 'pos_labels'
            raise ValueError(
                'pos_inds and pos_labels belong together, got no ' + name)
        check_index(pos_inds, 'pos_inds')
        check_index(pos_labels, 'pos_labels')
        if (target.ndim != 2 or pos_inds.ndim != 1
                or pos_inds.shape != pos_labels.shape):
            raise ValueError(
                'with pos_inds, pred must have the shape (N, C) and pos_inds '
                f'and pos_labels (P,), got {tuple(target.shape)}, '
                f'{tuple(pos_inds.shape)} and {tuple(pos_labels.shape)}')
        check_label_range(pos_inds, target.shape[0], 'pos_inds')
        check_label_range(pos_labels, target.shape[1], 'pos_labels')
        positives = torch.zeros_like(
            target, dtype=torch.float32).index_put(
                (pos_inds.long(), pos_labels.long()),
                torch.ones((), device=target.device),
                accumulate=True)
        inputs.extras = (positives.to(pred.dtype), )
        return inputs


@MODELS.register_module()
class FocalHeatmapLoss(KeypointMSELoss):
    r"""Focal loss of heatmaps, divided by the number of peaks.

    .. math::
        L = -\frac{1}{\max(P, 1)} \sum_i w_i \, m_i \begin{cases}
        (1 - p_i)^\alpha \log p_i & t_i = 1 \\
        (1 - t_i)^\beta p_i^\alpha \log (1 - p_i) & t_i < 1
        \end{cases}

    with the number :math:`P` of pixels with target 1 that neither weight nor
    mask removes. :class:`GaussianFocalLoss` leaves the division to the head.

    Args:
        alpha (float): Exponent of the prediction. Default: 2.0.
        beta (float): Exponent of the target. Default: 4.0.
        use_sigmoid (bool): If True, ``pred`` holds logits, else, as in
            mmpose's heads, probabilities. Default: False.

    Shape:
        - pred, target: (N, K, H, W), or with any axes after K; targets are in
          [0, 1].
        - weight: (N, K), or (N, K, H, W) for each pixel.
        - mask: (N, K, H, W) or (N, 1, H, W), by name or as fourth argument.
        - returns: 0-dim, or the shape of ``pred`` for ``'none'``.

    Differs from upstream:
        - mmpose returns NaN, and NaN gradients, for a prediction of exactly 0
          or 1, even the perfect one: 0 log 0.
        - mmpose divides by the sum of the weights of the peaks: a weight of
          0.5 for all changes nothing. Here a weight multiplies the loss.
          Weights of 0 and 1 give the same.
        - mmpose stores ``use_target_weight`` and never reads it.
        - mmpose asks on the host if there are peaks, which stalls a GPU.
    """
    info = LossInfo(
        purpose='heatmaps with Gaussian peaks, averaged over the peaks',
        slots='``coupled_heatmap_loss`` and ``decoupled_heatmap_loss`` of '
        "mmpose's CID",
        expects='probabilities',
        paper=GaussianFocalLoss.info.paper,
        source='equation 1.')

    def __init__(self,
                 alpha: float = 2.0,
                 beta: float = 4.0,
                 *args: Any,
                 use_sigmoid: bool = False,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_numbers(dict(alpha=alpha, beta=beta), least=0)
        self.alpha, self.beta, self.use_sigmoid = alpha, beta, use_sigmoid

    @property
    def takes_probabilities(self) -> bool:
        return not self.use_sigmoid

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return gaussian_focal_loss(pred, target, None, self.alpha, self.beta,
                                   1.0, 1.0, self.use_sigmoid)

    def prepare(self, *args: Any, **options: Any) -> Inputs:
        """Average over the peaks that are not removed."""
        inputs = super().prepare(*args, **options)
        peaks = inputs.target == 1
        if inputs.removed is not None:
            peaks = peaks & ~inputs.removed
        inputs.denominator = peaks.sum(dtype=torch.int32).clamp(min=1)
        return inputs
