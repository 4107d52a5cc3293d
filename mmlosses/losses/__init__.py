"""Every loss of mmlosses: importing this package registers them all."""
from .base import BaseLoss
from .kl_discret import KLDiscretLoss, kl_discret_loss

__all__ = ['BaseLoss', 'KLDiscretLoss', 'kl_discret_loss']
