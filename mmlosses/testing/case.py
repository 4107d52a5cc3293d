"""One loss as the contract sees it: its inputs, arguments and exceptions."""
from __future__ import annotations
import functools
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Sequence, Tuple, Type

import torch
from torch import Tensor

from mmlosses.core.base import BaseLoss
from mmlosses.core.tensors import Tensors, map_tensors

Inputs = Tuple[Tensors, Tensors]

EXACT = {'rtol': 0, 'atol': 0}


def list_of(tensors: Tensors) -> List[Tensor]:
    return list(tensors) if isinstance(tensors, (tuple, list)) else [tensors]


def cast(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return map_tensors(
        lambda x: x.detach().to(dtype)
        if x.is_floating_point() else x, tensors)


def leaf(tensors: Tensors) -> Tensors:
    return map_tensors(lambda x: x.detach().clone().requires_grad_(), tensors)


@dataclass(frozen=True)
class Stock:
    """A stock loss, such as ``'mmdet.GIoULoss'``, that a loss must equal.

    Args:
        name (str): Its scoped name.
        kwargs (dict): Its arguments.
        ours (dict): Those of our loss, where it needs others.
        tolerance (float): Relative tolerance of values and gradients.
        weighs_inputs (bool): If True, it multiplies its inputs by the weight,
            or only drops elements, and must be equal for weights of 0 and 1.
        weight_ndim (int, optional): Axes of the weight that it takes. Default:
            Those of the loss.
        calls (Sequence[str]): The calls that both answer alike.
    """
    name: str
    kwargs: Dict[str, Any] = field(default_factory=dict)
    ours: Dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5
    weighs_inputs: bool = False
    weight_ndim: int | None = None
    calls: Sequence[str] = ('plain', 'weight', 'avg_factor')


@dataclass
class LossCase:
    """What the contract needs to know about one loss.

    Args:
        loss (type): The class.
        inputs (Callable): Makes a float32 prediction and target, random and
            small, for a batch size, from torch's global generator.
        element_shape (Callable): Shape of the unreduced loss for a batch size.
        kwargs (dict): Arguments of a loss whose weight is optional.
        arguments (dict): For each constructor argument but the common ones,
            two sets of arguments between which the loss must differ.
        stock_kwargs (list[dict]): Arguments that a stock config leaves in
            place when only its ``type`` is overridden.
        perfect (Callable, optional): Makes, for a batch size, a prediction
            and target at which value and gradient are 0.
        perfect_kwargs (dict): Arguments for which that holds.
        non_negative (bool): If True, the loss of ``perfect_kwargs`` is never
            below 0.
        parameters (Sequence[str]): Names of the loss's own parameters.
        call (Callable, optional): Calls the loss, with the arguments of
            :meth:`BaseLoss.forward`, where its own ``forward`` takes others.
        large (float): Factor of ``pred`` that makes its squares overflow in
            half precision, and not in float32.
        training (bool): If True, the loss is checked in training mode, which
            may update its buffers.
        mean (Callable): The ``'mean'`` of the unreduced loss without
            ``avg_factor``.
        refused (dict): For an argument that admits no other value in this
            case, such as the size of the inputs, one that must be a
            ``ValueError``.
        show (dict[str, Callable]): For an argument that does not change the
            value of the loss, a function of the loss whose result
            ``arguments`` must change.
        stock (Sequence[Stock]): Stock losses with the same numbers.
        selects (bool): If True, the loss selects among the elements that are
            not removed, so that a weight of 0 may change the others.
        counts_targets (bool): If True, the loss divides by a count over the
            targets of all elements, which must be valid for removed ones too.
        own_divisor (bool): If True, ``'mean'`` divides by a number of the
            loss's own, as its stock loss does, and ``avg_factor``, which its
            heads pass, has no effect.
        constant_factors (bool): If True, the formula takes factors that
            depend on the prediction for constants, so the gradient is not
            that of the value and needs a test of its own.
        joined_axis (bool): If True, each element of the last axis depends on
            that whole axis of the inputs, which a weight of 0 thus removes as
            a whole.
    """
    loss: Type[BaseLoss]
    inputs: Callable[[int], Inputs]
    element_shape: Callable[[int], Sequence[int]]
    kwargs: Dict[str, Any] = field(default_factory=dict)
    arguments: Dict[str, Tuple[dict, dict]] = field(default_factory=dict)
    stock_kwargs: List[Dict[str, Any]] = field(default_factory=list)
    perfect: Callable[[int], Inputs] | None = None
    perfect_kwargs: Dict[str, Any] = field(default_factory=dict)
    non_negative: bool = False
    parameters: Sequence[str] = ()
    call: Callable[..., Tensor] | None = None
    large: float = 300.0
    training: bool = True
    mean: Callable[[Tensor], Tensor] = Tensor.mean
    refused: Dict[str, Any] = field(default_factory=dict)
    show: Dict[str, Callable[[BaseLoss], Tensor]] = field(default_factory=dict)
    stock: Sequence[Stock] = ()
    selects: bool = False
    counts_targets: bool = False
    own_divisor: bool = False
    constant_factors: bool = False
    joined_axis: bool = False

    def build(self, **kwargs: Any) -> BaseLoss:
        """Build the loss, the same each time."""
        torch.manual_seed(0)
        return self.loss(**{**self.kwargs, **kwargs}).train(self.training)

    def run(self, loss: Callable[..., Tensor], *args: Any,
            **kwargs: Any) -> Tensor:
        """Call the loss as :meth:`BaseLoss.forward` is called."""
        if self.call is None:
            return loss(*args, **kwargs)
        return self.call(loss, *args, **kwargs)

    def caller(self, **kwargs: Any) -> Callable[..., Tensor]:
        """Build the loss and return its :meth:`run`."""
        return functools.partial(self.run, self.build(**kwargs))

    def sample(self,
               batch: int = 3,
               dtype: torch.dtype = torch.float32,
               scale: float = 1.0,
               bounded: bool | None = None) -> Inputs:
        """Make inputs, the same each time; ``pred`` requires a gradient.

        ``bounded`` makes it probabilities, by default where the loss takes
        them.
        """
        if bounded is None:
            bounded = self.build().takes_probabilities
        torch.manual_seed(1)
        pred, target = self.inputs(batch)
        pred = map_tensors(lambda x: x * scale, pred)
        if bounded:
            pred = map_tensors(torch.sigmoid, pred)
        return leaf(cast(pred, dtype)), cast(target, dtype)

    def random_weight(self, batch: int = 3) -> Tensor:
        """Make a weight for each element, the same each time."""
        torch.manual_seed(2)
        return torch.rand(tuple(self.element_shape(batch))) + 0.5


Check = Callable[[LossCase], None]

#: Every check of the contract, by name.
CONTRACT: Dict[str, Check] = {}


def contract(check: Check) -> Check:
    """Add a check to the contract; an error of the loss breaks it too."""

    @functools.wraps(check)
    def checked(case: LossCase) -> None:
        try:
            check(case)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(
                f'{check.__doc__} {case.loss.__name__} raised '
                f'{type(error).__name__}: {error}') from error

    CONTRACT[check.__name__] = checked
    return checked


def grads(loss: Tensor, pred: Tensors) -> List[Tensor]:
    """The gradients of a prediction; an unused one is a broken graph."""
    assert loss.requires_grad, 'the loss is not connected to the graph of pred'
    return list(
        torch.autograd.grad(loss.sum(), list_of(pred), retain_graph=True))


def raises(expected: Type[Exception], call: Callable[[], Any],
           what: str) -> str:
    """The message of the error that a call must raise."""
    try:
        call()
    except expected as error:
        assert type(error) in (ValueError, TypeError), (
            f'{what} raised {type(error).__name__}')
        assert str(error), f'{what} raised an error without a message'
        return str(error)
    except Exception as error:
        raise AssertionError(f'{what} must raise {expected.__name__}, raised '
                             f'{type(error).__name__}: {error}') from error
    raise AssertionError(f'{what} must raise {expected.__name__}')


def same(got: Any, expected: Any, what: str, **kwargs: Any) -> None:
    # Losses of the same inputs by another path: rounding may differ.
    kwargs = {'rtol': 1e-5, 'atol': 1e-6, 'equal_nan': True, **kwargs}
    torch.testing.assert_close(
        got, expected, msg=lambda text: f'{what}: {text}', **kwargs)
