"""Say whether a config trains: ``python tools/check_config.py CONFIG``.

It builds the model of a mmdet, mmpose or other mmengine config, runs one step
on a fake batch without loading weights or their data sets, prints what each
loss adds to the total and to the gradient, and warns about the traps of
heads. With --steps it learns that batch, to see the total fall.

In the table, a value is what the loss returned, with its loss_weight, added
over its calls; the gradient norm is that of this part of the total over all
parameters.

Exit status 0: it trains, perhaps with warnings. 1: it does not, or it learns
something other than what the config says.
"""
from __future__ import annotations
import argparse
import importlib
import logging
import math
import os.path as osp
import re
import sys
import traceback
import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NoReturn, Sequence, Tuple

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from mmlosses.checks import (Finding, LossWatch, check_losses, fake_batch,
                             find_traps, prepare_model)
from mmlosses.checks.configs import unregistered, where
from mmlosses.checks.findings import class_name, error, warning
from mmlosses.checks.watch import gradient_norm, shape_of, shapes_of
from mmlosses.cli import explain, key_value, one_line_errors, read_config

# What an error of a head means, where its own words do not say so.
HINTS = [
    (r'isinstance\(self\.bbox_head\.loss_bbox, SmoothL1Loss\)',
     'DynamicRoIHead changes the beta of the SmoothL1Loss of mmdet and takes '
     'no other loss_bbox'),
    (r"has no attribute 'use_sigmoid'",
     'the head needs a classification loss, which has use_sigmoid'),
    (r'smaller than kernel|be greater than actual input|index k out of range',
     'the fake pictures may be too small for this model: try --size 512'),
    (r"has no attribute 'class_weight'",
     'the head needs class_weight in the config of its loss_cls: a list with '
     'num_classes + 1 numbers'),
]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config')
    parser.add_argument(
        '--size',
        type=int,
        default=256,
        help='side of the fake pictures for a detector, 256 by default')
    parser.add_argument(
        '--steps',
        type=int,
        default=1,
        help='more than 1: learn the fake batch by heart for so many steps, '
        'by Adam at a rate of 1e-4')
    parser.add_argument(
        '--traceback',
        action='store_true',
        help='show where in the code an error was raised')
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f'--steps must be at least 1, got {args.steps}')
    return args


class Stop(Exception):
    """The step could not be made; what was found says why."""


