"""Heads of the demo model, one for each kind of task."""
from .centre import CentreHead
from .classification import ClassificationHead
from .simcc import SimCCHead

__all__ = ['CentreHead', 'ClassificationHead', 'SimCCHead']
