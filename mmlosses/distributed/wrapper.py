"""Model wrapper for distributed trainings with sharded classes."""
from __future__ import annotations
import functools
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from mmlosses.registry import MODEL_WRAPPERS
from .class_shard import ClassShard


def sharded_losses(model: nn.Module) -> Dict[str, Tuple[Any, ClassShard]]:
    """Return the losses with sharded classes and their shards, by name."""
    return {
        name: (module, module.shard)
        for name, module in model.named_modules()
        if isinstance(getattr(module, 'shard', None), ClassShard)
    }


def clip_sharded_grad_norm_(parameters: Iterable[nn.Parameter],
                            max_norm: float,
                            norm_type: float = 2.0,
                            error_if_nonfinite: bool = False,
                            foreach: bool | None = None,
                            *,
                            sharded: Sequence[nn.Parameter]) -> Tensor:
    """Clip the gradients by their norm over the classes of all ranks.

    As :func:`torch.nn.utils.clip_grad_norm_`, but the parameters in
    ``sharded`` have other elements on each rank, and the rest the same.
    """
    spread = {id(parameter) for parameter in sharded}
    norms: List[List[Tensor]] = [[], []]
    grads = []
    for parameter in parameters:
        grad: Any = parameter.grad
        grads.append(grad)
        norms[id(parameter) in spread].append(
            torch.linalg.vector_norm(grad, float(norm_type)))
    zero = sharded[0].new_zeros(())
    common, own = [torch.stack([zero, *group]) for group in norms]
    of_ranks = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(of_ranks, own)
    norm = torch.linalg.vector_norm(
        torch.cat([common, *of_ranks]), float(norm_type))
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(f'the norm of the gradients is {norm.item()}')
    factor = (max_norm / (norm + 1e-6)).clamp(max=1)
    for grad in grads:
        grad.mul_(factor)
    return norm


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
    ``EMAHook`` would save the part of rank 0 and is refused. ``clip_grad`` by
    the norm takes that over the classes of all ranks.

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
        """Train, and clip the gradients by a norm that all ranks share."""
        if getattr(optim_wrapper, 'clip_func', None) is clip_grad_norm_:
            # In the first step alone, which replaces the function.
            sharded = [
                module.weight
                for module, _ in sharded_losses(self.module).values()
            ]
            if sharded:
                optim_wrapper.clip_func = functools.partial(
                    clip_sharded_grad_norm_, sharded=sharded)
        return super().train_step(data, optim_wrapper)
