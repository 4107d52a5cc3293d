"""Checks of arguments, shapes, reductions, weights and gradients."""
from __future__ import annotations
import inspect

import torch
from torch import Tensor

from mmlosses.core.base import BaseLoss
from mmlosses.core.reduction import EPS
from .case import LossCase, contract, grads, leaf, list_of, raises, same

# Arguments of the base class, which have checks of their own.
COMMON_ARGUMENTS = ('reduction', 'loss_weight', 'use_target_weight', 'compile')


@contract
def constructor(case: LossCase) -> None:
    """`reduction` and `loss_weight` have defaults and stay attributes."""
    signature = inspect.signature(case.loss).parameters
    for name, default in (('reduction', 'mean'), ('loss_weight', 1.0)):
        assert name in signature, f'the constructor takes no {name}'
        assert signature[name].default == default, f'{name} is not {default}'
    loss = case.build(reduction='sum', loss_weight=2.5)
    assert (loss.reduction, loss.loss_weight) == ('sum', 2.5)
    raises(ValueError, lambda: case.build(reduction='average'),
           'an unknown reduction')
    raises(TypeError, lambda: case.build(loss_weight='1'),
           'a loss_weight that is no number')


@contract
def no_dead_argument(case: LossCase) -> None:
    """Each constructor argument changes the loss of some input."""
    names = set(inspect.signature(case.loss).parameters)
    names -= set(COMMON_ARGUMENTS)
    varied = [*case.arguments, *case.refused]
    assert sorted(names) == sorted(varied), (
        f'the case must vary each of {sorted(names)}, it varies '
        f'{sorted(varied)}')
    pred, target = case.sample()
    weight = torch.tensor([0.0, 0.7, 1.3])

    def losses(loss: BaseLoss) -> Tensor:
        # Some arguments say what a weight does.
        return torch.stack(
            [case.run(loss, pred, target, *args) for args in ((), (weight, ))])

    for name, value in case.refused.items():
        raises(ValueError,
               lambda: case.run(case.build(**{name: value}), pred, target),
               f'{name}={value!r}')
    for name, (before, after) in case.arguments.items():
        show = case.show.get(name, losses)
        one, other = show(case.build(**before)), show(case.build(**after))
        assert not torch.allclose(
            one, other, rtol=1e-4, atol=0
        ), (f'{name} is a dead argument: {before} and {after} both give {one}')


@contract
def stock_kwargs(case: LossCase) -> None:
    """The arguments that a stock config leaves in place are accepted."""
    for kwargs in case.stock_kwargs:
        loss = case.loss(**{**case.kwargs, **kwargs})
        for name, value in kwargs.items():
            assert getattr(loss, name) == value, f'{name} is not kept'


@contract
def element_shape(case: LossCase) -> None:
    """`'none'` has the documented shape, also for one sample and none."""
    loss = case.build(reduction='none')
    for batch in (0, 1, 3):
        got = tuple(case.run(loss, *case.sample(batch)).shape)
        assert got == tuple(case.element_shape(batch)), (
            f"reduction='none' gives {got} for a batch of {batch}")


@contract
def reductions(case: LossCase) -> None:
    """Sum, mean and `loss_weight` follow from the unreduced loss."""
    pred, target = case.sample()
    elements = case.run(case.build(reduction='none'), pred, target)
    for name, expected in (('none', elements), ('sum', elements.sum()),
                           ('mean', case.mean(elements))):
        same(
            case.run(case.build(reduction=name), pred, target), expected, name)
        override = case.build(reduction='sum')
        same(
            case.run(override, pred, target, reduction_override=name),
            expected, f'reduction_override={name!r}')
        scaled = case.build(reduction=name, loss_weight=2.5)
        same(case.run(scaled, pred, target), 2.5 * expected, 'loss_weight=2.5')
        scaled.loss_weight = 0.5
        same(
            case.run(scaled, pred, target), 0.5 * expected,
            'loss_weight set later')
    raises(
        ValueError, lambda: case.run(
            case.build(), pred, target, reduction_override='average'),
        'an unknown reduction_override')


@contract
def avg_factor(case: LossCase) -> None:
    """Any kind of `avg_factor` divides the sum, plus mmdet's epsilon."""
    pred, target = case.sample()
    weight = case.random_weight()
    elements = case.run(case.build(reduction='none'), pred, target, weight)
    mean = case.build()
    expected = elements.sum() / (7 + EPS)
    for value in (7, 7.0, torch.tensor(7), torch.tensor(7.0),
                  torch.tensor(7.0, dtype=torch.float16),
                  torch.tensor(7.0, dtype=torch.float64), torch.tensor([7]),
                  torch.tensor([7.0])):
        got = case.run(mean, pred, target, weight, avg_factor=value)
        assert got.ndim == 0, f'avg_factor={value} gives {tuple(got.shape)}'
        same(got, expected, f'avg_factor={value!r}')
    half = torch.tensor(0.0, dtype=torch.float16)
    for value in (0, half):
        same(
            case.run(mean, pred, target, weight, avg_factor=value),
            elements.sum() / EPS, f'avg_factor={value!r}')
    same(
        case.run(
            case.build(reduction='none'), pred, target, weight, avg_factor=7),
        elements, "avg_factor with 'none'")
    for call in (
            lambda: case.run(
                case.build(reduction='sum'), pred, target, avg_factor=7),
            lambda: case.run(
                mean, pred, target, avg_factor=7, reduction_override='sum'),
            lambda: case.run(mean, pred, target, avg_factor=torch.ones(2))):
        raises(ValueError, call, "avg_factor with 'sum' or of two elements")


