"""Base of the classification losses: labels, class weights, ignoring."""
from __future__ import annotations
import math
from typing import Any, Dict, Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from .base import BaseLoss, CommonArguments, Inputs
from .buffers import register_weights
from .checks import (INTEGERS, check_ignored, check_index, check_label_range,
                     check_same_shape, check_size, check_tensor, lacks)
from .reduction import EPS, fits
from .tensors import one_hot


class ClassificationArguments(CommonArguments, total=False):
    """The arguments of every classification loss."""
    class_weight: Sequence[float] | Tensor | float | None


class ClassificationLoss(BaseLoss):
    r"""Base of the classification losses, with the calls of mmdet's heads.

    The target holds class indices, with the classes on axis 1 of ``pred``, or
    has the shape of ``pred``. Each element is a sample for a softmax, and one
    class of a sample for a sigmoid.

    A single channel of a sigmoid has label 0 for the foreground in a matrix
    (N, 1), as in mmdet, and label 1 in a map (N, 1, H, W), as in mmseg.

    Args:
        use_sigmoid (bool): If True, each class is a binary decision: index
            labels become one-hot, and the background label, ``num_classes``,
            is negative for every class. Default: False.
        class_weight (Sequence[float] | Tensor | float, optional): Weight of
            each class, or one for all. Default: None.
        ignore_index (int, optional): Label to ignore: its loss and gradient
            are 0. A call can override it with ``ignore_index=``.
            Default: None.

    Shape:
        - pred: logits (N, C, \*), with a sigmoid any shape.
        - target: integer labels (N, \*), or of the shape of ``pred``.
        - weight: (N, \*).
        - returns: 0-dim; for ``'none'`` (N, \*), with a sigmoid the shape of
          ``pred``.
    """
    _class_weight: Tensor | None
    avg_non_ignore = False

    def __init__(self,
                 use_sigmoid: bool = False,
                 class_weight: Sequence[float] | Tensor | float | None = None,
                 ignore_index: int | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_ignored('ignore_index', ignore_index)
        self.use_sigmoid = use_sigmoid
        self.ignore_index = ignore_index
        register_weights(self, 'class_weight', class_weight, 'class', True)

    @property
    def binary(self) -> bool:
        """True if each element is one class of a sample."""
        return self.use_sigmoid

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Return the shape of ``pred``, without the classes for a softmax."""
        check_tensor('target', target)
        samples = pred.shape[:1] + pred.shape[2:]
        if pred.ndim == 0 or (pred.ndim == 1 and not self.binary):
            raise ValueError('pred must have the classes on axis 1, got the '
                             f'shape {tuple(pred.shape)}')
        if target.ndim == pred.ndim:
            check_same_shape(pred, target)
        elif target.shape != samples:
            raise ValueError(f'target must have the shape {tuple(samples)} of '
                             f'labels or {tuple(pred.shape)} of pred, got '
                             f'{tuple(target.shape)}')
        else:
            check_index(target)
        return pred.shape if self.binary else samples

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        if tensor.ndim > elements.ndim:
            return elements.unsqueeze(1)
        if tensor.ndim < elements.ndim:
            # A label is removed if all of its classes are.
            return elements.all(dim=1)
        return elements

    def ignored(self, pred: Tensor, target: Tensor,
                ignore_index: int | None) -> Tensor | None:
        """Return the mask of ignored labels or target entries."""
        if ignore_index is None or (not self.binary
                                    and target.ndim == pred.ndim):
            return None
        if lacks(target, ignore_index):
            return None
        return target == ignore_index

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                avg_factor: float | Tensor | None,
                *,
                ignore_index: int | None = None) -> Inputs:
        """Also remove elements of ``ignore_index``, if given, or the own."""
        if is_column(pred, target):
            target = target.squeeze(1)
        if self.binary and weight is not None:
            weight = self.weight_of_samples(pred, target, weight)
        inputs = super().prepare(pred, target, weight, avg_factor)
        if target.ndim < pred.ndim:
            inputs.target = target.long()
        inputs.ignores = ignore_index is not None
        if ignore_index is None:
            ignore_index = self.ignore_index
        ignored = self.ignored(pred, inputs.target, ignore_index)
        if self.binary and target.ndim < pred.ndim:
            inputs.target = foreground_first(pred, inputs.target)
        if ignored is not None:
            if target.ndim < pred.ndim:  # such as 255, which is no class
                inputs.target = inputs.target.masked_fill(ignored, 0)
            if ignored.ndim < len(inputs.shape):
                ignored = ignored.unsqueeze(1)
            inputs.remove(ignored)
        inputs.denominator = self.count(inputs, ignored)
        return inputs

    def count(self, inputs: Inputs, ignored: Tensor | None) -> float | Tensor:
        """Return the divisor of a mean without ``avg_factor``."""
        if ignored is None or not self.avg_non_ignore:
            return inputs.denominator
        return EPS + (~ignored).expand(inputs.shape).sum()

    def check_values(self, inputs: Inputs) -> None:
        """Also raise for a dense target that is negative or, binary, > 1."""
        super().check_values(inputs)
        if inputs.target.ndim == inputs.pred.ndim:
            most = 1.0 if self.binary else math.inf
            self.check_range('target', inputs.target, inputs, 0, most)

    def dense_target(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return a target for each class: labels become one-hot."""
        if target.ndim < pred.ndim:
            self.check_labels(pred, target)
            target = one_hot(target, pred.shape[1])
        return target.to(pred.dtype)

    def check_labels(self, pred: Tensor, target: Tensor) -> None:
        """Raise for a label out of range, where checking is free."""
        check_label_range(target, pred.shape[1] + self.binary, 'target')

    def class_axis(self, pred: Tensor, target: Tensor) -> int:
        """Return the axis of the classes, 1.

        It is the last, as in mmdet, for a sigmoid with a dense target and a
        ``pred`` of at most three axes.
        """
        return -1 if self.binary and target.ndim == pred.ndim <= 3 else 1

    def weight_of_samples(self, pred: Tensor, target: Tensor,
                          weight: Tensor) -> Tensor:
        r"""Give a weight (N, \*) an axis for the classes."""
        if isinstance(weight, Tensor) and weight.ndim == pred.ndim - 1 > 0:
            dim = self.class_axis(pred, target)
            samples = list(pred.shape)
            samples.pop(dim)
            if fits(weight.shape, samples):
                weight = weight.unsqueeze(dim)
        return weight

    def weight_of_classes(self,
                          pred: Tensor,
                          target: Tensor,
                          name: str = 'class_weight') -> Tensor | None:
        """Return weights of the classes, shaped to broadcast to ``pred``."""
        weights: Tensor | None = getattr(self, f'_{name}')
        if weights is None:
            return None
        shape = [1] * pred.ndim
        if pred.ndim > 1:
            dim = self.class_axis(pred, target)
            shape[dim] = pred.shape[dim]
        classes, given = math.prod(shape), weights.numel()
        if weights.ndim == 0:  # one for all classes
            weights = weights.expand(classes)
        elif given != classes:
            guess = ', num_classes'
            if given == classes + 1 and self.binary:
                guess = (': with a sigmoid the background is no class, leave '
                         'out the last')
            elif given == classes - 1 and not self.binary:
                guess = (': a softmax head of mmdet needs one more for the '
                         'background, the last')
            elif not self.binary:
                guess += ' + 1 for the softmax of a head of mmdet'
            raise ValueError(
                f'{name} has {given} numbers, but the prediction has '
                f'{classes} classes{guess}')
        return weights.to(pred).reshape(shape)


def is_label(pred: Tensor, target: Tensor) -> bool:
    r"""Return True if a target holds labels (N, \*) for a pred (N, C, \*)."""
    return (target.shape == pred.shape[:1] + pred.shape[2:]
            and target.dtype in INTEGERS)


def is_column(pred: Tensor, target: Tensor) -> bool:
    """Return True if a target holds labels (N, 1), as mmpretrain has them."""
    return (isinstance(target, Tensor) and pred.ndim == target.ndim == 2
            and target.shape[1] == 1 < pred.shape[1]
            and target.dtype in INTEGERS)


def foreground_first(pred: Tensor, labels: Tensor) -> Tensor:
    """Exchange the labels 0 and 1 of maps with one channel.

    There 1 is the foreground, as in mmseg. The first class is label 0.
    """
    one_map = pred.ndim > 2 and pred.shape[1] == 1
    return labels ^ 1 if one_map else labels


def check_head(loss: Any, num_classes: int) -> int:
    """Return the number of classes, which head and loss must agree on."""
    if num_classes != loss.num_classes:
        raise ValueError(f'the loss has num_classes={loss.num_classes}, its '
                         f'head {num_classes}')
    return num_classes


class CustomClassLoss(ClassificationLoss):
    """A classification loss that tells mmdet's heads about their classes.

    Heads ask it for the number of channels, for scores and for an accuracy,
    as those of V3Det do. It precedes the loss among the bases of a class.

    Args:
        num_classes (int): Number of classes, without the background.
    """
    custom_cls_channels = custom_activation = custom_accuracy = True

    def __init__(self, *args: Any, num_classes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_size('num_classes', num_classes)
        self.num_classes = num_classes

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the channels of a head: a softmax has a background."""
        return check_head(self, num_classes) + (not self.use_sigmoid)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the scores of the predictions (N, channels)."""
        if not self.use_sigmoid:
            return cls_score.softmax(dim=1)
        return cls_score if self.takes_probabilities else cls_score.sigmoid()

    def get_accuracy(self, cls_score: Tensor,
                     labels: Tensor) -> Dict[str, Tensor]:
        """Return the percentage of the objects with the right class."""
        best = cls_score[:, :self.num_classes].argmax(dim=1)
        objects = (labels >= 0) & (labels < self.num_classes)
        right = ((best == labels) & objects).sum()
        return dict(acc_classes=100.0 * right / objects.sum().clamp(min=1))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Also check the number of channels, unless they are masks."""
        channels = self.get_cls_channels(self.num_classes)
        if (self.use_sigmoid == self.binary and pred.ndim > 1
                and pred.shape[1] != channels):
            raise ValueError(
                f'pred must have {channels} channels on axis 1 for '
                f'num_classes={self.num_classes} and use_sigmoid='
                f'{self.use_sigmoid}, got the shape {tuple(pred.shape)}')
        return super().element_shape(pred, target)


class SampleLoss(BaseLoss):
    r"""A loss of samples (N, C, \*) with one number for each, (N, \*)."""

    def samples(self, pred: Tensor) -> torch.Size:
        """Return the shape of ``pred`` without axis 1."""
        if pred.ndim < 2:
            raise ValueError('pred must have at least 2 axes, got the shape '
                             f'{tuple(pred.shape)}')
        return pred.shape[:1] + pred.shape[2:]

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        more = tensor.ndim > elements.ndim
        return elements.unsqueeze(1) if more else elements
