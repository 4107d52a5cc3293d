"""One training step of a config on a fake batch, watched."""
from __future__ import annotations
import math
import os.path as osp
import re
import sys
import traceback
from copy import deepcopy
from typing import Any, Dict, Iterator, List, NoReturn, Tuple

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from mmengine.runner import set_random_seed
from torch import Tensor, nn

from mmlosses.cli import explain
from mmlosses.core.statistics import statistics_losses
from .batches import NoBatch, fake_batch
from .configs import (check_losses, prepare_model, prepare_modules,
                      unregistered, where)
from .findings import (UNJUDGED, Finding, class_name, error, note, type_name,
                       unjudged, warning)
from .hints import hints
from .traps import find_traps
from .watch import (LossWatch, gradient_norm, loss_modules, shape_of,
                    shapes_of, slot_of)

Weights = Dict[str, Tensor]

TOO_SMALL = r'smaller than kernel|be greater than actual input|index k out of'

# What this machine lacks, as the projects put it.
MISSING = r'not installed|\binstall\b|\bfile\b.* does not exist'

# What fake samples lack. They have masks wherever the pipeline loads them.
UNKNOWN_TARGET = (r"'\w*(DataSample|InstanceData|PixelData)' object has no "
                  "attribute '(?!masks')")

# Hints for errors of heads that do not explain themselves.
HINTS = [
    (r'isinstance\(self\.bbox_head\.loss_bbox, SmoothL1Loss\)',
     'DynamicRoIHead changes the beta of a SmoothL1Loss and takes no other '
     'loss_bbox'),
    (r"has no attribute 'use_sigmoid'",
     'the head needs a classification loss, which has use_sigmoid'),
    (TOO_SMALL,
     'the fake pictures may be too small for this model: try --size 512'),
    (r"has no attribute 'class_weight'",
     'the head needs class_weight in the config of its loss_cls: a list with '
     'num_classes + 1 numbers'),
]

# The verdict by the worst finding.
VERDICTS = {
    'error': 'does not train as it is',
    UNJUDGED: UNJUDGED,
    'warning': 'runs, with warnings',
}


class Stop(Exception):
    """There will be no step; the findings say why."""


class Check:
    """One training step of the model of a config.

    Args:
        cfg (Config): The whole config.
        size (int): Side of the fake images for a detector, in pixels.
            Default: 256.
        steps (int): Number of steps to overfit the fake batch. With 1,
            no weight changes. Default: 1.
        brief (bool): If True, only the step is run, without the gradient of
            each loss, which takes a backward pass, and without warnings.
            Default: False.

    Attributes:
        found (list[Finding]): Errors, warnings and notes.
        rows (list): Path, class, calls, value and gradient norm of each loss.
        terms (dict): The logged values of the step.
        curve (list[float]): The total before each step and after the last.
        error (Exception, optional): What the model raised.
        weights (dict, optional): Weights to start from, where the model has
            them. If set before :meth:`run`, it then holds all initial weights.
    """

    def __init__(self,
                 cfg: Config,
                 size: int = 256,
                 steps: int = 1,
                 brief: bool = False) -> None:
        self.cfg = cfg
        self.size = size
        self.steps = steps
        self.brief = brief
        self.curve: List[float] = []
        self.found: List[Finding] = []
        self.rows: List[Tuple[str, str, int, float, float]] = []
        self.terms: Dict[str, float] = {}
        self.norm = 0.0
        self.error: BaseException | None = None
        self.weights: Weights | None = None

    @property
    def verdict(self) -> str:
        """The last line of the report."""
        levels = {finding.level for finding in self.found}
        return next((VERDICTS[level] for level in VERDICTS if level in levels),
                    'trains')

    @property
    def status(self) -> int:
        """The exit status of the command."""
        return {VERDICTS['error']: 1, UNJUDGED: 2}.get(self.verdict, 0)

    @property
    def trains(self) -> bool:
        """True if the step ran without an error."""
        return self.status == 0

    @property
    def why(self) -> str:
        """Verdict and first problem in one line."""
        worst = [f.text for f in self.found if f.level in ('error', UNJUDGED)]
        return f'{self.verdict}: {worst[0]}' if worst else self.verdict

    def run(self) -> None:
        """Check the config, build its model and run one step."""
        try:
            self.step()
        except Stop:
            pass

    def fail(self,
             text: str,
             cause: BaseException | None = None,
             in_loss: bool = False) -> NoReturn:
        """Note an error and stop."""
        wrong = cause is None or in_loss or not is_beyond_config(cause)
        self.found.append(error(text) if wrong else unjudged(text))
        self.error = cause
        raise Stop

    def step(self) -> None:
        """Run all stages."""
        # In a training, RuntimeInfoHook sets them.
        hub = MessageHub.get_current_instance()
        hub.update_info('iter', 0)
        hub.update_info('epoch', 0)
        schedule = self.cfg.get('train_cfg') or {}
        for name in ('max_epochs', 'max_iters'):
            hub.update_info(name, schedule.get(name) or 1)
        self.found += check_losses(self.cfg)
        if not self.trains:
            raise Stop
        model = self.build()
        if self.weights is not None:
            self.weights = start_from(model, self.weights)
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
            if self.brief:
                return
            self.found += find_traps(model, watch, self.cfg)
            self.found += odd_values(watch)
        finally:
            watch.close()
        if self.steps > 1 and self.trains:
            self.learn(model, batch)
        if self.trains:
            self.found += skipped_losses(model, batch, self.cfg)
            self.found += unshared_statistics(model, self.cfg)

    def learn(self, model: Any, batch: Any) -> None:
        """Overfit the batch: the total must fall."""
        optimizer = torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad], lr=1e-4)
        data = model.data_preprocessor(batch, True)
        for step in range(self.steps + 1):
            # Heads sample at random: the same in each step.
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
        # As a runner does for the configs of mmpretrain.
        if self.cfg.get('data_preprocessor') is not None:
            self.cfg.model.setdefault('data_preprocessor',
                                      self.cfg.data_preprocessor)
        torch.manual_seed(0)
        try:
            model = MODELS.build(self.cfg.model)
            # Distillers read configs of their own.
            prepare_modules(model)
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
        """Compute the total as ``BaseModel.train_step`` does."""
        torch.manual_seed(0)
        try:
            data = model.data_preprocessor(batch, True)
            losses = model._run_forward(data, mode='loss')
            total, terms = model.parse_losses(losses)
        except Exception as cause:
            text = self.blame(model, watch, cause)
            in_loss = bool(watch.running)
            watch.abandon()
            # A trap may be the reason.
            self.found += [
                finding for finding in find_traps(model, watch, self.cfg)
                if finding.level == 'error'
            ]
            self.fail(text, cause, in_loss)
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
        """Name the loss that an error concerns."""
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
        """Compute the gradient of the total and of each loss."""
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
        if not self.brief:
            self.trace(model, watch)
        if not math.isfinite(self.terms.get('loss', 0)) and self.trains:
            self.found.append(error(f'the total is {self.terms["loss"]}'))
        if not math.isfinite(self.norm) and self.trains:
            self.found.append(error(f'the gradient is {self.norm}'))

    def trace(self, model: nn.Module, watch: LossWatch) -> None:
        """Note value and gradient of each loss."""
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


