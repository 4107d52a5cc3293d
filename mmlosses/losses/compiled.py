"""Formulas that a compiler fuses, where a config asks for it."""
from __future__ import annotations
import functools
import inspect
import warnings
from typing import Any, Callable, Dict

import torch

from .gradient import is_transformed

# By class and not by loss: a loss stays something to copy and to pickle.
COMPILED: Dict[Callable, Callable] = {}


def accept_compile(init: Callable) -> Callable:
    """Let a constructor take ``compile``, see :class:`BaseLoss`."""

    @functools.wraps(init)
    def accepting(self: Any,
                  *args: Any,
                  compile: bool = False,
                  **kwargs: Any) -> None:
        if not isinstance(compile, bool):
            raise TypeError('compile must be True or False, got '
                            f'{type(compile).__name__}')
        init(self, *args, **kwargs)
        if compile:
            self.is_compiled = True

    # Config checkers and help texts read it.
    signature = inspect.signature(init)
    flag = inspect.Parameter(
        'compile', inspect.Parameter.KEYWORD_ONLY, default=False)
    parameters = [*signature.parameters.values(), flag]
    accepting.__signature__ = signature.replace(  # type: ignore
        parameters=sorted(parameters, key=lambda x: x.kind))
    return accepting


def call_compiled(formula: Callable, *args: Any) -> Any:
    """Call a function compiled, or as it is where there is no compiler.

    Args:
        formula (Callable): A function, not a method of one loss.
        args: Its arguments, of any shape: one graph is for all of them.

    Returns:
        Any: What it returns.
    """
    if is_transformed():
        # Already looked at by whoever compiles the model.
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
