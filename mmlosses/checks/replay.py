"""Save a call of a loss to a file that holds only data, and replay it."""
from __future__ import annotations
import importlib
import inspect
import io
import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import (Any, Callable, ContextManager, Dict, Iterator, List,
                    NamedTuple, Sequence, Tuple)

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmlosses.cli import write_whole
from mmlosses.trusted import Archive
from .configs import find_class, loss_configs
from .findings import class_name
from .watch import bind, loss_modules

FORMAT = 1

# The packages whose losses a file may name; they are imported to find them.
SCOPES = ('mmlosses', 'mmdet', 'mmpose', 'mmdet3d', 'mmseg', 'mmpretrain',
          'mmrotate', 'mmocr', 'mmyolo', 'mmaction', 'mmagic')

PLAIN = (bool, int, float, str, type(None))


class ReplayError(ValueError):
    """A call that cannot be saved, or an invalid file."""


class Repeated(NamedTuple):
    """The result of a repeated loss call."""
    loss: nn.Module
    inputs: Dict[str, Any]  # by parameter name
    values: Dict[str, Tensor]  # each tensor of the output
    gradients: Dict[str, Tensor]  # of their sum, for inputs that require one
    non_finite_parts: List[str]  # inner losses with a non-finite value

    @property
    def is_finite(self) -> bool:
        """True if all values and gradients are finite."""
        return not any(
            count_of(x)
            for x in (*self.values.values(), *self.gradients.values()))


# Values


def tensors_in(value: Any, name: str) -> Iterator[Tuple[str, Tensor]]:
    """Name and value of each tensor in a nested argument or output."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from tensors_in(part, f'{name}[{key!r}]')
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from tensors_in(part, f'{name}[{index}]')


def map_values(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to the leaves of nested lists, tuples and dicts."""
    if isinstance(value, dict):
        return {key: map_values(part, function) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [map_values(part, function) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return function(value)


def to_plain(value: Any) -> Any:
    """Convert a part of a call to what a file can hold.

    Raises:
        ReplayError: If it is neither a tensor nor plain.
    """
    if isinstance(value, Tensor):
        # A view would save its whole storage.
        return value.detach().cpu().clone()
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in PLAIN:
        return value
    raise ReplayError(f'{type(value).__name__} is neither a tensor nor plain')


def count_of(value: Tensor) -> int:
    """The number of NaN or infinite elements."""
    if not (value.is_floating_point() or value.is_complex()):
        return 0
    return int((~value.detach().isfinite()).sum())


def range_of(value: Any) -> str:
    """Summarise a tensor: dtype, shape, range, non-finite elements."""
    if not isinstance(value, Tensor):
        return repr(value)
    numbers = value.detach().double().flatten()
    finite = numbers[numbers.isfinite()]
    text = f'{str(value.dtype).rpartition(".")[2]} {tuple(value.shape)}'
    if len(finite):
        text += f' from {finite.min():.4g} to {finite.max():.4g}'
    for word, found in (('nan', numbers.isnan()), ('inf', numbers.isinf())):
        if found.any():
            text += f', {int(found.sum())} {word} of {len(numbers)}'
    return text


def describe_inputs(inputs: Dict[str, Any]) -> List[str]:
    """Summarise each input of a call in a line."""
    lines = []
    for name, value in inputs.items():
        parts = list(tensors_in(value, name))
        lines += [f'{part}: {range_of(tensor)}' for part, tensor in parts]
        if not parts:
            lines.append(f'{name}: {value!r}')
    return lines


# Configs


def registry_of(scope: str) -> Any:
    """The model registry of a package, with its models imported."""
    registry = importlib.import_module(f'{scope}.registry').MODELS
    registry.import_from_location()
    return registry


def registered_name(cls: type) -> str:
    """The scoped name of a loss.

    Raises:
        ReplayError: If it has none in a known package.
    """
    scope = cls.__module__.partition('.')[0]
    for known in dict.fromkeys([scope, *SCOPES]):
        child = MODELS.children.get(known)
        for name, other in (child.module_dict if child else {}).items():
            if other is cls and known in SCOPES:
                return f'{known}.{name}'
    raise ReplayError(f'{cls.__module__}.{cls.__qualname__} is in none of the '
                      f'registries of {", ".join(SCOPES)}')


def check_config(config: Any) -> None:
    """Refuse a config that could build anything but registered losses.

    mmengine builds any callable from its dotted name, and some losses read
    files.

    Raises:
        ReplayError: If it could.
    """
    if isinstance(config, (list, tuple)):
        for part in config:
            check_config(part)
    elif isinstance(config, dict):
        for key, part in config.items():
            if not isinstance(key, (str, int)) or str(key).startswith('_'):
                raise ReplayError(f'a config of a loss has no key {key!r}')
            if key == 'compile' and part is not False:
                raise ReplayError(f'a replay compiles nothing, got {key}='
                                  f'{part!r}')
            if key != 'type':
                check_config(part)
        if 'type' in config:
            check_name(config['type'])
    elif not isinstance(config, PLAIN):
        raise ReplayError(f'a config of a loss has no {type(config).__name__}')


def check_name(name: Any) -> None:
    """Refuse a name that is not that of a registered loss."""
    found = re.fullmatch(r'(\w+)\.(\w+)', name) if isinstance(name,
                                                              str) else None
    if not found or found[1] not in SCOPES:
        raise ReplayError(f'{name!r} is not the scoped name of a loss of '
                          f'{", ".join(SCOPES)}')
    try:
        cls = registry_of(found[1]).module_dict.get(found[2])
    except (ImportError, AttributeError) as error:
        raise ReplayError(f'{found[1]} cannot be imported: {error}') from error
    # Not any model: a detector would load the files that its config names.
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)
            and re.search('loss', f'{cls.__module__}.{cls.__name__}', re.I)):
        raise ReplayError(f'{name} is not a registered loss')


