"""Statistics that all ranks of a distributed training share."""
from __future__ import annotations
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlosses.core.statistics import statistics_losses
from mmlosses.registry import HOOKS


@HOOKS.register_module()
class SyncStatisticsHook(Hook):
    """Move the statistics of losses once per iteration, by all ranks.

    For losses with a buffer that moves in training: ``mean_iou_loss`` of
    ``WIoULoss``, ``centers`` of ``CenterLoss``, ``cum_samples`` of
    ``SeesawLoss``, ``gradients`` of ``EQLV2Loss``, and ``acc_sum`` of ``GHMC``
    and ``GHMR``. A rank may have no sample, or skip the loss. Without the hook
    each rank has its own statistics, of its own samples, and the checkpoint
    holds those of rank 0.

    In one process, it makes a difference for a loss that is called several
    times in an iteration: its buffer moves once, by all the samples.

    Example:
        >>> custom_hooks = [dict(type='mmlosses.SyncStatisticsHook')]
    """

    # Before EMAHook and CheckpointHook, after LossDoctorHook.
    priority = 'ABOVE_NORMAL'

    def before_train(self, runner: Runner) -> None:
        """Let the losses keep the sums of an iteration."""
        for loss in statistics_losses(runner.model):
            loss.defer(True)

    def after_train_iter(self, runner: Runner, *args: Any,
                         **kwargs: Any) -> None:
        """Move the buffers by the sums of all ranks."""
        for loss in statistics_losses(runner.model):
            loss.synchronize()

    def after_train(self, runner: Runner) -> None:
        """Let the losses move at each call again."""
        for loss in statistics_losses(runner.model):
            loss.defer(False)
