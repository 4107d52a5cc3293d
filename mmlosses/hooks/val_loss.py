"""Validation loss."""
from __future__ import annotations
from contextlib import nullcontext
from typing import Any, ContextManager, Dict, List, Sequence, Tuple

import torch
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmlosses.checks.batches import collate_function
from mmlosses.checks.findings import type_name
from mmlosses.registry import HOOKS
from .val_loss_data import (SeededDataset, annotated_dataset, prepare_for_loss,
                            preserve_model_state, preserve_random_state,
                            set_seed)

# Keys in the message hub, which checkpoints save and the log omits.
COUNT = 'ValLossHook/validations'
NAMES = 'ValLossHook/names'

# The prefix that mmengine strips from the keys it logs.
LOG_PREFIX = 'val/'

# Samplers that yield each sample once.
PLAIN_SAMPLERS = ('DefaultSampler', 'SequentialSampler')


@HOOKS.register_module()
class ValLossHook(Hook):
    """Log the validation loss.

    The hook adds its own forward passes to each validation, in mode
    ``'loss'``: without gradients, in the precision of the training, with the
    weights of the validation (those of ``EMAHook``, if used). Normalisation
    layers, dropout and losses are in evaluation mode, everything else in
    training mode, as heads expect. Training is bit-identical with and without
    the hook.

    Each value is the mean over samples of the loss of their batch, on any
    number of ranks.

    Args:
        dataloader (dict, optional): Settings of a data loader, as in
            ``val_dataloader``. With a ``dataset``, it is used as is, and its
            pipeline must load annotations. Without one, the settings override
            those of ``val_dataloader``, whose dataset keeps its pipeline plus
            the annotations: they are loaded before the resize, and mmpose's
            ``GenerateTarget`` runs at the end, both as configured for the
            training. ``filter_cfg`` of the training applies, and
            ground-truth boxes replace those of ``bbox_file``. The batch size
            is that of the training, since losses are normalised per batch.
        pipeline (list[dict], optional): Transforms to use instead, such as
            those of the training. Random transforms give the same result at
            each validation. Default: None.
        interval (int): Compute the loss at every ``interval``-th validation;
            without a validation loop, at every ``interval``-th time that
            ``val_interval`` of the training loop asks for one. Default: 1.
        seed (int): Seed of random transforms and proposal samplers, applied
            for each sample and batch. Default: 0.

    Raises:
        ValueError: If there is no dataset, another sampler would draw the
            samples, or ``save_best`` monitors a loss that not every
            validation computes.
        RuntimeError: If the model cannot compute the loss of the first batch.

    Note:
        Metrics have the same names as in the log:
        ``CheckpointHook(save_best='val/loss', rule='less')`` works.

    Example:
        In any config of mmdet or mmpose:

        >>> custom_hooks = [dict(type='mmlosses.ValLossHook')]
    """

    # Before EMAHook restores the weights and before the hooks that log, save
    # the best checkpoint and stop early; after the one that logs each metric
    # under `val/`.
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

    # Schedule

    def before_train(self, runner: Runner) -> None:
        """Try the first batch now rather than after the first epoch."""
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
        """Add the loss to the metrics of the validation.

        mmengine strips ``val/`` from the keys it logs, which would merge the
        validation loss with that of the training. It also logs stale values
        again at a validation without new ones, and the mean over a window of
        validations. So it sees this validation's value alone.
        """
        due = self.is_due(runner)
        if due:
            values = self.log(runner)
            if metrics is not None:
                metrics.update(values)
        scalars = runner.message_hub.log_scalars
        whole = getattr(runner.log_processor, 'log_with_hierarchy', False)
        for key in runner.message_hub.runtime_info.get(NAMES, []):
            self.hidden[key] = scalars.pop(key)
            if due:
                name = key if whole else LOG_PREFIX + key
                scalars[name] = HistoryBuffer()
                scalars[name].update(values[key])

    def after_val(self, runner: Runner) -> None:
        """Restore the keys in the message hub."""
        for key, values in self.hidden.items():
            runner.message_hub.log_scalars.pop(LOG_PREFIX + key, None)
            runner.message_hub.log_scalars[key] = values
        self.hidden.clear()

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: Dict[str, Any]) -> None:
        """Save the hidden values too, in a best checkpoint."""
        checkpoint['message_hub']['log_scalars'].update(self.hidden)

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Without a validation loop, compute the loss when one would run.

        By now all hooks, such as ``EMAHook``, have seen the last iteration.
        """
        if counts_iterations(runner) and runner.iter > 0:
            self.replace_validation(runner, runner.iter, runner.max_iters)

    def after_train_epoch(self, runner: Runner) -> None:
        """The same at the end of an epoch or of the training."""
        if counts_iterations(runner):
            self.replace_validation(runner, runner.iter, runner.max_iters)
        else:
            self.replace_validation(runner, runner.epoch + 1,
                                    runner.max_epochs)

    def replace_validation(self, runner: Runner, done: int, last: int) -> None:
        """Compute and log the loss if there is no validation loop."""
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
        """Count validations in the message hub, which checkpoints save."""
        hub = runner.message_hub
        count = hub.runtime_info.get(COUNT, 0) + 1
        hub.update_info(COUNT, count)
        return count % self.interval == 0

    # Data

    def settings(self, runner: Runner) -> Dict[str, Any]:
        """The config of the data loader and its dataset."""
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
        # Copied first: lazy configs build whatever is accessed.
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

        Heads reduce normalisers across ranks, so all ranks need the same
        number of batches. Whole rounds of batches are split between the
        ranks; every rank computes the rest, which counts on rank 0 only.
        """
        if self.loader is not None:
            return self.loader
        settings = self.settings(runner)
        dataset = settings.pop('dataset')
        with preserve_random_state():
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
        """The precision context of the training."""
        if isinstance(runner.optim_wrapper, OptimWrapper):
            return runner.optim_wrapper.optim_context(model)
        if getattr(runner.val_loop, 'fp16', False):
            return autocast()
        return nullcontext()

    def log(self, runner: Runner) -> Dict[str, float]:
        """Compute and log the losses."""
        values = self.compute(runner)
        for key, value in values.items():
            runner.message_hub.update_scalar(key, value)
        runner.message_hub.update_info(NAMES, list(values))
        return values

    def compute(self, runner: Runner, trial: bool = False) -> Dict[str, float]:
        """The mean of each loss over the samples.

        Args:
            runner (Runner): The runner.
            trial (bool): If True, stop after the first batch. Default: False.

        Returns:
            dict[str, float]: The losses by their keys in the log.
        """
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        totals: Dict[str, Tuple[Tensor, int]] = {}
        loader = self.build(runner)
        with torch.no_grad(), preserve_random_state(), preserve_model_state(
                model):
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
    """True if the training counts iterations rather than epochs."""
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def as_list(value: Any) -> List[str]:
    """The metrics that ``save_best`` monitors."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
