"""Values and gradients of the stock losses that cases name."""
import pytest
import torch
from cases import CASES
from mmengine.registry import MODELS

pytestmark = pytest.mark.openmmlab
try:
    import mmdet.models  # noqa: F401
    import mmpose.models  # noqa: F401
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

PAIRS = [
    pytest.param(case, stock, id=f'{case.loss.__name__}-{stock.name}')
    for case in CASES for stock in case.stock
]


@pytest.mark.parametrize('call', ['plain', 'weight', 'avg_factor'])
@pytest.mark.parametrize('case, stock', PAIRS)
def test_value_and_gradient(case, stock, call):
    options = {}
    if stock.name.startswith('mmpose'):
        if call != 'weight':
            pytest.skip('mmpose passes a weight and has no avg_factor')
        options['target_weight'] = case.random_weight(5)
    elif call != 'plain':
        options['weight'] = case.random_weight(5)
        options['avg_factor'] = 7.0 if call == 'avg_factor' else None
    ours = case.build(**stock.ours)
    theirs = MODELS.build(dict(stock.kwargs, type=stock.name))
    results = []
    for loss in (ours, theirs):
        pred, target = case.sample(5)
        value = case.run(loss, pred, target, **options)
        grads = torch.autograd.grad(
            value, pred if isinstance(pred, tuple) else [pred])
        results.append((value, *grads))
    for got, expected in zip(*results):
        assert torch.count_nonzero(expected)
        torch.testing.assert_close(
            got, expected, rtol=stock.tolerance, atol=stock.tolerance * 0.01)
