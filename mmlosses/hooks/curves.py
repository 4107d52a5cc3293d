"""A picture of how a training went."""
from __future__ import annotations
import os.path as osp
from typing import Dict

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlosses.registry import HOOKS

# What mmengine logs beside losses and metrics.
TIMERS = ('time', 'data_time')
INFO_KEY = 'curves_val_iters'


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw the loss and metric curves into the work dir after training.

    The values are those that mmengine keeps for its log and saves in each
    checkpoint, so that the curves of a resumed training are whole.

    Args:
        filename (str): Name of the picture in ``runner.work_dir``.
            Default: ``'curves.png'``.

    Example:
        In any config:

        >>> custom_hooks = [dict(type='mmlosses.CurvesHook')]
    """

    # Before the hook that saves: a checkpoint has all of a validation or none.
    priority = 'LOW'

    def __init__(self, filename: str = 'curves.png') -> None:
        self.filename = filename

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: Dict[str, float] | None = None) -> None:
        """Remember where on the x-axis this validation belongs."""
        iters = runner.message_hub.runtime_info.get(INFO_KEY, [])
        runner.message_hub.update_info(INFO_KEY, [*iters, runner.iter])

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw what was logged."""
        # Importing pyplot would take a display where there is one.
        from matplotlib.figure import Figure

        scalars = runner.message_hub.log_scalars
        losses = {
            name[len('train/'):]: scalar.data[0]
            for name, scalar in scalars.items() if name.startswith('train/')
            and 'loss' in name and not name.endswith('loss_weight')
        }
        if len(losses) == 2:  # The total is the one term.
            losses.pop('loss', None)
        metrics = {
            name[len('val/'):]: scalar.data[0]
            for name, scalar in scalars.items()
            if name.startswith('val/') and name[len('val/'):] not in TIMERS
        }
        figure = Figure(figsize=(11, 4), layout='constrained')
        left, right = figure.subplots(1, 2)
        for name, values in losses.items():
            iters = np.arange(1, len(values) + 1)
            line, = left.plot(iters, values, alpha=0.25, linewidth=0.8)
            left.plot(
                iters,
                smooth(np.asarray(values, dtype=float)),
                color=line.get_color(),
                label=name)
        val_iters = runner.message_hub.runtime_info.get(INFO_KEY, [])
        for name, values in metrics.items():
            # A training that was begun without this hook has more of them.
            count = min(len(val_iters), len(values))
            right.plot(
                val_iters[len(val_iters) - count:],
                values[len(values) - count:],
                'o-',
                label=name)
        for axes, title in ((left, 'training loss'), (right, 'validation')):
            axes.set(title=title, xlabel='iteration')
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend()
        path = osp.join(runner.work_dir, self.filename)
        figure.savefig(path, dpi=120)
        runner.logger.info(f'Curves of losses and metrics: {path}')


def smooth(values: np.ndarray, parts: int = 50) -> np.ndarray:
    """The mean of a window that reaches back a fiftieth of the training."""
    width = max(len(values) // parts, 1)
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - width, 0)
    return (total[end] - total[begin]) / (end - begin)
