"""The Jensen-Shannon divergence, of which autograd keeps five copies."""
from __future__ import annotations
from typing import Tuple

from torch import Tensor

# Below it a probability counts as it, in a logarithm.
LEAST = 1e-30


def js_discret_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""Jensen-Shannon divergence (N, K) of distributions (N, K, \*).

    .. math::
        \frac{1}{2} D(p \,\|\, m) + \frac{1}{2} D(t \,\|\, m), \qquad
        m = \frac{p + t}{2}, \qquad 0 \log 0 = 0

    The gradient is finite where a softmax has rounded to 0.
    """
    middle = (pred + target) / 2
    both = [p * (log(p) - log(middle)) for p in (pred, target)]
    return (both[0] + both[1]).flatten(2).sum(dim=-1) / 2


def js_discret_and_derivative(pred: Tensor,
                              target: Tensor) -> Tuple[Tensor, Tensor]:
    r"""Return the same and its derivative.

    .. math:: \partial L / \partial p = \tfrac{1}{2} \log (p / m)
    """
    middle = (pred + target).div_(2)
    logs = log(middle)
    own, other = log(pred).sub_(logs), log(target).sub_(logs)
    loss = other.mul_(target).addcmul_(pred, own)
    # Without the gradient of a logarithm that is clamped.
    own.add_(pred < LEAST, alpha=-1).add_(middle < LEAST)
    return loss.flatten(2).sum(dim=-1).div_(2), own.div_(2)


def log(probability: Tensor) -> Tensor:
    """Return the logarithm, of a number that cannot be 0."""
    return probability.clamp(min=LEAST).log()
