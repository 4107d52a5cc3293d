"""Heads of the demo model, one for each kind of task."""
from .classification import ClassificationHead
from .simcc import SimCCHead

__all__ = ['ClassificationHead', 'SimCCHead']
