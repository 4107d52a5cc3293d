"""Checks of integer labels, for the losses that take one for each sample."""
from __future__ import annotations

import torch
from torch import Tensor

# torch 2.0 has no `torch.compiler`.
try:
    is_compiling = torch.compiler.is_compiling
except AttributeError:
    is_compiling = torch._utils.is_compiling

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_labels(name: str, labels: Tensor, samples: int) -> None:
    """Raise unless there is one integer label for each sample."""
    if not isinstance(labels, Tensor):
        raise TypeError(
            f'{name} must be a tensor, got {type(labels).__name__}')
    if labels.dtype not in INTEGERS:
        raise TypeError(f'{name} must have an integer dtype, got '
                        f'{labels.dtype}')
    if tuple(labels.shape) != (samples, ):
        raise ValueError(f'{name} must have one label for each of {samples} '
                         f'samples, the shape {(samples, )}, got '
                         f'{tuple(labels.shape)}')


def check_label_range(name: str, labels: Tensor, num_classes: int) -> None:
    """Raise for a label that names no class, where looking costs nothing.

    On an accelerator a look would wait for the device, and a compiler cannot
    look at all. There, torch's own indexing is what complains.
    """
    if is_compiling() or type(labels) is not Tensor:
        return
    if labels.device.type != 'cpu' or labels.numel() == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f'{name} must be in [0, {num_classes}), got labels '
                         f'from {low} to {high}')
