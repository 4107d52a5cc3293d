"""Bugs of other implementations, each shown by running it beside ours.

An entry is a function decorated by :func:`shows`. Its docstring describes the
bug, its body is the snippet of the page. The body sets ``stock``, ``ours`` and
``right``, where ``right`` is independent of both: a formula, float64 or plain
arithmetic.
"""
from __future__ import annotations
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor

Shown = Tuple[Any, Any, Any]


class Fault(NamedTuple):
    """One entry of the page."""
    family: str  # the file that it stands in
    name: str
    loss: str  # ours
    upstream: Any  # a class or function of theirs, or a formula written anew
    fault: str  # in about five words
    reason: str  # why the right value is right, in one line
    tests: Tuple[str, ...]  # further tests of it, as file::test
    run: Callable[[], Shown]


FAULTS: Dict[str, Fault] = {}


def shows(
    loss: str,
    upstream: Any,
    fault: str,
    reason: str,
    tests: Sequence[str] = ()
) -> Callable[[Callable[[], Shown]], Callable[[], Shown]]:
    """Add a function to the entries."""

    def add(run: Callable[[], Shown]) -> Callable[[], Shown]:
        name = run.__name__
        if name in FAULTS:
            raise KeyError(f'two entries are called {name}')
        family = run.__module__.rpartition('.')[2]
        FAULTS[name] = Fault(family, name, loss, upstream, fault, reason,
                             tuple(tests), run)
        return run

    return add


FORMULAS: Dict[Callable[..., Any], str] = {}


def formula_of(source: str) -> Callable[[Callable], Callable]:
    """Mark a function as the formula of an implementation."""

    def add(function: Callable) -> Callable:
        FORMULAS[function] = source
        return function

    return add


# Shared by the snippets and shown on the page.


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The gradient of the sum of a loss."""
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(at).sum(), at)[0]


def outcome(call: Callable[[], Any]) -> Any:
    """The result of a call, or the name of its error."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def kind(numbers: Tensor) -> str:
    """``'NaN'`` or ``'finite'``."""
    return 'NaN' if numbers.isnan().any() else 'finite'


def syncs(loss: Callable[..., Any], *args: Tensor) -> str:
    """Test if a call needs a value on the host: ``'sync'``."""
    from torch._subclasses import fake_tensor as fake
    try:
        with fake.FakeTensorMode() as mode:
            loss(*[mode.from_tensor(x) for x in args])
    except (fake.DataDependentOutputException,
            fake.DynamicOutputShapeException):
        return 'sync'
    return 'no sync'


SHARED: List[Callable[..., Any]] = [gradient, outcome, kind, syncs]
