"""DiceLoss against plain sums and mmdet."""
import math

import pytest
import torch

from mmlosses.losses import DiceLoss, dice_loss


def dice_by_loops(probabilities, masks, naive, eps):
    """Plain sums over the pixels of one sample."""
    overlap = total = 0.0
    for p, t in zip(probabilities.flatten().tolist(),
                    masks.flatten().tolist()):
        overlap += 2 * p * t
        total += p + t if naive else p * p + t * t
    if naive:
        return 1 - (overlap + eps) / (total + eps)
    assert masks.any()
    return 1 - overlap / (total + 2 * eps)


def tutorial_dice(pred, gt, eps=1e-6):
    """The tutorial: one sum over the batch, eps in the denominator only."""
    return 1 - 2.0 * (pred * gt).sum() / (pred.sum() + gt.sum() + eps)


@pytest.fixture
def sample():
    torch.manual_seed(0)
    logits = torch.randn(3, 6, 7, dtype=torch.float64)
    return logits, (torch.rand(3, 6, 7) > 0.7).to(torch.uint8)


@pytest.mark.parametrize('naive', [False, True])
@pytest.mark.parametrize('eps', [1e-3, 1.0])
def test_per_sample_matches_plain_sum(sample, naive, eps):
    logits, masks = sample
    got = DiceLoss(naive_dice=naive, eps=eps, reduction='none')(logits, masks)
    for n in range(3):
        expected = dice_by_loops(logits[n].sigmoid(), masks[n], naive, eps)
        assert got[n].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('naive', [False, True])
def test_batch_matches_plain_sum(sample, naive):
    logits, masks = sample
    loss = DiceLoss(naive_dice=naive, batch=True)
    expected = dice_by_loops(logits.sigmoid(), masks, naive, 1e-3)
    got = loss(logits, masks)
    assert got.item() == pytest.approx(expected, rel=1e-12)
    each = loss(logits, masks, reduction_override='none')
    torch.testing.assert_close(each, got.expand(3))


@pytest.mark.parametrize('naive', [False, True])
@pytest.mark.parametrize('use_sigmoid', [False, True])
@pytest.mark.parametrize('shape', [(5, ), (2, 6), (2, 4, 5)])
def test_labels_match_a_mask_of_each_class(shape, use_sigmoid, naive):
    """Of any number of axes, with background, 255 and a class to ignore."""
    torch.manual_seed(0)
    classes, ignored = 4, 1
    pred = torch.randn(
        shape[0], classes, *shape[1:], dtype=torch.float64, requires_grad=True)
    labels = torch.randint(classes + 1, shape)
    labels.flatten()[-1] = 255
    loss = DiceLoss(use_sigmoid, naive_dice=naive, reduction='none')
    got = loss(pred, labels, ignore_index=ignored)
    prob = pred.sigmoid() if use_sigmoid else pred.softmax(dim=1)
    each = torch.arange(classes).reshape(1, -1, *[1] * len(shape[1:]))
    counted = (labels != 255) & (labels != ignored)
    kept = counted.unsqueeze(1) & (each != ignored)
    mask = (labels.unsqueeze(1) == each) & kept
    expected = dice_loss(prob * kept, mask.double(), naive)
    torch.testing.assert_close(got, expected)
    grads = [torch.autograd.grad(x.sum(), pred)[0] for x in (got, expected)]
    torch.testing.assert_close(*grads)


def test_matches_tutorial_formula(sample):
    logits, masks = sample
    pred = logits.sigmoid()
    loss = DiceLoss(naive_dice=True, batch=True, activate=False, eps=1e-6)
    expected = tutorial_dice(pred, masks)
    torch.testing.assert_close(loss(pred, masks), expected, rtol=0, atol=1e-6)
    # The tutorial reads the first channel only.
    got = loss(pred[:, None], masks[:, None])
    torch.testing.assert_close(got, loss(pred, masks))


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(naive_dice=True),
    dict(activate=False),
    dict(eps=1.0),
    dict(naive_dice=True, eps=1.0, loss_weight=5.0),
    dict(reduction='none', loss_weight=3.0),
])
@pytest.mark.parametrize('call', [
    dict(),
    dict(weight=torch.tensor([0.5, 0, 2])),
    dict(avg_factor=7),
    dict(reduction_override='none'),
    dict(reduction_override='sum'),
    dict(avg_factor=torch.tensor([2.0])),
])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_ordinary_masks_match_mmdet(kwargs, call, dtype):
    stock = pytest.importorskip('mmdet.models.losses').DiceLoss
    torch.manual_seed(0)
    pred = torch.rand(3, 4, 4, requires_grad=True)
    target = torch.rand(3, 4, 4)
    target = (target > 0.5).to(dtype) if dtype == torch.uint8 else target
    got = DiceLoss(**kwargs)(pred, target, **call)
    expected = stock(**kwargs)(pred, target, **call)
    # mmdet's result takes the shape of a tensor avg_factor.
    torch.testing.assert_close(got, expected.reshape(got.shape))
    torch.testing.assert_close(
        *[torch.autograd.grad(x.sum(), pred) for x in (got, expected)])


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(naive_dice=True),
    dict(batch=True),
    dict(batch=True, naive_dice=True),
])
def test_empty_masks(kwargs):
    """The tutorial gives 1.0 with gradient 0 even for false positives."""
    empty = torch.zeros(2, 9, 9)
    loss = DiceLoss(activate=False, **kwargs)
    assert loss(empty, empty) == 0
    assert tutorial_dice(empty, empty) == 1
    pred = torch.full((2, 9, 9), 0.1, requires_grad=True)
    wrong, = torch.autograd.grad(tutorial_dice(pred, empty), pred)
    right, = torch.autograd.grad(loss(pred, empty), pred)
    assert (wrong == 0).all() and (right > 0).all()


