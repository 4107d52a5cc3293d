"""One row per loss: a module for each family of ``mmlosses.losses``."""
from importlib import import_module

from mmlosses.losses import FAMILIES

CASES = sorted([
    case for family in FAMILIES
    for case in import_module(f'{__name__}.{family}').CASES
],
               key=lambda case: case.loss.__name__)


def base_of(loss):
    """The class of the machinery that a loss is made of."""
    return next(
        x for x in loss.__mro__ if x.__module__.startswith('mmlosses.core.'))


# One loss for each base: what costs much is tested on these alone.
REPRESENTATIVES = {
    base_of(case.loss): case.loss
    for case in reversed(CASES)
}.values()
