"""Formulas compiled by ``torch.compile``, where a config asks for it."""
from __future__ import annotations
import warnings
from typing import Any, Callable, Dict

import torch

from .tensors import is_transformed

# By class and not by loss: a loss stays something to copy and to pickle.
COMPILED: Dict[Callable, Callable] = {}


def call_compiled(formula: Callable, *args: Any) -> Any:
    """Call a function compiled, or as it is without a compiler.

    Args:
        formula (Callable): A function, not a method of one loss.
        args: Its arguments, of any shape: one graph is for all of them.

    Returns:
        Any: Its return value.
    """
    if is_transformed():
        # The whole model is being compiled.
        return formula(*args)
    try:
        if formula not in COMPILED:
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
