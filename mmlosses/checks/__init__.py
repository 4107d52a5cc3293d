"""The checks of ``tools/check_config.py``: watch one training step.

mmdet and mmpose are imported only when a config needs them.
"""
from .batches import fake_batch
from .configs import check_losses, prepare_model
from .findings import Finding
from .traps import find_traps
from .watch import LossCall, LossWatch

__all__ = [
    'Finding', 'LossCall', 'LossWatch', 'check_losses', 'fake_batch',
    'find_traps', 'prepare_model'
]