def scoped(config: Any) -> Any:
    """Make a loss config plain, with scoped names, so that it builds later."""
    if isinstance(config, dict):
        result = {
            key: scoped(value)
            for key, value in config.items()
            if key not in ('_scope_', 'compile')
        }
        if 'type' in config:
            kind = config['type']
            cls = (
                find_class(kind, config.get('_scope_')) if isinstance(
                    kind, str) else kind)
            if not isinstance(cls, type):
                raise ReplayError(f'{kind} is not registered')
            result['type'] = registered_name(cls)
        return result
    if isinstance(config, (list, tuple)):
        return type(config)([scoped(value) for value in config])
    if not isinstance(config, PLAIN):
        raise ReplayError(f'a config cannot keep {type(config).__name__}')
    return config


def candidates(loss: nn.Module, path: str, model: Any) -> Iterator[Dict]:
    """Configs that a loss may have been built from, the likely ones first.

    Heads rename losses and supply defaults; schedules change attributes.

    Args:
        loss (nn.Module): The loss.
        path (str): Its path in the model.
        model (dict): Config of the model.
    """
    name = registered_name(type(loss))
    attributes = {}
    for key in inspect.signature(type(loss)).parameters:
        value = vars(loss).get(key, loss)
        if isinstance(value, (*PLAIN, list, tuple)):
            attributes[key] = value
    found = []
    for place, config in loss_configs(model, 'model'):
        try:
            config = scoped(config)
        except ReplayError:
            continue
        if config['type'] == name:
            found.append((place.partition('.')[2], config))
    # The same head first, then any loss of the class.
    found.sort(key=lambda pair: -len(os.path.commonprefix([pair[0], path])))
    for config in [config for _, config in found] + [dict(type=name)]:
        yield dict(config, **attributes)
        yield config


# Files


def make_record(loss: nn.Module, config: Dict, state: Dict[str, Tensor],
                args: Sequence[Any], kwargs: Dict[str, Any],
                **more: Any) -> Dict[str, Any]:
    """Everything that a call depends on.

    Args:
        loss (nn.Module): The loss.
        config (dict): A config that builds it.
        state (dict[str, Tensor]): Its state before the call.
        args (Sequence): Positional arguments of the call.
        kwargs (dict): Keyword arguments of the call.
        more: ``random`` state, ``autocast`` and notes for the reader.

    Returns:
        dict: Tensors and plain values in lists, tuples and dicts.
    """
    tensors = [x for _, x in tensors_in([list(args), dict(kwargs)], '')]
    return dict(
        format=FORMAT,
        config=config,
        state=map_values(dict(state), to_plain),
        args=map_values(list(args), to_plain),
        kwargs=map_values(dict(kwargs), to_plain),
        # Saved tensors lose this flag.
        requires_grad=[x.requires_grad for x in tensors],
        training=loss.training,
        torch=str(torch.__version__),
        **more)


