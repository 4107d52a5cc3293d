"""Schedules for the weight of a loss."""
from __future__ import annotations
import bisect
import difflib
import math
from typing import Any, Dict, List, Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmlosses.registry import HOOKS

SCHEDULES = ('linear', 'cosine', 'step')


@HOOKS.register_module()
class LossWeightHook(Hook):
    r"""Schedule the ``loss_weight`` of a loss.

    The weight depends only on the epoch or iteration, so a resumed training
    continues correctly and checkpoints store nothing. It is logged next to the
    learning rate, as ``bbox_head.loss_bbox.loss_weight``.

    .. math::
        w(t) = w_0 + (w_1 - w_0) \, p \qquad
        w(t) = w_1 + \tfrac{1}{2} (w_0 - w_1) (1 + \cos \pi p) \qquad
        w(t) = w_0 \gamma^{\#\{m \le t\}}

    for ``'linear'``, ``'cosine'`` and ``'step'``, with
    :math:`p = (t - begin) / (end - 1 - begin)`: epoch or iteration ``begin``
    has ``start_weight`` and ``end - 1`` has ``end_weight``, as in mmengine's
    ``LinearLR``. The weight is untouched before ``begin`` and constant from
    ``end`` on.

    To chain schedules of one loss, use one hook for each, in any order.

    Args:
        path (str): The path of the loss in the model, such as
            ``'bbox_head.loss_bbox'`` or, in mmpose, ``'head.loss_module'``.
        schedule (str): ``'linear'``, ``'cosine'`` or ``'step'``.
            Default: ``'linear'``.
        start_weight (float, optional): The weight at ``begin``. ``None``: the
            final weight of the previous schedule, or the ``loss_weight`` of
            the config. Default: None.
        end_weight (float, optional): The final weight; required for
            ``'linear'`` and ``'cosine'``. Default: None.
        begin (int): The first epoch or iteration of the schedule, from 0.
            Default: 0.
        end (int, optional): The end of the schedule, exclusive. ``None``: the
            ``begin`` of the next schedule, or the end of the training.
            Default: None.
        by_epoch (bool): If True, count epochs; otherwise iterations.
            Default: True.
        milestones (list[int], optional): Required for ``'step'``: the epochs
            or iterations, counted from the start of the training, at which
            the weight is multiplied by ``gamma``. Default: None.
        gamma (float): The factor for ``'step'``. Default: 0.1.

    Raises:
        ValueError: If the arguments contradict each other or, at the start of
            the training, the model has no such module or it has no
            ``loss_weight``, two schedules of a loss overlap, or
            ``by_epoch=True`` in a training by iterations.
        TypeError: If an argument or the ``loss_weight`` is not a number.

    Example:
        In a config that inherits mmdet's RetinaNet:

        >>> custom_hooks = [
        ...     dict(
        ...         type='mmlosses.LossWeightHook',
        ...         path='bbox_head.loss_bbox',
        ...         schedule='linear',
        ...         start_weight=0.5,
        ...         end_weight=2.0,
        ...         end=4)
        ... ]

        >>> from mmengine.registry import HOOKS
        >>> hook = HOOKS.build(custom_hooks[0])
        >>> [hook.weight_at(epoch) for epoch in range(6)]
        [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    """

    def __init__(self,
                 path: str,
                 schedule: str = 'linear',
                 start_weight: float | None = None,
                 end_weight: float | None = None,
                 begin: int = 0,
                 end: int | None = None,
                 by_epoch: bool = True,
                 milestones: Sequence[int] | None = None,
                 gamma: float | None = None) -> None:
        if not isinstance(path, str) or not path:
            raise TypeError(f'path must name a module, got {path!r}')
        if schedule not in SCHEDULES:
            raise ValueError(f'schedule must be one of {SCHEDULES}, got '
                             f'{schedule!r}')
        for name, value in (('start_weight', start_weight),
                            ('end_weight', end_weight), ('gamma', gamma)):
            if value is not None and not is_number(value):
                raise TypeError(f'{name} must be a finite number, got '
                                f'{value!r}')
        steps = schedule == 'step'
        needed, unused = (('milestones', 'end_weight') if steps else
                          ('end_weight', 'milestones'))
        given = dict(milestones=milestones, end_weight=end_weight)
        if given[needed] is None:
            raise ValueError(f'schedule={schedule!r} needs {needed}')
        unfit: Dict[str, Any] = {unused: given[unused]}
        unfit['end' if steps else 'gamma'] = end if steps else gamma
        for name in unfit:
            if unfit[name] is not None:
                raise ValueError(f'schedule={schedule!r} has no {name}')
        check_count('begin', begin)
        if end is not None:
            check_count('end', end)
            if end <= begin:
                raise ValueError(f'end must be after begin={begin}, got {end}')
        if milestones is not None:
            if not isinstance(milestones, (list, tuple)) or not milestones:
                raise ValueError('milestones must be a list of at least one '
                                 f'number, got {milestones!r}')
            for value in milestones:
                check_count('each of milestones', value)
            if sorted(set(milestones)) != list(milestones) or (milestones[0]
                                                               < begin):
                raise ValueError('milestones must rise, from begin='
                                 f'{begin} on, got {milestones!r}')
        self.path = path
        self.schedule = schedule
        self.start_weight = start_weight
        self.end_weight = end_weight
        self.begin = begin
        self.end = end
        self.by_epoch = by_epoch
        self.milestones = list(milestones or [])
        self.gamma = 0.1 if gamma is None else gamma
        # Set when the training starts.
        self.loss: Any = None
        self.chain: List[LossWeightHook] = [self]
        self.last_set: float | None = None
        self.warned = False

    def weight_at(self, now: int) -> float:
        """The weight at an epoch or iteration from ``begin`` on.

        Args:
            now (int): The epoch or iteration, from 0.

        Returns:
            float: The weight.

        Raises:
            ValueError: If ``start_weight`` or ``end`` comes from the training,
                which has not started yet.
        """
        start, stop = self.start_weight, self.end
        if self.schedule == 'step' and start is not None:
            return start * self.gamma**bisect.bisect(self.milestones, now)
        if start is None or stop is None or self.end_weight is None:
            raise ValueError('the weight is not known before the training, '
                             'which gives start_weight or end')
        if now >= stop - 1:
            return self.end_weight
        share = (now - self.begin) / (stop - 1 - self.begin)
        if self.schedule == 'cosine':
            share = (1 - math.cos(math.pi * share)) / 2
        return start + (self.end_weight - start) * share

    def before_train(self, runner: Runner) -> None:
        """Find the loss and chain its schedules."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(f'the schedule of {self.path} counts epochs, and '
                             'this training iterations: write by_epoch=False')
        self.loss = find_loss(runner.model, self.path)
        self.chain = sorted([
            hook for hook in runner.hooks
            if isinstance(hook, LossWeightHook) and hook.path == self.path
        ],
                            key=lambda hook: hook.begin)
        weight = self.loss.loss_weight
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        for hook, following in zip(self.chain, [*self.chain[1:], None]):
            hook.complete(weight, following.begin if following else last)
            if following is None:
                break
            if following.by_epoch != hook.by_epoch:
                raise ValueError(f'one schedule of {self.path} counts epochs '
                                 'and another iterations')
            if hook.end is None or hook.end > following.begin:
                raise ValueError(
                    f'two schedules of {self.path} overlap: that from '
                    f'{hook.begin} on has end={hook.end}, and the next has '
                    f'begin={following.begin}')
            weight = hook.weight_at(hook.end)
        # Log the current weight, not a moving average as for losses.
        custom = dict(data_src=self.log_name, method_name='current')
        if custom not in runner.log_processor.custom_cfg:
            runner.log_processor.custom_cfg.append(custom)

    def complete(self, weight: float, last: int) -> None:
        """Fill in the arguments that default to values of the training."""
        if self.start_weight is None:
            self.start_weight = weight
        if self.end is None and self.schedule != 'step':
            if last <= self.begin:
                raise ValueError(f'the schedule of {self.path} has '
                                 f'begin={self.begin}, but what comes after '
                                 f'it, or the end of the training, is {last}')
            self.end = last

    @property
    def log_name(self) -> str:
        """The key of the weight in the log."""
        return f'{self.path}.loss_weight'

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Set and log the weight."""
        now = runner.epoch if self.by_epoch else runner.iter
        begun = [hook for hook in self.chain if hook.begin <= now]
        # Before any schedule begins, the first one logs the current weight.
        if self is not (begun or self.chain[:1])[-1]:
            return
        if begun:
            weight = self.weight_at(now)
            found = self.loss.loss_weight
            if self.last_set not in (None, found) and not self.warned:
                self.warned = True
                runner.logger.warning(
                    f'{self.log_name} was set to {found} by something else. '
                    f'LossWeightHook sets it to {weight:g}')
            self.loss.loss_weight = self.last_set = weight
        runner.message_hub.update_scalar(f'train/{self.log_name}',
                                         float(self.loss.loss_weight))


