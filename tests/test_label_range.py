"""Labels out of range where the values cannot be looked at."""
import pytest
import torch
from cases import CASES
from helpers import needs_dynamo

from mmlosses.core import base, checks
from mmlosses.losses import (BalancedBCELoss, BoundaryLoss, CrossEntropyLoss,
                             FocalLoss, PAConvRegularizationLoss, TripletLoss)

# -1 is background for FocalLoss.
BAD = (-2, 99)


def has_labels(case):
    # The first compares labels with one another, the second has none, the
    # third ignores all but 0 and 1.
    if case.loss in (TripletLoss, PAConvRegularizationLoss, BoundaryLoss):
        return False
    target = case.sample()[1]
    return isinstance(target, torch.Tensor) and target.dtype == torch.int64


LABELLED = [case for case in CASES if has_labels(case)]
# Their formulas compare labels, which does not complain.
COMPARING = [
    lambda **kwargs: FocalLoss(use_sigmoid=False, **kwargs),
    FocalLoss,
    lambda **kwargs: CrossEntropyLoss(use_sigmoid=True, **kwargs),
    BalancedBCELoss,
]

needs_assertion = pytest.mark.skipif(
    not checks.HAS_ASSERTION, reason='torch 2.0 has no such assertion')


def with_label(target, label):
    target = target.clone()
    target[0] = label
    return target


def test_losses_with_labels():
    assert len(LABELLED) > 9


@needs_assertion
@pytest.mark.parametrize('case', LABELLED, ids=lambda case: case.loss.__name__)
def test_as_on_a_device(case, monkeypatch):
    """By an assertion that does not wait for the device."""
    pred, target = case.sample()
    loss, weight = case.caller(), torch.tensor([0.0, 1.0, 1.0])
    for module in (base, checks):
        monkeypatch.setattr(module, 'is_visible', lambda tensor: False)
    for label in BAD:
        bad = with_label(target, label)
        with pytest.raises((RuntimeError, IndexError),
                           match='|'.join(('must be from 0', 'out of'))):
            loss(pred, bad)
        # That of a removed sample may be anything.
        torch.testing.assert_close(
            loss(pred, bad, weight), loss(pred, target, weight))


def check_compiled(call):
    pred, target = torch.randn(3, 4), torch.tensor([0, 1, 2])
    assert call(pred, target).isfinite()
    # Below 0, the cross entropy of a sigmoid ignores a label, as in mmdet.
    with pytest.raises((RuntimeError, ValueError), match='must be from 0'):
        call(pred, with_label(target, 99))


@pytest.mark.slow
@needs_assertion
@pytest.mark.parametrize('build', COMPARING)
@pytest.mark.parametrize(
    'backend',
    ['eager', 'aot_eager',
     pytest.param('inductor', marks=pytest.mark.slow)])
def test_compiled(build, backend):
    needs_dynamo()
    torch._dynamo.reset()
    check_compiled(torch.compile(build(), fullgraph=True, backend=backend))


@needs_assertion
@pytest.mark.slow
@pytest.mark.parametrize('build', COMPARING)
def test_compiled_formula(build):
    needs_dynamo()
    torch._dynamo.reset()
    check_compiled(build(compile=True))


@needs_assertion
@pytest.mark.slow
def test_transforms_and_export_still_work():
    """``torch.func`` has no assertion, a graph keeps it."""
    needs_dynamo()
    torch._dynamo.reset()
    loss = CrossEntropyLoss(use_sigmoid=True)
    pred, target = torch.randn(3, 4), torch.tensor([0, 1, 2])

    def of_sample(pred, target):
        return loss(pred[None], target[None])

    expected = torch.stack([of_sample(*each) for each in zip(pred, target)])
    mapped = torch.func.vmap(of_sample)
    for call in (mapped, torch.compile(mapped, backend='eager')):
        torch.testing.assert_close(call(pred, target), expected)
    check_compiled(torch.export.export(loss, (pred, target)).module())
