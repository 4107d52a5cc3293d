"""The loss of the validation data."""
from __future__ import annotations
import random
from collections import OrderedDict
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any, ContextManager, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import DataLoader, Dataset

from mmlosses.checks.batches import collate_function, pipelines
from mmlosses.checks.findings import type_name
from mmlosses.checks.watch import loss_modules
from mmlosses.registry import HOOKS

# What checkpoints keep, under names that are not logged.
COUNT = 'ValLossHook/validations'
NAMES = 'ValLossHook/names'

# What mmengine takes off the names of what it logs.
SHOWN = 'val/'

# Samplers that take each sample once.
PLAIN_SAMPLERS = ('DefaultSampler', 'SequentialSampler')


class SeededDataset(Dataset):
    """A dataset whose samples are the same each time, whatever is random."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        set_seed(self.seed + index)
        return self.dataset[index]


def set_seed(seed: int) -> None:
    """Seed all that data sets and models draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Give the training its random numbers back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = (
        list(range(torch.cuda.device_count()))
        if torch.cuda.is_initialized() else [])
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def kept_state(model: nn.Module) -> Iterator[None]:
    """Undo what a forward pass changes in a model.

    Modes, buffers, and the numbers, lists and dicts that modules keep, and
    the objects that they own: Dynamic R-CNN moves thresholds of its assigner
    by what it has seen.
    """
    owners: List[Any] = []
    for module in model.modules():
        owners += [
            module,
            *(value
              for value in vars(module).values() if hasattr(value, '__dict__')
              and not isinstance(value, (nn.Module, Tensor, type))
              and type(value).__module__.partition('.')[0] not in
              ('torch', 'mmengine', 'logging', 'builtins'))
        ]
    plain = (bool, int, float, str, type(None))
    numbers = [(vars(owner), {
        name: value
        for name, value in vars(owner).items() if isinstance(value, plain)
    }) for owner in owners]
    containers = [(value, value.copy()) for owner in owners
                  for value in vars(owner).values()
                  if type(value) in (list, dict, OrderedDict)]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for attributes, values in numbers:
            attributes.update(values)
        for container, values in containers:
            if isinstance(container, list):
                container[:] = values
            else:
                container.clear()
                container.update(values)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def is_layer(module: nn.Module) -> bool:
    """Whether a module draws random numbers or keeps statistics."""
    return (type(module).__module__.startswith('torch.nn.')
            or isinstance(module, (_NormBase, _DropoutNd))
            or hasattr(module, 'running_mean')
            or 'Drop' in type(module).__name__)


def prepare_for_loss(model: nn.Module) -> None:
    """Let a model compute the loss of training, but learn nothing.

    Heads need the training mode: in the other one FCOS scales its boxes, and
    DINO has no queries to denoise. Their layers and losses must not be in it.
    """
    model.train()
    for module in model.modules():
        if is_layer(module):
            module.training = False
    for _, loss in loss_modules(model):
        loss.eval()


def with_targets(pipeline: Sequence[Dict], train: Sequence[Dict]) -> List:
    """A pipeline of validation with what the loss needs from training's.

    For mmdet, annotations are loaded before the picture is resized, so that
    the boxes are too. For mmpose, the codec makes its targets at the end.

    Args:
        pipeline (Sequence[dict]): The transforms of the validation.
        train (Sequence[dict]): Those of the training.

    Returns:
        list[dict]: The transforms, without random ones.
    """
    packs = [t for t in train if type_name(t).startswith('Pack')]
    targets = [t for t in train if type_name(t) == 'GenerateTarget']
    annotations = [t for t in train if loads_annotations(t)]
    result = [
        t for t in pipeline if not (annotations and loads_annotations(t))
    ]
    if annotations:
        loaders = [
            index for index, transform in enumerate(result)
            if type_name(transform).startswith('Load')
        ]
        at = loaders[-1] + 1 if loaders else 0
        result[at:at] = annotations[:1]
    if result and packs and type_name(result[-1]).startswith('Pack'):
        # That of the validation leaves out what it has no use for.
        result[-1] = packs[-1]
        result[-1:-1] = targets[-1:]
    return deepcopy(result)


def loads_annotations(transform: Any) -> bool:
    """Whether a transform reads boxes, masks or labels."""
    name = type_name(transform)
    return name.startswith('Load') and 'Annotations' in name