class Check:
    """One step of the model of a config.

    Args:
        cfg (Config): The whole config.
        size (int): Side of the fake pictures for a detector, in pixels.
            Default: 256.
        steps (int): How often the fake batch is learnt; 1 moves nothing.
            Default: 1.

    Attributes:
        found (list[Finding]): What is wrong, or may be.
        rows (list): Path, class, calls, value and gradient norm of each loss.
        terms (dict): The logged values of the step.
        curve (list[float]): The total before each step and after the last.
        error (Exception, optional): What the model raised.
    """

    def __init__(self, cfg: Config, size: int = 256, steps: int = 1) -> None:
        self.cfg = cfg
        self.size = size
        self.steps = steps
        self.curve: List[float] = []
        self.found: List[Finding] = []
        self.rows: List[Tuple[str, str, int, float, float]] = []
        self.terms: Dict[str, float] = {}
        self.norm = 0.0
        self.error: BaseException | None = None

    @property
    def trains(self) -> bool:
        """Whether nothing was found that keeps it from training."""
        return all(finding.level != 'error' for finding in self.found)

    def run(self) -> None:
        """Look at the config, build its model, and make one step."""
        try:
            self.step()
        except Stop:
            pass

    def fail(self, text: str, cause: BaseException | None = None) -> NoReturn:
        """Note why there will be no step."""
        self.found.append(error(text))
        self.error = cause
        raise Stop

    def step(self) -> None:
        """All of the check, one stage after the other."""
        # A hook of mmengine would set them.
        hub = MessageHub.get_current_instance()
        hub.update_info('iter', 0)
        hub.update_info('epoch', 0)
        self.found += check_losses(self.cfg)
        if not self.trains:
            raise Stop
        model = self.build()
        # Pipelines of mmpose draw random transforms.
        set_random_seed(0)
        try:
            batch = fake_batch(self.cfg, self.size)
        except Exception as cause:
            self.fail(f'no batch could be made: {describe(cause)}', cause)
        watch = LossWatch(model)
        try:
            total = self.forward(model, watch, batch)
            self.backward(model, watch, total)
            self.found += find_traps(model, watch, self.cfg)
        finally:
            watch.close()
        if self.steps > 1 and self.trains:
            self.learn(model, batch)

    def learn(self, model: Any, batch: Any) -> None:
        """Learn the batch by heart: the total has to fall."""
        optimizer = torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad], lr=1e-4)
        data = model.data_preprocessor(batch, True)
        for step in range(self.steps + 1):
            # Heads draw their samples anew: the same in each step.
            torch.manual_seed(0)
            total, _ = model.parse_losses(
                model._run_forward(data, mode='loss'))
            self.curve.append(float(total.detach()))
            if sys.stderr.isatty():
                print(f'step {step}: {self.curve[-1]:.4g}', file=sys.stderr)
            if not math.isfinite(self.curve[-1]):
                self.fail(f'the total is {self.curve[-1]} after {step} steps')
            if step < self.steps:
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
        if self.curve[-1] >= self.curve[0]:
            self.found.append(
                warning('the total does not fall: from '
                        f'{self.curve[0]:.4g} to {self.curve[-1]:.4g} after '
                        f'{self.steps} steps on one batch'))

    def build(self) -> nn.Module:
        """Build the model."""
        prepare_model(self.cfg.model)
        torch.manual_seed(0)
        try:
            model = MODELS.build(self.cfg.model)
            if hasattr(model, 'init_weights'):
                model.init_weights()
        except Exception as cause:
            text = describe(cause)
            unknown = re.match(r'(\S+) is not a registered', text)
            if unknown:
                name = unknown.group(1)
                places = list(where(name, self.cfg.model))
                text = f'{", ".join(places) or "model"}: {unregistered(name)}'
            self.fail(text, cause)
        if not hasattr(model, 'parse_losses'):
            self.fail(f'{class_name(model)} is no model of mmengine: it needs '
                      'parse_losses, see mmengine.model.BaseModel')
        model = revert_sync_batchnorm(model)
        model.train()  # which returns nothing in detectors with a teacher
        return model

    def forward(self, model: Any, watch: LossWatch, batch: Any) -> Tensor:
        """The total of the losses, as ``BaseModel.train_step`` computes it."""
        torch.manual_seed(0)
        try:
            data = model.data_preprocessor(batch, True)
            losses = model._run_forward(data, mode='loss')
            total, terms = model.parse_losses(losses)
        except Exception as cause:
            text = self.blame(model, watch, cause)
            watch.abandon()
            # What is known of the losses may be the reason.
            self.found += [
                finding for finding in find_traps(model, watch, self.cfg)
                if finding.level == 'error'
            ]
            self.fail(text, cause)
        self.terms = {
            name: float(torch.as_tensor(value).detach())
            for name, value in terms.items()
        }
        if not isinstance(total, Tensor):
            self.fail('none of the terms has "loss" in its name: '
                      f'{", ".join(losses)}')
        if not total.requires_grad:
            self.fail('the total does not depend on any parameter')
        return total

    def blame(self, model: nn.Module, watch: LossWatch,
              cause: BaseException) -> str:
        """Say which loss an error has to do with."""
        if watch.running:
            path, inputs, _ = watch.running[-1]
            return (f'{watch.describe(path)} cannot be called with '
                    f'{shapes_of(inputs)}: {describe(cause)}')
        for path, calls in watch.calls.items():
            for call in calls:
                if not isinstance(call.output, Tensor):
                    head = model.get_submodule(path.rpartition('.')[0])
                    return (f'{watch.describe(path)} returned '
                            f'{article(call.output)}, where '
                            f'{class_name(head)} wants a tensor: '
                            f'{describe(cause)}')
        return describe(cause)

    def backward(self, model: nn.Module, watch: LossWatch,
                 total: Tensor) -> None:
        """The gradient of the total, and the part of each loss in it."""
        try:
            total.backward(retain_graph=True)
        except RuntimeError as cause:
            self.fail(f'no gradient: {describe(cause)}', cause)
        self.norm = gradient_norm(model)
        if self.norm == 0:
            self.found.append(error('the gradient is 0: nothing is learnt'))
        elif gradient_norm(model, 'backbone.') == 0 and any(
                p.requires_grad for name, p in model.named_parameters()
                if name.startswith('backbone.')):
            self.found.append(warning('no gradient reaches the backbone'))
        for path, loss in watch.losses.items():
            value = watch.value(path)
            norm = watch.gradient_norm(path, model)
            calls = watch.calls[path]
            self.rows.append((path, class_name(loss), len(calls), value, norm))
            if not math.isfinite(value):
                self.found.append(
                    error(f'{watch.describe(path)} is {value} for ' +
                          shapes_of(calls[0].inputs)))
            elif not math.isfinite(norm):
                self.found.append(
                    error(f'{watch.describe(path)} has the value {value:.4g}, '
                          f'but a gradient of {norm}, for ' +
                          shapes_of(calls[0].inputs)))
            elif value != 0 and norm == 0:
                self.found.append(
                    warning(f'{watch.describe(path)} has the value '
                            f'{value:.4g} and moves nothing: its gradient '
                            'is 0'))
            elif calls and not watch.used(path):
                self.found.append(
                    warning(f'{watch.describe(path)} is computed, but is not '
                            'in the total'))
        if not math.isfinite(self.terms.get('loss', 0)) and self.trains:
            self.found.append(error(f'the total is {self.terms["loss"]}'))
        if not math.isfinite(self.norm) and self.trains:
            self.found.append(error(f'the gradient is {self.norm}'))

    def report(self) -> None:
        """Print the losses, the terms, what was found, and the verdict."""
        if self.rows:
            print_table([('loss', 'class', 'calls', 'value',
                          'gradient norm')] +
                        [(path, cls, str(calls), f'{value:.4g}', f'{norm:.4g}')
                         for path, cls, calls, value, norm in self.rows])
            print()
        if self.terms:
            for name, value in self.terms.items():
                note = '' if 'loss' in name else ' (not in the total)'
                if name != 'loss':
                    print(f'{name}: {value:.4g}{note}')
            print(f'total: {self.terms.get("loss", math.nan):.4g}, '
                  f'gradient norm: {self.norm:.4g}')
        if self.curve:
            print('total, step by step on this batch: ' +
                  ' '.join([f'{value:.4g}' for value in self.curve]))
        for finding in self.found:
            print(finding)
        print('trains' if self.trains else 'does not train as it is')


