"""One row per loss: a module for each family of ``mmlosses.losses``."""
from importlib import import_module

from mmlosses.losses import FAMILIES

CASES = sorted([
    case for family in FAMILIES
    for case in import_module(f'{__name__}.{family}').CASES
],
               key=lambda case: case.loss.__name__)
