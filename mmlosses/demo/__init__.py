"""A real task for every loss, small enough for a laptop: handwritten digits.

Named in configs by dotted path, ``type='mmlosses.demo.DigitScenes'``, which
mmengine finds since 0.8.0. Needs scikit-learn, which brings the digits along.
"""
from .heads import EmbeddingHead, SimCCHead
from .metrics import PCK, Accuracy, MeanIoU
from .model import DigitNet
from .scenes import DigitScenes

__all__ = [
    'Accuracy', 'DigitNet', 'DigitScenes', 'EmbeddingHead', 'MeanIoU', 'PCK',
    'SimCCHead'
]
