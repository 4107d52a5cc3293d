"""Train any mmengine config: ``python tools/train.py CONFIG``."""
from __future__ import annotations
import argparse
import gc
import inspect
import os
import os.path as osp
import pickle
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmengine.utils import digit_version

from mmlosses.cli import did_you_mean, key_value, one_line_errors, read_config
from mmlosses.hooks.curves import TIMERS

CURVES = 'mmlosses.CurvesHook'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--work-dir',
        help='where logs, checkpoints and curves go; by default the '
        "config's work_dir, or work_dirs/<name of the config>")
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint, by default the latest in the work dir')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config, e.g. '
        'optim_wrapper.optimizer.lr=0.01 model.head.loss.beta=10')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed training')
    # torch.distributed.launch passes it.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and put in what the command line says."""
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        check_settings(args.cfg_options, cfg)
        cfg.merge_from_dict(args.cfg_options)
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = (
        args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name))
    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp cannot be used with {wrapper}')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
        if cfg.load_from is not None and not osp.isfile(cfg.load_from):
            raise FileNotFoundError(
                f'there is no checkpoint {cfg.load_from} to resume')
    hooks = cfg.get('custom_hooks') or []
    if not any(hook.get('type') == CURVES for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=CURVES)]
    return cfg


def check_settings(options: Dict[str, Any], cfg: Config) -> None:
    """Refuse a setting that neither the config nor mmengine knows."""
    known = {*cfg.keys(), *inspect.signature(Runner).parameters}
    for option in options:
        name = option.split('.')[0]
        if name not in known:
            raise ValueError(f'unknown setting {option}' +
                             did_you_mean(name, known))


def distribute_on_cpu(cfg: Config) -> None:
    """Join the other processes where there is no GPU to do it over.

    mmengine would look for one, whatever backend the config names.
    """
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = {
        'device_ids': None,
        'broadcast_buffers': False,  # as mmengine does by default
        **cfg.get('model_wrapper_cfg', {}),
    }


def build_runner(cfg: Config) -> Runner:
    """Build everything that a config names, before anything is trained."""
    if cfg.launcher == 'pytorch' and get_device() == 'cpu':
        distribute_on_cpu(cfg)
    runner = Runner.from_cfg(cfg)
    if runner._train_loop is None:
        raise ValueError(f'{cfg.filename} configures no training: it needs '
                         'train_cfg, train_dataloader and optim_wrapper')
    # The runner would build these after the training has begun.
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.train_loop
    runner.val_loop
    return runner


@contextmanager
def checkpoints_of_mmengine() -> Iterator[None]:
    """Let torch load what mmengine saves beside tensors, and nothing else.

    Since torch 2.6 it refuses all but tensors, unless told which types to
    trust. mmengine 0.10.7 saves the history of its log too and does not tell;
    onedl-mmengine tells, and loads what is refused all the same.
    """
    if (digit_version(torch.__version__) < digit_version('2.6.0')
            or 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' in os.environ):
        yield
        return
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    array = np.zeros(1)
    # NumPy 2 renamed the module of the functions that rebuild its values.
    rebuild: List[Any] = [x.__reduce__()[0] for x in (array, array[0])]
    numbers = [type(np.dtype(code)) for code in '?bhilqBHILQefd']
    # The second names what it stands for in the checkpoint.
    history = [HistoryBuffer, (history_statistic, 'builtins.getattr')]
    allowed = [*history, np.ndarray, np.dtype, *rebuild, *numbers]
    with torch.serialization.safe_globals(allowed):
        yield


def history_statistic(owner: type, name: str) -> Callable:
    """The only use that a checkpoint has for ``getattr``."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(
            f'a checkpoint has no business with {owner}.{name}')
    return getattr(owner, name)


def final_metrics(runner: Runner) -> Dict[str, float]:
    """The metrics of the last validation, the one that counts at the end."""
    metrics = {
        name[len('val/'):]: scalar.current()
        for name, scalar in runner.message_hub.log_scalars.items()
        if name.startswith('val/') and name[len('val/'):] not in TIMERS
    }
    best = runner.cfg.get('default_hooks', {}).get('checkpoint',
                                                   {}).get('save_best')
    return dict(sorted(metrics.items(), key=lambda item: item[0] == best))


def train(args: argparse.Namespace) -> Dict[str, float]:
    """Train, and return the metrics of the last validation."""
    with one_line_errors():
        runner = build_runner(load_config(args))
    with checkpoints_of_mmengine():
        runner.train()
    return final_metrics(runner)


def leave_processes() -> None:
    """End the threads that joined this process to the others.

    A model that is still wrapped for distributed training keeps them alive
    while Python shuts down, and that aborts some processes at their exit.
    """
    gc.collect()
    if is_distributed():
        torch.distributed.destroy_process_group()


def main() -> None:
    """Train, and end with the metrics of the last validation."""
    metrics = train(parse_args())
    if is_main_process():
        for name, value in metrics.items():
            print(f'{name}: {value:.4f}')
    leave_processes()


if __name__ == '__main__':
    main()
