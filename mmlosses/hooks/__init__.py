"""Every hook of mmlosses: importing this package registers them all."""
from .curves import CurvesHook
from .loss_doctor import LossDoctorHook
from .loss_weight import LossWeightHook
from .sharded_classes import ShardedClassesHook
from .val_loss import ValLossHook

__all__ = [
    'CurvesHook', 'LossDoctorHook', 'LossWeightHook', 'ShardedClassesHook',
    'ValLossHook'
]
