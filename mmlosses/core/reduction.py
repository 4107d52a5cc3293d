"""The shape rule of weights, and the reduction with ``avg_factor``."""
from __future__ import annotations
from typing import Sequence

import torch
from torch import Tensor

from .checks import check_not_negative, check_number, check_tensor
from .tensors import is_compiling

# mmdet adds the same to `avg_factor`, in every dtype.
EPS = torch.finfo(torch.float32).eps


def align_weight(weight: Tensor,
                 shape: Sequence[int],
                 name: str = 'weight') -> Tensor:
    """View a weight so that it broadcasts to a per-element loss.

    Singleton axes are added or dropped on the right, since heads pass the
    weights of N samples with K keypoints as (N,), (N, K) or (N, K, 1). Weights
    (N, H, W) of a map (N, C, H, W) must not pass for such with C = H.
    """
    check_tensor(name, weight)
    axes = list(weight.shape)
    while len(axes) > len(shape) and axes[-1] == 1:
        axes.pop()
    given = tuple(axes)
    axes += [1] * (len(shape) - len(axes))
    if len(axes) != len(shape) or not fits(axes, shape):
        raise ValueError(
            f'{name} of shape {tuple(weight.shape)} does not broadcast to the '
            f'loss of shape {tuple(shape)}, even when padded on the right')
    if (len(given) == len(shape) - 1 >= 3 and given[-1] != 1
            and fits(given[1:], shape[2:])):
        raise ValueError(f'{name} of shape {given} is either {tuple(axes)} or '
                         f'{(given[0], 1, *given[1:])} for the loss of shape '
                         f'{tuple(shape)}: give it the axis of size 1')
    return weight if axes == list(weight.shape) else weight.reshape(axes)


def fits(axes: Sequence[int], shape: Sequence[int]) -> bool:
    """Return True if each axis is 1 or as in a shape of as many axes."""
    return all([axis in (1, size) for axis, size in zip(axes, shape)])


def reduce_loss(loss: Tensor,
                reduction: str,
                denominator: float | Tensor,
                avg_factor: float | Tensor | None = None) -> Tensor:
    """Reduce a weighted loss as mmdet does.

    ``'mean'`` divides the sum by ``avg_factor``, a number or a tensor with one
    element, or without it by ``denominator``.
    """
    if reduction == 'none':
        return loss
    total = loss.sum()
    if reduction == 'sum':
        if avg_factor is not None:
            raise ValueError('avg_factor divides a mean, it cannot be used '
                             "with reduction='sum'")
        return total
    if avg_factor is None:
        return total / denominator
    if isinstance(avg_factor, Tensor):
        if avg_factor.numel() != 1:
            raise ValueError('avg_factor must be a number or a tensor with '
                             f'one element, got {tuple(avg_factor.shape)}')
        check_not_negative('avg_factor', avg_factor)
        # Half precision and integers cannot represent the epsilon.
        avg_factor = avg_factor.reshape(()).to(loss.dtype)
    elif not is_compiling():
        check_number('avg_factor', avg_factor, least=0)
    return total / (avg_factor + EPS)
