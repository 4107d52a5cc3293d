"""Heads of the demo model, one for each kind of task."""
from .embedding import EmbeddingHead
from .simcc import SimCCHead

__all__ = ['EmbeddingHead', 'SimCCHead']
