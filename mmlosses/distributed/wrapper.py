"""Model wrappers of distributed trainings."""
from __future__ import annotations
from typing import Any, Dict, Tuple

from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmlosses.registry import MODEL_WRAPPERS
from .class_shard import ClassShard


def sharded_losses(model: nn.Module) -> Dict[str, Tuple[Any, ClassShard]]:
    """The losses whose classes are sharded over ranks, with their shards."""
    return {
        name: (module, module.shard)
        for name, module in model.named_modules()
        if isinstance(getattr(module, 'shard', None), ClassShard)
    }


@MODEL_WRAPPERS.register_module()
class ShardedClassesDDP(MMDistributedDataParallel):
    """Distributed training in which each rank has a part of the classes.

    With a million classes of 512 numbers, the class vectors, their gradient
    and their momentum take 6 GB, and those of each rank need not be the same.
    Losses with ``shard_classes=True`` exchange the features of all ranks
    instead, and each rank compares them with the classes that it has. The
    loss and every gradient are those of one process with the whole batch.

    This wrapper keeps the parts apart. The hook writes all classes into the
    checkpoint, which any number of ranks resumes, also one.

    Where it ends: the ranks wait for one another in each step to learn how
    many features each has. Every rank computes with the features of all, so
    that a rank's share of the work falls with the number of ranks only while
    the batch of each stays, or shrinks. ``clip_grad`` by the norm would scale
    each rank by the norm of its own part, and ``EMAHook`` would save that of
    rank 0: neither can be used.

    Args:
        module (nn.Module): The model.
        args: Of :class:`mmengine.model.MMDistributedDataParallel`.
        kwargs: Of the same.

    Source:
        Xiang An et al. Partial FC: Training 10 Million Identities on a Single
        Machine. ICCVW 2021, `arXiv:2010.05222
        <https://arxiv.org/abs/2010.05222>`_; without its sampling.

    Example:
        In any config with such a loss:

        >>> loss = dict(
        ...     type='mmlosses.ArcFaceLoss', num_classes=1_000_000,
        ...     in_channels=512, shard_classes=True, chunk_size=10_000)
        >>> model_wrapper_cfg = dict(type='mmlosses.ShardedClassesDDP')
        >>> custom_hooks = [dict(type='mmlosses.ShardedClassesHook')]
    """

    def __init__(self, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        self._set_params_and_buffers_to_ignore_for_model(
            module, [f'{name}.weight' for name in sharded_losses(module)])
        super().__init__(module, *args, **kwargs)
