"""Checks of masks, dtypes, graphs, memory layouts, errors and copies."""
from __future__ import annotations
import copy
import pickle

import torch
from torch import Tensor

from mmlosses.core.tensors import map_tensors
from .case import LossCase, cast, contract, grads, leaf, list_of, raises, same


@contract
def weight_zero_removes(case: LossCase) -> None:
    """Weight 0 means value 0 and gradient 0, whatever the inputs hold."""
    weight = case.random_weight()
    weight[0] = 0
    loss = case.build(reduction='none')
    pred, target = case.sample()
    clean = case.run(loss, pred, target, weight)
    clean_grads = grads(clean, pred)
    for poison in (float('nan'), float('inf'), -float('inf'), 1e30):

        def poisoned(x: Tensor) -> Tensor:
            x = x.detach().clone()
            if x.is_floating_point():
                x[0] = poison
            return x

        for spoil_pred, spoil_target in ((1, 0), (0, 1), (1, 1)):
            bad_pred = map_tensors(poisoned, pred) if spoil_pred else pred
            bad_target = map_tensors(poisoned,
                                     target) if spoil_target else target
            bad_pred = leaf(bad_pred)
            loss = case.build(reduction='none')
            got = case.run(loss, bad_pred, bad_target, weight)
            assert (got[0] == 0).all(), f'{poison} at weight 0 gives {got[0]}'
            same(got, clean, f'{poison} at weight 0 changed the others')
            got.sum().backward()
            for x, expected in zip(list_of(bad_pred), clean_grads):
                assert x.grad is not None
                assert (x.grad[0] == 0).all(), (
                    f'{poison} at weight 0 has the gradient {x.grad[0]}')
                same(x.grad, expected, f'gradient beside {poison}')
            for name, parameter in loss.named_parameters():
                assert parameter.grad is not None
                assert torch.isfinite(parameter.grad).all(), (
                    f'{poison} at weight 0 spoils the gradient of {name}')


@contract
def dtypes(case: LossCase) -> None:
    """Half precision is computed and returned in float32, also where its
    squares overflow; float64 stays."""
    loss = case.build(reduction='none')
    for dtype in (torch.float16, torch.bfloat16):
        for scale in (1.0, case.large):
            pred, target = case.sample(dtype=dtype, scale=scale)
            expected = case.run(loss, cast(pred, torch.float32),
                                cast(target, torch.float32))
            got = case.run(loss, pred, target)
            assert got.dtype == torch.float32, f'{dtype} gives {got.dtype}'
            assert torch.isfinite(got).all(), f'{dtype} overflows: {got}'
            same(got, expected, f'{dtype}', rtol=0, atol=0)
            mixed = case.run(loss, pred, cast(target, torch.float32))
            same(mixed, expected, f'{dtype} pred, float32 target')
            weighted = case.run(loss, pred, target,
                                case.random_weight().to(dtype))
            assert weighted.dtype == torch.float32
            for grad in grads(got, pred):
                assert torch.isfinite(grad).all(), f'{dtype} gradient: {grad}'
    pred, target = case.sample()
    expected = case.run(loss, pred, target)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        same(
            case.run(loss, pred, target),
            expected,
            'under autocast',
            rtol=0,
            atol=0)
    pred, target = case.sample(dtype=torch.float64)
    double = case.build(reduction='none').double()
    for got in (case.run(double, pred, target),
                case.run(double, pred, target, case.random_weight())):
        assert got.dtype == torch.float64, f'float64 gives {got.dtype}'


@contract
def nothing_to_learn(case: LossCase) -> None:
    """No sample, or no weight, gives a 0 connected to the graph."""
    for batch in (0, 3):
        for reduction in ('mean', 'sum'):
            for factor in (None, 0.0):
                if reduction == 'sum' and factor is not None:
                    continue
                loss = case.build(reduction=reduction)
                pred, target = case.sample(batch)
                weight = torch.zeros(tuple(case.element_shape(batch)))
                calls = [
                    case.run(loss, pred, target, weight, avg_factor=factor)
                ]
                if batch == 0:
                    calls.append(
                        case.run(loss, pred, target, avg_factor=factor))
                for got in calls:
                    assert got.ndim == 0 and got == 0, (
                        f'batch {batch}, {reduction}: {got}')
                    for grad in grads(got, pred):
                        assert (grad == 0).all(), f'gradient {grad}'
                    got = case.run(loss, pred, target, weight)
                    got.backward()
                    for name, parameter in loss.named_parameters():
                        assert parameter.grad is not None, (
                            f'{name} is not connected to the graph')


