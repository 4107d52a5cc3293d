"""Checks of arguments, shapes, reductions, weights and gradients."""
from __future__ import annotations
import functools
import inspect
import math
from typing import List, Tuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mmlosses.core.base import WEIGHT_NAMES, BaseLoss
from mmlosses.core.reduction import EPS
from .case import LossCase, contract, grads, leaf, list_of, raises, same

# Arguments of the base class, which have checks of their own.
COMMON_ARGUMENTS = ('reduction', 'loss_weight', 'use_target_weight', 'compile',
                    'loss_name')


@contract
def constructor(case: LossCase) -> None:
    """The common arguments have defaults and stay attributes."""
    signature = inspect.signature(case.loss).parameters
    for name, default in (('reduction', 'mean'), ('loss_weight', 1.0)):
        assert name in signature, f'the constructor takes no {name}'
        assert signature[name].default == default, f'{name} is not {default}'
    loss = case.build(reduction='sum', loss_weight=2.5)
    assert (loss.reduction, loss.loss_weight) == ('sum', 2.5)
    # mmseg's heads train on what is logged under such a name only.
    assert loss.loss_name.startswith('loss_')
    if 'loss_name' in signature:
        named = case.build(loss_name='loss_of_mine')
        assert named.loss_name == 'loss_of_mine'
    raises(ValueError, lambda: case.build(reduction='average'),
           'an unknown reduction')
    raises(TypeError, lambda: case.build(loss_weight='1'),
           'a loss_weight that is no number')


@contract
def no_dead_argument(case: LossCase) -> None:
    """Each constructor argument changes the loss of some input."""
    signature = set(inspect.signature(case.loss).parameters)
    names = sorted(signature.difference(COMMON_ARGUMENTS))
    varied = sorted([*case.arguments, *case.refused])
    assert names == varied, (
        f'the case must vary each of {names}, it varies {varied}')
    weight = torch.tensor([0.0, 0.7, 1.3])

    def losses(loss: BaseLoss) -> Tensor:
        # Some arguments change the use of a weight only.
        return torch.stack(
            [case.run(loss, *inputs, *args) for args in ((), (weight, ))])

    inputs = case.sample()
    for name, value in case.refused.items():
        raises(ValueError, lambda: case.caller(**{name: value})(*inputs),
               f'{name}={value!r}')
    for name, (before, after) in case.arguments.items():
        bounded = [
            case.build(**given).takes_probabilities
            for given in (before, after)
        ]
        inputs = case.sample(bounded=any(bounded))
        show = case.show.get(name, losses)
        one, other = show(case.build(**before)), show(case.build(**after))
        dead = torch.allclose(one, other, rtol=1e-4, atol=0)
        assert not dead, (
            f'{name} is a dead argument: {before} and {after} both give {one}')


@contract
def stock_kwargs(case: LossCase) -> None:
    """The arguments that a stock config leaves in place are accepted."""
    for kwargs in case.stock_kwargs:
        loss = case.build(**kwargs)
        for name, value in kwargs.items():
            assert getattr(loss, name) == value, f'{name} is not kept'


@contract
def element_shape(case: LossCase) -> None:
    """`'none'` has the documented shape, also for one sample and none."""
    loss = case.caller(reduction='none')
    for batch in (0, 1, 3):
        got = tuple(loss(*case.sample(batch)).shape)
        assert got == tuple(case.element_shape(batch)), (
            f"reduction='none' gives {got} for a batch of {batch}")


def reduced(case: LossCase, loss: Tensor) -> List[Tuple[str, Tensor]]:
    """A per-element loss, reduced in each way."""
    return [('none', loss), ('sum', loss.sum()), ('mean', case.mean(loss))]


