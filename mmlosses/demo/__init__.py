"""A real task for every loss, small enough for a laptop: handwritten digits.

Named in configs by dotted path, ``type='mmlosses.demo.DigitScenes'``, which
mmengine finds since 0.8.0. Needs scikit-learn, which brings the digits along.
"""
from .heads import (BoxHead, CentreHead, ClassificationHead, CornerHead,
                    EmbeddingHead, GaussianKeypointHead, KeypointHead,
                    MaskHead, OrientationHead, SimCCHead)
from .metrics import (PCK, Accuracy, AngularError, BoxF1, MaskDice, MaskIoU,
                      MeanIoU)
from .model import DigitNet
from .scenes import DigitScenes

__all__ = [
    'Accuracy', 'AngularError', 'BoxF1', 'BoxHead', 'CentreHead',
    'ClassificationHead', 'CornerHead', 'DigitNet', 'DigitScenes',
    'EmbeddingHead', 'GaussianKeypointHead', 'KeypointHead', 'MaskDice',
    'MaskHead', 'MaskIoU', 'MeanIoU', 'OrientationHead', 'PCK', 'SimCCHead'
]
