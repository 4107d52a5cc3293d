"""Checks of integer labels, for the losses that take them."""
from __future__ import annotations
from typing import Any

import torch
from torch import Tensor

# torch 2.0 has no `torch.compiler`.
try:
    is_compiling = torch.compiler.is_compiling
except AttributeError:
    is_compiling = torch._utils.is_compiling

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_index(labels: Any, name: str = 'target') -> None:
    """Raise a ``TypeError`` unless labels are a tensor of integers."""
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
    """Raise for a label that names no class, where looking costs nothing.

    On an accelerator a look would wait for the device, and a compiler cannot
    look at all. There, torch's own indexing is what complains.
    """
    if is_compiling() or type(labels) is not Tensor:
        return
    if labels.device.type != 'cpu' or labels.numel() == 0:
        return
    try:
        low, high = int(labels.min()), int(labels.max())
    except RuntimeError:  # of torch.func.vmap, where a tensor stands for many
        return
    if low < 0 or high >= classes:
        raise ValueError(f'{name} must be from 0 to {classes - 1}, got '
                         f'{low if low < 0 else high}')
