"""Every loss of mmlosses: importing this package registers them all."""
from .base import BaseLoss
from .ccs import CCSLoss, ccs_loss
from .center import CenterLoss, CenterSoftmaxLoss, center_loss
from .kl_discret import KLDiscretLoss, kl_discret_loss
from .margin import (ArcFaceLogitLoss, ArcFaceLoss, ModifiedSoftmaxLoss,
                     NormFaceLoss, angular_margin, arcface_logits,
                     cosine_logits)

__all__ = [
    'ArcFaceLogitLoss', 'ArcFaceLoss', 'BaseLoss', 'CCSLoss', 'CenterLoss',
    'CenterSoftmaxLoss', 'KLDiscretLoss', 'ModifiedSoftmaxLoss',
    'NormFaceLoss', 'angular_margin', 'arcface_logits', 'ccs_loss',
    'center_loss', 'cosine_logits', 'kl_discret_loss'
]
