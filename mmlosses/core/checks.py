"""Checks of arguments and inputs, with messages that name both sides."""
from __future__ import annotations
import math
from numbers import Real
from typing import Any, Dict, Sequence, Tuple

import torch
from torch import Tensor

from .tensors import Tensors, is_transformed

REDUCTIONS = ('mean', 'sum', 'none')
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

# That of torch 2.0 has no text, and compilers drop it.
HAS_ASSERTION = 'msg' in torch.ops.aten._assert_async.overloads()

# By how much a number may be out of its range.
ROUNDING = 1e-3


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise a ``ValueError`` unless an argument is one of the choices."""
    if value not in choices:
        *most, last = [repr(choice) for choice in choices]
        raise ValueError(f'{name} must be {", ".join(most)} or {last}, got '
                         f'{value!r}')


def check_number(name: str,
                 value: Any,
                 least: float | None = None,
                 above: float | None = None,
                 most: float | None = None,
                 below: float | None = None) -> None:
    """Raise unless an argument is a finite number within the bounds."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f'{name} must be a number, got '
                        f'{type(value).__name__} {value!r}')
    number = float(value)
    finite = math.isfinite(number)
    if (finite and (above is None or number > above)
            and (least is None or number >= least)
            and (below is None or number < below)
            and (most is None or number <= most)):
        return
    bounds = {
        f'above {above}' if above else 'positive': above,
        f'at least {least}': least,
        f'below {below}': below,
        f'at most {most}': most
    }
    expected = [text for text, bound in bounds.items() if bound is not None]
    expected += ['finite'] * (not finite)
    raise ValueError(f'{name} must be {" and ".join(expected)}, got {value}')


def check_numbers(values: Dict[str, Any], **bounds: float) -> None:
    """Check several arguments, by name, for the same bounds."""
    for name, value in values.items():
        check_number(name, value, **bounds)


def check_size(name: str, value: Any) -> None:
    """Raise a ``ValueError`` unless a size is a positive integer."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} must be a positive integer, got {value!r}')


def check_ignored(name: str, value: Any) -> None:
    """Raise a ``TypeError`` unless a label to ignore is one, or None."""
    if not isinstance(value, (int, type(None))):
        raise TypeError(f'{name} must be an int or None, got {value!r}')


def check_softmax(use_sigmoid: bool) -> None:
    """Raise a ``ValueError`` if a config asks for a sigmoid."""
    if use_sigmoid:
        raise ValueError('the classes compete in a softmax, use_sigmoid must '
                         f'be False, got {use_sigmoid!r}')


def check_sigmoid(use_sigmoid: bool) -> None:
    """Raise a ``ValueError`` if a config asks for a softmax."""
    if not use_sigmoid:
        raise ValueError('each class is a binary decision, use_sigmoid must '
                         f'be True, got {use_sigmoid!r}')


def check_tensor(name: str, value: Any) -> None:
    """Raise a ``TypeError`` unless a value is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f'{name} must be a tensor, got {type(value).__name__}')


def check_floating(name: str, tensors: Tensors) -> None:
    """Raise a ``TypeError`` unless every tensor has a floating-point dtype."""
    values: Any = tensors if isinstance(tensors, (tuple, list)) else [tensors]
    if len(values) == 0:
        raise ValueError(f'{name} must hold at least one tensor, got none')
    for tensor in values:
        check_tensor(name, tensor)
        if not tensor.is_floating_point():
            raise TypeError(f'{name} must have a floating-point dtype, '
                            f'got {tensor.dtype}')


def check_same_shape(pred: Tensor, target: Tensor) -> None:
    """Raise a ``ValueError`` where torch would broadcast silently."""
    if pred.shape != target.shape:
        raise ValueError('pred and target must have the same shape, got '
                         f'{tuple(pred.shape)} and {tuple(target.shape)}')


def check_index(labels: Any, name: str = 'target') -> None:
    """Raise a ``TypeError`` unless labels are an integer tensor."""
    check_tensor(name, labels)
    if labels.dtype not in INTEGERS:
        raise TypeError(f'{name} must have an integer dtype, got '
                        f'{labels.dtype} of shape {tuple(labels.shape)}')


