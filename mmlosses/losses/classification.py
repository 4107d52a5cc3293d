"""What the losses over classes share: labels, class weights, ignored rows."""
from __future__ import annotations
import math
from typing import Sequence

import torch
from torch import Tensor

from .base import BaseLoss
from .buffers import register_weights
from .labels import check_index
from .reduction import (check_floating, check_reduction, check_same_shape,
                        compute_dtype)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (N, \\*) as a mask (N, C, \\*), where background is no class."""
    index = torch.arange(classes, device=labels.device)
    index = index.reshape((1, classes) + (1, ) * (labels.ndim - 1))
    return labels.unsqueeze(1) == index


class ClassificationLoss(BaseLoss):
    """Base of the losses over classes, with the calls of mmdet's heads.

    The target is an index for each sample, with the classes on axis 1 of
    ``pred``, or it has the shape of ``pred``. An element is a sample for a
    softmax, and one class of a sample for a sigmoid.

    Args:
        use_sigmoid (bool): Whether each class is a binary decision.
        class_weight (Sequence[float] | Tensor, optional): Weight of each
            class.
        ignore_index (int, optional): Label whose elements are removed.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight (float): Factor of the reduced loss.

    Raises:
        TypeError: If ``class_weight`` is not a list of numbers.
    """
    _class_weight: Tensor | None
    avg_non_ignore = False
    removes_late = True

    def __init__(self, use_sigmoid: bool,
                 class_weight: Sequence[float] | Tensor | None,
                 ignore_index: int | None, reduction: str,
                 loss_weight: float) -> None:
        super().__init__(reduction, loss_weight)
        self.use_sigmoid = use_sigmoid
        self.ignore_index = ignore_index
        register_weights(self, 'class_weight', class_weight, 'class')

    @property
    def binary(self) -> bool:
        """Whether an element is one class of a sample."""
        return self.use_sigmoid

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """The shape of ``pred``, or for a softmax that without classes."""
        if not isinstance(target, Tensor):
            raise TypeError('target must be a tensor, got '
                            f'{type(target).__name__}')
        samples = pred.shape[:1] + pred.shape[2:]
        if pred.ndim == 0 or (pred.ndim == 1 and not self.binary):
            raise ValueError('pred must have the classes on axis 1, got the '
                             f'shape {tuple(pred.shape)}')
        if target.ndim == pred.ndim:
            check_same_shape(pred, target)
        else:
            if target.shape != samples:
                raise ValueError(
                    f'target must have the shape {tuple(samples)} of labels '
                    f'or {tuple(pred.shape)} of pred, got '
                    f'{tuple(target.shape)}')
            check_index(target)
        return pred.shape if self.binary else samples

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """View what is removed so that it broadcasts to an input."""
        if tensor.ndim > elements.ndim:
            return elements.unsqueeze(1)
        if tensor.ndim < elements.ndim:
            # A label is removed once all of its classes are.
            return elements.all(dim=1)
        return elements

    def ignored(self, pred: Tensor, target: Tensor,
                ignore_index: int | None) -> Tensor | None:
        """Which labels, or which entries of a target, do not count."""
        if ignore_index is None or (not self.binary
                                    and target.ndim == pred.ndim):
            return None
        return target == ignore_index

    def weight_of_classes(self, pred: Tensor, target: Tensor) -> Tensor | None:
        """The weight of each class, to broadcast along their axis of ``pred``.

        They are on axis 1, but last, as in mmdet, where a sigmoid has a
        target for each of them and ``pred`` is no map.

        Raises:
            ValueError: If their numbers differ.
        """
        if self._class_weight is None:
            return None
        shape = [1] * pred.ndim
        if pred.ndim > 1:
            last = self.binary and target.ndim == pred.ndim <= 3
            dim = -1 if last else 1
            shape[dim] = pred.shape[dim]
        classes, given = math.prod(shape), self._class_weight.numel()
        if given != classes:
            raise ValueError(
                f'class_weight has {given} numbers, but the prediction has '
                f'{classes} classes' + self._miscounted(given, classes))
        return self._class_weight.to(pred).reshape(shape)

    def _miscounted(self, given: int, classes: int) -> str:
        """What may have been forgotten where the numbers of classes differ."""
        if given == classes - 1 and not self.binary:
            return (': a softmax head of mmdet needs one more for the '
                    'background, the last')
        if given == classes + 1 and self.binary:
            return (': with a sigmoid the background is no class, leave out '
                    'the last')
        return ', num_classes' + ('' if self.binary else
                                  ' + 1 for the softmax of a head of mmdet')

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                ignore_index: int | None = None,
                *,
                target_weight: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            pred (Tensor): The prediction, (N, C, \\*).
            target (Tensor): Labels (N, \\*), or a target for each class.
            weight (Tensor, optional): See :meth:`BaseLoss.forward`.
            avg_factor (float | Tensor, optional): See there.
            reduction_override (str, optional): See there.
            ignore_index (int, optional): Replaces the one of the loss for
                this call.
            target_weight (Tensor, optional): mmpose's name of ``weight``.

        Returns:
            Tensor: A 0-dim tensor, or one element each for ``'none'``.

        Raises:
            ValueError: If shapes do not fit, or the reduction is unknown.
            TypeError: If ``pred`` is not floating, or labels no integers.
        """
        check_floating('pred', pred)
        if reduction_override is not None:
            check_reduction(reduction_override)
        weight = self._given_weight(weight, target_weight)
        shape = self.element_shape(pred, target)
        if target.ndim < pred.ndim:
            target = target.long()
        if ignore_index is None:
            ignore_index = self.ignore_index
        ignored = self.ignored(pred, target, ignore_index)
        if ignored is not None:
            if ignored.ndim < len(shape):
                ignored = ignored.unsqueeze(1)
            dtype = compute_dtype(pred.dtype)
            weight = self.element_weight(weight, shape, dtype)
            if weight is None:
                weight = torch.ones((), dtype=dtype, device=pred.device)
            weight = torch.where(ignored, weight.new_zeros(()), weight)
            reduction = reduction_override or self.reduction
            if (self.avg_non_ignore and avg_factor is None
                    and reduction == 'mean'):
                avg_factor = (~ignored).expand(shape).sum()
        return super().forward(pred, target, weight, avg_factor,
                               reduction_override)
