"""A loss passes the ``isinstance`` tests that heads make for stock losses."""
from __future__ import annotations
import functools
import sys
from typing import Any, List, Tuple

PROJECTS = ('mmdet', 'mmpose', 'mmseg', 'mmpretrain', 'mmrotate', 'mmyolo',
            'mmdet3d')


def stock_classes(cls: type) -> Tuple[type, ...]:
    """The losses of loaded projects with the name of a class or a base.

    ``stock_name`` of a class is that of another name in the projects.
    """
    names = [
        vars(base).get('stock_name', base.__name__) for base in cls.__mro__
    ]
    found: List[type] = []
    for project in PROJECTS:
        losses = sys.modules.get(f'{project}.models.losses')
        for name in names:
            stock = getattr(losses, name, None)
            if isinstance(stock, type) and stock not in (*found, *cls.__mro__):
                found.append(stock)
    # A base beside its subclass would not make a class.
    return tuple([
        stock for stock in found
        if not any([issubclass(x, stock) for x in found if x is not stock])
    ])


@functools.lru_cache(maxsize=None)
def join(cls: type, stock: Tuple[type, ...]) -> type:
    """A subclass of a loss and of stock losses, of which nothing is made."""
    names = {'__module__': cls.__module__, '__qualname__': cls.__qualname__}
    # Losses made of mmengine's BaseModule have a metaclass of their own.
    kinds = tuple(dict.fromkeys([type(cls), *map(type, stock)]))
    kinds = tuple([kind for kind in kinds if kind is not type])
    kind = kinds[0] if len(kinds) == 1 else type('JoinedType', kinds, {})
    return kind(cls.__name__, (cls, *stock), names)


class DropIn:
    """Shows the stock classes of the same name to ``isinstance``.

    Dynamic R-CNN, for instance, asserts that its loss is mmdet's
    ``SmoothL1Loss``. ``isinstance`` reads ``__class__`` where the type of the
    object does not fit, and ``type`` remains the class of the loss. Nothing is
    imported, and no class of another project is changed.
    """

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        cls: Any = type(self)
        stock = stock_classes(cls)
        return join(cls, stock) if stock else cls

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by ``type``: pickle refuses an object of another class."""
        reduced: Any = object.__reduce_ex__(self, max(protocol, 2))
        return (new_object, *reduced[1:])


def new_object(cls: type, *args: Any) -> Any:
    """Make an object to fill, as ``copyreg.__newobj__`` does."""
    return cls.__new__(cls, *args)
