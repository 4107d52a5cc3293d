"""What a check has to say."""
from __future__ import annotations
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """One thing that is wrong, or that may be.

    An error keeps the model from training, or makes it train something other
    than what the config says; a warning is worth a look.
    """
    level: str  # 'error' or 'warning'
    text: str

    def __str__(self) -> str:
        return f'{self.level}: {self.text}'


def error(text: str) -> Finding:
    """What keeps a config from training as it says."""
    return Finding('error', text)


def warning(text: str) -> Finding:
    """What a user may not have meant."""
    return Finding('warning', text)


def class_name(thing: object) -> str:
    """The name of a class, or that of an object, as configs write it."""
    cls = thing if isinstance(thing, type) else type(thing)
    return f'{cls.__module__.partition(".")[0]}.{cls.__name__}'


def type_name(config: Any) -> str:
    """The name of the class that a config names, without its scope.

    Pure-Python configs hold the class itself.
    """
    kind = config.get('type')
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def ancestors(thing: object) -> set:
    """The names of an object's class and of all that it inherits from."""
    return {cls.__name__ for cls in type(thing).__mro__}
