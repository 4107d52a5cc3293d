"""Base of the losses that compare whole label maps."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from .base import BaseLoss, CommonArguments, Inputs
from .buffers import register_weights
from .checks import (check_ignored, check_index, check_label_range,
                     check_not_negative, is_nothing)
from .kernels.masking import zeroed
from .tensors import one_hot


class LabelMapArguments(CommonArguments, total=False):
    """The arguments of every loss of label maps."""
    class_weight: Sequence[float] | Tensor | float | None
    ignore_index: int | None


class LabelMapLoss(BaseLoss):
    r"""A loss of label maps, with one number for each map.

    Args:
        class_weight (Sequence[float] | Tensor | float, optional): Weight of
            each class, or one for all. Default: None.
        ignore_index (int, optional): Label to ignore, as the ``ignore_index=``
            of a call: its pixels count nowhere, and neither does the class of
            that number. Default: 255.

    Shape:
        - pred: logits (N, C, \*).
        - target: integer labels (N, \*). A single channel is the foreground,
          label 1.
        - weight: (N,), or (N, \*) of the pixels: each counts that often.
        - returns: 0-dim, or (N,) for ``'none'``.
    """
    _class_weight: Tensor | None

    def __init__(self,
                 class_weight: Sequence[float] | Tensor | float | None = None,
                 ignore_index: int | None = 255,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_ignored('ignore_index', ignore_index)
        self.ignore_index = ignore_index
        register_weights(self, 'class_weight', class_weight, 'class', True)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_index(target)
        if pred.ndim < 2 or target.shape != pred.shape[:1] + pred.shape[2:]:
            raise ValueError(
                'pred and target must have the shapes (N, C, *) and (N, *), '
                f'got {tuple(pred.shape)} and {tuple(target.shape)}')
        return pred.shape[:1]

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                avg_factor: float | Tensor | None,
                *,
                ignore_index: int | None = None) -> Inputs:
        """Count each pixel once, by its weight, or not if it is ignored."""
        pixels = None
        if (isinstance(weight, Tensor) and weight.ndim > 1
                and weight.shape == target.shape):
            pixels, weight = weight.to(pred.dtype), None
            check_not_negative('weight', pixels)
        inputs = super().prepare(pred, target, weight, avg_factor)
        labels = target.long()
        to_ignore = self.ignore_index, ignore_index
        ignored = mark_labels(labels, to_ignore)
        if pixels is None:
            pixels = pred.new_ones(labels.shape)
        else:
            ignored = ignored | (pixels == 0)
        if not is_nothing(ignored):
            inputs.pred = zeroed(pred, ignored.unsqueeze(1))
            labels = labels.masked_fill(ignored, 0)
            pixels = pixels.masked_fill(ignored, 0)
        inputs.target = labels
        weights = class_weights(self, pred)
        if pred.shape[1] > 1:
            classes = torch.arange(pred.shape[1], device=pred.device)
            weights = weights * ~mark_labels(classes, to_ignore)
        inputs.extras = (pixels, weights.unsqueeze(0))
        return inputs

    def check_values(self, inputs: Inputs) -> None:
        check_label_range(inputs.target, max(inputs.pred.shape[1], 2),
                          'target')


def mark_labels(labels: Tensor, chosen: Sequence[int | None]) -> Tensor:
    """Return a mask of the labels that are chosen; None chooses nothing."""
    marked = torch.zeros_like(labels, dtype=torch.bool)
    for label in chosen:
        if label is not None:
            marked = marked | (labels == label)
    return marked


def class_weights(loss: BaseLoss, pred: Tensor) -> Tensor:
    """Return the ``class_weight`` of a loss for each class, (C,)."""
    weights: Any = loss._class_weight
    classes = pred.shape[1]
    if weights is None:
        return pred.new_ones(classes)
    if weights.ndim == 0:
        weights = weights.expand(classes)
    if len(weights) != classes:
        raise ValueError(f'class_weight has {len(weights)} numbers, but the '
                         f'prediction has {classes} classes')
    return weights.to(pred.dtype)


def class_masks(pred: Tensor, labels: Tensor) -> Tensor:
    r"""Return the labels (N, \*) as a mask of each class, (N, C, \*).

    A single channel is that of label 1.
    """
    if pred.shape[1] == 1:
        return (labels == 1).unsqueeze(1)
    return one_hot(labels, pred.shape[1])


def class_probabilities(pred: Tensor) -> Tensor:
    """Return the softmax over the classes, or the sigmoid of one channel."""
    return pred.sigmoid() if pred.shape[1] == 1 else pred.softmax(dim=1)
