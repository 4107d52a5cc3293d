"""Bases of the losses of features with class labels."""
from __future__ import annotations
import math
from typing import Any, Dict, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmlosses.distributed.class_shard import ClassShard
from .base import BaseLoss, CommonArguments, Inputs
from .checks import (check_floating, check_label_range, check_sample_labels,
                     check_size, check_softmax)
from .kernels.class_entropy import fast_class_entropy
from .numeric import unit_vectors
from .tensors import autocast_off, upcast


class ClassVectorArguments(CommonArguments, total=False):
    """The arguments of every loss with class vectors, except the sizes."""
    use_sigmoid: bool
    chunk_size: int | None
    shard_classes: bool


def make_class_vectors(num_classes: int,
                       in_channels: int,
                       shard: ClassShard | None = None) -> nn.Parameter:
    """Make the parameter (C, D) of an ``nn.Linear`` without bias.

    Not the layer, which mmengine would initialise again with the ``init_cfg``
    of the head. With ``shard`` it has the rows of this rank.
    """
    if shard is None:
        parameter = nn.Parameter(torch.empty(num_classes, in_channels))
        nn.init.xavier_uniform_(parameter)
        return parameter
    # All ranks share one seed and would draw the same vectors.
    generator = torch.Generator().manual_seed(
        int(torch.randint(2**31, ())) + shard.rank)
    weight = torch.empty(shard.end - shard.begin, in_channels)
    limit = math.sqrt(6 / (num_classes + in_channels))
    return nn.Parameter(weight.uniform_(-limit, limit, generator=generator))


class FeatureLoss(BaseLoss):
    """A loss of features (N, in_channels) with labels of ``num_classes``.

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.

    Shape:
        - features (pred): (N, in_channels).
        - labels (target): (N,), integers from 0 to num_classes - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.
    """

    pred_name = 'features'

    def __init__(self, num_classes: int, in_channels: int,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_size('num_classes', num_classes)
        check_size('in_channels', in_channels)
        self.num_classes, self.in_channels = num_classes, in_channels

    def forward(self, features: Tensor, labels: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss, see :meth:`BaseLoss.forward`."""
        return super().forward(features, labels, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        self.check_features(pred)
        check_sample_labels(target, len(pred))
        return pred.shape[:1]

    def check_features(self, features: Tensor) -> None:
        """Raise unless the features are (N, in_channels)."""
        if features.ndim != 2 or features.shape[1] != self.in_channels:
            raise ValueError('features must have the shape (N, in_channels) '
                             f'with in_channels={self.in_channels}, got '
                             f'{tuple(features.shape)}')

    def inference_features(self, features: Tensor) -> Tensor:
        """Check features outside of a call of the loss, and upcast them."""
        check_floating(self.pred_name, features)
        self.check_features(features)
        return upcast(features)

    def prepare(self, pred: Tensor, target: Tensor, weight: Tensor | None,
                avg_factor: float | Tensor | None) -> Inputs:
        """Convert the labels; those of removed samples may be anything."""
        inputs = super().prepare(pred, target, weight, avg_factor)
        inputs.target = target.long()
        return inputs

    def extra_repr(self) -> str:
        return (f'num_classes={self.num_classes}, '
                f'in_channels={self.in_channels}, {super().extra_repr()}')


class ClassVectorLoss(FeatureLoss):
    """Cross entropy over the similarity to learned class vectors.

    The vectors are the parameter ``weight`` (num_classes, in_channels), or the
    part of this rank; :meth:`logits` gives the scores for inference.

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        use_sigmoid (bool): Kept for heads that read it; only False.
            Default: False.
        chunk_size (int, optional): Number of classes whose logits are in
            memory at a time, which bounds memory; the backward pass recomputes
            them. ``None`` keeps all logits. Default: None.
        shard_classes (bool): If True, each rank of a distributed training
            holds its part of the class vectors only, see
            :class:`mmlosses.distributed.wrapper.ShardedClassesDDP`.
            Default: False.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 use_sigmoid: bool = False,
                 chunk_size: int | None = None,
                 shard_classes: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        check_softmax(use_sigmoid)
        if chunk_size is not None:
            check_size('chunk_size', chunk_size)
        if not isinstance(shard_classes, bool):
            raise ValueError('shard_classes must be True or False, got '
                             f'{shard_classes!r}')
        self.use_sigmoid = use_sigmoid
        self.chunk_size = chunk_size
        self.shard = (
            ClassShard.of_this_rank(num_classes) if shard_classes else None)
        # The vectors of all ranks, during validation and test.
        self.whole: Tensor | None = None
        self.weight = make_class_vectors(num_classes, in_channels, self.shard)

    def queries(self, features: Tensor) -> Tensor:
        """Return the vectors to multiply by class vectors of length 1."""
        raise NotImplementedError

    def with_margin(self, logits: Tensor) -> Tensor:
        """Apply the margin to the logits of the labels."""
        return logits

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (N, C) for inference, without any margin.

        With ``shard_classes`` they are those of the classes of this rank, in
        validation and test, by ``mmlosses.ShardedClassesHook``, of all.
        """
        features = self.inference_features(features)
        with autocast_off(features.device.type):
            vectors = self.weight if self.whole is None else self.whole
            vectors = unit_vectors(vectors.to(features.dtype))
            return self.queries(features) @ vectors.T

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        check_label_range(target, self.num_classes)
        return fast_class_entropy(
            self.queries(pred),
            self.weight.to(pred.dtype),
            target,
            normalize=True,
            margin_fn=self.with_margin,
            chunk_size=self.chunk_size,
            shard=self.shard)

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str,
                              *args: Any) -> None:
        """Load the vectors of this rank from those of all classes."""
        name, shard = f'{prefix}weight', self.shard
        whole = state_dict.get(name, ())
        if shard is not None and len(whole) == shard.classes:
            state_dict[name] = whole[shard.begin:shard.end]
        super()._load_from_state_dict(state_dict, prefix, *args)
