"""Values of a call that make a loss wrong without an error."""
from __future__ import annotations
from typing import Any, Dict, Sequence

from torch import Tensor, nn

from .traps import expects


def hints(loss: nn.Module, inputs: Dict[str, Any],
          outputs: Sequence[Tensor]) -> Dict[str, str]:
    """Say which arguments of a call have values that a loss is not made for.

    The losses check values on a CPU only: elsewhere it would synchronise.

    Args:
        loss (nn.Module): The loss, of any package.
        inputs (dict): The arguments by name, prediction and target first.
        outputs (Sequence[Tensor]): The returned tensors.

    Returns:
        dict[str, str]: What is wrong, by the name of the argument.
    """
    found: Dict[str, str] = {}
    name = 'weight' if 'weight' in inputs else 'target_weight'
    weight = inputs.get(name)
    if isinstance(weight, Tensor) and not (weight >= 0).all():
        found[name] = 'is negative or NaN'
    divisor = inputs.get('avg_factor')
    if isinstance(divisor, (int, float)) or (isinstance(divisor, Tensor)
                                             and divisor.numel() == 1):
        divisor = float(divisor)
        if divisor == 0 and any(x.any() for x in outputs):
            found['avg_factor'] = 'is 0: the sum is divided by about 1e-7'
        elif not divisor >= 0:
            found['avg_factor'] = f'is {divisor:g}'
    pred, target = [*inputs.values(), None, None][:2]
    if (not isinstance(pred, Tensor) or not isinstance(target, Tensor)
            or pred.shape != target.shape or not target.ndim):
        return found
    if isinstance(weight, Tensor) and weight.shape[:1] == target.shape[:1]:
        # What is removed may hold anything.
        target = target[(weight > 0).reshape(len(weight), -1).any(1)]
    kind, name = expects(loss), list(inputs)[1]
    if not target.numel():
        return found
    if kind in ('boxes', 'pixel boxes'):
        if (target[..., 2:] < target[..., :2]).any():
            found[name] = ('has boxes with x2 < x1 or y2 < y1: they must be '
                           '(x1, y1, x2, y2)')
    elif kind == 'probabilities' or (kind == 'scores'
                                     and target.is_floating_point()):
        low, high = float(target.min()), float(target.max())
        if low < 0 or high > 1:
            found[name] = f'is from {low:g} to {high:g}, not from 0 to 1'
    return found