def save_record(record: Dict[str, Any], path: Path) -> None:
    """Write a file atomically.

    Raises:
        OSError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # torch 2.0 does not notice a full disk.
        content = io.BytesIO()
        torch.save(record, content)
        write_whole(path, content.getvalue())
    except (OSError, RuntimeError) as error:
        raise OSError(f'{path} was not written: {error}') from error


def load_record(path: Path) -> Dict[str, Any]:
    """Read a file without executing anything in it.

    Raises:
        ReplayError: If it is not a valid file, or holds more than data.
        OSError: If it cannot be read.
    """
    try:
        record = Archive(path).value
    except OSError:
        raise
    except Exception as error:  # the kind depends on the invalid bytes
        raise ReplayError(f'{path} is no file of LossDoctorHook: '
                          f'{" ".join(str(error).split())[:200]}') from error
    types = dict(
        format=int,
        config=dict,
        state=dict,
        args=list,
        kwargs=dict,
        requires_grad=list,
        training=bool)
    if not isinstance(record, dict) or any(
            not isinstance(record.get(key), kind)
            for key, kind in types.items()) or record['format'] != FORMAT:
        raise ReplayError(f'{path} is no file of LossDoctorHook of format '
                          f'{FORMAT}')
    check_config(record['config'])
    if 'type' not in record['config']:
        raise ReplayError(f'{path} names no loss')
    return record


def precision(name: str | None, device: torch.device) -> ContextManager:
    """The autocast context of a call."""
    if name not in ('float16', 'bfloat16'):
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, name))


def repeat(record: Dict[str, Any],
           device: str = 'cpu',
           training: bool | None = None) -> Repeated:
    """Repeat a call.

    Args:
        record (dict): The call.
        device (str): The device to run on. Default: ``'cpu'``.
        training (bool, optional): The mode of the loss. Default: as recorded.

    Returns:
        Repeated: The result.

    Raises:
        ReplayError: If the config does not build a loss with this state, or
            the call fails.
    """
    check_config(record['config'])
    try:
        return make_call(record, torch.device(device), training)
    except Exception as error:  # any loss, any content
        raise ReplayError('the call cannot be made again: '
                          f'{type(error).__name__}: {error}') from error


def make_call(record: Dict[str, Any], device: torch.device,
              training: bool | None) -> Repeated:
    """Build the loss of a record with a checked config, and call it."""
    loss = MODELS.build(dict(record['config']))
    loss.load_state_dict(record['state'])
    loss.to(device).train(record['training'] if training is None else training)
    non_finite_parts: List[str] = []
    for path, part in loss_modules(loss):
        part.register_forward_hook(record_non_finite(path, non_finite_parts))
    flags = iter(record['requires_grad'])

    def leaf(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.detach().to(device, copy=True)
        return value.requires_grad_(next(flags, False))

    args, kwargs = [
        map_values(record[key], leaf) for key in ('args', 'kwargs')
    ]
    random = record.get('random') or {}
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        if 'cpu' in random:
            torch.set_rng_state(random['cpu'])
        if devices and 'cuda' in random:
            torch.cuda.set_rng_state(random['cuda'], device)
        with precision(record.get('autocast'), device):
            output = loss(*args, **kwargs)
        inputs = bind(loss, tuple(args), kwargs)
        values = dict(tensors_in(output, 'value'))
        leaves = {
            name: x
            for key, value in inputs.items()
            for name, x in tensors_in(value, key) if x.requires_grad
        }
        leaves.update({
            name: x
            for name, x in loss.named_parameters() if x.requires_grad
        })
        parts = [x.sum() for x in values.values() if x.requires_grad]
        gradients = torch.autograd.grad(
            torch.stack([x.to(device) for x in parts]).sum(),
            list(leaves.values()),
            allow_unused=True) if parts and leaves else []
    found = {name: x for name, x in zip(leaves, gradients) if x is not None}
    return Repeated(loss, inputs, values, found, non_finite_parts)


def record_non_finite(path: str, found: List[str]) -> Callable:
    """A hook that records an inner loss with a non-finite value."""

    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        if any(count_of(x) for _, x in tensors_in(output, '')):
            found.append(f'{path} ({class_name(module)})')

    return hook


def same_values(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """True if two outputs agree, including non-finite values."""
    return len(one) == len(other) and all(
        a.shape == b.shape and torch.allclose(
            a.detach().cpu().double(),
            b.detach().cpu().double(),
            rtol=1e-3,
            atol=1e-6,
            equal_nan=True) for a, b in zip(one, other))
