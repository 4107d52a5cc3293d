"""Chamfer distance of two sets of points."""
from __future__ import annotations
from typing import Any, Sequence, Tuple, Union

import torch
from torch import Tensor

from mmlosses.core.base import BaseLoss, Inputs
from mmlosses.core.checks import (check_choice, check_floating,
                                  check_not_negative, check_number,
                                  check_numbers)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.reduction import align_weight, reduce_loss
from mmlosses.core.tensors import is_compiling
from mmlosses.registry import MODELS
from ..regression import smooth_l1_loss

Weight = Union[Tensor, float]

MODES = ('smooth_l1', 'l1', 'l2')


def error_of(difference: Tensor, mode: str) -> Tensor:
    """The error of each coordinate, see :class:`ChamferDistance`."""
    if mode == 'l2':
        return difference * difference
    if mode == 'l1':
        return difference.abs()
    return smooth_l1_loss(difference, torch.zeros_like(difference))


def nearest_points(source: Tensor, target: Tensor, kept: Sequence[Tensor],
                   mode: str) -> Tuple[Tensor, Tensor]:
    """The index of the nearest target of each source, and the reverse.

    Only points that are kept, (B, N) and (B, M), can be the nearest.
    """
    source_kept, target_kept = kept
    with torch.no_grad():
        # One coordinate at a time: all at once are C times the memory.
        distance: Any = 0
        for one, other in zip(source.unbind(-1), target.unbind(-1)):
            difference = one.unsqueeze(2) - other.unsqueeze(1)
            distance = distance + error_of(difference, mode)
        far = float('inf')
        to_target = distance.masked_fill(~target_kept.unsqueeze(1), far)
        to_source = distance.masked_fill(~source_kept.unsqueeze(2), far)
    return to_target.argmin(dim=2), to_source.argmin(dim=1)


def pick(points: Tensor, index: Tensor) -> Tensor:
    """The points (B, N, C) at an index (B, M)."""
    return points.gather(1, index.unsqueeze(2).expand(-1, -1, points.shape[2]))


