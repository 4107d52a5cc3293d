"""Dtypes, autocast, axes and tuples of tensors.

Nothing here looks at a value, only at shapes and dtypes, so that no loss
synchronises with the host and each one compiles to a single graph.
"""
from __future__ import annotations
import contextlib
from typing import Callable, ContextManager, List, Tuple, Union

import torch
from torch import Tensor
from torch.autograd import forward_ad

# A loss takes one tensor or, as SimCC does, one tensor per axis.
Tensors = Union[Tensor, Tuple[Tensor, ...], List[Tensor]]

HALF = (torch.float16, torch.bfloat16)

# torch 2.0 has no `torch.compiler`.
try:
    is_compiling = torch.compiler.is_compiling
except AttributeError:
    is_compiling = torch._utils.is_compiling


def is_transformed() -> bool:
    """Return True where only torch's own operators work.

    A compiler, ``torch.func`` or forward-mode differentiation traces them.
    """
    return (is_compiling() or torch._C._are_functorch_transforms_active()
            or forward_ad._current_level >= 0)


def map_tensors(function: Callable[[Tensor], Tensor],
                tensors: Tensors) -> Tensors:
    """Apply a function to a tensor, or to each of a sequence of tensors."""
    if not isinstance(tensors, (tuple, list)):
        return function(tensors)
    results = [function(tensor) for tensor in tensors]
    return results if isinstance(tensors, list) else tuple(results)


def first_tensor(tensors: Tensors) -> Tensor:
    """Return a tensor itself, or the first of a sequence of tensors."""
    return tensors[0] if isinstance(tensors, (tuple, list)) else tensors


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for half precision, and any other dtype unchanged."""
    return torch.float32 if dtype in HALF else dtype


def upcast(tensor: Tensor) -> Tensor:
    """Return half precision as float32, and any other tensor unchanged."""
    # What is no tensor is reported by the checks that follow.
    half = isinstance(tensor, Tensor) and tensor.dtype in HALF
    return tensor.float() if half else tensor


def autocast_off(device_type: str) -> ContextManager:
    """Switch autocast off, where it is on and the device has one."""
    # To enter the context takes as long as ten checks.
    if not is_compiling() and not torch._C._is_any_autocast_enabled():
        return contextlib.nullcontext()
    try:
        return torch.autocast(device_type, enabled=False)
    except RuntimeError:  # e.g. 'mps' before torch 2.3, 'meta' in any
        return contextlib.nullcontext()


def pad_right(tensor: Tensor, ndim: int) -> Tensor:
    """Add singleton axes on the right until the tensor has ``ndim``."""
    if tensor.ndim == ndim:
        return tensor
    return tensor.reshape(tensor.shape + (1, ) * (ndim - tensor.ndim))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    r"""Return labels (N, \*) as a mask (N, C, \*), False for background."""
    index = torch.arange(classes, device=labels.device)
    index = index.reshape((1, classes) + (1, ) * (labels.ndim - 1))
    return labels.unsqueeze(1) == index
