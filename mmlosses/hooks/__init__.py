"""Every hook of mmlosses: importing this package registers them all."""
from mmlosses.distributed.hook import ShardedClassesHook
from mmlosses.distributed.statistics import SyncStatisticsHook
from .curves import CurvesHook
from .loss_doctor import LossDoctorHook
from .loss_weight import LossWeightHook
from .val_loss import ValLossHook

__all__ = [
    'CurvesHook', 'LossDoctorHook', 'LossWeightHook', 'ShardedClassesHook',
    'SyncStatisticsHook', 'ValLossHook'
]
