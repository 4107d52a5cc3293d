"""Buffer helpers."""
from __future__ import annotations
from typing import Sequence

import torch
from torch import Tensor

from .base import BaseLoss
from .checks import is_visible
from .tensors import is_compiling


def set_buffer(module: BaseLoss, name: str, value: Tensor) -> None:
    """Update a buffer, after its old value was used in the loss."""
    buffer = getattr(module, name)
    # In place, so that other references see the value; but the backward pass
    # of a compiled formula may read the buffer again
    # (https://github.com/pytorch/pytorch/pull/197039).
    if module.is_compiled or is_compiling():
        setattr(module, name, value.to(buffer.dtype))
    else:
        buffer.copy_(value)


def register_weights(module: BaseLoss,
                     name: str,
                     weights: Sequence[float] | Tensor | float | None,
                     each: str,
                     one_for_all: bool = False) -> None:
    """Keep fixed weights as attribute ``name`` and as buffer ``_name``.

    The buffer is on the device, so that no call copies them there, and in no
    checkpoint.
    """
    buffer = None
    if weights is not None:
        try:
            buffer = torch.as_tensor(
                weights, dtype=torch.get_default_dtype()).detach().clone()
        except (TypeError, ValueError, RuntimeError):
            pass
        if buffer is None or buffer.ndim not in (1, 1 - one_for_all):
            raise TypeError(f'{name} must be a list with a number for each '
                            f'{each}, got {weights!r}')
        usable = (buffer >= 0) & buffer.isfinite()
        if is_visible(buffer) and not usable.all():
            raise ValueError(f'{name} must hold finite numbers that are not '
                             f'negative, got {weights!r}')
    setattr(module, name, weights)
    module.register_buffer(f'_{name}', buffer, persistent=False)
