"""Start trainings with other losses from the same random numbers."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

from mmlosses.registry import HOOKS


@HOOKS.register_module()
class SameStartHook(Hook):
    """Seed the random generators once the model is built.

    A loss with parameters draws random numbers when it is built. Without this
    hook, the augmentation and dropout that follow would differ from those of
    another loss.

    Args:
        seed (int): The seed.

    Example:
        >>> custom_hooks = [dict(type='mmlosses.SameStartHook', seed=0)]
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        """Seed, unless the training goes on from a checkpoint."""
        if runner.iter == 0:
            set_random_seed(self.seed)
