"""Heads of the demo model, one for each kind of task."""
from .corner import CornerHead
from .mask import MaskHead
from .simcc import SimCCHead

__all__ = ['CornerHead', 'MaskHead', 'SimCCHead']
