"""Every loss compiles to one graph, and its formula with inductor."""
import copy
import inspect
import pickle

import pytest
import torch
from cases import CASES, REPRESENTATIVES
from helpers import needs_dynamo
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from mmlosses.core.compiled import COMPILED
from mmlosses.core.tensors import map_tensors
from mmlosses.losses import (BaseLoss, CenterLoss, EQLV2Loss, FocalLoss,
                             L1Loss, MSELoss, PAConvRegularizationLoss,
                             SeesawLoss, WIoULoss)
from mmlosses.losses.composite import CompositeLoss

# The last batch of an epoch is smaller than the others.
BATCHES = (3, 5, 2, 4)

# Compiling takes seconds: the losses of a module are much alike, and the
# contract compiles each of them once.
ONE_OF_EACH_MODULE = {case.loss.__module__: case for case in CASES}.values()

BEFORE_2_1 = torch.__version__ < (2, 1)
needs_dynamic_shapes = pytest.mark.skipif(
    BEFORE_2_1, reason='torch 2.0 compiles for a single shape')


def batches(loss):
    """The sizes to compile for."""
    # The number of layers of a model is one for its life.
    return (3, 3) if loss is PAConvRegularizationLoss else BATCHES


@pytest.fixture
def dynamo():
    """Reset the compiler and its counters."""
    needs_dynamo()
    torch._dynamo.reset()
    counters.clear()
    COMPILED.clear()
    yield
    torch._dynamo.reset()
    COMPILED.clear()


def as_list(tensors):
    return list(tensors) if isinstance(tensors, tuple) else [tensors]


def value_and_gradients(case, loss, parameters, batch):
    """The loss of a batch, with the gradients of all leaves."""
    pred, target = case.sample(batch)
    pred = map_tensors(lambda x: x.detach().requires_grad_(), pred)
    weight, factor = case.random_weight(batch), torch.tensor(7.0)
    value = case.run(loss, pred, target, weight, factor)
    return value, torch.autograd.grad(value, as_list(pred) + parameters)


@pytest.mark.slow
@needs_dynamic_shapes
@pytest.mark.parametrize(
    'case', ONE_OF_EACH_MODULE, ids=lambda case: case.loss.__name__)
def test_one_static_and_one_dynamic_graph(case, dynamo):
    """Value, gradients and buffers equal those of eager mode."""
    needs_dynamo(case.loss)
    eager = case.build().train()
    module = copy.deepcopy(eager)
    # Inductor takes most of the time: it compiles the formulas below, and
    # the contract differentiates each graph ahead of time.
    backend = 'inductor' if case.loss in REPRESENTATIVES else 'eager'
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    graphs = []
    for batch in batches(case.loss):
        got, got_grads = value_and_gradients(case, compiled,
                                             list(module.parameters()), batch)
        expected, grads = value_and_gradients(case, eager,
                                              list(eager.parameters()), batch)
        torch.testing.assert_close(got, expected)
        for one, other in zip(got_grads, grads):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        graphs.append(counters['stats']['unique_graphs'])
    # One with static shapes; one dynamic from the second batch size on.
    assert graphs[0] == 1 and graphs[-1] <= 2, graphs
    torch.testing.assert_close(
        dict(module.state_dict()), dict(eager.state_dict()))


@pytest.mark.slow
@needs_dynamic_shapes
@pytest.mark.parametrize(
    'case', ONE_OF_EACH_MODULE, ids=lambda case: case.loss.__name__)
def test_compiled_formula(case, dynamo):
    """`compile=True` changes no value, gradient or buffer."""
    eager = case.build().train()
    compiled = case.build(compile=True).train()
    compiled.load_state_dict(eager.state_dict())
    for batch in batches(case.loss):
        got, expected = [
            value_and_gradients(case, loss, list(loss.parameters()), batch)
            for loss in (compiled, eager)
        ]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    # For a composite loss, those of its losses. What the formula of another
    # loss calls is compiled with it.
    parts = {
        type(x)
        for x in compiled.modules()
        if isinstance(x, BaseLoss) and not isinstance(x, CompositeLoss)
    } if isinstance(compiled, CompositeLoss) else {type(compiled)}
    assert len(COMPILED) == len(parts)
    assert all([call is not given for given, call in COMPILED.items()])
    graphs = counters['stats']['unique_graphs']
    assert len(parts) <= graphs <= 2 * len(parts)
    torch.testing.assert_close(
        dict(compiled.state_dict()), dict(eager.state_dict()))


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.loss.__name__)
def test_compile_is_an_argument_of_every_loss(case):
    assert not inspect.signature(case.loss).parameters['compile'].default
    assert not case.build().is_compiled
    loss = case.build(compile=True)
    assert pickle.loads(pickle.dumps(copy.deepcopy(loss))).is_compiled
    with pytest.raises(TypeError, match='compile must be True or False'):
        case.build(compile='default')


def test_without_a_compiler(dynamo, monkeypatch, tmp_path, recwarn):
    """One warning for all losses, and correct values."""
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    pred, target = torch.randn(3, 4), torch.randn(3, 4)
    with inductor.patch({'cpp.cxx': ('no-compiler', )}):
        for kind in (L1Loss, MSELoss, L1Loss):
            got = kind(compile=True)(pred, target)
            torch.testing.assert_close(got, kind()(pred, target))
    warned = [x for x in recwarn if 'compile=True' in str(x.message)]
    why = 'torch 2.0' if BEFORE_2_1 else 'no-compiler'
    assert len(warned) == 1 and why in str(warned[0].message)


def test_compiled_loss_raises_the_same_errors(dynamo, recwarn):
    loss = FocalLoss(compile=True)
    with pytest.raises(ValueError, match='target must have the shape'):
        loss(torch.randn(3, 4), torch.zeros(2, dtype=torch.long))
    with pytest.raises(TypeError, match='floating-point'):
        loss(torch.zeros(3, 4).long(), torch.zeros(3, dtype=torch.long))
    assert not [x for x in recwarn if 'compile=True' in str(x.message)]


def test_compiled_in_a_compiled_model(dynamo):
    """The model's compiler inlines the loss."""
    pred, target = torch.randn(3, 4), torch.randn(3, 4)
    model = torch.compile(
        MSELoss(compile=True), fullgraph=True, backend='eager')
    torch.testing.assert_close(model(pred, target), MSELoss()(pred, target))


@pytest.mark.slow
@needs_dynamic_shapes
@pytest.mark.parametrize('kind', [CenterLoss, EQLV2Loss, SeesawLoss, WIoULoss])
def test_compiled_formulas_replace_moving_buffers(kind, dynamo):
    """The backward pass may read the buffer of the forward pass."""
    case, = [case for case in CASES if case.loss is kind]
    loss = case.build(compile=True).train()
    (name, before), *_ = loss.named_buffers()
    copied = before.clone()
    case.run(loss, *case.sample())
    assert all([call is not given for given, call in COMPILED.items()])
    torch.testing.assert_close(before, copied, rtol=0, atol=0)
    assert not torch.equal(getattr(loss, name), copied)
