"""The loss of CornerNet: heatmaps, embeddings and offsets of corners."""
from __future__ import annotations
from typing import Any, Callable, Dict, List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments, Inputs
from mmlosses.core.checks import (check_floating, check_numbers,
                                  check_same_shape)
from mmlosses.core.info import LossInfo
from mmlosses.core.terms import TermsLoss
from mmlosses.losses.heatmap.focal import (GaussianFocalLoss,
                                           gaussian_focal_loss)
from mmlosses.registry import MODELS
from .associative_embedding import associative_embedding_loss, check_tags

#: Tensors of the prediction of one stack: heatmaps, tags and offsets of the
#: top left and the bottom right corners.
STACK = 6

# What CornerNet's code adds to the number of objects.
EPS = 1e-4


def count_peaks(target: Tensor) -> Tensor:
    """Return the number of targets of 1 in a batch."""
    return (target == 1).sum()


def corner_heatmap_loss(logits: Tensor,
                        target: Tensor,
                        peaks: Tensor | None = None) -> Tensor:
    r""":func:`gaussian_focal_loss` of each image, by the number of peaks.

    Logits and target have the shape (B, \*), the result (B,). The divisor is
    ``peaks``, by default the number of targets of 1 in the whole batch, at
    least 1.
    """
    if peaks is None:
        peaks = count_peaks(target)
    loss = gaussian_focal_loss(logits, target, use_sigmoid=True)
    return loss.flatten(1).sum(dim=1) / peaks.clamp(min=1)


def neg_loss(preds: Sequence[Tensor], gt: Tensor) -> Tensor:
    r"""CornerNet's ``_neg_loss``: of heatmaps (\*) after the sigmoid, summed.

    :func:`gaussian_focal_loss` of each heatmap, divided by the peaks of the
    target. Logits, which have a gradient everywhere, are better: see
    :func:`corner_heatmap_loss`.
    """
    loss = torch.stack([gaussian_focal_loss(pred, gt).sum() for pred in preds])
    return loss.sum() / count_peaks(gt).clamp(min=1)


def corner_offset_loss(pred: Tensor,
                       target: Tensor,
                       mask: Tensor,
                       objects: Tensor | None = None) -> Tensor:
    r"""Smooth L1 loss of the offsets of corners, averaged over objects.

    .. math::
        L = \frac{1}{N + 10^{-4}} \sum_k \mathrm{SmoothL1}(pred_k - target_k)

    with the number N of ``objects``, by default those in the whole batch. The
    offsets are (B, N, 2), the bool ``mask`` (B, N) is False for padding, and
    the result is (B,).
    """
    if objects is None:
        objects = mask.sum()
    padding = ~mask.unsqueeze(-1)
    pred, target = [x.masked_fill(padding, 0) for x in (pred, target)]
    loss = F.smooth_l1_loss(pred, target, reduction='none')
    return loss.sum(dim=(1, 2)) / (objects.to(loss.dtype) + EPS)


