"""What the losses over features and labels of their own classes share."""
from __future__ import annotations
import math
from typing import Sequence

import torch
from torch import Tensor, nn

from .base import BaseLoss
from .class_shard import ClassShard
from .labels import check_sample_labels
from .reduction import check_floating


def check_size(name: str, value: int) -> None:
    """Raise unless the size of a loss's own tensor is a positive integer."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} must be a positive integer, got {value!r}')


def check_softmax(use_sigmoid: bool) -> None:
    """Raise a ``ValueError`` where a config asks for a sigmoid."""
    if use_sigmoid:
        raise ValueError('the classes compete in a softmax, use_sigmoid must '
                         f'be False, got {use_sigmoid!r}')


def check_features(features: Tensor, in_channels: int) -> None:
    """Raise unless the features are (N, in_channels)."""
    check_floating('features', features)
    if features.ndim != 2 or features.shape[1] != in_channels:
        raise ValueError(
            'features must have the shape (N, in_channels) with '
            f'in_channels={in_channels}, got {tuple(features.shape)}')


def make_class_vectors(num_classes: int,
                       in_channels: int,
                       shard: ClassShard | None = None) -> nn.Parameter:
    """Make the parameter (C, D) that an ``nn.Linear`` without bias has.

    Not the layer itself: mmengine would initialise it anew with the head's
    ``init_cfg``, which finds layers by their class. With ``shard`` it has the
    rows of this rank.
    """
    if shard is None:
        parameter = nn.Parameter(torch.empty(num_classes, in_channels))
        nn.init.xavier_uniform_(parameter)
        return parameter
    # Ranks start from one seed: they would have the same vectors.
    generator = torch.Generator()
    generator.manual_seed(int(torch.randint(2**31, ())) + shard.rank)
    weight = torch.empty(shard.end - shard.begin, in_channels)
    limit = math.sqrt(6 / (num_classes + in_channels))
    return nn.Parameter(weight.uniform_(-limit, limit, generator=generator))


class FeatureLoss(BaseLoss):
    """A loss of features (N, in_channels) with labels of ``num_classes``.

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight (float): Factor of the reduced loss.
    """

    def __init__(self, num_classes: int, in_channels: int, reduction: str,
                 loss_weight: float) -> None:
        super().__init__(reduction, loss_weight)
        check_size('num_classes', num_classes)
        check_size('in_channels', in_channels)
        self.num_classes = num_classes
        self.in_channels = in_channels

    def forward(self,
                features: Tensor,
                labels: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                *,
                target_weight: Tensor | None = None) -> Tensor:
        """Compute the loss of features (N, D) and labels (N,).

        See :meth:`BaseLoss.forward` for the other arguments.
        """
        check_features(features, self.in_channels)
        check_sample_labels(labels, len(features))
        return super().forward(
            features,
            labels,
            weight,
            avg_factor,
            reduction_override,
            target_weight=target_weight)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """(N,): one element is one sample."""
        return pred.shape[:1]

    def extra_repr(self) -> str:
        """Name the sizes too."""
        return (f'num_classes={self.num_classes}, '
                f'in_channels={self.in_channels}, {super().extra_repr()}')
