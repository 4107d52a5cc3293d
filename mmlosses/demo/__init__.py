"""A small real task for every loss: handwritten digits.

Configs name its classes by dotted path, ``type='mmlosses.demo.DigitScenes'``,
which needs mmengine 0.8.0 or later. The digits come with scikit-learn.
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