@contract
def weight_shapes(case: LossCase) -> None:
    """A weight is padded on the right and broadcast, never the loss."""
    pred, target = case.sample()
    loss = case.build(reduction='none')
    elements = case.run(loss, pred, target)
    shape = tuple(case.element_shape(3))
    for ndim in range(1, len(shape) + 1):
        torch.manual_seed(2)
        weight = torch.rand(shape[:ndim])
        full = weight.reshape(shape[:ndim] + (1, ) * (len(shape) - ndim))
        expected = elements * full
        for given in (weight, full, full.unsqueeze(-1), full.expand(shape),
                      weight.double()):
            got = case.run(loss, pred, target, given)
            assert got.dtype == elements.dtype, 'the weight set the dtype'
            same(got, expected, f'weight of shape {tuple(given.shape)}')
    wrong = (shape[0] + 1, ) + shape[1:]
    text = raises(ValueError,
                  lambda: case.run(loss, pred, target, torch.ones(wrong)),
                  f'a weight of shape {wrong}')
    assert str(wrong) in text and str(shape) in text, (
        f'the error must name {wrong} and {shape}: {text}')
    # One sample must not be multiplied into three.
    pred, target = case.sample(1)
    raises(
        ValueError, lambda: case.run(loss, pred, target,
                                     torch.ones(case.element_shape(3))),
        'a weight of more samples than the loss')
    raises(TypeError, lambda: case.run(loss, pred, target, [1.0]),
           'a list of weights')


@contract
def weight_is_linear(case: LossCase) -> None:
    """A weight multiplies the loss and its gradient, and no denominator."""
    pred, target = case.sample()
    weight = case.random_weight()
    elements = case.run(case.build(reduction='none'), pred, target)
    weighted = elements * weight
    for name, expected in (('none', weighted), ('sum', weighted.sum()),
                           ('mean', case.mean(weighted))):
        got = case.run(case.build(reduction=name), pred, target, weight)
        same(got, expected, f'weighted {name}')
        for one, other in zip(
                grads(got, pred),
                torch.autograd.grad(
                    expected.sum(), list_of(pred), retain_graph=True)):
            same(one, other, f'gradient of the weighted {name}')


@contract
def target_weight(case: LossCase) -> None:
    """`use_target_weight` and mmpose's name of the weight."""
    pred, target = case.sample()
    weight = case.random_weight()
    loss = case.build()
    weighted = case.run(loss, pred, target, weight)
    same(
        case.run(loss, pred, target, target_weight=weight), weighted,
        'target_weight=')
    raises(ValueError,
           lambda: case.run(loss, pred, target, weight, target_weight=weight),
           'a weight given under both names')
    if 'use_target_weight' not in inspect.signature(case.loss).parameters:
        return
    for flag, expected in ((None, weighted), (True, weighted),
                           (False, case.run(loss, pred, target))):
        built = case.build(use_target_weight=flag)
        assert built.use_target_weight is flag
        same(
            case.run(built, pred, target, weight), expected,
            f'use_target_weight={flag}')
    raises(ValueError,
           lambda: case.run(case.build(use_target_weight=True), pred, target),
           'use_target_weight=True without a weight')


@contract
def gradients(case: LossCase) -> None:
    """The gradient is that of the value, in float64."""
    if case.constant_factors:
        return
    pred, target = case.sample(2, torch.float64)
    loss = case.build(reduction='sum').double()

    def value(*tensors: Tensor) -> Tensor:
        return case.run(loss,
                        tensors if isinstance(pred, tuple) else tensors[0],
                        target)

    assert torch.autograd.gradcheck(value, tuple(list_of(pred)))


@contract
def optimum(case: LossCase) -> None:
    """The perfect prediction has value and gradient 0, no other is below."""
    if case.perfect is not None:
        torch.manual_seed(1)
        pred, target = case.perfect(3)
        pred = leaf(pred)
        got = case.run(case.build(**case.perfect_kwargs), pred, target)
        same(got, torch.zeros(()), 'value at the optimum')
        for grad in grads(got, pred):
            same(grad, torch.zeros_like(grad), 'gradient at the optimum')
    if case.non_negative:
        loss = case.build(reduction='none', **case.perfect_kwargs)
        for scale in (0.1, 1.0, 10.0):
            got = case.run(loss, *case.sample(64, scale=scale))
            assert (got >= -1e-6).all(), f'negative: {got.min()}'
