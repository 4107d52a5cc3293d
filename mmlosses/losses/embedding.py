"""Losses of the distances and similarities between samples."""
from __future__ import annotations
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_number, check_same_shape,
                                  check_sample_labels)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.top_k import hardest
from mmlosses.core.numeric import safe_sqrt, unit_vectors
from mmlosses.core.tensors import is_transformed
from mmlosses.registry import MODELS


def check_vectors(name: str, features: Tensor) -> None:
    """Raise a ``ValueError`` unless there is one vector for each sample."""
    if features.ndim != 2:
        raise ValueError(f'{name} must have the shape (N, D), got '
                         f'{tuple(features.shape)}')


def distance(features: Tensor, others: Tensor) -> Tensor:
    """Return the Euclidean distance on the last axis, gradient 0 at 0."""
    # Not expanded into squares, which would cancel for close vectors.
    return safe_sqrt((features - others).square().sum(dim=-1))


def triplet_loss(features: Tensor,
                 labels: Tensor,
                 kept: Tensor,
                 margin: float = 0.3,
                 hard_mining: bool = True) -> Tensor:
    """Return the loss (N,) of each anchor, see :class:`TripletLoss`.

    Only samples that are ``kept``, a bool mask (N,), serve as positives and
    negatives. An anchor without a negative has the loss 0.
    """
    if len(features) == 0:
        return features.sum(dim=1)
    same = labels.unsqueeze(1) == labels
    positive, negative = same & kept, ~same & kept
    if hard_mining:
        # Found without a gradient, then computed for two pairs per anchor.
        fixed = features.detach()
        all_pairs = torch.cdist(
            fixed, fixed, compute_mode='donot_use_mm_for_euclid_dist')
        farthest = all_pairs.masked_fill(~positive, -1).argmax(dim=1)
        nearest = all_pairs.masked_fill(~negative, torch.inf).argmin(dim=1)
        loss = F.relu(margin + distance(features, features[farthest]) -
                      distance(features, features[nearest]))
        return loss.masked_fill(~negative.any(dim=1), 0)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    triplet = (positive & ~itself).unsqueeze(2) & negative.unsqueeze(1)
    pairs = distance(features.unsqueeze(1), features)
    loss = F.relu(margin + pairs.unsqueeze(2) - pairs.unsqueeze(1))
    number = triplet.sum(dim=(1, 2)).clamp(min=1)
    return loss.masked_fill(~triplet, 0).sum(dim=(1, 2)) / number


