"""Every hook of mmlosses: importing this package registers them all."""
from .curves import CurvesHook
from .sharded_classes import ShardedClassesHook

__all__ = ['CurvesHook', 'ShardedClassesHook']