@contract
def no_host_sync(case: LossCase) -> None:
    """Nothing in the call needs to know a value or makes a shape of one."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    pred, target = case.sample()
    weight, factor = case.random_weight(), torch.tensor(7.0)
    with FakeTensorMode() as mode:
        loss = case.build()
        pred = map_tensors(mode.from_tensor, pred)
        target = map_tensors(mode.from_tensor, target)
        weight = mode.from_tensor(weight)
        factor = mode.from_tensor(factor)
        for args in ((), (weight, ), (weight, factor)):
            got = case.run(loss, pred, target, *args)
            torch.autograd.grad(got, list_of(pred))


@contract
def compiles(case: LossCase) -> None:
    """One graph, with the numbers of eager mode."""
    pred, target = case.sample()
    weight, factor = case.random_weight(), torch.tensor(7.0)
    for args in ((), (weight, ), (weight, factor), (weight, None, 'none')):
        torch._dynamo.reset()
        loss = case.build()
        compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
        got = case.run(compiled, pred, target, *args)
        expected = case.run(loss, pred, target, *args)
        same(got, expected, 'compiled')
        for one, other in zip(grads(got, pred), grads(expected, pred)):
            same(one, other, 'compiled gradient')


@contract
def inputs_unchanged(case: LossCase) -> None:
    """No input is modified in place."""
    pred, target = case.sample()
    pred = map_tensors(Tensor.detach, pred)
    weight, factor = case.random_weight(), torch.tensor(7.0)
    given = [*list_of(pred), *list_of(target), weight, factor]
    copies = [x.clone() for x in given]
    for args in ((), (weight, factor), (weight, None, 'none')):
        case.run(case.build(), pred, target, *args)
        for before, after in zip(copies, given):
            assert torch.equal(before, after), 'an input was modified'


@contract
def memory_layout(case: LossCase) -> None:
    """Strides, expanded tensors and repeated calls change nothing."""

    def strided(x: Tensor) -> Tensor:
        if not x.is_floating_point() or x.ndim == 0:
            return x
        return torch.stack([x, x + 1], dim=-1)[..., 0]

    pred, target = case.sample()
    loss = case.build(reduction='none')
    expected = case.run(loss, pred, target)
    same(
        case.run(loss, pred, target), expected, 'called again', rtol=0, atol=0)
    same(
        case.run(loss, map_tensors(strided, pred),
                 map_tensors(strided, target)), expected, 'not contiguous')
    one_pred, one_target = case.sample(1)

    def expanded(x: Tensor) -> Tensor:
        return x.expand(3, *x.shape[1:])

    got = case.run(loss, map_tensors(expanded, one_pred),
                   map_tensors(expanded, one_target))
    repeated = case.run(loss,
                        map_tensors(lambda x: expanded(x).clone(), one_pred),
                        map_tensors(lambda x: expanded(x).clone(), one_target))
    same(got, repeated, 'expanded')


@contract
def clear_errors(case: LossCase) -> None:
    """Wrong shapes and dtypes raise an error that says what was got."""
    pred, target = case.sample()
    loss = case.build()

    def shorter(x: Tensor) -> Tensor:
        return x[:2]

    def single(x: Tensor) -> Tensor:
        return x[:1]

    for cut in (single, shorter):
        for args in ((map_tensors(cut,
                                  pred), target), (pred,
                                                   map_tensors(cut, target))):
            for weight in ((), (case.random_weight(), )):
                raises(ValueError, lambda: case.run(loss, *args, *weight),
                       'different numbers of samples')
    text = raises(
        TypeError,
        lambda: case.run(loss, map_tensors(Tensor.long, pred), target),
        'an integer prediction')
    assert 'int64' in text, f'the error must name the dtype: {text}'


@contract
def life_cycle(case: LossCase) -> None:
    """Copies, pickles, checkpoints and casts keep the loss what it is."""
    pred, target = case.sample()
    loss = case.build()
    expected = case.run(loss, pred, target)
    parameters = [name for name, _ in loss.named_parameters()]
    assert parameters == list(case.parameters), (
        f'parameters {parameters}, documented {list(case.parameters)}')
    restored = case.build()
    restored.load_state_dict(loss.state_dict())
    unpickled = pickle.loads(pickle.dumps(loss))
    for name, twin in (('deepcopy', copy.deepcopy(loss)),
                       ('pickle', unpickled), ('state_dict', restored),
                       ('cast there and back', copy.deepcopy(loss).to(
                           torch.float64).to(torch.float32))):
        same(case.run(twin, pred, target), expected, name, rtol=0, atol=0)