def article(output: Any) -> str:
    """What a loss returned instead of a tensor."""
    if isinstance(output, (tuple, list)):
        kinds = ', '.join(type(part).__name__ for part in output)
        return f'a {type(output).__name__} ({kinds})'
    return f'a {type(output).__name__}, {shape_of(output)},'


def describe(cause: BaseException) -> str:
    """An error in one line, without mmengine's list of where it passed."""
    text = explain(cause)
    text = re.sub(r'class `(\w+)` in \S+: ', r'\1: ', text)
    lines = ''.join(
        traceback.format_exception(type(cause), cause, cause.__traceback__))
    for pattern, hint in HINTS:
        if re.search(pattern, lines):
            return f'{text} ({hint})'
    if isinstance(cause,
                  (ValueError, TypeError)) or (isinstance(cause, KeyError)
                                               and ' ' in text):
        return text
    frame = traceback.extract_tb(cause.__traceback__)[-1:]
    place = ''.join(f' ({osp.basename(f.filename)}, line {f.lineno})'
                    for f in frame)
    return f'{type(cause).__name__}: {text}{place}'


def print_table(rows: Sequence[Tuple[str, ...]]) -> None:
    """Print rows with columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(cell.ljust(width)
                        for cell, width in zip(row, widths)).rstrip())


def require(package: str, config: str) -> None:
    """Import what a config needs, or say that it is missing.

    Raises:
        ImportError: If it cannot be imported.
    """
    try:
        importlib.import_module(package)
        # Its registries import it without saying why they cannot.
        try:
            importlib.import_module(f'{package}.models')
        except ModuleNotFoundError as cause:
            if cause.name != f'{package}.models':
                raise
    except (ImportError, AssertionError) as cause:
        # mmdet asserts the version of mmcv.
        raise ImportError(
            f'{config} needs {package}, which cannot be imported here: '
            f'{" ".join(str(cause).split())}. tools/install_openmmlab.sh '
            'installs mmcv, mmdet and mmpose') from cause


def load_config(args: argparse.Namespace) -> Config:
    """Read the config, after what it needs, and take on its scope."""
    if osp.isfile(args.config):
        with open(args.config, encoding='utf-8', errors='replace') as file:
            for package in sorted(set(re.findall(r'\b(\w+)::', file.read()))):
                require(package, args.config)
    cfg = read_config(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if 'model' not in cfg:
        raise ValueError(f'{args.config} has no model')
    scope = cfg.get('default_scope') or 'mmengine'
    if scope not in ('mmengine', 'mmlosses'):
        require(scope, args.config)
    init_default_scope(scope)
    return cfg


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what the projects say about what a check leaves out."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            yield
        finally:
            logging.disable(disabled)


def main(argv: Sequence[str] | None = None) -> None:
    """Check a config, and exit with what came of it."""
    args = parse_args(argv)
    with quiet():
        with one_line_errors():
            cfg = load_config(args)
        check = Check(cfg, args.size, args.steps)
        check.run()
    if args.traceback and check.error is not None:
        traceback.print_exception(
            type(check.error), check.error, check.error.__traceback__)
    check.report()
    sys.exit(0 if check.trains else 1)


if __name__ == '__main__':
    main()
