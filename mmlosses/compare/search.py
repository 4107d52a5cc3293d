"""Tune the arguments of a loss, before the losses are compared."""
from __future__ import annotations
import inspect
import time
from typing import Any, Callable, Dict, Tuple

import optuna
from optuna.trial import Trial, TrialState

from mmlosses.checks.configs import class_of
from mmlosses.core.base import BaseLoss
from .candidates import Candidate, loss_at
from .study import Comparison, file_name, is_killed, open_study
from .trial import TrialError

Range = Tuple[float, float]

#: The ``loss_weight`` is tuned from a quarter to four times of what it is.
WEIGHTS = 4.0


def space_of(loss: Dict[str, Any], written: Dict[str,
                                                 Any]) -> Dict[str, Range]:
    """The arguments to tune, with their ranges.

    Args:
        loss (dict): The config of the loss.
        written (dict): Arguments that the user has chosen, and which stay.
    """
    cls = class_of(loss)
    weight = loss.get('loss_weight', 1.0)
    space = dict(loss_weight=(weight / WEIGHTS, weight * WEIGHTS))
    if isinstance(cls, type) and issubclass(cls, BaseLoss):
        space.update(cls.info.search)
    return {x: y for x, y in space.items() if x not in written}


def start_of(loss: Dict[str, Any], space: Dict[str,
                                               Range]) -> Dict[str, float]:
    """The arguments as they are, which are tried first."""
    defaults = inspect.signature(class_of(loss)).parameters  # type: ignore
    values = {name: loss.get(name, defaults[name].default) for name in space}
    return {
        name: value
        for name, value in values.items() if isinstance(value, (int, float))
        and space[name][0] <= value <= space[name][1]
    }


def suggest(trial: Trial, name: str, low: float, high: float) -> float:
    """A value of an argument, by its logarithm where it spans a decade."""
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high)
    return trial.suggest_float(name, low, high, log=low > 0 and high / low > 9)


def tune(comparison: Comparison, candidate: Candidate, trials: int,
         greater: bool, tell: Callable[[str], None]) -> Dict[str, float]:
    """Search the arguments that are best for one seed.

    The seed is none of those of the comparison. Optuna proposes the arguments
    and stops trainings that are behind the median of those before.

    Returns:
        dict: The arguments; empty if no training ended well.
    """
    loss = loss_at(comparison.cfg, comparison.slots[0], candidate)
    space = space_of(loss, candidate.loss or {})
    study = open_study(
        comparison.url,
        f'search {candidate.name}',
        direction='maximize' if greater else 'minimize',
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=1))
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(start_of(loss, space))

    def train(trial: Trial) -> float:
        values = {
            name: suggest(trial, name, *ends)
            for name, ends in space.items()
        }
        given = ', '.join([f'{x}={y:.4g}' for x, y in values.items()])
        tuned = Candidate(candidate.name, {**loss, **values})

        def report(step: int, value: float) -> None:
            trial.report(value, step)
            if trial.should_prune():
                tell(f'{candidate.name}, {given}: stopped at {value:.4f}')
                raise optuna.TrialPruned

        folder = comparison.work_dir / 'search' / file_name(candidate.name)
        try:
            result = comparison.train(tuned, comparison.seeds,
                                      folder / str(trial.number), report)
        except TrialError as error:
            trial.set_user_attr('reason', str(error))
            tell(f'{candidate.name}, {given}: failed: {error}')
            raise
        tell(f'{candidate.name}, {given}: {result.value:.4f}')
        return result.value

    while True:
        optuna.storages.fail_stale_trials(study)
        states = [
            trial.state for trial in study.get_trials(deepcopy=False)
            if not is_killed(trial)
        ]
        if len([x for x in states if x != TrialState.WAITING]) < trials:
            study.optimize(train, n_trials=1, catch=(TrialError, ))
        elif TrialState.RUNNING in states:  # in another worker
            time.sleep(1)
        else:
            break
    done = study.get_trials(states=(TrialState.COMPLETE, ))
    return dict(study.best_params) if done else {}
