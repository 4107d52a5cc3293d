"""Checks of masks, dtypes, graphs, memory layouts, errors and copies."""
from __future__ import annotations
import copy
import itertools
import math
import pickle

import torch
import torch.utils.checkpoint
from torch import Tensor

from mmlosses.core.base import BaseLoss
from mmlosses.core.tensors import map_tensors
from .case import (EXACT, LossCase, cast, contract, grads, leaf, list_of,
                   raises, same)


@contract
def weight_zero_removes(case: LossCase) -> None:
    """Weight 0 means value 0 and gradient 0, whatever the inputs hold."""
    weight = case.random_weight()
    weight[0] = 0
    pred, target = case.sample()
    clean = case.caller(reduction='none')(pred, target, weight)
    clean_grads = grads(clean, pred)
    values = (math.nan, math.inf, -math.inf, 1e30)
    places = (1, ) if case.counts_targets else (1, 2, 3)
    for poison, where in itertools.product(values, places):

        def poisoned(x: Tensor) -> Tensor:
            x = x.detach().clone()
            if x.is_floating_point():
                x[0] = poison
            return x

        bad_pred, bad_target = [
            map_tensors(poisoned, x) if where & bit else x
            for x, bit in ((pred, 1), (target, 2))
        ]
        bad_pred = leaf(bad_pred)
        loss = case.build(reduction='none')
        got = case.run(loss, bad_pred, bad_target, weight)
        what = f'{poison} at weight 0'
        assert (got[0] == 0).all(), f'{what} gives {got[0]}'
        same(got, clean, f'{what} changed the others')
        got.sum().backward()
        for x, expected in zip(list_of(bad_pred), clean_grads):
            assert x.grad is not None
            assert (x.grad[0] == 0).all(), f'{what} has gradient {x.grad[0]}'
            same(x.grad, expected, f'gradient beside {poison}')
        for name, parameter in loss.named_parameters():
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all(), (
                f'{what} spoils the gradient of {name}')


@contract
def dtypes(case: LossCase) -> None:
    """Half precision is computed and returned in float32, also where its
    squares overflow; float64 stays."""
    loss, weight = case.caller(reduction='none'), case.random_weight()
    for dtype, scale in itertools.product((torch.float16, torch.bfloat16),
                                          (1.0, case.large)):
        pred, target = case.sample(dtype=dtype, scale=scale)
        full = cast(target, torch.float32)
        expected = loss(cast(pred, torch.float32), full)
        got = loss(pred, target)
        assert got.dtype == torch.float32, f'{dtype} gives {got.dtype}'
        assert torch.isfinite(got).all(), f'{dtype} overflows: {got}'
        same(got, expected, f'{dtype}', **EXACT)
        for wider in (torch.float32, torch.float64):
            same(
                loss(pred, cast(target, wider)), expected,
                f'{dtype} pred, {wider} target')
        weighted = loss(pred, target, weight.to(dtype))
        assert weighted.dtype == torch.float32
        for grad in grads(got, pred):
            assert torch.isfinite(grad).all(), f'{dtype} gradient: {grad}'
    inputs = case.sample()
    expected = loss(*inputs)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        same(loss(*inputs), expected, 'under autocast', **EXACT)
    inputs = case.sample(dtype=torch.float64)
    double = case.build(reduction='none').double()
    for args in ((), (weight, )):
        got = case.run(double, *inputs, *args)
        assert got.dtype == torch.float64, f'float64 gives {got.dtype}'


@contract
def nothing_to_learn(case: LossCase) -> None:
    """No sample, or no weight, gives a 0 connected to the graph."""
    divided = ('mean', None), ('mean', 0.0), ('sum', None)
    for batch, (reduction, factor) in itertools.product((0, 3), divided):
        loss = case.build(reduction=reduction)
        pred, target = case.sample(batch)
        weight = torch.zeros(tuple(case.element_shape(batch)))
        for given in (weight, None) if batch == 0 else (weight, ):
            got = case.run(loss, pred, target, given, avg_factor=factor)
            assert got.ndim == 0 and got == 0, (
                f'batch {batch}, {reduction}: {got}')
            for grad in grads(got, pred):
                assert (grad == 0).all(), f'gradient {grad}'
        case.run(loss, pred, target, weight).backward()
        for name, parameter in loss.named_parameters():
            assert parameter.grad is not None, (
                f'{name} is not connected to the graph')


