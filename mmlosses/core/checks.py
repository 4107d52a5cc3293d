"""Checks of arguments and inputs, with messages that name both sides."""
from __future__ import annotations
import math
from numbers import Real
from typing import Any, Sequence

import torch
from torch import Tensor

from .tensors import Tensors, is_compiling

REDUCTIONS = ('mean', 'sum', 'none')
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise a ``ValueError`` unless an argument is one of the choices."""
    if value not in choices:
        *most, last = [repr(choice) for choice in choices]
        raise ValueError(f'{name} must be {", ".join(most)} or {last}, got '
                         f'{value!r}')


def check_number(name: str,
                 value: Any,
                 least: float | None = None,
                 above: float | None = None,
                 most: float | None = None,
                 below: float | None = None) -> None:
    """Raise unless an argument is a number within the bounds."""
    if not isinstance(value, Real):
        raise TypeError(f'{name} must be a number, got '
                        f'{type(value).__name__} {value!r}')
    number = float(value)
    expected = []
    holds = True
    if above is not None:
        holds = holds and number > above
        expected.append(f'above {above}' if above else 'positive')
    if least is not None:
        holds = holds and number >= least
        expected.append(f'at least {least}')
    if below is not None:
        holds = holds and number < below
        expected.append('finite' if below == math.inf else f'below {below}')
    if most is not None:
        holds = holds and number <= most
        expected.append(f'at most {most}')
    if not holds:
        raise ValueError(
            f'{name} must be {" and ".join(expected)}, got {value}')


def check_size(name: str, value: Any) -> None:
    """Raise a ``ValueError`` unless a size is a positive integer."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} must be a positive integer, got {value!r}')


def check_softmax(use_sigmoid: bool) -> None:
    """Raise a ``ValueError`` if a config asks for a sigmoid."""
    if use_sigmoid:
        raise ValueError('the classes compete in a softmax, use_sigmoid must '
                         f'be False, got {use_sigmoid!r}')


def check_floating(name: str, tensors: Tensors) -> None:
    """Raise a ``TypeError`` unless every tensor has a floating-point dtype."""
    several = isinstance(tensors, (tuple, list))
    if several and len(tensors) == 0:
        raise ValueError(f'{name} must hold at least one tensor, got none')
    for tensor in tensors if several else (tensors, ):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f'{name} must be a tensor, got {type(tensor).__name__}')
        if not tensor.is_floating_point():
            raise TypeError(f'{name} must have a floating-point dtype, '
                            f'got {tensor.dtype}')


def check_same_shape(pred: Tensor, target: Tensor) -> None:
    """Raise a ``ValueError`` where torch would broadcast silently."""
    if pred.shape != target.shape:
        raise ValueError('pred and target must have the same shape, got '
                         f'{tuple(pred.shape)} and {tuple(target.shape)}')


def check_index(labels: Any, name: str = 'target') -> None:
    """Raise a ``TypeError`` unless labels are an integer tensor."""
    if not isinstance(labels, Tensor):
        raise TypeError(
            f'{name} must be a tensor, got {type(labels).__name__}')
    if labels.dtype not in INTEGERS:
        raise TypeError(f'{name} must have an integer dtype, got '
                        f'{labels.dtype} of shape {tuple(labels.shape)}')


def check_sample_labels(labels: Any, samples: int) -> None:
    """Raise unless there is one integer label for each sample."""
    check_index(labels, 'labels')
    if tuple(labels.shape) != (samples, ):
        raise ValueError(f'labels must have one for each of {samples} '
                         f'samples, the shape {(samples, )}, got '
                         f'{tuple(labels.shape)}')


def check_label_range(labels: Tensor,
                      classes: int,
                      name: str = 'labels') -> None:
    """Raise for a label out of range, where checking is free.

    On an accelerator it would synchronise with the host, and a compiler cannot
    do it. There, torch's own indexing reports the label.
    """
    if is_compiling() or type(labels) is not Tensor:
        return
    if labels.device.type != 'cpu' or labels.numel() == 0:
        return
    try:
        low, high = int(labels.min()), int(labels.max())
    except RuntimeError:  # under torch.func.vmap a tensor stands for many
        return
    if low < 0 or high >= classes:
        raise ValueError(f'{name} must be from 0 to {classes - 1}, got '
                         f'{low if low < 0 else high}')
