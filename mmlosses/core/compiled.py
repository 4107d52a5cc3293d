"""Compilation of formulas by ``torch.compile``, on request of a config."""
from __future__ import annotations
import warnings
from typing import Any, Callable, Dict

import torch

from .tensors import is_transformed

# Not kept on the loss, which must stay copyable and picklable.
COMPILED: Dict[Callable, Callable] = {}


def call_compiled(formula: Callable, *args: Any) -> Any:
    """Call a function compiled, or eagerly where compilation fails.

    ``formula`` is not a bound method: one graph serves all losses of a class.
    """
    if is_transformed():  # the whole model is being compiled
        return formula(*args)
    try:
        if formula not in COMPILED:
            if not hasattr(torch, 'compiler'):  # as all later ones have
                raise RuntimeError('torch 2.0 compiles for a single shape')
            COMPILED[formula] = torch.compile(formula, dynamic=True)
        return COMPILED[formula](*args)
    except RuntimeError as error:
        if formula in COMPILED:
            from torch._dynamo.exc import TorchDynamoException
            if not isinstance(error, TorchDynamoException):
                raise
        if all([call is not given for given, call in COMPILED.items()]):
            warnings.warn('compile=True has no effect, the losses are '
                          'computed as without it, since torch.compile '
                          f'failed: {error}')
        COMPILED[formula] = formula
    return formula(*args)