def test_an_empty_mask_beside_others():
    """Only it has eps in the numerator: sum(p^2) / (sum(p^2) + 2 eps)."""
    pred, masks = torch.full((2, 9), 0.1), torch.zeros(2, 9)
    masks[0, :3] = 1
    loss = DiceLoss(activate=False, eps=0.01, reduction='none')
    expected = [1 - 2 * 0.3 / (0.09 + 3 + 0.02), 0.09 / (0.09 + 0.02)]
    torch.testing.assert_close(loss(pred, masks), torch.tensor(expected))


def test_empty_masks_in_mmdet():
    stock = pytest.importorskip('mmdet.models.losses').DiceLoss
    empty = torch.zeros(2, 9, 9)
    assert (stock(activate=False)(empty, empty) == 1).all()
    pred = torch.full((2, 9, 9), 0.1, requires_grad=True)
    grad, = torch.autograd.grad(stock(activate=False)(pred, empty), pred)
    assert (grad == 0).all()


@pytest.mark.parametrize('batch', [False, True])
def test_large_masks_in_half_precision(batch):
    """The tutorial's sum of 640 x 640 ones is infinite, its loss NaN."""
    ones = torch.ones(1, 640, 640, dtype=torch.float16)
    assert tutorial_dice(ones, ones).isnan()
    loss = DiceLoss(activate=False, naive_dice=True, batch=batch)
    got = loss(ones, ones)
    assert got.dtype == torch.float32 and got == 0
    got = loss(ones, torch.zeros_like(ones))
    assert got.item() == pytest.approx(1, abs=1e-6)


def test_minimum_for_soft_masks():
    """The squared form is minimal at the mask, the naive form at ones."""
    soft = torch.full((1, 50), 0.5)
    values = torch.linspace(0.05, 1, 20)
    for naive, best in ((False, 0.5), (True, 1.0)):
        loss = DiceLoss(activate=False, naive_dice=naive)
        losses = [loss(soft * 2 * value, soft).item() for value in values]
        assert values[losses.index(min(losses))].item() == pytest.approx(best)


@pytest.mark.parametrize('naive', [False, True])
def test_removed_sample_is_not_in_the_batch_sum(sample, naive):
    logits, masks = sample
    loss = DiceLoss(batch=True, naive_dice=naive, reduction='none')
    got = loss(logits, masks, torch.tensor([2.0, 0, 1]))
    both = torch.tensor([0, 2])
    expected = loss(logits[both], masks[both], torch.tensor([2.0, 1]))
    torch.testing.assert_close(got[both], expected)
    assert got[1] == 0


def test_saturated_logits():
    logits = torch.full((1, 4), -100.0, requires_grad=True)
    got = DiceLoss()(logits, torch.ones(1, 4))
    got.backward()
    assert got.item() == pytest.approx(1, abs=1e-3)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize('pred, target, weight, words', [
    ((2, 4), (2, 5), None, ['(2, 4)', '(2, 5)']),
    ((2, 1, 4), (2, 4), None, ['(2, 1, 4)', '(2, 4)']),
    ((4, ), (4, ), None, ['(N, *)', '(4,)']),
    ((2, 4), (2, 4), (3, ), ['(3,)', '(2,)']),
    ((2, 4), (2, 4), (2, 4), ['(2, 4)', '(2,)']),
])
def test_error_messages(pred, target, weight, words):
    weight = None if weight is None else torch.ones(weight)
    with pytest.raises(ValueError) as caught:
        DiceLoss()(torch.zeros(pred), torch.zeros(target), weight)
    for word in words:
        assert word in str(caught.value)


def test_value_at_probability_half():
    """p = 1/2 everywhere on a full mask: 1 - 1 / (1/4 + 1)."""
    got = DiceLoss(eps=1e-9)(torch.zeros(1, 8), torch.ones(1, 8))
    assert math.isclose(got.item(), 0.2, rel_tol=1e-6)
