"""Every loss compiles to one graph with the compiler that users have."""
import copy

import pytest
import torch
from cases import CASES
from helpers import needs_dynamo
from torch._dynamo.utils import counters

from mmlosses.losses.reduction import map_tensors

pytestmark = pytest.mark.slow

# The last batch of an epoch is smaller than the others.
BATCHES = (3, 5, 2, 4)


@pytest.fixture
def dynamo():
    """A compiler that has seen nothing yet."""
    needs_dynamo()
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def as_list(tensors):
    return list(tensors) if isinstance(tensors, tuple) else [tensors]


def value_and_gradients(case, loss, parameters, batch):
    """The loss of a batch, with the gradients of all that can learn."""
    pred, target = case.sample(batch)
    pred = map_tensors(lambda x: x.detach().requires_grad_(), pred)
    weight, factor = case.random_weight(batch), torch.tensor(7.0)
    value = case.run(loss, pred, target, weight, factor)
    return value, torch.autograd.grad(value, as_list(pred) + parameters)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.loss.__name__)
def test_one_graph_and_one_more_for_all_batch_sizes(case, dynamo):
    """Value, gradients and buffers of inductor are those of eager mode."""
    eager = case.build().train()
    module = copy.deepcopy(eager)
    compiled = torch.compile(module, fullgraph=True)
    graphs = []
    for batch in BATCHES:
        got, got_grads = value_and_gradients(case, compiled,
                                             list(module.parameters()), batch)
        expected, grads = value_and_gradients(case, eager,
                                              list(eager.parameters()), batch)
        torch.testing.assert_close(got, expected)
        for one, other in zip(got_grads, grads):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        graphs.append(counters['stats']['unique_graphs'])
    # One of fixed shapes; from the second batch size on, one for all.
    assert graphs[0] == 1 and graphs[-1] <= 2, graphs
    torch.testing.assert_close(
        dict(module.state_dict()), dict(eager.state_dict()))