def annotated_dataset(dataset: Any, train: Any,
                      pipeline: Sequence[Dict] | None) -> Any:
    """The config of a validation dataset, to compute the loss of.

    Args:
        dataset (dict): Config of the dataset of the validation.
        train (dict): Config of that of the training.
        pipeline (Sequence[dict], optional): Transforms to use instead.

    Raises:
        ValueError: If the transforms cannot be made of those of validation.
    """
    if isinstance(dataset, (list, tuple)):
        return [annotated_dataset(x, train, pipeline) for x in dataset]
    result = dict(dataset)
    for key in ('dataset', 'datasets'):
        if key in result:
            result[key] = annotated_dataset(result[key], train, pipeline)
    if 'test_mode' in result:
        result['test_mode'] = False
    # People that a detector found have no keypoints.
    result.pop('bbox_file', None)
    inner = train
    while isinstance(inner, dict) and 'dataset' in inner:
        inner = inner['dataset']
    if (isinstance(inner, dict) and 'filter_cfg' in inner
            and type_name(inner) == type_name(result)):
        result.setdefault('filter_cfg', deepcopy(inner['filter_cfg']))
    own = result.get('pipeline')
    if not own or 'datasets' in result and not any(
            type_name(t).startswith('Pack') for t in own):
        return result
    if pipeline is not None:
        result['pipeline'] = deepcopy(list(pipeline))
    elif result.get('data_mode') == 'bottomup':
        raise ValueError(
            'ValLossHook: BottomupResize of the validation does not resize '
            'the keypoints, so that no loss can be computed after it; give '
            'the transforms as pipeline=[...], such as those of the training '
            'without the random ones')
    else:
        result['pipeline'] = with_targets(own, list(pipelines(train)))
    return result


