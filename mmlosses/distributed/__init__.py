"""Classes that are sharded over the ranks of a training."""
from .hook import ShardedClassesHook
from .wrapper import ShardedClassesDDP

__all__ = ['ShardedClassesDDP', 'ShardedClassesHook']
