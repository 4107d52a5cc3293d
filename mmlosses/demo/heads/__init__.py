"""Heads of the demo model, one for each kind of task."""
from .regression import GaussianKeypointHead, KeypointHead, OrientationHead
from .simcc import SimCCHead

__all__ = [
    'GaussianKeypointHead', 'KeypointHead', 'OrientationHead', 'SimCCHead'
]