@HOOKS.register_module()
class ValLossHook(Hook):
    """Log the loss of the validation data at each validation.

    It has its own forward passes, beside those of the evaluation, which stay
    as they are: in the mode ``'loss'``, without gradients, in the precision
    of the training, with the weights that the validation uses (those of
    ``EMAHook``, where there is one). Normalisation layers, dropout and losses
    are in evaluation mode, all else in training mode, as the loss expects.
    The training goes on to the bit as it would without the hook.

    Every sample counts once and the same, on any number of ranks: a value is
    the mean over samples of the loss of their batch.

    Args:
        dataloader (dict, optional): Settings of a data loader, as in
            ``val_dataloader``. With a ``dataset``, whose pipeline must have
            annotations, that is used as it is. Without one they replace those
            of ``val_dataloader``, whose dataset is used with its own pipeline
            plus the annotations: the loader of those comes before the resize,
            and the ``GenerateTarget`` of mmpose before the end, both as in
            the training. Pictures that ``filter_cfg`` removes from the
            training are removed here too, and boxes are the annotated ones,
            not those of ``bbox_file``. The batch size is that of the
            training, since losses are divided by what is in a batch.
        pipeline (list[dict], optional): Transforms to use instead, such as
            those of the training. What is random in them is the same at each
            validation. Default: None.
        interval (int): Compute it at every so many validations; without a
            validation loop, at every so many times that ``val_interval`` of
            the training loop asks for one. Default: 1.
        seed (int): What random transforms and samplers of proposals draw
            from; they are seeded for each sample and batch. Default: 0.

    Raises:
        ValueError: If there is nothing to take the data from, samples would
            be drawn by another sampler, or a checkpoint is chosen by a loss
            that not every validation has.
        RuntimeError: If the model can compute no loss of the first batch.

    Note:
        Metrics get the same names as the log, so that
        ``CheckpointHook(save_best='val/loss', rule='less')`` works.

    Example:
        In any config of mmdet or mmpose:

        >>> custom_hooks = [dict(type='mmlosses.ValLossHook')]
    """

    # Before EMAHook takes the averaged weights away again, and before the
    # hooks that log, save what is best and stop early; after the one that
    # would log each metric under `val/`.
    priority = 'ABOVE_NORMAL'

    def __init__(self,
                 dataloader: Dict[str, Any] | None = None,
                 pipeline: Sequence[Dict] | None = None,
                 interval: int = 1,
                 seed: int = 0) -> None:
        if dataloader is not None and not isinstance(dataloader, dict):
            raise TypeError('dataloader must be a dict of settings, got '
                            f'{type(dataloader).__name__}')
        if dataloader and 'dataset' in dataloader and pipeline is not None:
            raise ValueError('pipeline is for the dataset of val_dataloader: '
                             'put it into the dataset of dataloader')
        for key in ('sampler', 'batch_sampler'):
            sampler = (dataloader or {}).get(key)
            if sampler and type_name(sampler) not in PLAIN_SAMPLERS:
                raise ValueError(
                    'dataloader takes each sample once, in order, and cannot '
                    f'use {key} {type_name(sampler)}')
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval!r}')
        self.dataloader = dataloader
        self.pipeline = pipeline
        self.interval = interval
        self.seed = seed
        self.loader: DataLoader | None = None
        self.weights: List[int] = []
        self.hidden: Dict[str, Any] = {}

    # When

    def before_train(self, runner: Runner) -> None:
        """Try it now, rather than after the first epoch."""
        for hook in runner.hooks:
            best = getattr(hook, 'save_best', None)
            if (self.interval > 1 and isinstance(hook, CheckpointHook)
                    and any(x.startswith('val/') for x in as_list(best))):
                raise ValueError(
                    f'save_best={best!r} needs the loss at each validation, '
                    f'and ValLossHook has interval={self.interval}')
        self.build(runner)
        try:
            self.compute(runner, trial=True)
        except Exception as error:
            raise RuntimeError(
                'ValLossHook: the model can compute no loss of the first '
                f'batch: {type(error).__name__}: {error}. Give data with '
                'annotations as pipeline=[...] or dataloader=dict(...)'
            ) from error

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: Dict[str, float] | None = None) -> None:
        """Add the loss to what the validation found.

        mmengine takes `val/` off the names that it logs, and then the loss of
        the validation is one with that of the training. It also logs again
        what this validation does not have.
        """
        due = self.is_due(runner)
        if due:
            values = self.log(runner)
            if metrics is not None:
                metrics.update(values)
        scalars = runner.message_hub.log_scalars
        whole = getattr(runner.log_processor, 'log_with_hierarchy', False)
        for key in runner.message_hub.runtime_info.get(NAMES, []):
            if not (due and whole):
                self.hidden[key] = scalars.pop(key)
            if due and not whole:
                scalars[SHOWN + key] = self.hidden[key]

    def after_val(self, runner: Runner) -> None:
        """Give what was logged its name back."""
        for key, values in self.hidden.items():
            runner.message_hub.log_scalars.pop(SHOWN + key, None)
            runner.message_hub.log_scalars[key] = values
        self.hidden.clear()

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: Dict[str, Any]) -> None:
        """Save them under it, in a checkpoint that is the best so far."""
        checkpoint['message_hub']['log_scalars'].update(self.hidden)

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Without a validation loop: when one would have validated.

        Now that all hooks have had the iteration before, such as ``EMAHook``.
        """
        if counts_iterations(runner) and runner.iter > 0:
            self.without_validation(runner, runner.iter, runner.max_iters)

    def after_train_epoch(self, runner: Runner) -> None:
        """The same at the end of an epoch, or of all iterations."""
        if counts_iterations(runner):
            self.without_validation(runner, runner.iter, runner.max_iters)
        else:
            self.without_validation(runner, runner.epoch + 1,
                                    runner.max_epochs)

    def without_validation(self, runner: Runner, done: int, last: int) -> None:
        """Do what a validation loop would, if there is none."""
        loop = runner.train_loop
        due = done >= loop.val_begin and (done % loop.val_interval == 0
                                          or done == last)
        if runner.val_loop is not None or not due or not self.is_due(runner):
            return
        averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        for hook in averages:
            hook.before_val_epoch(runner)
        values = self.log(runner)
        for hook in averages:
            hook.after_val_epoch(runner)
        runner.visualizer.add_scalars(values, step=done)
        unit = 'iteration' if counts_iterations(runner) else 'epoch'
        runner.logger.info(f'After {unit} {done}: ' + '  '.join(
            [f'{name}: {value:.4f}' for name, value in values.items()]))

    def is_due(self, runner: Runner) -> bool:
        """Count validations, in what checkpoints save."""
        hub = runner.message_hub
        count = hub.runtime_info.get(COUNT, 0) + 1
        hub.update_info(COUNT, count)
        return count % self.interval == 0

    # What

    def settings(self, runner: Runner) -> Dict[str, Any]:
        """The config of the data loader, with the dataset."""
        given = dict(self.dataloader or {})
        if 'dataset' in given:
            return given
        cfg = runner.cfg
        val, train = [
            cfg.get(f'{name}_dataloader') or {} for name in ('val', 'train')
        ]
        if not isinstance(val, dict) or 'dataset' not in val:
            raise ValueError(
                'ValLossHook needs data: the config of the runner has no '
                'val_dataloader with a dataset, and the hook got no '
                'dataloader=dict(batch_size=..., dataset=dict(...))')
        if not isinstance(train, dict):
            train = {}
        # Before what replaces it: lazy configs build what they are asked for.
        result = dict(val)
        if isinstance(train.get('batch_size'), int):
            result['batch_size'] = train['batch_size']
        result.update(given)
        result['dataset'] = annotated_dataset(val['dataset'],
                                              train.get('dataset'),
                                              self.pipeline)
        return result

    def build(self, runner: Runner) -> DataLoader:
        """Build the data loader, once.

        Heads exchange numbers between ranks to divide by, so that all ranks
        need as many batches. Each has its own, up to the last round that
        there are whole batches for; what is left all ranks compute, and it
        counts on the first.
        """
        if self.loader is not None:
            return self.loader
        settings = self.settings(runner)
        dataset = settings.pop('dataset')
        with kept_random_state():
            if isinstance(dataset, dict):
                dataset = DATASETS.build(dataset)
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
        size = settings.pop('batch_size', 1)
        collate = collate_function(settings)
        for key in ('sampler', 'batch_sampler', 'collate_fn', 'drop_last',
                    'shuffle', 'worker_init_fn'):
            settings.pop(key, None)
        indices = list(range(len(dataset)))
        if not indices:
            raise ValueError('ValLossHook: the dataset of the validation has '
                             'no sample to compute a loss of')
        rank, ranks = get_dist_info()
        rounds = len(indices) // (size * ranks)
        batches = [indices[i:i + size] for i in range(0, len(indices), size)]
        shared = batches[rounds * ranks:]
        own = batches[rank:rounds * ranks:ranks]
        self.weights = [len(batch) for batch in own]
        self.weights += [len(batch) * (rank == 0) for batch in shared]
        self.loader = DataLoader(
            SeededDataset(dataset, self.seed),
            batch_sampler=own + shared,
            collate_fn=collate,
            **settings)
        self.starts = [batch[0] for batch in own + shared]
        transforms = [
            type_name(t) if isinstance(t, dict) else type(t).__name__
            for t in getattr(
                getattr(dataset, 'pipeline', None), 'transforms', [])
        ]
        runner.logger.info(
            f'ValLossHook: {len(indices)} samples in batches of {size}' +
            (f', through {", ".join(transforms)}' if transforms else ''))
        return self.loader

    def precision(self, runner: Runner, model: nn.Module) -> ContextManager:
        """The precision of the training."""
        if isinstance(runner.optim_wrapper, OptimWrapper):
            return runner.optim_wrapper.optim_context(model)
        if getattr(runner.val_loop, 'fp16', False):
            return autocast()
        return nullcontext()

    def log(self, runner: Runner) -> Dict[str, float]:
        """Compute the losses and log them."""
        values = self.compute(runner)
        for key, value in values.items():
            runner.message_hub.update_scalar(key, value)
        runner.message_hub.update_info(NAMES, list(values))
        return values

    def compute(self, runner: Runner, trial: bool = False) -> Dict[str, float]:
        """The mean of each loss over the samples.

        Args:
            runner (Runner): The runner.
            trial (bool): Whether the first batch will do. Default: False.

        Returns:
            dict[str, float]: Each loss by the name that it is logged by.
        """
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        totals: Dict[str, Tuple[Tensor, int]] = {}
        loader = self.build(runner)
        with torch.no_grad(), kept_random_state(), kept_state(model):
            prepare_for_loss(model)
            for batch, weight, start in zip(loader, self.weights, self.starts):
                set_seed(self.seed + start)
                with self.precision(runner, model):
                    data = model.data_preprocessor(batch, False)
                    losses = (
                        model(**data, mode='loss') if isinstance(data, dict)
                        else model(*data, mode='loss'))
                for name, value in model.parse_losses(losses)[1].items():
                    if weight and 'loss' in name:
                        total, count = totals.get(name, (0., 0))
                        value = value.detach().to(
                            torch.promote_types(value.dtype, torch.float32))
                        totals[name] = total + weight * value, count + weight
                if trial:
                    break
        mine = {
            name: (float(total), count)
            for name, (total, count) in totals.items()
        }
        means = {}
        ranks = all_gather_object(mine)
        for name in dict.fromkeys([name for rank in ranks for name in rank]):
            pairs = [rank[name] for rank in ranks if name in rank]
            means[f'val/{name}'] = (
                sum(total for total, _ in pairs) / sum(count
                                                       for _, count in pairs))
        return means


def counts_iterations(runner: Runner) -> bool:
    """Whether a training is of iterations, and not of epochs."""
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def as_list(value: Any) -> List[str]:
    """The names of the metrics that a best checkpoint is chosen by."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