def check_sample_labels(labels: Any, samples: int) -> None:
    """Raise unless there is one integer label for each sample."""
    check_index(labels, 'labels')
    if tuple(labels.shape) != (samples, ):
        raise ValueError(
            f'labels must have one for each of {samples} samples, the shape '
            f'{(samples, )}, got {tuple(labels.shape)}')


def check_label_range(labels: Tensor,
                      classes: int,
                      name: str = 'labels') -> None:
    """Raise for a label out of range, without waiting for a device.

    On an accelerator and when compiled, an assertion among the operations
    fails, as torch's own indexing does. ``torch.func`` has none.
    """
    if is_visible(labels):
        if labels.numel() == 0:
            return
        low, high = [x.item() for x in torch.aminmax(labels)]
        if low < 0 or high >= classes:
            raise ValueError(f'{name} must be from 0 to {classes - 1}, got '
                             f'{low if low < 0 else high}')
    elif (HAS_ASSERTION and not torch._C._are_functorch_transforms_active()):
        inside = ((labels >= 0) & (labels < classes)).all()
        torch._assert_async(inside, f'{name} must be from 0 to {classes - 1}')


def is_visible(tensor: Tensor) -> bool:
    """Return True where to look at a value is free.

    It waits for an accelerator and breaks the graph of a compiler, and under
    ``torch.func`` a tensor stands for many.
    """
    return (not is_transformed() and type(tensor) is Tensor
            and tensor.device.type == 'cpu')


def is_nothing(mask: Tensor) -> bool:
    """Return True if a mask has no True, where to look is free."""
    return is_visible(mask) and not mask.any()


def has_visible(tensor: Tensor) -> bool:
    """Return True if there is a number, and to look at it is free."""
    return tensor.numel() > 0 and is_visible(tensor)


def least_of(tensor: Tensor) -> float | None:
    """Return the least number, NaN if there is one; None if looking costs."""
    if not has_visible(tensor):
        return None
    return tensor.detach().amin().item()


def lacks(tensor: Tensor, number: int) -> bool:
    """Return True if no label is this number, by a look at the extremes.

    That takes a third of the time of a comparison with each.
    """
    if not has_visible(tensor):
        return False
    if number < 0:
        return tensor.detach().amin().item() > number
    return tensor.detach().amax().item() < number


def is_between(tensor: Tensor, low: float, high: float) -> bool:
    """Return True if all numbers are between two others, if free to see."""
    if not has_visible(tensor):
        return False
    tensor = tensor.detach()
    return low < tensor.amin().item() and tensor.amax().item() < high


def check_not_negative(name: str, tensor: Tensor) -> float | None:
    """Return the least number, None where looking is not free.

    Raises:
        ValueError: If it is below 0 or NaN.
    """
    least = least_of(tensor)
    if least is not None and not least >= 0:
        raise ValueError(f'{name} must not be negative or NaN, got {least}')
    return least


def is_outside(tensor: Tensor, low: float, high: float) -> bool:
    """Return True if a number is out of a range or NaN, if free to see."""
    if not has_visible(tensor):
        return False
    least, most = bounds_of(tensor.detach(), high)
    return not (low <= least and most <= high)


def check_range(name: str, tensor: Tensor, low: float, high: float) -> None:
    """Raise for a number out of range.

    Rounding is no fault, NaN shows in the loss.
    """
    least, most = bounds_of(tensor.detach(), high)
    if least < low - ROUNDING or most > high + ROUNDING:
        bounds = f'from {low}' + (f' to {high}' if high < math.inf else '')
        raise ValueError(f'{name} must be {bounds}, got '
                         f'{least if least < low else most}')


def bounds_of(tensor: Tensor, high: float) -> Tuple[float, float]:
    """Return the least number, and the greatest if it can be too high.

    Each takes less than half as long as ``aminmax``.
    """
    most = tensor.amax().item() if high < math.inf else -math.inf
    return tensor.amin().item(), most
