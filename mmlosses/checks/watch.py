"""Record the inputs, outputs and gradients of the losses of a model."""
from __future__ import annotations
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import torch
from torch import Tensor, nn

from mmlosses.core.base import call_signature
from mmlosses.losses import MultipleLossWrapper, SumLoss
from mmlosses.losses.composite import CompositeLoss
from .findings import class_name


def loss_modules(module: nn.Module,
                 path: str = '',
                 inside: bool = False) -> Iterator[Tuple[str, nn.Module]]:
    """Path and module of each loss of a model, without its inner parts."""
    for name, child in module.named_children():
        child_path = f'{path}.{name}' if path else name
        named = ('loss' in name or name == 'criterion'
                 or type(child).__name__.endswith('Loss'))
        if ('forward' not in methods(child)
                or isinstance(child, CompositeLoss)):
            # Containers have members with meaningless names. Of a SumLoss, the
            # inner losses have the values and traps.
            yield from loss_modules(child, child_path, inside or named)
        elif inside or named:
            yield child_path, child
        else:
            yield from loss_modules(child, child_path)


def slot_of(model: nn.Module, path: str) -> str:
    """The path that a head calls: for a part of a SumLoss, that SumLoss.

    The losses of a CombinedLoss are called themselves.
    """
    names = path.split('.')
    for length in range(1, len(names)):
        owner = '.'.join(names[:length])
        called = SumLoss, MultipleLossWrapper
        if isinstance(model.get_submodule(owner), called):
            return owner
    return path


def methods(module: nn.Module) -> set:
    """The attributes that a module's classes define beyond torch's."""
    return {
        name
        for cls in type(module).__mro__
        if cls not in (nn.Module, nn.ModuleList, nn.ModuleDict)
        for name in vars(cls)
    }


class LossCall(NamedTuple):
    """One call of a loss."""
    inputs: Dict[str, Any]  # by parameter name
    third: Any  # the third positional argument, whatever its name
    reduction: str | None
    output: Any
    parts: List[Tensor]  # the output tensors that require grad
    gradients: Dict[int, Tensor]  # of the total w.r.t. each part


class LossWatch:
    """Record every call of every loss of a model.

    Args:
        model (nn.Module): The model. Its losses then return copies, to trace
            the gradient of each.

    Example:
        >>> import torch
        >>> from mmlosses.losses import L1Loss
        >>> head = torch.nn.Module()
        >>> head.loss_bbox = L1Loss()
        >>> watch = LossWatch(head)
        >>> pred = torch.ones(2, requires_grad=True)
        >>> total = 3 * head.loss_bbox(pred, torch.zeros(2))
        >>> total.backward(retain_graph=True)
        >>> watch.value('loss_bbox')
        3.0
    """

    def __init__(self, model: nn.Module) -> None:
        self.losses = dict(loss_modules(model))
        self.calls: Dict[str, List[LossCall]] = {p: [] for p in self.losses}
        self.running: List[Tuple[str, Dict[str, Any], Any]] = []
        self.recording = True
        self.hooks: List[Any] = []
        for path, loss in self.losses.items():
            self.hooks += [
                loss.register_forward_pre_hook(
                    self.before(path), with_kwargs=True),
                loss.register_forward_hook(self.after(path), with_kwargs=True)
            ]

    def before(self, path: str) -> Callable:
        """A pre-hook that notes which loss is running."""

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            third = args[2] if len(args) > 2 else None
            self.running.append((path, bind(module, args, kwargs), third))

        return hook

    def after(self, path: str) -> Callable:
        """A hook that records the inputs and output of a call."""

        def hook(module: nn.Module, args: tuple, kwargs: dict,
                 output: Any) -> Any:
            _, inputs, third = self.running.pop()
            call = LossCall(
                inputs, third,
                inputs.get('reduction_override')
                or getattr(module, 'reduction', None), output, [], {})
            self.calls[path].append(call)
            return self.follow(output, call)

        return hook

    def follow(self, output: Any, call: LossCall) -> Any:
        """Copy an output and record the gradient that reaches it.

        A copy, since heads modify loss values in place.
        """
        if isinstance(output, Tensor):
            if not output.requires_grad:
                return output
            index = len(call.parts)
            call.parts.append(output)

            def note(gradient: Tensor) -> None:
                if self.recording:
                    call.gradients[index] = gradient

            self.hooks.append(output.register_hook(note))
            return output.clone()
        if type(output) in (list, tuple):
            return type(output)(self.follow(part, call) for part in output)
        if type(output) is dict:
            return {k: self.follow(part, call) for k, part in output.items()}
        return output

    def abandon(self) -> None:
        """Record calls that raised an error as calls without output."""
        for path, inputs, third in self.running:
            self.calls[path].append(
                LossCall(inputs, third, None, None, [], {}))
        self.running.clear()

    def close(self) -> None:
        """Release the model and the graph.

        Tensor hooks would otherwise keep themselves alive through what they
        record.
        """
        for hook in self.hooks:
            hook.remove()
        for calls in self.calls.values():
            calls.clear()

    def value(self, path: str) -> float:
        """The contribution of a loss to the total, after its ``backward()``.

        The total is a weighted sum of loss values, so its gradient w.r.t. each
        value is that value's weight.
        """
        return float(
            sum((part.detach() * gradient).sum()
                for part, gradient in self.used(path)))

    def used(self, path: str) -> List[Tuple[Tensor, Tensor]]:
        """The parts of a loss that reach the total, with their gradients."""
        return [(call.parts[index], gradient) for call in self.calls[path]
                for index, gradient in call.gradients.items()]

    def gradient_norm(self, path: str, model: nn.Module) -> float:
        """The norm of a loss's contribution to the parameter gradient."""
        self.recording = False
        model.zero_grad()
        used = self.used(path)
        if used:
            # Checkpointed layers do not support `torch.autograd.grad`.
            torch.autograd.backward([part for part, _ in used],
                                    [gradient for _, gradient in used],
                                    retain_graph=True)
        return gradient_norm(model)

    def describe(self, path: str) -> str:
        """Path and class of a loss, for messages."""
        return f'{path} ({class_name(self.losses[path])})'


def bind(module: nn.Module, args: tuple, kwargs: dict) -> Dict[str, Any]:
    """The arguments of a call by parameter name."""
    try:
        bound = call_signature(module).bind(*args, **kwargs)
    except TypeError:  # the call itself will raise a clear error
        return dict({str(i): arg for i, arg in enumerate(args)}, **kwargs)
    inputs = dict(bound.arguments)
    # Unpack **kwargs.
    for name, value in list(inputs.items()):
        if isinstance(value, dict):
            inputs.update(inputs.pop(name))
    return inputs


def gradient_norm(module: nn.Module, prefix: str = '') -> float:
    """The gradient norm of the parameters below a prefix."""
    squares = [
        p.grad.double().square().sum()
        for name, p in module.named_parameters()
        if name.startswith(prefix) and p.grad is not None
    ]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def shape_of(value: Any) -> str:
    """Summarise a value of a call."""
    if isinstance(value, Tensor):
        text = f'{str(value.dtype).rpartition(".")[2]} {tuple(value.shape)}'
        if value.numel():
            numbers = value.detach().double()
            text += f' in [{numbers.min():.3g}, {numbers.max():.3g}]'
        return text
    if isinstance(value, (list, tuple)):
        return f'{type(value).__name__} of {len(value)}'
    return repr(value)


def shapes_of(inputs: Dict[str, Any]) -> str:
    """Summarise the inputs of a call in one line."""
    return ', '.join(f'{name} {shape_of(value)}'
                     for name, value in inputs.items())
