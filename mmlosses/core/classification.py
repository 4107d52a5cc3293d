"""Losses over classes: labels, class weights, ignored elements."""
from __future__ import annotations
import math
from typing import TYPE_CHECKING, Sequence

import torch
from torch import Tensor

from .base import BaseLoss, CommonArguments, Inputs
from .buffers import register_weights
from .checks import check_index, check_label_range, check_same_shape
from .reduction import EPS

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ClassificationArguments(CommonArguments, total=False):
    """Arguments of every loss over classes."""
    class_weight: Sequence[float] | Tensor | None


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
        use_sigmoid (bool): If True, each class is a binary decision. An index
            label then means one-hot, and background, ``num_classes``, is none
            of the classes. Default: False.
        class_weight (Sequence[float] | Tensor, optional): Weight of each
            class. Default: None.
        ignore_index (int, optional): Label whose elements are removed: loss
            and gradient are 0. A call may replace it by ``ignore_index=``.
            Default: None.

    Shape:
        - pred: logits (N, C, \\*), with a sigmoid any shape.
        - target: integer labels (N, \\*), or of the shape of ``pred``.
        - weight: (N, \\*).
        - returns: 0-dim; for ``'none'`` (N, \\*), with a sigmoid the shape of
          ``pred``.

    Raises:
        TypeError: If ``class_weight`` is not a list of numbers.
    """
    _class_weight: Tensor | None
    avg_non_ignore = False

    def __init__(self,
                 use_sigmoid: bool = False,
                 class_weight: Sequence[float] | Tensor | None = None,
                 ignore_index: int | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        self.use_sigmoid = use_sigmoid
        self.ignore_index = ignore_index
        register_weights(self, 'class_weight', class_weight, 'class')

    @property
    def binary(self) -> bool:
        """True if an element is one class of a sample."""
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
        """View a mask of elements so that it broadcasts to an input."""
        if tensor.ndim > elements.ndim:
            return elements.unsqueeze(1)
        if tensor.ndim < elements.ndim:
            # A label is removed once all of its classes are.
            return elements.all(dim=1)
        return elements

    def ignored(self, pred: Tensor, target: Tensor,
                ignore_index: int | None) -> Tensor | None:
        """Return a mask of ignored labels, or of entries of a target."""
        if ignore_index is None or (not self.binary
                                    and target.ndim == pred.ndim):
            return None
        return target == ignore_index

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                avg_factor: float | Tensor | None,
                *,
                ignore_index: int | None = None) -> Inputs:
        """Remove ignored elements too.

        Args:
            pred (Tensor): The prediction, (N, C, \\*).
            target (Tensor): Labels (N, \\*), or a target for each class.
            weight (Tensor, optional): See :meth:`BaseLoss.forward`.
            avg_factor (float | Tensor, optional): See there.
            ignore_index (int, optional): Replaces the one of the loss for
                this call.
        """
        inputs = super().prepare(pred, target, weight, avg_factor)
        if target.ndim < pred.ndim:
            inputs.target = target.long()
        if ignore_index is None:
            ignore_index = self.ignore_index
        ignored = self.ignored(pred, inputs.target, ignore_index)
        if ignored is not None:
            if ignored.ndim < len(inputs.shape):
                ignored = ignored.unsqueeze(1)
            inputs.remove(ignored)
            if self.avg_non_ignore:
                counted = (~ignored).expand(inputs.shape).sum()
                inputs.denominator = counted + EPS
        return inputs

    def dense_target(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return a target for each class: labels become one-hot."""
        if target.ndim < pred.ndim:
            self.check_labels(pred, target)
            target = one_hot(target, pred.shape[1])
        return target.to(pred.dtype)

    def check_labels(self, pred: Tensor, target: Tensor) -> None:
        """Raise for a label out of range, where checking is free."""
        check_label_range(target, pred.shape[1] + self.binary, 'target')

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
        """A guess at the cause where the numbers of classes differ."""
        if given == classes - 1 and not self.binary:
            return (': a softmax head of mmdet needs one more for the '
                    'background, the last')
        if given == classes + 1 and self.binary:
            return (': with a sigmoid the background is no class, leave out '
                    'the last')
        return ', num_classes' + ('' if self.binary else
                                  ' + 1 for the softmax of a head of mmdet')
