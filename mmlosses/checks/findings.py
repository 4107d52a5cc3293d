"""Findings of the checks, and the names that they print."""
from __future__ import annotations
from typing import Any, NamedTuple

UNJUDGED = 'could not be judged'


class Finding(NamedTuple):
    """A definite or possible problem, or a hint.

    An error keeps the model from training as the config says; a warning is
    worth a look. What could not be judged says nothing about the config.
    """
    level: str  # 'error', UNJUDGED, 'warning' or 'note'
    text: str

    def __str__(self) -> str:
        return f'{self.level}: {self.text}'


def error(text: str) -> Finding:
    """A problem that keeps a config from training as it says."""
    return Finding('error', text)


def warning(text: str) -> Finding:
    """A likely mistake."""
    return Finding('warning', text)


def note(text: str) -> Finding:
    """What is no mistake, but may not be known."""
    return Finding('note', text)


def unjudged(text: str) -> Finding:
    """Why a check ended without a verdict."""
    return Finding(UNJUDGED, text)


def class_name(thing: object) -> str:
    """The name of a class, or of an object's class, with its package."""
    cls = thing if isinstance(thing, type) else type(thing)
    return f'{cls.__module__.partition(".")[0]}.{cls.__name__}'


def type_name(config: Any) -> str:
    """The class name in a config, without its scope.

    Pure-Python configs hold the class itself.
    """
    kind = config.get('type')
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def ancestors(thing: object) -> set:
    """The names of an object's class and its base classes."""
    return {cls.__name__ for cls in type(thing).__mro__}
