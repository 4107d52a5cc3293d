"""What is wrong when a loss is no number any more."""
from __future__ import annotations
import math
from pathlib import Path
from typing import (Any, Callable, Dict, Iterator, List, NamedTuple, Sequence,
                    Tuple)

import numpy as np
import torch
from mmengine.dist import (all_gather_object, all_reduce, get_rank,
                           get_world_size)
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmlosses.checks.findings import class_name
from mmlosses.checks.replay import (Repeated, ReplayError, candidates,
                                    count_of, describe_inputs, make_record,
                                    repeat, same_values, save_record,
                                    tensors_in)
from mmlosses.checks.watch import bind, loss_modules
from mmlosses.registry import HOOKS

ACTIONS = ('stop', 'skip', 'warn')

# State that is copied before each call. What is larger may have moved since.
SMALL = 2**16

# How many samples and parameters a report names.
NAMED = 8


class Call(NamedTuple):
    """A call of a loss, by reference."""
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
        """The tensors that it returned."""
        return [x for _, x in tensors_in(self.output, '')]


def versions_of(*values: Any) -> List[int]:
    """How often each tensor was changed in place."""
    return [x._version for _, x in tensors_in(list(values), '')]


def random_state(device: torch.device) -> Dict[str, Tensor]:
    """Of the generators that a loss may draw from."""
    state = dict(cpu=torch.get_rng_state())
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    return state


def autocast_dtype(device: torch.device) -> str | None:
    """The name of the dtype that is cast to now, if there is one."""
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
    """Keep the calls of the losses of a model in one iteration.

    By reference, so that it costs next to nothing.

    Args:
        model (nn.Module): The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.calls: List[Call] = []
        self.begun: List[Tuple[Dict, Dict, List[int]]] = []
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
        """A hook that keeps what a call may change."""

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            if self.recording:
                buffers = dict(module.named_buffers())
                state = {
                    name:
                    x.clone() if name in buffers and x.numel() <= SMALL else x
                    for name, x in module.state_dict().items()
                }
                self.begun.append((state, random_state(self.device),
                                   versions_of(args, kwargs, state)))

        return hook

    def after(self, path: str) -> Callable:
        """A hook that keeps a call."""

        def hook(module: nn.Module, args: tuple, kwargs: dict,
                 output: Any) -> None:
            if not self.recording or not self.begun:
                return
            state, random, versions = self.begun.pop()
            if all(
                    torch.equal(x, random[key])
                    for key, x in random_state(self.device).items()):
                random = {}
            self.calls.append(
                Call(path, module, args, kwargs, output, state, versions,
                     random, autocast_dtype(self.device)))

        return hook

    def start(self) -> None:
        """Begin an iteration."""
        self.recording = True

    def stop(self) -> None:
        """End it, and let go of the tensors."""
        self.recording = False
        self.calls.clear()
        self.begun.clear()

    def close(self) -> None:
        """Let go of the model."""
        self.stop()
        for hook in self.hooks:
            hook.remove()


def gradient_sums(
    optimizer: torch.optim.Optimizer
) -> Tuple[List[nn.Parameter], Tensor | None]:
    """Parameters, and a number for each that is finite if its gradient is.

    The sum, or the sum of absolute values: that of squares would overflow.
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
            else:  # Half precision would overflow.
                other.append(parameter)
    gradients = [p.grad for p in plain]
    if any(g.device.type == 'cpu' for g in gradients):
        # The norm takes five times as long there.
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


# Samples


def data_samples(node: Any) -> Iterator[Any]:
    """What a batch has for samples: whatever has the path of a picture."""
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
    """What is not finite in the annotations of a sample."""
    if isinstance(node, (dict, BaseDataElement)):
        items = (
            node.all_items()
            if isinstance(node, BaseDataElement) else node.items())
        for key, value in items:
            yield from bad_fields(value, f'{name}.{key}' if name else str(key))
        return
    value = getattr(node, 'tensor', node)  # boxes of mmdet
    if isinstance(value, np.ndarray) and value.dtype.kind == 'f':
        value = torch.from_numpy(value)
    if isinstance(value, Tensor) and count_of(value):
        yield f'{name}: {count_of(value)} of {value.numel()} not finite'


