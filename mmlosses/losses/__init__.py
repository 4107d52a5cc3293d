"""Every loss of mmlosses: importing this package registers them all."""
from .angular import AngularLoss, angular_loss
from .associative_embedding import (AssociativeEmbeddingLoss,
                                    associative_embedding_loss)
from .balanced_bce import BalancedBCELoss, binary_cross_entropy
from .base import BaseLoss
from .box_geometry import BoxLoss, BoxPair, box_pair
from .boxes import (AlphaIoULoss, CIoULoss, DIoULoss, EIoULoss, GIoULoss,
                    InnerIoULoss, IoULoss, MPDIoULoss, NWDLoss, ShapeIoULoss,
                    SIoULoss)
from .ccs import CCSLoss, ccs_loss
from .center import CenterLoss, CenterSoftmaxLoss, center_loss
from .classification import ClassificationLoss
from .cornernet import CornerNetLoss, corner_heatmap_loss, corner_offset_loss
from .cross_entropy import (CrossEntropyLoss, LabelSmoothLoss, smooth_labels,
                            soft_cross_entropy)
from .dice import DiceLoss, dice_loss
from .focal import FocalLoss, sigmoid_focal_loss, softmax_focal_loss
from .gaussian_focal import GaussianFocalLoss, gaussian_focal_loss
from .keypoints import KeypointLoss
from .kl_discret import KLDiscretLoss, kl_discret_loss
from .margin import (ArcFaceLogitLoss, ArcFaceLoss, ModifiedSoftmaxLoss,
                     NormFaceLoss, angular_margin, arcface_logits,
                     cosine_logits)
from .propel import KeypointPROPELLoss, PROPELLoss, propel_loss
from .regression import (L1Loss, MSELoss, SmoothL1Loss, l1_loss, mse_loss,
                         smooth_l1_loss)
from .sum import SumLoss
from .wise_iou import WIoULoss, wise_iou_loss

__all__ = [
    'AlphaIoULoss', 'AngularLoss', 'ArcFaceLogitLoss', 'ArcFaceLoss',
    'AssociativeEmbeddingLoss', 'BalancedBCELoss', 'BaseLoss', 'BoxLoss',
    'BoxPair', 'CCSLoss', 'CIoULoss', 'CenterLoss', 'CenterSoftmaxLoss',
    'ClassificationLoss', 'CornerNetLoss', 'CrossEntropyLoss', 'DIoULoss',
    'DiceLoss', 'EIoULoss', 'FocalLoss', 'GIoULoss', 'GaussianFocalLoss',
    'InnerIoULoss', 'IoULoss', 'KLDiscretLoss', 'KeypointLoss',
    'KeypointPROPELLoss', 'L1Loss', 'LabelSmoothLoss', 'MPDIoULoss', 'MSELoss',
    'ModifiedSoftmaxLoss', 'NWDLoss', 'NormFaceLoss', 'PROPELLoss', 'SIoULoss',
    'ShapeIoULoss', 'SmoothL1Loss', 'SumLoss', 'WIoULoss', 'angular_loss',
    'angular_margin', 'arcface_logits', 'associative_embedding_loss',
    'binary_cross_entropy', 'box_pair', 'ccs_loss', 'center_loss',
    'corner_heatmap_loss', 'corner_offset_loss', 'cosine_logits', 'dice_loss',
    'gaussian_focal_loss', 'kl_discret_loss', 'l1_loss', 'mse_loss',
    'propel_loss', 'sigmoid_focal_loss', 'smooth_l1_loss', 'smooth_labels',
    'soft_cross_entropy', 'softmax_focal_loss', 'wise_iou_loss'
]
