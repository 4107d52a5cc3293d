"""The trainings of a comparison, which workers share by a database."""
from __future__ import annotations
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import optuna
from mmengine.config import Config
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError

from .candidates import Candidate, loss_at, with_loss
from .trial import (Report, Result, TrialError, initial_weights, run_trial,
                    trial_config)

NAME = 'mmlosses compare'

#: A worker that has not been heard of for so many seconds is dead.
SILENCE = 30

Key = Tuple[str, int]  # loss and seed


class Outcome(NamedTuple):
    """What became of one training."""
    name: str
    seed: int
    result: Result | None
    reason: str = ''  # why there is no result


def open_study(url: str, name: str, **options: Any) -> optuna.Study:
    """Open a study in a database, or create it.

    Raises:
        ValueError: If the database cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for last in (False, False, False, True):
        try:
            storage = optuna.storages.RDBStorage(
                url, heartbeat_interval=SILENCE // 6, grace_period=SILENCE)
            return optuna.create_study(
                study_name=name,
                storage=storage,
                load_if_exists=True,
                **options)
        except DBAPIError as cause:
            # Another worker may be creating the same tables.
            if last:
                text = str(cause.orig).strip().split('\n')[0]
                raise ValueError(f'--storage {url}: {text}') from cause
            time.sleep(1)
    raise AssertionError


def is_killed(trial: FrozenTrial) -> bool:
    """True for a trial that ended without a result and a reason."""
    return (trial.state == TrialState.FAIL
            and 'reason' not in trial.user_attrs)


class Comparison:
    """A config, the losses and the seeds, with a study that holds the results.

    Args:
        cfg (Config): The config.
        slots (list[str]): The paths of the losses to replace.
        candidates (list[Candidate]): The losses.
        seeds (int): How many seeds, from 0 on.
        metric (str): The metric to rank by.
        work_dir (Path): Has a folder for each training.
        storage (str, optional): URL of a database that workers share. Default:
            an SQLite file in ``work_dir``.
    """

    def __init__(self,
                 cfg: Config,
                 slots: Sequence[str],
                 candidates: Sequence[Candidate],
                 seeds: int,
                 metric: str,
                 work_dir: Path,
                 storage: str | None = None) -> None:
        self.cfg, self.slots, self.metric = cfg, slots, metric
        self.candidates = {x.name: x for x in candidates}
        self.seeds, self.work_dir = seeds, work_dir
        work_dir.mkdir(parents=True, exist_ok=True)
        self.url = storage or f'sqlite:///{work_dir / "study.db"}'
        self.study = open_study(self.url, NAME)
        self.tuned: Dict[str, Dict[str, float]] = {}
        self.go_on(config=cfg.pretty_text, slots=list(slots), metric=metric)

    def use(self, tuned: Dict[str, Dict[str, float]]) -> None:
        """Compare the losses with these arguments, those that were tuned."""
        self.go_on(tuned=tuned)
        self.tuned = tuned
        for name, values in tuned.items():
            loss = loss_at(self.cfg, self.slots[0], self.candidates[name])
            self.candidates[name] = Candidate(name, {**loss, **values})

    def go_on(self, **given: Any) -> None:
        """Refuse results of another config, slot or metric."""
        for name, value in given.items():
            known = self.study.user_attrs.get(name, value)
            if known != value:
                text = '' if name == 'config' else f': {known}'
                raise ValueError(f'{self.work_dir} or --storage has results '
                                 f'of another {name}{text}. Choose others')
            self.study.set_user_attr(name, value)

    @property
    def keys(self) -> List[Key]:
        """All trainings: each seed of all losses before the next seed."""
        return [(name, seed) for seed in range(self.seeds)
                for name in self.candidates]

    def settled(self) -> Dict[Key, FrozenTrial]:
        """The trials that have ended, or that a worker has or will have.

        The first for each training: two workers may have asked for it at once.
        """
        found: Dict[Key, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            attrs = trial.user_attrs
            if 'loss' in attrs and not is_killed(trial):
                found.setdefault((attrs['loss'], attrs['seed']), trial)
        return found

    def enqueue(self) -> None:
        """Ask for the trainings that are not there, or were killed."""
        optuna.storages.fail_stale_trials(self.study)
        settled = self.settled()
        for name, seed in self.keys:
            if (name, seed) not in settled:
                self.study.enqueue_trial({},
                                         user_attrs=dict(loss=name, seed=seed))

    def outcomes(self) -> List[Outcome]:
        """What became of the trainings that have ended."""
        settled, found = self.settled(), []
        for name, seed in self.keys:
            trial = settled.get((name, seed))
            if trial is None or not trial.state.is_finished():
                continue
            attrs = trial.user_attrs
            result = None
            if trial.state == TrialState.COMPLETE:
                curve = {int(x): y for x, y in attrs['curve'].items()}
                result = Result(curve, attrs['seconds'], attrs['memory'])
            found.append(Outcome(name, seed, result, attrs.get('reason', '')))
        return found

    def work(self, tell: Callable[[Outcome], None]) -> None:
        """Run trainings until all have ended, here or in another worker."""
        while True:
            self.enqueue()
            if self.study.get_trials(states=(TrialState.WAITING, )):
                self.study.optimize(
                    self.objective(tell), n_trials=1, catch=(TrialError, ))
            elif len(self.outcomes()) == len(self.keys):
                return
            else:
                time.sleep(1)

    def objective(self, tell: Callable[[Outcome],
                                       None]) -> Callable[[Trial], float]:
        """The training of a trial, as a function for Optuna."""

        def train(trial: Trial) -> float:
            key: Any = tuple(map(trial.user_attrs.get, ('loss', 'seed')))
            if (key not in self.keys
                    or self.settled()[key].number != trial.number):
                # Another worker took the last one that was waiting, or asked
                # for the same one, or the study was begun with other losses.
                raise TrialError
            name, seed = key
            try:
                result = self.train(self.candidates[name], seed,
                                    self.folder(seed) / file_name(name))
            except TrialError as error:
                trial.set_user_attr('reason', str(error))
                tell(Outcome(name, seed, None, str(error)))
                raise
            for attr, value in result._asdict().items():
                trial.set_user_attr(attr, value)
            tell(Outcome(name, seed, result))
            return result.value

        return train

    def folder(self, seed: int) -> Path:
        """Where the trainings with a seed are."""
        return self.work_dir / f'seed_{seed}'

    def train(self,
              candidate: Candidate,
              seed: int,
              folder: Path,
              report: Report = lambda step, value: None) -> Result:
        """Train with one loss and one seed, see :func:`run_trial`."""
        weights = self.folder(seed) / 'initial.pth'
        initial_weights(self.cfg, seed, weights)
        cfg = with_loss(self.cfg, self.slots, candidate)
        return run_trial(
            trial_config(cfg, seed, weights), folder, self.metric, report)


def file_name(name: str) -> str:
    """A loss as the name of a folder."""
    return ''.join([x if x.isalnum() or x in '.=_-' else '_' for x in name])