def is_number(value: Any) -> bool:
    """True for a finite number that is not a bool."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and math.isfinite(value))


def check_count(name: str, value: Any) -> None:
    """Raise unless a value is a non-negative integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f'{name} must be an integer, got {value!r}')
    if value < 0:
        raise ValueError(f'{name} must be at least 0, got {value}')


def find_loss(model: nn.Module, path: str) -> nn.Module:
    """The loss at a path of a model, possibly wrapped.

    Raises:
        ValueError: If there is none, or it has no ``loss_weight``.
        TypeError: If its ``loss_weight`` is not a number.
    """
    inner: Any = model
    while is_model_wrapper(inner):
        inner = inner.module
    modules = dict(inner.named_modules())
    weighted = [
        name for name in modules if hasattr(modules[name], 'loss_weight')
    ]
    if path not in modules:
        near = difflib.get_close_matches(path, weighted, n=3)
        text = f'the model has no module {path!r}'
        if near:
            text += f'; did you mean {" or ".join(near)}?'
        elif weighted:
            text += f'; a loss_weight is in {", ".join(weighted)}'
        raise ValueError(text)
    loss = modules[path]
    if path not in weighted:
        raise ValueError(
            f'{path} ({type(loss).__name__}) has no loss_weight to move. The '
            'losses of mmlosses have one, some of mmpose have none' +
            (f'; here {", ".join(weighted)} have' if weighted else ''))
    if not is_number(loss.loss_weight):
        raise TypeError(f'the loss_weight of {path} must be a number, got '
                        f'{loss.loss_weight!r}')
    return loss