@MODELS.register_module()
class TripletLoss(BaseLoss):
    r"""Triplet loss over the pairs of a batch, with hard mining.

    .. math::
        L = \frac{1}{N} \sum_a \max\left(0, \; m
        + \max_{y_p = y_a} \|x_a - x_p\|_2
        - \min_{y_n \ne y_a} \|x_a - x_n\|_2\right)

    Each element is one sample as anchor a, with its farthest positive p and
    its nearest negative n. It needs several samples of several identities in a
    batch.

    Args:
        margin (float): Margin m, in units of the features. mmdet's ReID
            models use 0.3. Default: 0.3.
        hard_mining (bool): If False, each anchor has the mean over all of its
            triplets instead, the paper's "batch all", with :math:`N^2 (N + D)`
            numbers in memory. Default: True.

    Shape:
        - inputs (pred): features (N, D).
        - targets (target): integer labels of identities (N,).
        - weight: (N,). A sample of weight 0 is neither an anchor nor the
          positive or negative of one.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmdet raises an error for a batch of one identity, which has no
          negatives: here its loss is 0.
        - mmdet expands the distance into squares, which cancel: features far
          from the origin have wrong distances, and equal ones a distance.
        - mmdet loops over the samples, and synchronises with the host for
          each.
        - mmdet overflows in half precision.
        - ``hard_mining=False`` is not implemented in mmdet.
    """
    info = LossInfo(
        purpose='features of one identity nearer than those of others',
        slots="``loss_triplet`` of mmdet's ReID models and trackers",
        expects='features',
        search=dict(margin=(0.1, 1.0)),
        paper=Paper(
            'Alexander Hermans, Lucas Beyer, Bastian Leibe',
            'In Defense of the Triplet Loss for Person Re-Identification',
            'arXiv', 2017, '1703.07737'),
        source='the losses "batch hard" and, with ``hard_mining=False``, '
        '"batch all".')
    pred_name = 'inputs'

    def __init__(  # type: ignore[misc]
            self,
            margin: float = 0.3,
            loss_weight: float = 1.0,
            hard_mining: bool = True,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        check_number('margin', margin, least=0)
        self.margin, self.hard_mining = margin, hard_mining

    def forward(self, inputs: Tensor, targets: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of features and labels."""
        return super().forward(inputs, targets, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_vectors(self.pred_name, pred)
        check_sample_labels(target, len(pred))
        return pred.shape[:1]

    def prepare(self, *args: Any) -> Inputs:
        """Tell the formula which samples are not removed."""
        inputs = super().prepare(*args)
        inputs.extras = (torch.ones_like(inputs.target, dtype=torch.bool), )
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor, *kept:
                    Tensor) -> Tensor:
        return triplet_loss(pred, target, kept[0], self.margin,
                            self.hard_mining)


@MODELS.register_module()
class MarginL2Loss(BaseLoss):
    r"""Squared error of similarities, with margins and mined negatives.

    .. math::
        L = \frac{1}{|P| + |H|} \left( \sum_{i \in P} w_i
        (1 - [s_i - m_{pos}]_0^1)^2
        + \sum_{i \in H} w_i \left([s_i - m_{neg}]_0^1\right)^2 \right)

    with the positives P, targets of 1, the negatives H that are mined among
    the targets of 0, and :math:`[x]_0^1` clamped to [0, 1]. A negative below
    its margin has the loss 0.

    mmdet's ``L2Loss`` has the same formula and arguments: ``L2Loss`` of this
    package is :class:`MSELoss`, unless one of the first four arguments is
    given, which make it this class.

    Args:
        neg_pos_ub (float): Maximum number of negatives per positive; without a
            positive none is kept. -1 keeps all. QDTrack uses 3. Default: -1.
        pos_margin (float): Subtracted from the similarity of positives, if
            above 0. QDTrack uses 0. Default: -1.
        neg_margin (float): Similarity up to which a negative has no loss, if
            above 0. QDTrack uses 0.1. Default: -1.
        hard_mining (bool): If True, the most similar negatives are kept,
            otherwise random ones. Default: False.
        clamp_positives (bool): If True, a positive below its margin counts as
            0 and has no gradient, as in mmdet. If False, it is pulled from any
            similarity, as in QDTrack's paper. Default: True.

    Shape:
        - pred: similarities of any shape, such as cosines (N, M).
        - target: the same, of any dtype: 1 for positives, 0 for negatives. A
          pair with another target is not mined.
        - weight: as pred, or without trailing axes. A pair of weight 0 is
          neither mined nor counted.
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Differs from upstream:
        - mmdet changes the prediction, the target and the weight in place.
        - mmdet ignores ``avg_factor`` and fails with ``reduction='sum'``.
        - mmdet mines only where the prediction has two axes.
        - mmdet counts and draws on the host, which synchronises. Here random
          negatives are those of the greatest random numbers.
        - mmdet returns NaN where a pair of weight 0 holds NaN.
    """
    info = LossInfo(
        purpose='cosine similarities of pairs, positive or negative',
        slots="``loss_track_aux`` of mmdet's QDTrack",
        expects='numbers',
        paper=Paper(
            'Jiangmiao Pang, Linlu Qiu, Xia Li, Haofeng Chen, Qi Li, Trevor '
            'Darrell, Fisher Yu',
            'Quasi-Dense Similarity Learning for Multiple Object Tracking',
            'CVPR', 2021, '2006.06664'),
        source='the auxiliary loss; margins and mining are from its code.')

    def __init__(self,
                 neg_pos_ub: float = -1,
                 pos_margin: float = -1,
                 neg_margin: float = -1,
                 hard_mining: bool = False,
                 *args: Any,
                 clamp_positives: bool = True,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(*args, **kwargs)
        check_number('neg_pos_ub', neg_pos_ub)
        check_number('pos_margin', pos_margin)
        check_number('neg_margin', neg_margin)
        self.neg_pos_ub, self.hard_mining = neg_pos_ub, hard_mining
        self.pos_margin, self.neg_margin = pos_margin, neg_margin
        self.clamp_positives = clamp_positives

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        positive, lowest = target == 1, torch.zeros_like(pred)
        pred = pred - max(self.pos_margin, 0) * positive
        pred = pred - max(self.neg_margin, 0) * (target == 0)
        if not self.clamp_positives:
            lowest = lowest.masked_fill(positive, -torch.inf)
        pred = torch.maximum(pred, lowest).clamp(max=1)
        return (pred - target).square()

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Drop negatives beyond the bound; the mean is over what is kept."""
        kept = torch.ones_like(loss, dtype=torch.bool)
        if inputs.removed is not None:
            kept = kept & ~inputs.removed
        if self.neg_pos_ub > 0:
            kept = self.mine(inputs.pred.detach(), inputs.target, kept)
        inputs.denominator = kept.sum().clamp(min=1)
        return super().weigh(loss, inputs).masked_fill(~kept, 0)

    def mine(self, pred: Tensor, target: Tensor, kept: Tensor) -> Tensor:
        """Return a mask without the negatives beyond the bound."""
        number = (kept & (target == 1)).sum().reshape(1, 1)
        negative = kept & (target == 0)
        # Among negatives beyond 1, where the loss is 1, the greatest.
        cost = pred if self.hard_mining else torch.rand_like(pred)
        chosen = hardest(
            cost.reshape(1, -1), negative.reshape(1, -1),
            torch.floor(self.neg_pos_ub * number.double()))
        return (kept & ~negative) | chosen.reshape(pred.shape)


def info_nce_loss(features: Tensor,
                  keys: Tensor,
                  kept: Tensor | None = None,
                  temperature: float = 1.0) -> Tensor:
    """Return the loss (N,) of each feature, see :class:`InfoNCELoss`.

    A key that is not ``kept``, a bool mask (N,), is no negative.
    """
    units = others = unit_vectors(features)
    # torch 2.0 cannot compile a comparison by `is`.
    if is_transformed() or keys is not features:
        others = unit_vectors(keys)
    logits = units @ others.T / temperature
    if kept is not None:
        own = torch.eye(len(kept), dtype=torch.bool, device=kept.device)
        logits = logits.masked_fill(~(own | kept), -torch.inf)
    return -F.log_softmax(logits, dim=1).diagonal()


@MODELS.register_module()
class InfoNCELoss(BaseLoss):
    r"""InfoNCE: tells the own key of each feature from those of the others.

    .. math::
        L = -\sum_i w_i \log \frac{\exp(\cos(x_i, k_i) / \tau)}
        {\sum_j \exp(\cos(x_i, k_j) / \tau)}

    Without keys the features are their own: it pushes them apart, as CID does
    with the people of an image. ``'mean'`` sums over the features, as
    ``'sum'`` does: CID divides by the people of all images. An ``avg_factor``
    divides the sum.

    Args:
        temperature (float): Temperature :math:`\tau`; a lower one weights the
            nearest negatives more. CID uses 0.05. Default: 1.0.

    Shape:
        - features (pred): (N, D), of any length.
        - keys (target): (N, D), the positive of each feature. Default: the
          features.
        - weight: (N,). A feature of weight 0 is no negative of others.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmpose takes no keys, no weight and no ``reduction``.
        - mmpose multiplies the gradient of a feature of zeros by 1e12, and
          returns NaN for one in half precision.
    """
    info = LossInfo(
        purpose='features that differ between the instances of an image',
        slots="``contrastive_loss`` of mmpose's CID",
        expects='features',
        search=dict(temperature=(0.05, 2.0)),
        paper=Paper(
            'Aaron van den Oord, Yazhe Li, Oriol Vinyals',
            'Representation Learning with Contrastive Predictive Coding',
            'arXiv', 2018, '1807.03748'),
        source='equation 4. CID: Dongkai Wang, Shiliang Zhang. Contextual '
        'Instance Decoupling for Robust Multi-Person Pose Estimation. CVPR '
        '2022.')
    pred_name = 'features'

    def __init__(  # type: ignore[misc]
            self,
            temperature: float = 1.0,
            loss_weight: float = 1.0,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        check_number('temperature', temperature, above=0)
        self.temperature = temperature

    def forward(self,
                features: Tensor,
                keys: Tensor | None = None,
                *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of features, and keys if there are any."""
        return super().forward(features, features if keys is None else keys,
                               *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_vectors(self.pred_name, pred)
        check_same_shape(pred, target)
        return pred.shape[:1]

    def prepare(self, *args: Any) -> Inputs:
        """Sum over the features, and tell the formula which to leave out."""
        inputs = super().prepare(*args)
        inputs.denominator = 1
        if inputs.weight is not None:
            inputs.extras = (inputs.pred.new_ones(
                inputs.shape, dtype=torch.bool), )
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor, *kept:
                    Tensor) -> Tensor:
        return info_nce_loss(pred, target, kept[0] if kept else None,
                             self.temperature)
