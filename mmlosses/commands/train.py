"""Train any mmengine config: ``python -m mmlosses train CONFIG``."""
from __future__ import annotations
import argparse
import gc
import logging
import os
import os.path as osp
from typing import Dict, Sequence

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process
from mmengine.runner import Runner

from mmlosses.checks.configs import override
from mmlosses.cli import add_cfg_options, one_line_errors, read_config
from mmlosses.hooks.curves import of_log
from .checkpoints import (CarefulRunner, CheckpointError, SameCurveHook,
                          latest_checkpoint, take_seed, trusted_files)

CURVES = 'mmlosses.CurvesHook'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
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
        help='resume a checkpoint, by default the latest in the work dir')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision')
    add_cfg_options(parser,
                    'optim_wrapper.optimizer.lr=0.01 model.head.loss.beta=10')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of a distributed training')
    # torch.distributed.launch passes it.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the command line."""
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        override(cfg, args.cfg_options)
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = (
        args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name))
    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp cannot be used with {wrapper}')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    resume_from(args.resume, cfg)
    hooks = cfg.get('custom_hooks') or []
    if not any(hook.get('type') == CURVES for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=CURVES)]
    return cfg


def resume_from(wish: str | None, cfg: Config) -> None:
    """Set the checkpoint to resume, if there is one."""
    if wish is None and cfg.get('resume') and not cfg.get('load_from'):
        wish = 'auto'
    if wish == 'auto':
        cfg.resume = False
        wish = latest_checkpoint(cfg.work_dir)
    if wish is not None:
        if not osp.isfile(wish):
            raise FileNotFoundError(f'there is no checkpoint {wish} to resume')
        cfg.resume, cfg.load_from = True, wish
        take_seed(cfg)


def distribute_on_cpu(cfg: Config) -> None:
    """Join the other processes without a GPU.

    mmengine would look for one, whatever backend the config names.
    """
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = {
        'device_ids': None,
        # As mmengine does by default.
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **cfg.get('model_wrapper_cfg', {}),
    }


def build_runner(cfg: Config) -> Runner:
    """Build all that a config names before the training begins."""
    if cfg.launcher == 'pytorch' and get_device() == 'cpu':
        distribute_on_cpu(cfg)
    runner = CarefulRunner.from_cfg(cfg)
    if runner._train_loop is None:
        raise ValueError(f'{cfg.filename} configures no training: it needs '
                         'train_cfg, train_dataloader and optim_wrapper')
    # The runner would build these only in train().
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.train_loop
    runner.val_loop
    runner.register_hook(SameCurveHook())
    return runner


def final_metrics(runner: Runner) -> Dict[str, float]:
    """The metrics of the last validation, that of ``save_best`` last."""
    metrics = {
        name: values[-1]
        for name, values in of_log(runner, 'val/').items()
    }
    best = runner.cfg.get('default_hooks', {}).get('checkpoint',
                                                   {}).get('save_best')
    return dict(sorted(metrics.items(), key=lambda item: item[0] == best))


def train(args: argparse.Namespace) -> Dict[str, float]:
    """Train, and return the metrics of the last validation."""
    with trusted_files():
        with one_line_errors():
            runner = build_runner(load_config(args))
        # An error of the model or the data needs its traceback.
        with one_line_errors(CheckpointError, OSError):
            runner.train()
    return final_metrics(runner)


def leave_processes() -> None:
    """End the threads of the process group.

    A DistributedDataParallel model keeps them alive during shutdown, which
    aborts some processes at their exit.
    """
    gc.collect()
    if is_distributed():
        torch.distributed.destroy_process_group()


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print the metrics of the last validation."""
    # On a full disk, each line of the log would end in a traceback.
    logging.raiseExceptions = False
    metrics = train(parse_args(argv))
    if is_main_process():
        for name, value in metrics.items():
            print(f'{name}: {value:.4f}')
    leave_processes()
