"""Faults of other implementations, each shown by running it beside ours.

An entry is a function under :func:`shows`: its docstring says in one sentence
what is wrong, and its body is the snippet of the page. It leaves ``stock``,
``ours`` and ``right``, where ``right`` comes from neither: from a formula
written out, from float64 or from plain arithmetic.
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
    fault: str  # in some five words
    reason: str  # why the right value is right, in one line
    tests: Tuple[str, ...]  # further tests that hold it, as file::test
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
    """Mark a function as the formula of an implementation, written anew."""

    def add(function: Callable) -> Callable:
        FORMULAS[function] = source
        return function

    return add


# What the snippets share; the page shows these functions.


def slope(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The gradient of the sum of a loss."""
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(at).sum(), at)[0]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the name of its error."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def waits(call: Callable[[], Any]) -> str:
    """Whether a call needs a value on the host to go on."""
    from torch._subclasses import fake_tensor as fake
    try:
        with fake.FakeTensorMode():
            call()
    except (fake.DataDependentOutputException,
            fake.DynamicOutputShapeException):
        return 'waits'
    return 'does not wait'


SHARED: List[Callable[..., Any]] = [slope, outcome, waits]
