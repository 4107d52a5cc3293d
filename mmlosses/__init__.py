"""Losses for every mmengine project, found by name: ``mmlosses.XLoss``.

Importing this package loads neither torch nor mmengine, so that a config can
be read and a version printed at no cost.
"""
from .version import __version__

__all__ = ['__version__']
