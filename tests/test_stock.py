"""Values and gradients of the stock losses that cases name."""
import inspect

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
    pytest.param(
        case, stock, call, id=f'{case.loss.__name__}-{stock.name}-{call}')
    for case in CASES for stock in case.stock for call in stock.calls
]


@pytest.mark.parametrize('case, stock, call', PAIRS)
def test_value_and_gradient(case, stock, call):
    args, options, weight = [], {}, case.random_weight(5)
    if stock.weighs_inputs:
        weight = (weight > 1).float()
    for _ in range(weight.ndim - (stock.weight_ndim or weight.ndim)):
        weight = weight[..., 0]
    if stock.name.startswith('mmpose'):
        if call != 'weight':
            pytest.skip('mmpose passes a weight and has no avg_factor')
        args.append(weight)  # its name varies
    ours = case.build(**stock.ours)
    theirs = MODELS.build(dict(stock.kwargs, type=stock.name))
    if call != 'plain' and not args:
        options['avg_factor'] = 7.0 if call == 'avg_factor' else None
        if 'weight' in inspect.signature(theirs.forward).parameters:
            options['weight'] = weight  # not always the third argument
        else:
            args.append(weight)
    results = []
    for loss in (ours, theirs):
        pred, target = case.sample(5)
        # Some return one number per sample, of which mmengine takes the mean.
        value = case.run(loss, pred, target, *args, **options).mean()
        grads = torch.autograd.grad(
            value, pred if isinstance(pred, tuple) else [pred])
        results.append((value, *grads))
    for got, expected in zip(*results):
        assert torch.count_nonzero(expected)
        torch.testing.assert_close(
            got, expected, rtol=stock.tolerance, atol=stock.tolerance * 0.01)