@contract
def reductions(case: LossCase) -> None:
    """Sum, mean and `loss_weight` follow from the unreduced loss."""
    inputs = case.sample()
    elements = case.caller(reduction='none')(*inputs)
    for name, expected in reduced(case, elements):
        same(case.caller(reduction=name)(*inputs), expected, name)
        got = case.caller(reduction='sum')(*inputs, reduction_override=name)
        same(got, expected, f'reduction_override={name!r}')
        scaled = case.build(reduction=name, loss_weight=2.5)
        same(case.run(scaled, *inputs), 2.5 * expected, 'loss_weight=2.5')
        scaled.loss_weight = 0.5
        same(case.run(scaled, *inputs), 0.5 * expected, 'loss_weight, later')
    mean = case.caller()
    raises(ValueError, lambda: mean(*inputs, reduction_override='average'),
           'an unknown reduction_override')


@contract
def avg_factor(case: LossCase) -> None:
    """Any kind of `avg_factor` divides the sum, plus mmdet's epsilon."""
    inputs = *case.sample(), case.random_weight()
    mean, none = case.caller(), case.caller(reduction='none')
    elements = none(*inputs)
    if case.own_divisor:
        same(mean(*inputs, avg_factor=7), mean(*inputs), 'own divisor')
        return
    seven = torch.tensor(7.0)
    for value in (7, 7.0, seven, seven.long(), seven.half(), seven.double(),
                  seven[None], seven[None].long(), 0, 0 * seven.half()):
        got = mean(*inputs, avg_factor=value)
        assert got.ndim == 0, f'avg_factor={value} gives {tuple(got.shape)}'
        expected = elements.sum() / (float(value) + EPS)
        same(got, expected, f'avg_factor={value!r}')
    same(none(*inputs, avg_factor=7), elements, "avg_factor with 'none'")
    total = case.caller(reduction='sum')
    for call in (lambda: total(*inputs, avg_factor=7),
                 lambda: mean(*inputs, avg_factor=7, reduction_override='sum'),
                 lambda: mean(*inputs, avg_factor=torch.ones(2))):
        raises(ValueError, call, "avg_factor with 'sum' or of two elements")
    for value in (-1, math.nan, -seven, math.nan * seven):
        text = raises(ValueError, lambda: mean(*inputs, avg_factor=value),
                      f'avg_factor={value!r}')
        assert str(float(value)) in text or str(value) in text, (
            f'the error must show {value}: {text}')
    raises(TypeError, lambda: mean(*inputs, avg_factor='7'),
           'an avg_factor that is no number')


@contract
def weight_shapes(case: LossCase) -> None:
    """A weight is padded on the right and broadcast, never the loss."""
    inputs, one = case.sample(), case.sample(1)
    loss = case.caller(reduction='none')
    elements = loss(*inputs)
    shape = tuple(case.element_shape(3))
    for ndim in range(1, len(shape) + 1):
        torch.manual_seed(2)
        weight = torch.rand(shape[:ndim])
        full = weight.reshape(shape[:ndim] + (1, ) * (len(shape) - ndim))
        for given in (weight, full, full.unsqueeze(-1), full.expand(shape),
                      weight.double()):
            got = loss(*inputs, given)
            assert got.dtype == elements.dtype, 'the weight set the dtype'
            same(got, elements * full, f'weight of shape {tuple(given.shape)}')
    wrong = (shape[0] + 1, ) + shape[1:]
    text = raises(ValueError, lambda: loss(*inputs, torch.ones(wrong)),
                  f'a weight of shape {wrong}')
    assert str(wrong) in text and str(shape) in text, (
        f'the error must name {wrong} and {shape}: {text}')
    # One sample must not be multiplied into three.
    raises(ValueError, lambda: loss(*one, torch.ones(shape)),
           'a weight of more samples than the loss')
    raises(TypeError, lambda: loss(*one, [1.0]), 'a list of weights')
    for value in (-1.0, math.nan):
        weight = torch.ones(shape)
        weight[-1] = value
        text = raises(ValueError, lambda: loss(*inputs, weight),
                      f'a weight of {value}')
        assert str(value) in text, f'the error must show {value}: {text}'


