"""Every loss of mmlosses: importing this package registers them all."""
from .base import BaseLoss
from .classification import ClassificationLoss
from .cross_entropy import (CrossEntropyLoss, LabelSmoothLoss, smooth_labels,
                            soft_cross_entropy)
from .focal import FocalLoss, sigmoid_focal_loss, softmax_focal_loss
from .gaussian_focal import GaussianFocalLoss, gaussian_focal_loss
from .kl_discret import KLDiscretLoss, kl_discret_loss

__all__ = [
    'BaseLoss', 'ClassificationLoss', 'CrossEntropyLoss', 'FocalLoss',
    'GaussianFocalLoss', 'KLDiscretLoss', 'LabelSmoothLoss',
    'gaussian_focal_loss', 'kl_discret_loss', 'sigmoid_focal_loss',
    'smooth_labels', 'soft_cross_entropy', 'softmax_focal_loss'
]
