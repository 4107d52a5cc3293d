"""Model wrapper for distributed trainings with sharded classes."""
from __future__ import annotations
from typing import Any, Dict, Tuple

from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.nn.utils import clip_grad_value_

from mmlosses.registry import MODEL_WRAPPERS
from .class_shard import ClassShard


def sharded_losses(model: nn.Module) -> Dict[str, Tuple[Any, ClassShard]]:
    """Return the losses with sharded classes and their shards, by name."""
    return {
        name: (module, module.shard)
        for name, module in model.named_modules()
        if isinstance(getattr(module, 'shard', None), ClassShard)
    }


@MODEL_WRAPPERS.register_module()
class ShardedClassesDDP(MMDistributedDataParallel):
    """Distributed training in which each rank holds a part of the classes.

    With a million classes of 512 numbers, the class vectors, their gradient
    and their momentum take 6 GB. With ``shard_classes=True``, a loss keeps a
    part of the vectors on each rank and exchanges the features instead. The
    loss and every gradient equal those of one process with the whole batch.
    The hook writes all classes into the checkpoint, from which any number of
    ranks can resume, also one.

    Limits: in each step the ranks synchronise to exchange their numbers of
    features. Every rank processes the features of all ranks, so its work falls
    with the number of ranks only if its batch stays the same or shrinks.
    ``clip_grad`` by the norm would scale each rank by the norm of its own
    part, and ``EMAHook`` would save that of rank 0: both are refused.
    ``clip_grad=dict(type='value', clip_value=...)`` works.

    Args:
        module (nn.Module): The model.
        args, kwargs: See :class:`mmengine.model.MMDistributedDataParallel`.

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

    def train_step(self, data: Any, optim_wrapper: Any) -> Dict[str, Any]:
        """Train, unless the gradients are clipped by their norm."""
        clip = getattr(optim_wrapper, 'clip_grad_kwargs', None)
        if clip and optim_wrapper.clip_func is not clip_grad_value_:
            raise ValueError(
                'with shard_classes=True, clip_grad by the norm would scale '
                'the same gradient differently on each rank: use clip_grad='
                "dict(type='value', clip_value=...) or none")
        return super().train_step(data, optim_wrapper)
