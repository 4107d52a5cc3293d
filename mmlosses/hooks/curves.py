"""Draw the curves of a training."""
from __future__ import annotations
import os.path as osp
from typing import Any, Dict

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlosses.registry import HOOKS

# mmengine logs them beside losses and metrics.
TIMERS = ('time', 'data_time')
INFO_KEY = 'curves_val_iters'


def of_log(runner: Runner, prefix: str) -> Dict[str, np.ndarray]:
    """The scalars of mmengine's log with a prefix, but no timers."""
    return {
        name[len(prefix):]: scalar.data[0]
        for name, scalar in runner.message_hub.log_scalars.items()
        if name.startswith(prefix) and name[len(prefix):] not in TIMERS
    }


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw the curves of losses and metrics into the work dir after training.

    The values are those that mmengine keeps for its log and saves in each
    checkpoint, so a resumed training has whole curves.

    Args:
        filename (str): Name of the picture in ``runner.work_dir``.
            Default: ``'curves.png'``.

    Example:
        In any config:

        >>> custom_hooks = [dict(type='mmlosses.CurvesHook')]
    """

    # Before CheckpointHook: a checkpoint holds all of a validation or none.
    priority = 'LOW'

    def __init__(self, filename: str = 'curves.png') -> None:
        self.filename = filename

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: Dict[str, float] | None = None) -> None:
        """Remember the iteration of this validation."""
        iters = runner.message_hub.runtime_info.get(INFO_KEY, [])
        runner.message_hub.update_info(INFO_KEY, [*iters, runner.iter])

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw the curves and save the picture."""
        path = osp.join(runner.work_dir, self.filename)
        self.draw(runner).savefig(path, dpi=120)
        runner.logger.info(f'Curves of losses and metrics: {path}')

    def draw(self, runner: Runner) -> Any:
        """The figure of the curves."""
        # pyplot would need a display.
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
        figure = Figure(figsize=(11, 4), layout='constrained')
        left, right = figure.subplots(1, 2)
        losses = {
            name: values
            for name, values in of_log(runner, 'train/').items()
            if 'loss' in name and not name.endswith('loss_weight')
        }
        if len(losses) == 2:  # the total equals the only term
            losses.pop('loss', None)
        for name, values in losses.items():
            iters = np.arange(1, len(values) + 1)
            line, = left.plot(iters, values, alpha=0.25, linewidth=0.8)
            left.plot(
                iters, smooth(values), color=line.get_color(), label=name)
        val_iters = runner.message_hub.runtime_info.get(INFO_KEY, [])
        for name, values in of_log(runner, 'val/').items():
            # A training that began without this hook has more of them.
            count = min(len(val_iters), len(values))
            right.plot(
                val_iters[len(val_iters) - count:],
                values[len(values) - count:],
                'o-',
                label=name)
        for axes, title in ((left, 'training loss'), (right, 'validation')):
            axes.set(title=title, xlabel='iteration')
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
            if axes.lines:
                # Beside the axes, where there is no line.
                axes.legend(loc='upper left', bbox_to_anchor=(1, 1))
        return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean of a window that reaches back 2 % of the training."""
    total = np.cumsum([0.0, *values])
    end = np.arange(1, len(total))
    begin = np.maximum(end - max(len(values) // 50, 1), 0)
    return (total[end] - total[begin]) / (end - begin)
