"""Every loss of mmlosses: importing this package registers them all."""
from .associative_embedding import (AssociativeEmbeddingLoss,
                                    associative_embedding_loss)
from .balanced_bce import BalancedBCELoss, binary_cross_entropy
from .base import BaseLoss
from .cornernet import CornerNetLoss, corner_heatmap_loss, corner_offset_loss
from .dice import DiceLoss, dice_loss
from .kl_discret import KLDiscretLoss, kl_discret_loss

__all__ = [
    'AssociativeEmbeddingLoss', 'BalancedBCELoss', 'BaseLoss', 'CornerNetLoss',
    'DiceLoss', 'KLDiscretLoss', 'associative_embedding_loss',
    'binary_cross_entropy', 'corner_heatmap_loss', 'corner_offset_loss',
    'dice_loss', 'kl_discret_loss'
]
