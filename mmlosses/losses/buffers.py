"""State that a loss moves in the forward pass."""
from __future__ import annotations

from torch import Tensor

from .base import BaseLoss
from .labels import is_compiling


def set_buffer(module: BaseLoss, name: str, value: Tensor) -> None:
    """Give a buffer a new value, after its old one was used in the loss.

    The buffer is written in place, so that whoever holds it sees the value.
    Not with a compiled formula: its backward pass may read the buffer again
    instead of keeping what the forward pass read, and would find the new value
    (https://github.com/pytorch/pytorch/pull/197039). It gets a new tensor.
    """
    buffer = getattr(module, name)
    if module.is_compiled or is_compiling():
        setattr(module, name, value.to(buffer.dtype))
    else:
        buffer.copy_(value)