def describe_samples(batch: Any) -> List[str]:
    """A line for each picture, those with something wrong first."""
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
    more = len(named) - NAMED
    return named[:NAMED] + ([f'and {more} more'] if more > 0 else [])


@HOOKS.register_module()
class LossDoctorHook(Hook):
    """Say which loss is no number any more, and what it was called with.

    At the first loss or gradient that is NaN or infinite it names the loss
    module, its arguments with their ranges, and the pictures; it writes a
    file with that call, which ``python -m mmlosses replay_loss FILE`` makes
    again; and it stops the training, or goes on without the iteration.

    Every loss module of the model is watched, of whatever package: see
    :func:`mmlosses.checks.watch.loss_modules`. Losses are looked at where
    mmengine has read them for the log. Gradients are summed up on the device
    before each step of the optimizer, and one number is read from it.

    Args:
        action (str): ``'stop'`` raises an error; ``'skip'`` undoes the
            iteration, so that neither weights nor buffers nor the optimizer
            have seen it; ``'warn'`` logs it and goes on. Default: ``'stop'``.
        before_step (bool): Whether to look before the step of the optimizer
            rather than after it, so that not even the weights in memory have
            it. On a GPU the host then waits for the device once more in each
            iteration. ``'skip'`` always does, and so does a model with a loss
            that has parameters of its own, which the step would change.
            Default: False.
        check_inputs (bool): Whether an input of a loss that is not finite is
            a fault too, although loss and gradient are finite, as where its
            weight is 0. Default: False.
        out_dir (str, optional): Where files go. By default the work dir.
        max_reports (int): How many faults are reported in full and kept in a
            file, with ``'skip'`` and ``'warn'``. Default: 5.
        max_skips (int): After how many iterations in a row that were skipped
            the training stops after all. Default: 10.

    Raises:
        ValueError: If ``action`` is unknown, or a number is below 1.
        FloatingPointError: At a fault, with ``'stop'``.

    Note:
        A gradient that overflows by the scale of ``AmpOptimWrapper`` is no
        fault: its scaler leaves that step out. Only where the loss, computed
        again without the scale, has a gradient that is not finite, it is.

    Example:
        In any config:

        >>> custom_hooks = [dict(type='mmlosses.LossDoctorHook')]
    """

    # After RuntimeInfoHook, which reads the losses from the device; before
    # EMAHook and those that log and save.
    priority = 'HIGH'

    def __init__(self,
                 action: str = 'stop',
                 before_step: bool = False,
                 check_inputs: bool = False,
                 out_dir: str | None = None,
                 max_reports: int = 5,
                 max_skips: int = 10) -> None:
        if action not in ACTIONS:
            raise ValueError(
                f"action must be 'stop', 'skip' or 'warn', got {action!r}")
        if min(max_reports, max_skips) < 1:
            raise ValueError('max_reports and max_skips must be at least 1, '
                             f'got {max_reports} and {max_skips}')
        self.action = action
        self.before_step = before_step
        self.check_inputs = check_inputs
        self.out_dir = out_dir
        self.max_reports = max_reports
        self.max_skips = max_skips
        self.faults = 0
        self.skips = 0  # in a row
        self.recorder: Any = None
        self.handles: List[Any] = []

    def before_train(self, runner: Runner) -> None:
        """Watch the losses and the optimizer."""
        self.close()  # after a training that an error has ended
        self.runner = runner
        model = runner.model
        self.model = model.module if is_model_wrapper(model) else model
        self.recorder = Recorder(self.model)
        losses = [loss for _, loss in loss_modules(self.model)]
        self.early = self.before_step or self.action == 'skip' or any(
            p.requires_grad for loss in losses for p in loss.parameters())
        self.names = {id(p): n for n, p in self.model.named_parameters()}
        wrapper = runner.optim_wrapper
        self.wrappers = (
            list(wrapper.values())
            if hasattr(wrapper, 'optim_wrappers') else [wrapper])
        for one in self.wrappers:
            self.handles.append(
                one.optimizer.register_step_pre_hook(self.at_step(one)))
        self.begin(None)

    def after_train(self, runner: Runner) -> None:
        """Let go of them."""
        self.close()
        if self.faults:
            runner.logger.warning(
                f'LossDoctorHook: {self.faults} iterations had a loss or '
                'gradient that is not finite')

    def close(self) -> None:
        """Remove what watches the model and the optimizer."""
        if self.recorder is not None:
            self.recorder.close()
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def begin(self, batch: Any) -> None:
        """Forget the last iteration."""
        self.batch = batch
        self.looked = False
        self.sums: List[Tensor] = []
        self.checked: List[nn.Parameter] = []
        self.stepped: List[Any] = []

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Begin to record."""
        self.begin(data_batch)
        self.recorder.start()
        if self.action == 'skip':
            self.buffers = {
                name: x.clone()
                for name, x in self.model.named_buffers()
            }

    def at_step(self, wrapper: Any) -> Callable:
        """A hook that sums up the gradients before an optimizer uses them."""

        def hook(optimizer: torch.optim.Optimizer, args: Any,
                 kwargs: Any) -> None:
            if not self.recorder.recording:
                return
            # A scaler has looked at the gradients, and knows better; fused
            # optimizers are called all the same, with what it found.
            self.stepped.append(getattr(optimizer, 'found_inf', None))
            if not scales(wrapper):
                parameters, sums = gradient_sums(optimizer)
                self.checked += parameters
                if sums is not None:
                    self.sums.append(sums)
            if self.early:
                self.looked = True
                self.look(wrapper, None)

        return hook

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Dict[str, Any] | None = None) -> None:
        """Look at what mmengine has read from the device for the log."""
        if not self.looked:
            self.look(None, outputs)
        self.recorder.stop()
        self.begin(None)

    # Faults

    def look(self, wrapper: Any, outputs: Dict[str, Any] | None) -> None:
        """Report a fault, if any rank has one, and do what is to be done."""
        bad = self.is_bad(outputs)
        if get_world_size() > 1:
            anywhere = torch.tensor(float(bad))
            all_reduce(anywhere, 'max')
            if not anywhere.item():
                self.skips = 0
                return
        elif not bad:
            self.skips = 0
            return
        self.faults += 1
        text = ''
        if self.action == 'stop' or self.faults <= self.max_reports:
            text = self.report(bad, outputs)
        if self.action == 'stop':
            self.recorder.stop()
            # Whoever trains on must not add to them.
            self.drop_gradients(wrapper)
            raise FloatingPointError(text)
        if text:
            self.runner.logger.error(text)
        if self.action == 'skip':
            self.skip(wrapper)

    def is_bad(self, outputs: Dict[str, Any] | None) -> bool:
        """Whether a loss or a gradient of this rank is not finite."""
        numbers = [
            self.as_logged(name, value)
            for name, value in (outputs or {}).items() if 'loss' in name
        ]
        if not all(map(math.isfinite, numbers)):
            return True
        # All that is still on the device, in one number.
        pending = [x.sum() for x in self.sums]
        if outputs is None:
            pending += [
                x.detach().float().sum() for call in self.recorder.calls
                for x in call.outputs if x.requires_grad
            ]
        if self.check_inputs:
            # What is finite must not add up to what is not.
            pending += [(0 * x.detach().float()).sum()
                        for call in self.recorder.calls
                        for _, x in tensors_in([call.args, call.kwargs], '')
                        if x.is_floating_point()]
        if pending:
            device = pending[0].device
            total = torch.stack([x.to(device) for x in pending]).sum()
            if not math.isfinite(float(total)):
                return True
        return self.scaler_stopped() and self.fault_of_a_gradient() is not None

    def as_logged(self, name: str, value: Any) -> float:
        """A loss, from where mmengine has it without asking the device."""
        history = self.runner.message_hub.log_scalars.get(f'train/{name}')
        if history is not None and len(history.data[0]):
            return float(history.current())
        return float(value)

    def scaler_stopped(self) -> bool:
        """Whether a gradient scaler has left out the step that was due."""
        scaled = [x for x in self.wrappers if hasattr(x, 'loss_scaler')]
        due = any(x.loss_scaler.is_enabled() and x.should_update()
                  for x in scaled)
        if not due or self.early and self.looked:
            return False
        return len(self.stepped) < len(scaled) or any(
            found is not None and bool(found.item()) for found in self.stepped)

    def fault_of_a_gradient(self) -> Call | None:
        """The first call whose gradient, made again, is not finite."""
        for call in self.recorder.calls:
            if not any(x.requires_grad for x in call.outputs):
                continue
            repeated = self.repeat(call)[1]
            if repeated is not None and not repeated.is_finite:
                return call
        return None

    def repeat(self, call: Call) -> Tuple[Dict | None, Repeated | None, str]:
        """Make a call again, as a file of it would.

        Returns:
            tuple: The content of the file, what it gives, and what is in its
            way.
        """
        model = self.runner.cfg.get('model') or {}
        # Losses that learn by what they see would wait for the other ranks.
        training = False if get_world_size() > 1 else None
        best: Tuple[Dict | None, Repeated | None, str]
        best = (None, None, '')
        try:
            for config in candidates(call.loss, call.path, model):
                record = make_record(
                    call.loss,
                    config,
                    call.state,
                    call.args,
                    call.kwargs,
                    random=call.random,
                    autocast=call.autocast,
                    path=call.path)
                try:
                    repeated = repeat(record, training=training)
                except ReplayError as error:
                    best = best if best[0] else (None, None, str(error))
                    continue
                if same_values(list(repeated.values.values()), call.outputs):
                    return record, repeated, ''
                best = best if best[0] else (
                    record, repeated, 'made again, it has another value')
        except ReplayError as error:
            return None, None, str(error)
        return best

    def drop_gradients(self, wrapper: Any) -> None:
        """Of one optimizer, or of all."""
        for one in [wrapper] if wrapper is not None else self.wrappers:
            one.optimizer.zero_grad(set_to_none=True)

    def skip(self, wrapper: Any) -> None:
        """Undo the iteration.

        Optimizers leave out parameters without a gradient.
        """
        self.drop_gradients(wrapper)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(self.buffers[name])
        self.skips += 1
        if self.skips >= self.max_skips:
            raise FloatingPointError(
                f'LossDoctorHook: {self.skips} iterations in a row had a loss '
                'or gradient that is not finite; the log has the first')

    # The report

    def report(self, bad: bool, outputs: Dict[str, Any] | None) -> str:
        """Say all that is known, on all ranks."""
        texts = [self.describe(outputs) if bad else '']
        if get_world_size() > 1:
            texts = [
                f'rank {rank}: {text}'
                for rank, text in enumerate(all_gather_object(texts[0]))
                if text
            ]
        step = self.runner.iter + 1
        head = f'LossDoctorHook: not finite in iteration {step}'
        ends = dict(
            stop='The training is stopped. ' +
            ('The weights have not been updated with this iteration.'
             if self.early else 'The weights in memory may have been '
             'updated with it, those of the checkpoints have not.'),
            skip='The iteration is skipped.',
            warn='The training goes on with it.')
        return '\n'.join([head, *texts, ends[self.action]])

    def describe(self, outputs: Dict[str, Any] | None) -> str:
        """Say all that is known, on this rank."""
        lines = []
        logged = {
            name: self.as_logged(name, value)
            for name, value in (outputs or {}).items()
        }
        terms = [
            f'{name} is {value}' for name, value in logged.items()
            if not math.isfinite(value)
        ]
        if terms:
            lines.append(', '.join(terms))
        call, fault = self.find_call()
        if call is None:
            lines.append('No loss module returned it, nor has one a gradient '
                         'that is not finite: it comes from elsewhere')
        else:
            record, repeated, trouble = self.repeat(call)
            lines.append(f'{call.path} ({class_name(call.loss)}): {fault}')
            lines += self.describe_call(call, repeated)
        parameters = self.bad_parameters()
        if parameters:
            lines.append('gradient not finite: ' + parameters)
        samples = describe_samples(self.batch)
        if samples:
            lines += ['pictures:', *[f'  {line}' for line in samples]]
        if call is not None:
            lines.append(self.keep(record, trouble, lines))
        return '\n'.join(lines)

    def find_call(self) -> Tuple[Call | None, str]:
        """The first call that is to blame, and what is wrong with it."""
        for call in self.recorder.calls:
            if any(map(count_of, call.outputs)):
                return call, 'its value is not finite'
        found = self.fault_of_a_gradient()
        if found is not None:
            return found, 'its value is finite, its gradient is not'
        if self.check_inputs:
            for call in self.recorder.calls:
                if bad_inputs(call):
                    return call, ('an input is not finite, value and '
                                  'gradient are')
        return None, ''

    def describe_call(self, call: Call,
                      repeated: Repeated | None) -> List[str]:
        """The inputs of a call, and which of them are to blame."""
        inputs = bind(call.loss, call.args, call.kwargs)
        bad = bad_inputs(call)
        lines = [
            'not finite before it was called: ' + ', '.join(bad)
            if bad else 'all inputs are finite: the loss itself makes it'
        ]
        if repeated is not None and repeated.bad_parts:
            lines.append('first within it: ' + repeated.bad_parts[0])
        lines += [f'  {line}' for line in describe_inputs(inputs)]
        if versions_of(call.args, call.kwargs, call.state) != call.versions:
            lines.append('  (something of it was changed in place since)')
        for name, gradient in (repeated.gradients if repeated else {}).items():
            if count_of(gradient):
                lines.append(f'  gradient of {name}: {count_of(gradient)} of '
                             f'{gradient.numel()} not finite')
        return lines

    def bad_parameters(self) -> str:
        """The parameters whose gradient is not finite."""
        if not self.sums:
            return ''
        sums = torch.cat([x.to(self.sums[0].device) for x in self.sums])
        bad = [
            self.names.get(id(p), '?')
            for p, total in zip(self.checked, sums.tolist())
            if not math.isfinite(total)
        ]
        more = len(bad) - NAMED
        return ', '.join(
            bad[:NAMED]) + (f' and {more} more' if more > 0 else '')

    def keep(self, record: Dict | None, trouble: str,
             lines: Sequence[str]) -> str:
        """Write the file, and say how to use it, or why there is none."""
        if record is None:
            return f'no file to replay: {trouble}'
        rank = f'_rank_{get_rank()}' if get_world_size() > 1 else ''
        path = Path(self.out_dir or self.runner.work_dir) / (
            f'loss_doctor_iter_{self.runner.iter + 1}{rank}.pt')
        record['report'] = '\n'.join(lines)
        try:
            save_record(record, path)
        except Exception as error:  # The report matters more.
            return f'no file to replay: {error}'
        return f'replay: python -m mmlosses replay_loss {path}' + (
            f' ({trouble})' if trouble else '')


def bad_inputs(call: Call) -> List[str]:
    """The names of the inputs of a call that are not finite."""
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


def scales(wrapper: Any) -> bool:
    """Whether a gradient scaler looks at the gradients before a step."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()
