"""A real task for every loss, small enough for a laptop: handwritten digits.

Named in configs by dotted path, ``type='mmlosses.demo.DigitScenes'``, which
mmengine finds since 0.8.0. Needs scikit-learn, which brings the digits along.
"""
from .heads import CornerHead, MaskHead, SimCCHead
from .metrics import PCK, Accuracy, BoxF1, MaskDice, MaskIoU, MeanIoU
from .model import DigitNet
from .scenes import DigitScenes

__all__ = [
    'Accuracy', 'BoxF1', 'CornerHead', 'DigitNet', 'DigitScenes', 'MaskDice',
    'MaskHead', 'MaskIoU', 'MeanIoU', 'PCK', 'SimCCHead'
]
