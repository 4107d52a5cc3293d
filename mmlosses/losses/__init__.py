"""Every loss of mmlosses: importing this package registers them all."""
from .angular import AngularLoss, angular_loss
from .associative_embedding import (AssociativeEmbeddingLoss,
                                    associative_embedding_loss)
from .balanced_bce import BalancedBCELoss, binary_cross_entropy
from .base import BaseLoss
from .ccs import CCSLoss, ccs_loss
from .center import CenterLoss, CenterSoftmaxLoss, center_loss
from .classification import ClassificationLoss
from .cornernet import CornerNetLoss, corner_heatmap_loss, corner_offset_loss
from .cross_entropy import (CrossEntropyLoss, LabelSmoothLoss, smooth_labels,
                            soft_cross_entropy)
from .dice import DiceLoss, dice_loss
from .focal import FocalLoss, sigmoid_focal_loss, softmax_focal_loss
from .gaussian_focal import GaussianFocalLoss, gaussian_focal_loss
from .kl_discret import KLDiscretLoss, kl_discret_loss
from .margin import (ArcFaceLogitLoss, ArcFaceLoss, ModifiedSoftmaxLoss,
                     NormFaceLoss, angular_margin, arcface_logits,
                     cosine_logits)
from .propel import KeypointPROPELLoss, PROPELLoss, propel_loss
from .regression import (L1Loss, MSELoss, SmoothL1Loss, l1_loss, mse_loss,
                         smooth_l1_loss)

__all__ = [
    'AngularLoss', 'ArcFaceLogitLoss', 'ArcFaceLoss',
    'AssociativeEmbeddingLoss', 'BalancedBCELoss', 'BaseLoss', 'CCSLoss',
    'CenterLoss', 'CenterSoftmaxLoss', 'ClassificationLoss', 'CornerNetLoss',
    'CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'GaussianFocalLoss',
    'KLDiscretLoss', 'KeypointPROPELLoss', 'L1Loss', 'LabelSmoothLoss',
    'MSELoss', 'ModifiedSoftmaxLoss', 'NormFaceLoss', 'PROPELLoss',
    'SmoothL1Loss', 'angular_loss', 'angular_margin', 'arcface_logits',
    'associative_embedding_loss', 'binary_cross_entropy', 'ccs_loss',
    'center_loss', 'corner_heatmap_loss', 'corner_offset_loss',
    'cosine_logits', 'dice_loss', 'gaussian_focal_loss', 'kl_discret_loss',
    'l1_loss', 'mse_loss', 'propel_loss', 'sigmoid_focal_loss',
    'smooth_l1_loss', 'smooth_labels', 'soft_cross_entropy',
    'softmax_focal_loss'
]