@contract
def weight_is_linear(case: LossCase) -> None:
    """A weight, also of 0, multiplies the loss and its gradient, and no
    denominator."""
    pred, target = case.sample()
    elements = case.caller(reduction='none')(pred, target)
    for least in (0.5, ) if case.selects else (0.5, 0.0):
        weight = case.random_weight()
        weight[0] = least
        for name, expected in reduced(case, elements * weight):
            got = case.caller(reduction=name)(pred, target, weight)
            what = f'{name}, least weight {least}'
            same(got, expected, what)
            for one, other in zip(grads(got, pred), grads(expected, pred)):
                same(one, other, f'gradient of the {what}')


@contract
def target_weight(case: LossCase) -> None:
    """`use_target_weight` and mmpose's name of the weight."""
    inputs, weight = case.sample(), case.random_weight()
    loss = case.caller()
    weighted = loss(*inputs, weight)
    for name in ('target_weight', *WEIGHT_NAMES):
        same(loss(*inputs, **{name: weight}), weighted, f'{name}=')
    raises(ValueError, lambda: loss(*inputs, weight, target_weight=weight),
           'a weight given under both names')
    if 'use_target_weight' not in inspect.signature(case.loss).parameters:
        return
    for flag, expected in ((None, weighted), (True, weighted),
                           (False, loss(*inputs))):
        built = case.build(use_target_weight=flag)
        assert built.use_target_weight is flag
        got = case.run(built, *inputs, weight)
        same(got, expected, f'use_target_weight={flag}')
    raises(ValueError, lambda: case.caller(use_target_weight=True)(*inputs),
           'use_target_weight=True without a weight')


@contract
def gradients(case: LossCase) -> None:
    """The gradient is that of the value, in float64."""
    if case.constant_factors:
        return
    pred, target = case.sample(2, torch.float64)
    loss = case.build(reduction='sum').double()

    def value(*tensors: Tensor) -> Tensor:
        one = tensors if isinstance(pred, tuple) else tensors[0]
        return case.run(loss, one, target)

    assert torch.autograd.gradcheck(value, tuple(list_of(pred)))


@contract
def forward_mode(case: LossCase) -> None:
    """Forward-mode differentiation gives the backward pass's gradient."""
    # In double precision, since torch 2.0 returns that in any case.
    pred, target = case.sample(dtype=torch.float64)
    weight, sum_of = case.random_weight(), case.build(reduction='sum').double()
    loss = functools.partial(case.run, sum_of)
    expected = torch.zeros((), dtype=torch.float64)
    with forward_ad.dual_level():
        duals = []
        for x, grad in zip(
                list_of(pred), grads(loss(pred, target, weight), pred)):
            tangent = torch.randn_like(x)
            expected = expected + (grad * tangent).sum()
            duals.append(forward_ad.make_dual(x.detach(), tangent))
        given = tuple(duals) if isinstance(pred, tuple) else duals[0]
        got = forward_ad.unpack_dual(loss(given, target, weight)).tangent
    same(got, expected, 'directional derivative')


@contract
def optimum(case: LossCase) -> None:
    """The perfect prediction has value and gradient 0, no other is below."""
    if case.perfect is not None:
        torch.manual_seed(1)
        pred, target = case.perfect(3)
        pred = leaf(pred)
        got = case.caller(**case.perfect_kwargs)(pred, target)
        same(got, torch.zeros(()), 'value at the optimum')
        for grad in grads(got, pred):
            same(grad, torch.zeros_like(grad), 'gradient at the optimum')
    if case.non_negative:
        loss = case.caller(reduction='none', **case.perfect_kwargs)
        for scale in (0.1, 1.0, 10.0):
            got = loss(*case.sample(64, scale=scale))
            assert (got >= -1e-6).all(), f'negative: {got.min()}'
