"""Every hook of mmlosses: importing this package registers them all."""
from mmlosses.distributed.hook import ShardedClassesHook
from .curves import CurvesHook
from .loss_doctor import LossDoctorHook
from .loss_weight import LossWeightHook
from .same_start import SameStartHook
from .sync_statistics import SyncStatisticsHook
from .val_loss import ValLossHook

__all__ = [
    'CurvesHook', 'LossDoctorHook', 'LossWeightHook', 'SameStartHook',
    'ShardedClassesHook', 'SyncStatisticsHook', 'ValLossHook'
]
