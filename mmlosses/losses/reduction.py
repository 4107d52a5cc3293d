"""What every loss shares: dtypes, shapes, weights and reductions.

These functions never look at a value, only at shapes and dtypes, so that no
loss waits for the device and each one compiles to a single graph.
"""
from __future__ import annotations
import contextlib
from typing import Callable, ContextManager, List, Sequence, Tuple, Union

import torch
from torch import Tensor

# A loss takes one tensor or, as SimCC does, one tensor per axis.
Tensors = Union[Tensor, Tuple[Tensor, ...], List[Tensor]]

REDUCTIONS = ('mean', 'sum', 'none')
HALF_DTYPES = (torch.float16, torch.bfloat16)

# mmdet adds the same to `avg_factor`, in every dtype.
EPS = torch.finfo(torch.float32).eps


def map_tensors(function: Callable[[Tensor], Tensor],
                tensors: Tensors) -> Tensors:
    """Apply a function to a tensor, or to each of a sequence of tensors."""
    if isinstance(tensors, (tuple, list)):
        return tuple([function(tensor) for tensor in tensors])
    return function(tensors)


def first_tensor(tensors: Tensors) -> Tensor:
    """Return a tensor itself, or the first of a sequence of tensors."""
    return tensors[0] if isinstance(tensors, (tuple, list)) else tensors


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that a loss of another is computed in."""
    return torch.float32 if dtype in HALF_DTYPES else dtype


def upcast(tensor: Tensor) -> Tensor:
    """Return half precision as float32, and any other dtype unchanged."""
    return tensor.to(compute_dtype(tensor.dtype))


def autocast_off(device_type: str) -> ContextManager:
    """Switch autocast off, where the device has one to switch off."""
    try:
        return torch.autocast(device_type, enabled=False)
    except RuntimeError:  # e.g. 'mps' before torch 2.3, 'meta' in any
        return contextlib.nullcontext()


def check_floating(name: str, tensors: Tensors) -> None:
    """Raise a ``TypeError`` unless every tensor holds floating numbers."""
    several = isinstance(tensors, (tuple, list))
    for tensor in tensors if several else (tensors, ):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f'{name} must be a tensor, got {type(tensor).__name__}')
        if not tensor.is_floating_point():
            raise TypeError(f'{name} must have a floating-point dtype, '
                            f'got {tensor.dtype}')


def check_same_shape(pred: Tensor, target: Tensor) -> None:
    """Raise a ``ValueError`` where torch would broadcast in silence."""
    if pred.shape != target.shape:
        raise ValueError('pred and target must have the same shape, got '
                         f'{tuple(pred.shape)} and {tuple(target.shape)}')


def check_reduction(reduction: str) -> None:
    """Raise a ``ValueError`` for an unknown reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', "
                         f'got {reduction!r}')


def align_weight(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """View a weight so that it broadcasts to the shape of a loss.

    Singleton axes are added or dropped on the right, since heads pass the
    weights of N samples with K keypoints as (N,), (N, K) or (N, K, 1).

    Args:
        weight (Tensor): The weight of each element, or of each leading axis.
        shape (Sequence[int]): Shape of the unreduced loss.

    Returns:
        Tensor: The weight with ``len(shape)`` axes, each of them 1 or the
        size of that axis of the loss.

    Raises:
        TypeError: If the weight is not a tensor.
        ValueError: If it does not broadcast to ``shape``.
    """
    if not isinstance(weight, Tensor):
        raise TypeError(
            f'weight must be a tensor, got {type(weight).__name__}')
    axes = list(weight.shape)
    while len(axes) > len(shape) and axes[-1] == 1:
        axes.pop()
    axes += [1] * (len(shape) - len(axes))
    fits = len(axes) == len(shape) and all(
        [axis == 1 or axis == size for axis, size in zip(axes, shape)])
    if not fits:
        raise ValueError(
            f'weight of shape {tuple(weight.shape)} does not broadcast to the '
            f'loss of shape {tuple(shape)}, even when padded on the right')
    return weight.reshape(axes)


def pad_right(tensor: Tensor, ndim: int) -> Tensor:
    """Add singleton axes on the right until the tensor has ``ndim``."""
    return tensor.reshape(tensor.shape + (1, ) * (ndim - tensor.ndim))


def reduce_loss(loss: Tensor,
                reduction: str,
                denominator: float | Tensor,
                avg_factor: float | Tensor | None = None) -> Tensor:
    """Reduce a weighted loss as mmdet does.

    Args:
        loss (Tensor): The weighted loss of each element.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
        denominator (float | Tensor): What ``'mean'`` divides the sum by
            when there is no ``avg_factor``.
        avg_factor (float | Tensor, optional): What ``'mean'`` divides the sum
            by instead: a number or a tensor with one element.

    Returns:
        Tensor: The loss itself for ``'none'``, else a 0-dim tensor.

    Raises:
        ValueError: If a tensor ``avg_factor`` has not exactly one element, or
            any is combined with ``'sum'``.
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
        # A half or integer dtype could not hold the epsilon.
        avg_factor = avg_factor.reshape(()).to(loss.dtype)
    return total / (avg_factor + EPS)
