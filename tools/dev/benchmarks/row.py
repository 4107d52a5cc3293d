"""One row of the benchmark: a loss with its inputs and its peers."""
from __future__ import annotations
import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, NamedTuple, Sequence

from mmengine.registry import MODELS
from torch import nn

from .inputs import Arguments, leaf
from .measure import COMPILED, LIMIT, OURS, Call

Function = Callable[..., Any]


class Late(NamedTuple):
    """A peer that is built from our loss and the arguments of the call.

    ``build`` returns None if its package is missing.
    """
    build: Callable[..., Function | None]


@dataclass
class Row:
    """A row of the table.

    Args:
        loss (str): The name of our class.
        inputs (Callable): Makes the arguments of a call from sizes.
        size (str): The sizes in words.
        small (dict): Sizes that take no time.
        peers (dict): By name, what computes the same from the same arguments:
            a function or :class:`Late`.
        kwargs (dict or Callable): Arguments of our loss, or a function that
            makes them from sizes.
        sizes (dict): Sizes to measure instead of the defaults of ``inputs``.
        call (Callable): Makes what is called of our loss. Default: the loss.
        goal (float, optional): The ratio to the best peer that we aim at.
        limit (str): The cheapest pass over the same numbers, in words.
        limit_of (Callable or Late, optional): The same as a function.
        grows (dict): A size to draw, and its values.
        name (str): The name of the row. Default: that of the class.
        differs (str): Why the peers return another value, if they do.
    """
    loss: str
    inputs: Callable[..., Arguments]
    size: str
    small: Dict[str, int]
    peers: Dict[str, Any] = field(default_factory=dict)
    kwargs: Any = field(default_factory=dict)
    sizes: Dict[str, int] = field(default_factory=dict)
    call: Function = lambda loss: loss
    goal: float | None = None
    limit: str = ''
    limit_of: Function | Late | None = None
    grows: Dict[str, Sequence[int]] = field(default_factory=dict)
    name: str = ''
    differs: str = ''

    def __post_init__(self) -> None:
        self.name = self.name or self.loss

    def calls(self,
              compiled: bool = False,
              /,
              **sizes: int) -> Dict[str, Call]:
        """The calls to measure, all on the same random arguments.

        Args:
            compiled (bool): Also our loss with ``compile=True``.
            sizes: Of the arguments.
        """
        bound = inspect.signature(self.inputs).bind_partial(**{
            **self.sizes,
            **sizes
        })
        bound.apply_defaults()
        args = self.inputs(**bound.arguments)
        kwargs = self.kwargs
        if callable(kwargs):
            kwargs = kwargs(**bound.arguments)
        config = dict(type=f'mmlosses.{self.loss}', **kwargs)
        ours = MODELS.build(config)
        functions = {OURS: self.call(ours), **self.peers}
        if compiled:
            functions[COMPILED] = self.call(
                MODELS.build(dict(config, compile=True)))
        if self.limit_of is not None:
            functions[LIMIT] = self.limit_of
        return {
            name:
            Call(
                function.build(ours, *args)
                if isinstance(function, Late) else function, *args)
            for name, function in functions.items()
        }


def find(path: str) -> Any:
    """An object of a package, None if the package or its needs are missing."""
    module, _, name = path.rpartition('.')
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AssertionError):  # mmdet asserts the version of mmcv
        return None


def stock(name: str, /, **kwargs: Any) -> Late:
    """A peer such as ``mmdet.GIoULoss``; ``mmdet``: the class of our name."""

    def build(loss: nn.Module, *args: Any) -> Function | None:
        scope, _, kind = name.partition('.')
        cls = find(f'{scope}.models.losses.{kind or type(loss).__name__}')
        return cls and cls(**kwargs)

    return Late(build)


class Case(NamedTuple):
    """The part of a ``mmlosses.testing.LossCase`` that a row needs."""
    loss: Any
    inputs: Callable[[int], Arguments]
    kwargs: Dict[str, Any] = {}


def default_row(case: Any,
                stock_name: str = '',
                batch: int = 4096,
                peers: Dict[str, Any] | None = None,
                **settings: Any) -> Row:
    """A row whose peer is a stock loss with the same arguments.

    Args:
        case (LossCase): The loss with ``kwargs`` and ``inputs(batch)``, which
            returns the prediction first.
        stock_name (str): The stock loss, such as ``'mmdet.GIoULoss'``.
            Default: none.
        batch (int): The batch size to measure. Default: 4096.
        peers (dict, optional): Further peers, or another one of that scope.
        settings: Of :class:`Row`.
    """

    def inputs(batch: int) -> Arguments:
        pred, *others = case.inputs(batch)
        return (leaf(pred), *others)

    scope = stock_name.partition('.')[0]
    found = {scope: stock(stock_name)} if scope else {}
    found.update(peers or {})
    return Row(
        getattr(case.loss, '__name__', case.loss), inputs,
        settings.pop('size', f'a batch of {batch:,}'),
        settings.pop('small', dict(batch=2)), found, case.kwargs,
        dict(batch=batch), **settings)
