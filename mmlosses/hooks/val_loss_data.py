"""Datasets and states for the loss of validation data."""
from __future__ import annotations
import random
from collections import OrderedDict
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import Dataset

from mmlosses.checks.batches import pipelines
from mmlosses.checks.findings import type_name
from mmlosses.checks.watch import loss_modules


class SeededDataset(Dataset):
    """A dataset that seeds its random transforms for each sample."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        set_seed(self.seed + index)
        return self.dataset[index]


def set_seed(seed: int) -> None:
    """Seed every generator that datasets and models use."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Restore the random state of the training afterwards."""
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
def preserve_model_state(model: nn.Module) -> Iterator[None]:
    """Undo what a forward pass changes in a model.

    This covers modes, buffers, and the numbers, lists and dicts of modules
    and of the objects that they own: Dynamic R-CNN adapts the thresholds of
    its assigner to the data.
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
    """True if a module draws random numbers or keeps statistics."""
    return (type(module).__module__.startswith('torch.nn.')
            or isinstance(module, (_NormBase, _DropoutNd))
            or hasattr(module, 'running_mean')
            or 'Drop' in type(module).__name__)


def prepare_for_loss(model: nn.Module) -> None:
    """Put heads in training mode; layers and losses in evaluation mode.

    Heads compute their loss in training mode only: otherwise FCOS rescales
    its boxes and DINO has no denoising queries.
    """
    model.train()
    for module in model.modules():
        if is_layer(module):
            module.training = False
    for _, loss in loss_modules(model):
        loss.eval()


def with_targets(pipeline: Sequence[Dict], train: Sequence[Dict]) -> List:
    """Add the targets of the training pipeline to the validation pipeline.

    For mmdet, annotations are loaded before the image is resized, so that
    the boxes are resized too. For mmpose, the codec encodes them at the end.

    Args:
        pipeline (Sequence[dict]): The transforms of the validation.
        train (Sequence[dict]): The transforms of the training.

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
        # The validation's packing drops the targets.
        result[-1] = packs[-1]
        result[-1:-1] = targets[-1:]
    return deepcopy(result)


def loads_annotations(transform: Any) -> bool:
    """True if a transform loads boxes, masks or labels."""
    name = type_name(transform)
    return name.startswith('Load') and 'Annotations' in name


def annotated_dataset(dataset: Any, train: Any,
                      pipeline: Sequence[Dict] | None) -> Any:
    """Adapt the config of a validation dataset so that losses can be computed.

    Args:
        dataset (dict): Config of the validation dataset.
        train (dict): Config of the training dataset.
        pipeline (Sequence[dict], optional): Transforms to use instead.

    Raises:
        ValueError: If the transforms of the validation cannot be adapted.
    """
    if isinstance(dataset, (list, tuple)):
        return [annotated_dataset(x, train, pipeline) for x in dataset]
    result = dict(dataset)
    for key in ('dataset', 'datasets'):
        if key in result:
            result[key] = annotated_dataset(result[key], train, pipeline)
    if 'test_mode' in result:
        result['test_mode'] = False
    # Detected people have no annotated keypoints.
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
