"""Checkpoints of trainings in which each rank holds a part of the classes."""
from __future__ import annotations
from typing import Any, Dict, List, Tuple

from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlosses.registry import HOOKS
from .class_shard import ClassShard
from .wrapper import ShardedClassesDDP, sharded_losses


def savers(runner: Runner) -> List[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def sharded(runner: Runner) -> Dict[str, Tuple[Any, ClassShard]]:
    """Return the losses with sharded classes and their shards, by name."""
    model = runner.model
    return sharded_losses(model.module if is_model_wrapper(model) else model)


def position(runner: Runner, parameter: nn.Parameter) -> int:
    """Return the index of a parameter in the optimizer's state."""
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper):
        raise TypeError('losses with shard_classes=True need one optimizer, '
                        f'got {type(wrapper).__name__}')
    parameters = [x for group in wrapper.param_groups for x in group['params']]
    return [x is parameter for x in parameters].index(True)


@HOOKS.register_module()
class ShardedClassesHook(Hook):
    """Save the classes of all ranks; on resume, give each rank its own.

    For :class:`mmlosses.distributed.wrapper.ShardedClassesDDP`. Every rank
    holds the vectors of all classes during validation and test. Whenever
    ``CheckpointHook`` saves, it briefly holds them and then their optimizer
    state, one tensor after another.

    Raises:
        TypeError: If the model has another wrapper, which would exchange the
            parts, or there are several optimizers.
        ValueError: With ``EMAHook``, which would save the part of rank 0.
        RuntimeError: If a checkpoint is saved at another time.

    Example:
        >>> custom_hooks = [dict(type='mmlosses.ShardedClassesHook')]
    """

    # Before the hook that saves.
    priority = 'LOW'

    def __init__(self) -> None:
        self.whole: Dict[str, Any] = {}
        self.when = -1

    def before_train(self, runner: Runner) -> None:
        """Check the wrapper and the other hooks."""
        model = runner.model
        if not is_model_wrapper(model) or not sharded(runner):
            return
        if any([isinstance(hook, EMAHook) for hook in runner.hooks]):
            raise ValueError(
                'EMAHook averages the classes of its own rank and saves those '
                'of rank 0: leave it out of custom_hooks, or shard_classes')
        if not isinstance(model, ShardedClassesDDP):
            raise TypeError(
                'losses with shard_classes=True need model_wrapper_cfg=dict('
                "type='mmlosses.ShardedClassesDDP'), got "
                f'{type(model).__name__}')

    def after_train_epoch(self, runner: Runner) -> None:
        """Gather the parts for checkpoints that are saved by epoch."""
        if any([hook.by_epoch for hook in savers(runner)]):
            self.gather(runner)

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        """Gather the parts for a checkpoint of this iteration."""
        for hook in savers(runner):
            if not hook.by_epoch and (self.every_n_train_iters(
                    runner, hook.interval) or self.is_last_train_iter(runner)):
                self.gather(runner)

    def before_test(self, runner: Runner) -> None:
        """Lend each rank the vectors of all classes.

        Before the loop and not at prediction: ranks may have different numbers
        of batches.
        """
        for module, shard in sharded(runner).values():
            module.whole = shard.gather(module.weight.detach(), shard.rows())

    def before_val(self, runner: Runner) -> None:
        """Lend all classes, and gather the parts for the best checkpoint."""
        self.before_test(runner)
        if any([hook.save_best for hook in savers(runner)]):
            self.gather(runner)

    def after_val(self, runner: Runner) -> None:
        """Free the lent classes."""
        for module, _ in sharded(runner).values():
            module.whole = None

    after_test = after_val

    def gather(self, runner: Runner) -> None:
        """Gather the vectors and optimizer states of all ranks."""
        if self.when == runner.iter:
            return
        self.when, self.whole = runner.iter, {}
        for name, (module, shard) in sharded(runner).items():
            part = module.weight
            kept = runner.optim_wrapper.optimizer.state.get(part, {})
            whole = {
                key: shard.gather(value.detach(), shard.rows()).cpu()
                for key, value in dict(kept, weight=part).items()
                if isinstance(value, Tensor) and value.shape == part.shape
            }
            if shard.rank == 0:  # it saves
                self.whole[name] = whole

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: Dict[str, Any]) -> None:
        """Replace the part of rank 0 by all classes."""
        if self.when != runner.iter and sharded(runner):
            raise RuntimeError(
                'with shard_classes=True checkpoints are saved by '
                'CheckpointHook, when all ranks have exchanged their classes')
        for name, (module, _) in sharded(runner).items():
            whole = dict(self.whole[name])
            checkpoint['state_dict'][f'{name}.weight'] = whole.pop('weight')
            if 'optimizer' in checkpoint and whole:
                index = position(runner, module.weight)
                checkpoint['optimizer']['state'][index].update(whole)

    def after_load_checkpoint(self, runner: Runner,
                              checkpoint: Dict[str, Any]) -> None:
        """Keep the part of this rank of the optimizer state."""
        states = checkpoint.get('optimizer', {}).get('state', {})
        for name, (module, shard) in sharded(runner).items() if states else ():
            index = position(runner, module.weight)
            whole = checkpoint['state_dict'][f'{name}.weight'].shape
            for key, value in states.get(index, {}).items():
                if isinstance(value, Tensor) and value.shape == whole:
                    states[index][key] = value[shard.begin:shard.end].clone()
