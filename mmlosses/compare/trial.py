"""One training of a comparison: its config, its process and its log."""
from __future__ import annotations
import ctypes
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint, set_random_seed

from mmlosses.cli import write_whole

# Called with the step and the metric after each validation.
Report = Callable[[int, float], None]

LOCAL = 'LocalVisBackend'

# How often the log of a training is read, in seconds.
INTERVAL = 0.5


class TrialError(RuntimeError):
    """A training that failed, with the reason in one line."""


class Result(NamedTuple):
    """What a training logged."""
    curve: Dict[int, float]  # metric after each epoch or iteration
    seconds: float  # for one step, the median
    memory: float  # most that was used, in MiB

    @property
    def value(self) -> float:
        """The metric of the last validation."""
        return self.curve[max(self.curve)]


def initial_weights(cfg: Config, seed: int, path: Path) -> None:
    """Save the weights from which each loss starts with this seed.

    They are those of the config's own model, so that a loss with parameters
    changes nothing for the others.
    """
    if path.exists():
        return
    set_random_seed(seed)
    model = MODELS.build(cfg.model)
    if hasattr(model, 'init_weights'):
        model.init_weights()
    if cfg.get('load_from'):
        load_checkpoint(model, cfg.load_from, map_location='cpu')
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.{os.getpid()}')
    torch.save(dict(state_dict=model.state_dict(), meta={}), part)
    part.replace(path)


def trial_config(cfg: Config, seed: int, weights: Path) -> Config:
    """The config of one training: seed, weights and diagnosis."""
    cfg = Config(cfg.to_dict())
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
    cfg.load_from, cfg.resume = str(weights), False
    hooks = list(cfg.get('custom_hooks') or [])
    hooks.append(dict(type='mmlosses.SameStartHook', seed=seed))
    if 'mmlosses.LossDoctorHook' not in [hook['type'] for hook in hooks]:
        hooks.append(dict(type='mmlosses.LossDoctorHook'))
    cfg.custom_hooks = hooks
    if cfg.get('visualizer'):
        # It writes the scalars, and is the default of mmengine.
        backends = list(cfg.visualizer.get('vis_backends') or [])
        if LOCAL not in [backend['type'] for backend in backends]:
            backends.append(dict(type=LOCAL))
        cfg.visualizer.vis_backends = backends
    return cfg


def run_trial(cfg: Config, folder: Path, metric: str,
              report: Report) -> Result:
    """Train in a process of its own, as ``python -m mmlosses train`` does.

    A training that was killed goes on from its last checkpoint.

    Args:
        cfg (Config): See :func:`trial_config`.
        folder (Path): For the config, log, curves and checkpoints.
        metric (str): The metric to return.
        report (Callable): Called with the step and the metric after each
            validation; what it raises ends the training.

    Raises:
        TrialError: If the training fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / 'config.py'
    write_whole(config, cfg.pretty_text)
    command = [
        sys.executable, '-m', 'mmlosses', 'train',
        str(config), '--work-dir',
        str(folder), '--resume'
    ]
    seen: Dict[int, float] = {}
    with open(folder / 'output.txt', 'w') as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent)
        try:
            done = False
            while not done:
                done = process.poll() is not None
                for step, value in curve_of(folder, metric).items():
                    if step not in seen:
                        seen[step] = value
                        report(step, value)
                if not done:
                    time.sleep(INTERVAL)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise TrialError(error_in(folder / 'output.txt'))
    if not seen:
        names = sorted({
            key
            for line in log_lines(folder)
            if 'step' in line and 'loss' not in line for key in line
        } - {'step', 'time', 'data_time'})
        raise TrialError(f'no validation gave {metric}' +
                         (f', only {", ".join(names)}' if names else ''))
    steps = [line for line in log_lines(folder) if 'loss' in line]
    return Result(seen,
                  statistics.median([line['time'] for line in steps] or [0.0]),
                  max([line.get('memory', 0) for line in steps], default=0))


def die_with_parent() -> None:
    """End this process with its parent, also with one that was killed.

    Otherwise it would train on beside the process that takes its place.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def log_lines(folder: Path) -> Iterator[Dict[str, Any]]:
    """The lines of mmengine's log of scalars, of each run in the folder."""
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue  # half written


def curve_of(folder: Path, metric: str) -> Dict[int, float]:
    """The metric after each validation, by epoch or iteration."""
    return {
        line['step']: line[metric]
        for line in log_lines(folder) if metric in line and 'step' in line
    }


def error_in(path: Path) -> str:
    """The first line of the last error in an output, or its last line."""
    lines: List[str] = path.read_text(errors='replace').split('\n')
    named = [x for x in lines if re.match(r'[\w.]*(Error|Exception)\b', x)]
    given = [x for x in lines if x.strip()]
    return (named or given or ['it was killed'])[-1].strip()
