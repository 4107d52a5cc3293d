"""Diagnose non-finite losses and gradients."""
from __future__ import annotations
import math
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
from mmengine.dist import (all_gather_object, all_reduce, get_rank,
                           get_world_size)
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlosses.checks.findings import class_name
from mmlosses.checks.hints import hints
from mmlosses.checks.replay import (Repeated, ReplayError, candidates,
                                    count_of, describe_inputs, make_record,
                                    repeat, same_values, save_record,
                                    tensors_in)
from mmlosses.checks.watch import bind, loss_modules
from mmlosses.core.statistics import statistics_losses
from mmlosses.registry import HOOKS
from .loss_calls import (MAX_LISTED, Call, Recorder, bad_inputs,
                         describe_samples, gradient_sums, versions_of)

ACTIONS = ('stop', 'skip', 'warn')

# A loss above it is examined, though it is finite.
HUGE = 1e6


@HOOKS.register_module()
class LossDoctorHook(Hook):
    """Diagnose the first non-finite loss or gradient.

    When a loss or gradient is NaN or infinite, the hook names the loss module,
    the ranges of its inputs and the images of the batch. It saves the call to
    a file that ``python -m mmlosses replay_loss FILE`` replays. Then it stops
    the training or, if asked to, skips the iteration.

    It watches every loss module of the model, of any package: see
    :func:`mmlosses.checks.watch.loss_modules`. Losses are checked on the
    values that mmengine has already copied to the host for the log. Gradients
    are summed on the device before each optimizer step, which costs one host
    synchronisation. In the first iteration, and where a loss is above 1e6, it
    warns of inputs that a loss is not made for, such as a mask of 0 and 255.

    Args:
        action (str): ``'stop'`` raises an error; ``'skip'`` undoes the
            iteration: weights, buffers, accumulated gradients and optimizer
            state are as before; ``'warn'`` only logs. Default: ``'stop'``.
        before_step (bool): If True, check before the optimizer step instead
            of after it, so that even the weights in memory stay clean. On a
            GPU this adds one host synchronisation per iteration. Always on
            with ``'skip'`` and for models whose losses have parameters, which
            the step would change. Default: False.
        check_inputs (bool): If True, a non-finite input of a loss is a fault
            even if loss and gradient are finite, such as an input with
            weight 0. Default: False.
        out_dir (str, optional): Directory of the files. Default: the work
            dir.
        max_reports (int): With ``'skip'`` and ``'warn'``: how many faults to
            report in full and save. Default: 5.
        max_skips (int): Stop after this many skipped iterations in a row.
            Default: 10.

    Raises:
        ValueError: If ``action`` is unknown, or a number is below 1.
        FloatingPointError: At a fault, with ``'stop'``.

    Note:
        A gradient that overflows only because of the loss scale of
        ``AmpOptimWrapper`` is not a fault: the scaler skips that step. The
        hook recomputes the loss without the scale to tell.

    Example:
        In any config:

        >>> custom_hooks = [dict(type='mmlosses.LossDoctorHook')]
    """

    # After RuntimeInfoHook, which copies the losses to the host; before
    # EMAHook and the hooks that log and save.
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
        self.hinted: Any = None  # the hints so far; None: nothing examined
        self.recorder: Any = None
        self.handles: List[Any] = []

    def before_train(self, runner: Runner) -> None:
        """Attach to the losses and optimizers."""
        self.close()  # in case an error ended the last training
        self.runner = runner
        model = runner.model
        self.model = model.module if is_model_wrapper(model) else model
        self.recorder = Recorder(self.model)
        losses = [loss for _, loss in loss_modules(self.model)]
        self.before_update = self.before_step or self.action == 'skip' or any(
            p.requires_grad for loss in losses for p in loss.parameters())
        self.names = {id(p): n for n, p in self.model.named_parameters()}
        wrapper = runner.optim_wrapper
        self.wrappers = (
            list(wrapper.values())
            if hasattr(wrapper, 'optim_wrappers') else [wrapper])
        for one in self.wrappers:
            self.handles.append(
                one.optimizer.register_step_pre_hook(self.at_step(one)))
        self.reset(None)

    def after_train(self, runner: Runner) -> None:
        """Detach, and log the number of faults."""
        self.close()
        if self.faults:
            runner.logger.warning(
                f'LossDoctorHook: {self.faults} iterations had a loss or '
                'gradient that is not finite')

    def close(self) -> None:
        """Detach from the model and the optimizers."""
        if self.recorder is not None:
            self.recorder.close()
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def reset(self, batch: Any) -> None:
        """Reset the state of an iteration."""
        self.batch = batch
        self.is_checked = False
        self.sums: List[Tensor] = []
        self.summed: List[nn.Parameter] = []
        self.stepped: List[Any] = []
        self.accumulated: Dict[Any, Accumulated] = {}

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Start recording."""
        self.reset(data_batch)
        self.recorder.start()
        if self.action == 'skip':
            self.buffers = {
                name: x.clone()
                for name, x in self.model.named_buffers()
            }
            self.accumulated = {one: Accumulated(one) for one in self.wrappers}

    def at_step(self, wrapper: Any) -> Callable:
        """A hook that sums the gradients before an optimizer step."""

        def hook(optimizer: torch.optim.Optimizer, args: Any,
                 kwargs: Any) -> None:
            if not self.recorder.recording:
                return
            # A gradient scaler has checked the gradients itself. Fused
            # optimizers step anyway and receive its result.
            self.stepped.append(getattr(optimizer, 'found_inf', None))
            self.sum_gradients(wrapper)
            if self.before_update:
                self.is_checked = True
                self.check(wrapper, None)
            # A second step in this iteration must not use them again.
            self.accumulated.pop(wrapper, None)

        return hook

    def sum_gradients(self, wrapper: Any) -> None:
        """Sum the gradients, unless a scaler checks them."""
        if has_scaler(wrapper):
            return
        parameters, sums = gradient_sums(wrapper.optimizer)
        self.summed += parameters
        if sums is not None:
            self.sums.append(sums)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: Dict[str, Any] | None = None) -> None:
        """Check the losses that mmengine has copied to the host."""
        if not self.is_checked:
            if not self.stepped:
                # Before another iteration adds to them.
                for wrapper in self.wrappers:
                    self.sum_gradients(wrapper)
            self.check(None, outputs)
        self.hint(outputs or {})
        self.recorder.stop()
        self.reset(None)

    def hint(self, outputs: Dict[str, Any]) -> None:
        """Warn, once, of inputs that a loss is not made for."""
        huge = any(
            abs(self.as_logged(name, value)) > HUGE
            for name, value in outputs.items() if 'loss' in name)
        if self.hinted is not None and not huge:
            return
        self.hinted = self.hinted or set()
        for call in self.recorder.calls:
            for name, text in hints_of(call).items():
                if (call.path, name) not in self.hinted:
                    self.hinted.add((call.path, name))
                    self.runner.logger.warning(
                        f'LossDoctorHook: iteration {self.runner.iter + 1}: '
                        f'{call.path} ({class_name(call.loss)}): '
                        f'{name} {text}')

    # Faults

    def check(self, wrapper: Any, outputs: Dict[str, Any] | None) -> None:
        """If any rank has a fault, report it and take the action."""
        bad = self.is_faulty(outputs)
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
            # A caller that continues must not accumulate onto these.
            self.drop_gradients(wrapper)
            raise FloatingPointError(text)
        if text:
            self.runner.logger.error(text)
        if self.action == 'skip':
            self.skip(wrapper)

    def is_faulty(self, outputs: Dict[str, Any] | None) -> bool:
        """True if a loss or gradient of this rank is not finite."""
        numbers = [
            self.as_logged(name, value)
            for name, value in (outputs or {}).items() if 'loss' in name
        ]
        if not all(map(math.isfinite, numbers)):
            return True
        # One host synchronisation for everything still on the device.
        pending = [x.sum() for x in self.sums]
        if outputs is None:
            pending += [
                x.detach().float().sum() for call in self.recorder.calls
                for x in call.outputs if x.requires_grad
            ]
        if self.check_inputs:
            # Times 0, so that finite values cannot overflow in the sum.
            pending += [(0 * x.detach().float()).sum()
                        for call in self.recorder.calls
                        for _, x in tensors_in([call.args, call.kwargs], '')
                        if x.is_floating_point()]
        if pending:
            device = pending[0].device
            total = torch.stack([x.to(device) for x in pending]).sum()
            if not math.isfinite(float(total)):
                return True
        return self.scaler_stopped() and self.call_with_bad_gradient(
        ) is not None

    def as_logged(self, name: str, value: Any) -> float:
        """A loss value from mmengine's log, without a synchronisation."""
        history = self.runner.message_hub.log_scalars.get(f'train/{name}')
        if history is not None and len(history.data[0]):
            return float(history.current())
        return float(value)

    def scaler_stopped(self) -> bool:
        """True if a gradient scaler skipped the step that was due."""
        scaled = [x for x in self.wrappers if hasattr(x, 'loss_scaler')]
        due = any(x.loss_scaler.is_enabled() and x.should_update()
                  for x in scaled)
        if not due or self.before_update and self.is_checked:
            return False
        return len(self.stepped) < len(scaled) or any(
            found is not None and bool(found.item()) for found in self.stepped)

    def call_with_bad_gradient(self) -> Call | None:
        """The first call with a non-finite gradient when repeated."""
        for call in self.recorder.calls:
            if not any(x.requires_grad for x in call.outputs):
                continue
            repeated = self.repeat(call)[1]
            if repeated is not None and not repeated.is_finite:
                return call
        return None

    def repeat(self, call: Call) -> Tuple[Dict | None, Repeated | None, str]:
        """Repeat a call as its file would.

        Returns:
            tuple: The record to save, its result, and a problem or ``''``.
        """
        model = self.runner.cfg.get('model') or {}
        # A loss with a collective of its own would wait for the other ranks.
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
        """Clear the gradients of one optimizer, or of all."""
        for one in [wrapper] if wrapper is not None else self.wrappers:
            one.optimizer.zero_grad(set_to_none=True)

    def skip(self, wrapper: Any) -> None:
        """Undo the iteration.

        Optimizers ignore parameters without a gradient.
        """
        self.drop_gradients(wrapper)
        for one in [wrapper] if wrapper is not None else self.wrappers:
            before = self.accumulated.pop(one, None)
            if before is None:
                continue
            due = one.should_update()
            # A scaler has skipped the step, or scaled the gradients; those of
            # other ranks have been added to the faulty ones.
            if due and (wrapper is None or has_scaler(one)
                        or get_world_size() > 1):
                if before.iterations:
                    self.runner.logger.error(
                        f'LossDoctorHook: the {before.iterations} iterations '
                        'before it, whose gradients were accumulated for the '
                        'same step, are lost too')
                continue
            before.restore()
            if due and one.clip_grad_kwargs:
                one._clip_grad()
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(self.buffers[name])
        for loss in statistics_losses(self.model):
            loss.forget()
        self.skips += 1
        if self.skips >= self.max_skips:
            raise FloatingPointError(
                f'LossDoctorHook: {self.skips} iterations in a row had a loss '
                'or gradient that is not finite; the log has the first')

    # The report

    def report(self, bad: bool, outputs: Dict[str, Any] | None) -> str:
        """The report of all ranks."""
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
             if self.before_update else 'The weights in memory may have been '
             'updated with it, those of the checkpoints have not.'),
            skip='The iteration is skipped.',
            warn='The training goes on with it.')
        return '\n'.join([head, *texts, ends[self.action]])

    def describe(self, outputs: Dict[str, Any] | None) -> str:
        """The report of this rank."""
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
            lines.append(self.save(record, trouble, lines))
        return '\n'.join(lines)

    def find_call(self) -> Tuple[Call | None, str]:
        """The first call that produced a non-finite value, and the fault."""
        for call in self.recorder.calls:
            if any(map(count_of, call.outputs)):
                return call, 'its value is not finite'
        found = self.call_with_bad_gradient()
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
        """Describe the inputs of a call, and which are not finite."""
        inputs = bind(call.loss, call.args, call.kwargs)
        bad = bad_inputs(call)
        lines = [
            'not finite before it was called: ' + ', '.join(bad)
            if bad else 'all inputs are finite: the loss itself makes it'
        ]
        if repeated is not None and repeated.non_finite_parts:
            lines.append('first within it: ' + repeated.non_finite_parts[0])
        lines += [f'  {line}' for line in describe_inputs(inputs)]
        if versions_of(call.args, call.kwargs, call.state) != call.versions:
            lines.append('  (something of it was changed in place since)')
        for name, text in hints_of(call).items():
            lines.append(f'  {name} {text}')
        for name, gradient in (repeated.gradients if repeated else {}).items():
            if count_of(gradient):
                lines.append(f'  gradient of {name}: {count_of(gradient)} of '
                             f'{gradient.numel()} not finite')
        return lines

    def bad_parameters(self) -> str:
        """The parameters with a non-finite gradient."""
        if not self.sums:
            return ''
        sums = torch.cat([x.to(self.sums[0].device) for x in self.sums])
        bad = [
            self.names.get(id(p), '?')
            for p, total in zip(self.summed, sums.tolist())
            if not math.isfinite(total)
        ]
        more = len(bad) - MAX_LISTED
        return ', '.join(
            bad[:MAX_LISTED]) + (f' and {more} more' if more > 0 else '')

    def save(self, record: Dict | None, trouble: str,
             lines: Sequence[str]) -> str:
        """Save the record and return a line that says how to replay it."""
        if record is None:
            return f'no file to replay: {trouble}'
        rank = f'_rank_{get_rank()}' if get_world_size() > 1 else ''
        path = Path(self.out_dir or self.runner.work_dir) / (
            f'loss_doctor_iter_{self.runner.iter + 1}{rank}.pt')
        record['report'] = '\n'.join(lines)
        try:
            save_record(record, path)
        except Exception as error:  # the report matters more
            return f'no file to replay: {error}'
        return f'replay: python -m mmlosses replay_loss {path}' + (
            f' ({trouble})' if trouble else '')


class Accumulated:
    """The gradients that wait for a step before an iteration.

    Args:
        wrapper (OptimWrapper): The optimizer.
    """

    def __init__(self, wrapper: Any) -> None:
        self.iterations = wrapper._inner_count % wrapper._accumulative_counts
        self.gradients = [(p, p.grad.clone())
                          for group in wrapper.optimizer.param_groups
                          for p in group['params']
                          if self.iterations and p.grad is not None]

    def restore(self) -> None:
        """Put them back."""
        for parameter, gradient in self.gradients:
            parameter.grad = gradient


def hints_of(call: Call) -> Dict[str, str]:
    """What is wrong with the inputs of a call, by argument."""
    return hints(call.loss, bind(call.loss, call.args, call.kwargs),
                 call.outputs)


def has_scaler(wrapper: Any) -> bool:
    """True if an enabled gradient scaler checks the gradients."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler is not None and scaler.is_enabled()
