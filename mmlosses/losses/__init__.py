"""Every loss of mmlosses: importing this package registers them all."""
from .angular import AngularLoss, angular_loss
from .base import BaseLoss
from .kl_discret import KLDiscretLoss, kl_discret_loss
from .propel import KeypointPROPELLoss, PROPELLoss, propel_loss
from .regression import (L1Loss, MSELoss, SmoothL1Loss, l1_loss, mse_loss,
                         smooth_l1_loss)

__all__ = [
    'AngularLoss', 'BaseLoss', 'KLDiscretLoss', 'KeypointPROPELLoss', 'L1Loss',
    'MSELoss', 'PROPELLoss', 'SmoothL1Loss', 'angular_loss', 'kl_discret_loss',
    'l1_loss', 'mse_loss', 'propel_loss', 'smooth_l1_loss'
]