@contract
def no_host_sync(case: LossCase) -> None:
    """Nothing in the call needs to know a value or makes a shape of one."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    inputs = case.sample()
    weight, factor = case.random_weight(), torch.tensor(7.0)
    with FakeTensorMode() as mode:
        loss = case.caller()
        pred, target = [map_tensors(mode.from_tensor, x) for x in inputs]
        weight, factor = map(mode.from_tensor, (weight, factor))
        for args in ((), (weight, ), (weight, factor)):
            torch.autograd.grad(loss(pred, target, *args), list_of(pred))


@contract
def compiles(case: LossCase) -> None:
    """One graph, with the numbers of eager mode."""
    pred, target = case.sample()
    weight, factor = case.random_weight(), torch.tensor(7.0)
    for args in ((), (weight, ), (weight, factor), (weight, None, 'none')):
        torch._dynamo.reset()
        loss = case.build()
        compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
        got, expected = [
            case.run(call, pred, target, *args) for call in (compiled, loss)
        ]
        same(got, expected, 'compiled')
        for one, other in zip(grads(got, pred), grads(expected, pred)):
            same(one, other, 'compiled gradient')


@contract
def checkpointing(case: LossCase) -> None:
    """Activation checkpointing, which repeats calls, changes nothing."""
    pred, target = case.sample()

    def step(loss: BaseLoss, *tensors: Tensor) -> Tensor:
        one = tensors if isinstance(pred, tuple) else tensors[0]
        return case.run(loss, one, target)

    plain, *others = [case.build().train() for _ in range(3)]
    for _ in range(2):  # buffers are at their start in the first step
        expected = grads(step(plain, *list_of(pred)), pred)
        for loss, reentrant in zip(others, (False, True)):
            given = leaf(pred)
            torch.utils.checkpoint.checkpoint(
                step, loss, *list_of(given),
                use_reentrant=reentrant).backward()
            for x, grad in zip(list_of(given), expected):
                same(x.grad, grad, f'gradient, use_reentrant={reentrant}')
    for loss in others:
        same(dict(loss.named_buffers()), dict(plain.named_buffers()), 'buffer')


@contract
def half_modules(case: LossCase) -> None:
    """A module cast to half precision keeps its statistics in float32."""
    inputs = case.sample(dtype=torch.bfloat16)
    whole, weight = case.build().train(), case.random_weight()
    halves = [case.build().train().half(), case.build().train().bfloat16()]
    for loss in (whole, *halves):
        for _ in range(2):
            got = case.run(loss, *inputs, weight)
            assert got.isfinite(), f'the loss is {got}'
    expected, parameters = whole.state_dict(), dict(whole.named_parameters())
    for loss in halves:
        for name, value in loss.state_dict().items():
            if name not in parameters:
                same(value, expected[name], f'buffer {name}')


@contract
def inference_mode(case: LossCase) -> None:
    """The same numbers in inference mode, which tracks no gradient."""
    loss, inputs = case.build(reduction='none'), case.sample()
    expected = case.run(loss.eval(), *inputs)
    with torch.inference_mode():
        made = [map_tensors(torch.clone, x) for x in inputs]
        for given in (inputs, made):
            same(case.run(loss, *given), expected, 'in inference mode')


@contract
def inputs_unchanged(case: LossCase) -> None:
    """No input is modified in place."""
    pred, target = case.sample()
    pred = map_tensors(Tensor.detach, pred)
    weight, factor = case.random_weight(), torch.tensor(7.0)
    given = [*list_of(pred), *list_of(target), weight, factor]
    copies = [x.clone() for x in given]
    for args in ((), (weight, factor), (weight, None, 'none')):
        case.caller()(pred, target, *args)
        for before, after in zip(copies, given):
            assert torch.equal(before, after), 'an input was modified'


@contract
def memory_layout(case: LossCase) -> None:
    """Strides, expanded tensors and repeated calls change nothing."""

    def strided(x: Tensor) -> Tensor:
        if not x.is_floating_point() or x.ndim == 0:
            return x
        return torch.stack([x, x + 1], dim=-1)[..., 0]

    def expanded(x: Tensor) -> Tensor:
        return x.expand(3, *x.shape[1:])

    loss, inputs = case.caller(reduction='none'), case.sample()
    expected = loss(*inputs)
    same(loss(*inputs), expected, 'called again', **EXACT)
    views = [map_tensors(strided, x) for x in inputs]
    same(loss(*views), expected, 'not contiguous')
    views = [map_tensors(expanded, x) for x in case.sample(1)]
    copies = [map_tensors(torch.clone, x) for x in views]
    same(loss(*views), loss(*copies), 'expanded')


@contract
def clear_errors(case: LossCase) -> None:
    """Wrong shapes and dtypes raise an error that says what was got."""
    pred, target = case.sample()
    loss = case.caller()
    for size, weight in itertools.product((1, 2),
                                          ((), (case.random_weight(), ))):
        short_pred, short_target = [
            map_tensors(lambda x: x[:size], given) for given in (pred, target)
        ]
        for args in ((short_pred, target), (pred, short_target)):
            raises(ValueError, lambda: loss(*args, *weight),
                   'different numbers of samples')
    integers = map_tensors(Tensor.long, pred)
    text = raises(TypeError, lambda: loss(integers, target),
                  'an integer prediction')
    assert 'int64' in text, f'the error must name the dtype: {text}'


@contract
def life_cycle(case: LossCase) -> None:
    """Copies, pickles, checkpoints and casts keep the loss what it is."""
    inputs, loss = case.sample(), case.build()
    expected = case.run(loss, *inputs)
    parameters = [name for name, _ in loss.named_parameters()]
    assert parameters == list(case.parameters), (
        f'parameters {parameters}, documented {list(case.parameters)}')
    restored = case.build()
    restored.load_state_dict(loss.state_dict())
    twins = {
        'deepcopy': copy.deepcopy(loss),
        'pickle': pickle.loads(pickle.dumps(loss)),
        'state_dict': restored,
        'cast there and back': copy.deepcopy(loss).double().float(),
    }
    for name, twin in twins.items():
        same(case.run(twin, *inputs), expected, name, **EXACT)