def start_from(model: nn.Module, weights: Weights) -> Weights:
    """Copy weights to where they fit and return a copy of all."""
    own = model.state_dict()
    # Not by load_state_dict: heads of mmpose convert what has no version.
    for name, value in weights.items():
        if name in own and own[name].shape == value.shape:
            own[name].copy_(value)
    return deepcopy(own)


def skipped_losses(model: Any, batch: Any, cfg: Config) -> List[Finding]:
    """Losses whose parameters a rank without objects leaves out."""
    # Without this wrapper, mmengine reads the setting from the config.
    wrapper = cfg.get('model_wrapper_cfg') or cfg
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    owners = dict(losses_with_parameters(model))
    if (not owners or wrapper.get('find_unused_parameters')
            or not isinstance(samples, list)
            or not all(['gt_instances' in sample for sample in samples])):
        return []
    empty = deepcopy(batch)
    for sample in empty['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    model.zero_grad()
    try:
        data = model.data_preprocessor(empty, True)
        model.parse_losses(model._run_forward(data, mode='loss'))[0].backward()
    except Exception:  # the head cannot do without objects on one GPU either
        return []
    return [
        warning(f'{path} ({class_name(loss)}) has parameters, and is not '
                'called for images without objects: to train on several '
                'GPUs, write find_unused_parameters=True into the config')
        for path, loss in owners.items()
        if all([p.grad is None for p in loss.parameters()])
    ]


def unshared_statistics(model: nn.Module, cfg: Config) -> List[Finding]:
    """Losses with statistics that no hook brings together."""
    names = [type_name(hook) for hook in cfg.get('custom_hooks') or ()]
    if 'SyncStatisticsHook' in names:
        return []
    return [
        note(f'{class_name(loss)} moves {loss.statistics_name} by the samples '
             'of one rank: to train on several GPUs, add '
             "dict(type='mmlosses.SyncStatisticsHook') to custom_hooks")
        for loss in {
            type(x): x
            for x in statistics_losses(model)
        }.values()
    ]


def losses_with_parameters(
        model: nn.Module) -> Iterator[Tuple[str, nn.Module]]:
    """Path and module of each loss that learns, as its head calls it."""
    paths = dict.fromkeys(
        slot_of(model, path) for path, _ in loss_modules(model))
    for path in paths:
        loss = model.get_submodule(path)
        if any([p.requires_grad for p in loss.parameters()]):
            yield path, loss


def odd_values(watch: LossWatch) -> List[Finding]:
    """Values that a loss got and is not made for, each once."""
    return list(
        dict.fromkeys([
            warning(f'{watch.describe(path)}: {name} {what}')
            for path, calls in watch.calls.items() for call in calls for name,
            what in hints(watch.losses[path], call.inputs, call.parts).items()
        ]))


def is_beyond_config(cause: BaseException) -> bool:
    """True for what this machine or the fake batch lacks."""
    if isinstance(cause, (ImportError, NoBatch, OSError)):
        return True
    text = ' '.join(str(cause).split())
    if isinstance(cause, AttributeError):
        return re.search(UNKNOWN_TARGET, text) is not None
    return re.search(f'{MISSING}|{TOO_SMALL}', text) is not None


def article(output: Any) -> str:
    """Describe an output that is no tensor."""
    if isinstance(output, (tuple, list)):
        kinds = ', '.join(type(part).__name__ for part in output)
        return f'a {type(output).__name__} ({kinds})'
    return f'a {type(output).__name__}, {shape_of(output)},'


def describe(cause: BaseException) -> str:
    """An error in one line, without the path that mmengine adds."""
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