def chamfer_distance(
        source: Tensor,
        target: Tensor,
        source_kept: Tensor | None = None,
        target_kept: Tensor | None = None,
        mode: str = 'l2') -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances from each point to the nearest of the other set.

    Args:
        source, target (Tensor): Points (B, N, C) and (B, M, C).
        source_kept, target_kept (Tensor, optional): Bool (B, N) and (B, M).
            Others have the distance 0 and are not the nearest. Default: all.
        mode (str): See :class:`ChamferDistance`.

    Returns:
        tuple[Tensor]: The distances (B, N) of the sources and (B, M) of the
        targets, 0 where the other set is empty, and for both the indices of
        the nearest points.
    """
    kept = [
        x.new_ones(x.shape[:2], dtype=torch.bool) if given is None else given
        for x, given in ((source, source_kept), (target, target_kept))
    ]
    if source.shape[1] == 0 or target.shape[1] == 0:
        none = [torch.zeros_like(x, dtype=torch.long) for x in kept]
        # A sum of nothing is 0, and part of the graph.
        return (source[..., :0].sum(-1), target[..., :0].sum(-1), none[0],
                none[1])
    index = nearest_points(source, target, kept, mode)
    some_source, some_target = [x.any(dim=1, keepdim=True) for x in kept]
    differences = (source - pick(target, index[0]),
                   target - pick(source, index[1]))
    there = kept[0] & some_target, kept[1] & some_source
    one, other = [
        # Before the error, of which the gradient may be NaN times 0.
        error_of(x.masked_fill(~valid.unsqueeze(2), 0), mode).sum(dim=-1)
        for x, valid in zip(differences, there)
    ]
    return one, other, *index


@MODELS.register_module()
class ChamferDistance(BaseLoss):
    r"""Chamfer distance: from each point to the nearest of the other set.

    .. math::
        L_{src} = \frac{\alpha}{B N} \sum_{b, n} u_{bn} \min_m
        d(p_{bn}, q_{bm}), \qquad
        L_{dst} = \frac{\beta}{B M} \sum_{b, m} v_{bm} \min_n
        d(p_{bn}, q_{bm})

    with the sum d of the squared errors of the coordinates, or of another
    ``mode``. A target of weight 0 is padding: it is not the nearest of any
    source. A source of weight 0 has no loss, but may be the nearest.

    Args:
        mode (str): ``'l2'``, ``'l1'`` or ``'smooth_l1'``: the error of each
            coordinate. Default: ``'l2'``.
        loss_src_weight (float): Factor :math:`\alpha` of the sources.
            Default: 1.0.
        loss_dst_weight (float): Factor :math:`\beta` of the targets.
            Default: 1.0.

    Shape:
        - source: (B, N, C); target: (B, M, C).
        - src_weight: a number, or (B, N) or (B, 1); dst_weight: a number, or
          (B, M) or (B, 1). Default: 1.0.
        - weight: (B,), of both terms of a sample.
        - returns: the terms of source and target, each 0-dim, or (B, N) and
          (B, M) for ``'none'``; with ``return_indices=True`` also the indices
          of the nearest points, (B, N) and (B, M).

    Differs from upstream:
        - Targets of weight 0 are padding. In mmdet3d's they may be the nearest
          of a source: VoteNet fills up its centres with (0, 0, 0), so that a
          proposal near the origin is drawn to it.
        - mmdet3d's repeats both sets to (B, N, M, C) and keeps those copies
          for the backward pass. Here only the nearest points are kept.
        - mmdet3d's multiplies weights of 0 into NaN, and fails on a set
          without points.
        - mmdet3d's overflows in half precision.
        - mmdet3d's ignores ``avg_factor``, which divides each term here.
    """
    info = LossInfo(
        purpose='sets of points, such as votes and centres of objects',
        slots='``vote_loss`` and ``center_loss`` of VoteNet and H3DNet',
        expects='numbers',
        paper=Paper(
            'Haoqiang Fan, Hao Su, Leonidas Guibas',
            'A Point Set Generation Network for 3D Object Reconstruction from '
            'a Single Image', 'CVPR', 2017, '1612.00603'))
    pred_name = 'source'

    def __init__(self,
                 mode: str = 'l2',
                 reduction: str = 'mean',
                 loss_src_weight: float = 1.0,
                 loss_dst_weight: float = 1.0,
                 **kwargs: Any) -> None:
        super().__init__(reduction, **kwargs)
        check_choice('mode', mode, MODES)
        check_numbers(
            dict(
                loss_src_weight=loss_src_weight,
                loss_dst_weight=loss_dst_weight),
            least=0)
        self.mode = mode
        self.loss_src_weight = loss_src_weight
        self.loss_dst_weight = loss_dst_weight

    def forward(self,
                source: Tensor,
                target: Tensor,
                src_weight: Weight = 1.0,
                dst_weight: Weight = 1.0,
                reduction_override: str | None = None,
                return_indices: bool = False,
                *,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                **kwargs: Any) -> Tuple[Tensor, ...]:
        """Return the terms of source and target, and indices on request."""
        check_floating('target', target)
        kwargs['src_weight'], kwargs['dst_weight'] = src_weight, dst_weight
        loss = super().forward(source, target, weight, avg_factor,
                               reduction_override, **kwargs)
        reduced = loss.ndim == 1
        one, other = loss.unbind() if reduced else loss.split(
            [source.shape[1], target.shape[1]], dim=1)
        if not return_indices:
            return one, other
        inputs = self.prepare(source, target, None, None, **kwargs)
        *_, nearest, reverse = chamfer_distance(
            inputs.pred,
            inputs.target,
            inputs.extras[2],
            inputs.extras[3],
            mode=self.mode)
        return one, other, nearest, reverse

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if (pred.ndim != 3 or target.ndim != 3 or len(pred) != len(target)
                or pred.shape[2] != target.shape[2]):
            raise ValueError(
                'source must have the shape (B, N, C) and target (B, M, C), '
                f'got {tuple(pred.shape)} and {tuple(target.shape)}')
        return len(pred), pred.shape[1] + target.shape[1]

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Return the weight (B, 1) of each sample."""
        weight = super().element_weight(weight, shape[:1], dtype)
        return weight if weight is None else weight.unsqueeze(-1)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                src_weight: Weight = 1.0,
                dst_weight: Weight = 1.0) -> Inputs:
        """Leave out padding, and sources of weight 0 that are not finite."""
        inputs = super().prepare(pred, target, *args)
        pred, target = inputs.pred, inputs.target
        source_weight, removed = point_weight('src_weight', src_weight, pred)
        source_kept = pred.isfinite().all(dim=-1) | ~removed
        target_weight, removed = point_weight('dst_weight', dst_weight, target)
        inputs.pred = torch.where(
            source_kept.unsqueeze(-1), pred, pred.new_zeros(()))
        inputs.target = torch.where(
            removed.unsqueeze(-1), target.new_zeros(()), target)
        inputs.extras = source_weight, target_weight, source_kept, ~removed
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor, *extras:
                    Tensor) -> Tensor:
        source_weight, target_weight, source_kept, target_kept = extras
        one, other, *_ = chamfer_distance(pred, target, source_kept,
                                          target_kept, self.mode)
        return torch.cat([
            self.loss_src_weight * source_weight * one,
            self.loss_dst_weight * target_weight * other
        ],
                         dim=1)

    def reduce(self, loss: Tensor, inputs: Inputs, reduction: str) -> Tensor:
        """Reduce each term: (2,), or (B, N + M) for ``'none'``."""
        if reduction == 'none':
            return loss
        number = inputs.pred.shape[1]
        return torch.stack([
            reduce_loss(term, reduction, max(term.numel(), 1),
                        inputs.avg_factor)
            for term in (loss[:, :number], loss[:, number:])
        ])


def point_weight(name: str, weight: Any,
                 points: Tensor) -> Tuple[Tensor, Tensor]:
    """The weight (B, N) of each point, and which have a weight of 0.

    A number of 0 is a term that is not wanted, and no padding.
    """
    shape = points.shape[:2]
    if not isinstance(weight, Tensor) or weight.ndim == 0:
        if not isinstance(weight, Tensor) and not is_compiling():
            check_number(name, weight, least=0)
        weight = weight * points.new_ones(shape)
        return weight, torch.zeros_like(weight, dtype=torch.bool)
    check_not_negative(name, weight)
    weight = align_weight(weight, shape, name).to(points.dtype).expand(shape)
    return weight, weight == 0
