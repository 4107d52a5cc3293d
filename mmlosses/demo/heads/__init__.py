"""Heads of the demo model, one for each kind of task."""
from .centre import CentreHead
from .classification import ClassificationHead
from .corner import CornerHead
from .embedding import EmbeddingHead
from .mask import MaskHead
from .regression import (BoxHead, GaussianKeypointHead, KeypointHead,
                         OrientationHead)
from .simcc import SimCCHead

__all__ = [
    'BoxHead', 'CentreHead', 'ClassificationHead', 'CornerHead',
    'EmbeddingHead', 'GaussianKeypointHead', 'KeypointHead', 'MaskHead',
    'OrientationHead', 'SimCCHead'
]
