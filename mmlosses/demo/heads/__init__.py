"""Heads of the demo model, one for each kind of task."""
from .simcc import SimCCHead

__all__ = ['SimCCHead']
