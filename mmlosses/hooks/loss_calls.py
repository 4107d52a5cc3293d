"""The calls of the losses in an iteration, and the samples of its batch."""
from __future__ import annotations
import math
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmlosses.checks.replay import count_of, tensors_in
from mmlosses.checks.watch import bind, loss_modules

# Buffers up to this size are cloned before each call; larger ones are kept
# by reference and may have changed since.
MAX_CLONED = 2**16

# How many samples and parameters a report lists.
MAX_LISTED = 8


class Call(NamedTuple):
    """A call of a loss, stored by reference."""
    path: str
    loss: nn.Module
    args: tuple
    kwargs: Dict[str, Any]
    output: Any
    state: Dict[str, Tensor]
    versions: List[int]
    random: Dict[str, Tensor]
    autocast: str | None

    @property
    def outputs(self) -> List[Tensor]:
        """The returned tensors."""
        return [x for _, x in tensors_in(self.output, '')]


def versions_of(*values: Any) -> List[int]:
    """The in-place modification counter of each tensor."""
    return [x._version for _, x in tensors_in(list(values), '')]


def random_state(device: torch.device) -> Dict[str, Tensor]:
    """State of the random generators that a loss may use."""
    state = dict(cpu=torch.get_rng_state())
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    return state


def autocast_dtype(device: torch.device) -> str | None:
    """The name of the active autocast dtype, or None."""
    if hasattr(torch, 'get_autocast_dtype'):  # since torch 2.4
        active = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type)
    elif device.type == 'cpu':
        active = torch.is_autocast_cpu_enabled()
        dtype = torch.get_autocast_cpu_dtype()
    else:
        active = torch.is_autocast_enabled()
        dtype = torch.get_autocast_gpu_dtype()
    return str(dtype).rpartition('.')[2] if active else None


class Recorder:
    """Record the loss calls of one iteration, by reference.

    Args:
        model (nn.Module): The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.calls: List[Call] = []
        self.pending: List[Tuple[Dict, Dict, List[int]]] = []
        self.recording = False
        self.hooks: List[Any] = []
        self.device = next((p.device for p in model.parameters()),
                           torch.device('cpu'))
        for path, loss in loss_modules(model):
            self.hooks += [
                loss.register_forward_pre_hook(
                    self.before(), with_kwargs=True),
                loss.register_forward_hook(self.after(path), with_kwargs=True)
            ]

    def before(self) -> Callable:
        """A pre-hook that saves the state a call may change."""

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            if self.records(module):
                buffers = dict(module.named_buffers())
                state = {
                    name:
                    x.clone()
                    if name in buffers and x.numel() <= MAX_CLONED else x
                    for name, x in module.state_dict().items()
                }
                self.pending.append((state, random_state(self.device),
                                     versions_of(args, kwargs, state)))

        return hook

    def after(self, path: str) -> Callable:
        """A hook that records a call."""

        def hook(module: nn.Module, args: tuple, kwargs: dict,
                 output: Any) -> None:
            if not self.records(module) or not self.pending:
                return
            state, random, versions = self.pending.pop()
            if all(
                    torch.equal(x, random[key])
                    for key, x in random_state(self.device).items()):
                random = {}
            self.calls.append(
                Call(path, module, args, kwargs, output, state, versions,
                     random, autocast_dtype(self.device)))

        return hook

    def records(self, module: nn.Module) -> bool:
        """True for a call of the training.

        ValLossHook may compute its losses within an iteration.
        """
        return self.recording and (module.training or torch.is_grad_enabled())

    def start(self) -> None:
        """Start recording an iteration."""
        self.recording = True

    def stop(self) -> None:
        """Stop recording and release the tensors."""
        self.recording = False
        self.calls.clear()
        self.pending.clear()

    def close(self) -> None:
        """Remove the hooks from the model."""
        self.stop()
        for hook in self.hooks:
            hook.remove()


def gradient_sums(
    optimizer: torch.optim.Optimizer
) -> Tuple[List[nn.Parameter], Tensor | None]:
    """Parameters, and for each a sum that is finite iff its gradient is.

    A plain sum or the L1 norm: squares would overflow.
    """
    plain, other = [], []
    for group in optimizer.param_groups:
        for parameter in group['params']:
            gradient = parameter.grad
            if gradient is None:
                continue
            if (gradient.dtype in (torch.float32, torch.float64)
                    and gradient.layout is torch.strided):
                plain.append(parameter)
            else:  # half precision would overflow
                other.append(parameter)
    gradients = [p.grad for p in plain]
    if any(g.device.type == 'cpu' for g in gradients):
        # On the CPU, the norm takes five times as long as a sum.
        sums = [g.sum() for g in gradients]
    else:
        sums = list(torch._foreach_norm(gradients, 1)) if plain else []
    for parameter in other:
        gradient = parameter.grad
        if gradient.is_sparse:
            gradient = gradient.coalesce().values()
        sums.append(torch.linalg.vector_norm(gradient, 1, dtype=torch.float32))
    if not sums:
        return [], None
    return plain + other, torch.stack(
        [x.to(sums[0].device, torch.float32) for x in sums])


def data_samples(node: Any) -> Iterator[Any]:
    """The samples in a batch: every element with an image path."""
    if isinstance(node, BaseDataElement):
        if 'img_path' in node.metainfo:
            yield node
        else:
            for _, value in node.items():
                yield from data_samples(value)
    elif isinstance(node, dict):
        if isinstance(node.get('img_path'), str):
            yield node
        else:
            for value in node.values():
                yield from data_samples(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from data_samples(value)


def bad_fields(node: Any, name: str = '') -> Iterator[str]:
    """Describe the non-finite fields in the annotations of a sample."""
    if isinstance(node, (dict, BaseDataElement)):
        items = (
            node.all_items()
            if isinstance(node, BaseDataElement) else node.items())
        for key, value in items:
            yield from bad_fields(value, f'{name}.{key}' if name else str(key))
        return
    value = getattr(node, 'tensor', node)  # mmdet's box classes
    if isinstance(value, np.ndarray) and value.dtype.kind == 'f':
        value = torch.from_numpy(value)
    if isinstance(value, Tensor) and count_of(value):
        yield f'{name}: {count_of(value)} of {value.numel()} not finite'


def describe_samples(batch: Any) -> List[str]:
    """One line per image, those with non-finite values first."""
    pictures = batch.get('inputs') if isinstance(batch, dict) else None
    samples = list(data_samples(batch))
    if not isinstance(pictures,
                      (list, tuple, Tensor)) or len(pictures) != len(samples):
        pictures = [None] * len(samples)
    lines = []
    for picture, sample in zip(pictures, samples):
        path = (
            sample['img_path']
            if isinstance(sample, dict) else sample.metainfo['img_path'])
        bad = [*bad_fields(picture, 'inputs'), *bad_fields(sample)]
        lines.append((not bad, path + (f' ({"; ".join(bad)})' if bad else '')))
    lines.sort(key=lambda pair: pair[0])
    named = list(dict.fromkeys([line for _, line in lines]))
    more = len(named) - MAX_LISTED
    return named[:MAX_LISTED] + ([f'and {more} more'] if more > 0 else [])


def bad_inputs(call: Call) -> List[str]:
    """The names of the non-finite inputs of a call."""
    inputs = bind(call.loss, call.args, call.kwargs)
    bad = [
        name for key, value in inputs.items()
        for name, x in tensors_in(value, key) if count_of(x)
    ]
    bad += [
        key for key, value in inputs.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    return bad + [
        f'its {name}' for name, x in call.state.items() if count_of(x)
    ]