@MODELS.register_module(name=['CornerNetLoss', 'AELoss'])
class CornerNetLoss(TermsLoss):
    r"""The complete loss of CornerNet, over the outputs of its stacks.

    .. math::
        L = \frac{1}{S} \sum_{stacks} L_{det} + \alpha L_{pull} +
        \beta L_{push} + \gamma L_{off}

    with S stacks. :math:`L_{det}` is :func:`corner_heatmap_loss` and
    :math:`L_{off}` is :func:`corner_offset_loss`, summed over the two corners;
    pull and push are those of :class:`AssociativeEmbeddingLoss`, summed over
    the images. Each element is one image. The first and the last are divided
    by the peaks and objects of all images, also of those of weight 0: a weight
    changes no other image.

    Args:
        pull_weight (float): :math:`\alpha`, in the paper 0.1. Default: 1.0.
        push_weight (float): :math:`\beta`, in the paper 0.1. Default: 1.0.
        regr_weight (float): :math:`\gamma`, in the paper 1. Default: 1.0.
        focal_loss (callable, optional): The argument of CornerNet's code, such
            as :func:`neg_loss`: a function of the heatmaps of one corner, as a
            list, and their target, which replaces :math:`L_{det}` and has the
            sum over the batch. The heatmaps are after the sigmoid, clamped to
            [1e-4, 1 - 1e-4] as in CornerNet. The loss is then the sum of the
            four terms, (1,), without ``weight`` and ``'none'``. Default: None.

    Shape:
        - outs: 6 tensors for each stack, one stack after the other: heatmaps
          (B, C, H, W) before the sigmoid, tags (B, N, E) and offsets
          (B, N, 2), each of the top left and of the bottom right corners.
        - targets: heatmaps (B, C, H, W) of both corners, mask (B, N), bool or
          integer, and offsets (B, N, 2) of both corners.
        - weight: (B,).
        - returns: a dict of ``focal_loss``, ``pull_loss``, ``push_loss`` and
          ``regr_loss``, weighted, each 0-dim, or (B,) for ``'none'``.

    Differs from upstream:
        - The push has no pairs of an object with itself. CornerNet subtracts
          them, which adds 1 for each image with one object, and is off by 5e-5
          for two.
        - A bool mask works. In CornerNet its push is 0.
        - A batch of one works, and tags of more than one channel.
        - CornerNet clamps the sigmoid to [1e-4, 1 - 1e-4], so that a peak with
          a logit below -9.2 has no gradient, and overwrites the logits.
        - The four terms are returned, where CornerNet returns their sum, as
          here with ``focal_loss``.
    """
    info = LossInfo(
        purpose='heatmaps, embeddings and offsets of corners in one loss',
        slots="``mmlosses.heads.corner.CornerNetHead`` in mmdet's CornerNet",
        expects='logits',
        paper=GaussianFocalLoss.info.paper,
        source='equations 1 and 3 to 5.')

    def __init__(self,
                 pull_weight: float = 1.0,
                 push_weight: float = 1.0,
                 regr_weight: float = 1.0,
                 focal_loss: Callable[..., Tensor] | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(
                pull_weight=pull_weight,
                push_weight=push_weight,
                regr_weight=regr_weight),
            least=0)
        self.pull_weight, self.push_weight = pull_weight, push_weight
        self.regr_weight = regr_weight
        if not (focal_loss is None or callable(focal_loss)):
            raise ValueError('focal_loss must be a function of heatmaps and '
                             f'target, got {focal_loss!r}')
        self.focal_loss = focal_loss

    def prepare(self, pred: Sequence[Tensor], target: Sequence[Tensor],
                weight: Tensor | None,
                avg_factor: float | Tensor | None) -> Inputs:
        """Count the peaks and objects, also of images of weight 0."""
        inputs = super().prepare(pred, target, weight, avg_factor)
        heat0, heat1, mask = target[:3]
        inputs.extras = (count_peaks(heat0), count_peaks(heat1),
                         mask.bool().sum())
        return inputs

    def mask_removed(self, inputs: Inputs) -> None:
        """Zero the inputs of removed images, but not the counts."""
        counts, inputs.extras = inputs.extras, ()
        super().mask_removed(inputs)
        inputs.extras = counts

    def check_values(self, inputs: Inputs) -> None:
        """Raise for a heatmap out of range, such as one of 0 and 255."""
        for heat in inputs.target[:2]:
            self.check_range('target heatmaps', heat, inputs, 0, 1)

    def elementwise(self, pred: Sequence[Tensor], target: Sequence[Tensor],
                    *counts: Tensor) -> Tensor:
        heat0, heat1, mask, regr0, regr1 = target
        mask, (peaks0, peaks1, objects) = mask.bool(), counts
        corners = ((pred[::STACK], heat0, peaks0), (pred[1::STACK], heat1,
                                                    peaks1))
        focal = torch.stack([self.heatmap_loss(*corner)
                             for corner in corners]).sum(dim=0)
        stacks = []
        for first in range(2, len(pred), STACK):
            tag0, tag1, offset0, offset1 = pred[first:first + 4]
            pull, push = associative_embedding_loss(tag0, tag1, mask, eps=EPS)
            regr = corner_offset_loss(offset0, regr0, mask, objects)
            regr = regr + corner_offset_loss(offset1, regr1, mask, objects)
            terms = (focal, self.pull_weight * pull, self.push_weight * push,
                     self.regr_weight * regr)
            stacks.append(torch.stack(terms, dim=-1))
        return torch.stack(stacks).mean(dim=0)

    def heatmap_loss(self, logits: Sequence[Tensor], heat: Tensor,
                     peaks: Tensor) -> Tensor:
        """Return the mean over the stacks of the loss of one corner: (B,)."""
        if self.focal_loss is None:
            maps = [corner_heatmap_loss(x, heat, peaks) for x in logits]
            return torch.stack(maps).mean(dim=0)
        total = self.focal_loss(
            [x.sigmoid().clamp(1e-4, 1 - 1e-4) for x in logits], heat)
        # A sum over the batch: equal parts for its images.
        images = max(len(heat), 1)
        return (total / len(logits) / images).expand(len(heat))

    def element_shape(self, pred: Sequence[Tensor],
                      target: Sequence[Tensor]) -> Sequence[int]:
        heat0, heat1, mask, regr0, regr1 = target
        check_floating('the heatmaps and offsets of the targets',
                       (heat0, heat1, regr0, regr1))
        for first in range(0, len(pred), STACK):
            logits0, logits1, tag0, tag1, offset0, offset1 = (
                pred[first:first + STACK])
            check_tags(tag0, tag1, mask)
            for one, other in ((logits0, heat0), (logits1, heat1),
                               (offset0, regr0), (offset1, regr1)):
                check_same_shape(one, other)
            if not (logits0.ndim == 4 and logits0.shape == logits1.shape
                    and len(logits0) == len(mask)
                    and offset0.shape == offset1.shape == (*mask.shape, 2)):
                raise ValueError(
                    'heatmaps must have the shape (B, C, H, W) and offsets '
                    f'(B, N, 2), with the mask {tuple(mask.shape)}, got '
                    f'{tuple(logits0.shape)}, {tuple(logits1.shape)}, '
                    f'{tuple(offset0.shape)} and {tuple(offset1.shape)}')
        return len(mask), 4

    def forward(self, outs: List[Tensor], targets: List[Tensor], *args: Any,
                **kwargs: Any) -> Dict[str, Tensor] | Tensor:
        """Return the four terms by name, or with ``focal_loss`` their sum."""
        for name, tensors in (('outs', outs), ('targets', targets)):
            if not isinstance(tensors, (tuple, list)):
                raise TypeError(f'{name} must be a list of tensors, got '
                                f'{type(tensors).__name__}')
        if len(outs) == 0 or len(outs) % STACK != 0 or len(targets) != 5:
            raise ValueError(
                f'outs must hold {STACK} tensors for each stack and targets '
                f'5, got {len(outs)} and {len(targets)}')
        terms = super().forward(outs, targets, *args, **kwargs)
        if self.focal_loss is not None:
            if terms.ndim > 1 or args or kwargs.keys() - {'avg_factor'}:
                raise ValueError(
                    'with focal_loss, which returns a sum over the batch, '
                    "there is neither a weight nor reduction 'none'")
            return terms.sum(dim=0, keepdim=True)
        names = ('focal_loss', 'pull_loss', 'push_loss', 'regr_loss')
        # Braces: torch 2.0 does not compile a call of dict.
        return {name: term for name, term in zip(names, terms.unbind(-1))}


AELoss = CornerNetLoss
