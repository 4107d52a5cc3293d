"""Focal loss of heatmaps."""
import math

import pytest
import torch
from class_samples import REDUCTIONS, assert_same_with_gradient, close, scores
from helpers import needs_dynamo

from mmlosses.losses import (CrossEntropyLoss, FocalLoss, GaussianFocalLoss,
                             LabelSmoothLoss)


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


def heatmap(*shape):
    pred, target = torch.rand(shape).double(), torch.rand(shape).double()
    target.flatten()[::7] = 1
    return pred.clamp(1e-4, 1 - 1e-4).requires_grad_(), target


@pytest.mark.parametrize('use_sigmoid', [False, True])
@pytest.mark.parametrize('alpha, gamma', [(2.0, 4.0), (1.5, 3.0), (0.5, 1.0)])
def test_gaussian_focal_matches_loop(alpha, gamma, use_sigmoid):
    prob, target = heatmap(2, 2, 3, 3)
    loss = GaussianFocalLoss(
        alpha,
        gamma,
        use_sigmoid,
        pos_weight=2.0,
        neg_weight=0.5,
        reduction='none')
    got = loss(torch.logit(prob) if use_sigmoid else prob, target)
    for value, p, t in zip(got.flatten().tolist(),
                           prob.flatten().tolist(),
                           target.flatten().tolist()):
        if t == 1:
            expected = -2 * (1 - p)**alpha * math.log(p)
        else:
            expected = -0.5 * (1 - t)**gamma * p**alpha * math.log(1 - p)
        assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('avg_factor', [None, 7, torch.tensor(3)])
@pytest.mark.parametrize('weighted', [False, True])
def test_gaussian_focal_matches_mmdet(stock, weighted, avg_factor, reduction):
    """The calls of CornerHead and CenterNetHead."""
    pred, target = heatmap(2, 3, 4, 5)
    kwargs = dict(
        alpha=1.5,
        gamma=3.0,
        pos_weight=0.25,
        neg_weight=0.75,
        loss_weight=2.0)
    given = dict(avg_factor=avg_factor, reduction_override=reduction)
    if reduction == 'sum':
        given.pop('avg_factor')
    given['weight'] = torch.rand(2, 3, 4, 5).double() if weighted else None
    assert_same_with_gradient(
        GaussianFocalLoss(**kwargs)(pred, target, **given),
        stock.GaussianFocalLoss(**kwargs)(pred, target, **given), pred)


@pytest.mark.parametrize('some', [True, False])
def test_positives_by_index_match_mmdet(stock, some):
    """The call of CenterNetUpdateHead, also without any object."""
    pred, target = heatmap(20, 3)
    # Two objects at one location count twice.
    where = dict(
        pos_inds=torch.tensor([4, 0, 19, 4]),
        pos_labels=torch.tensor([0, 2, 1, 0]))
    if not some:
        where = dict(pos_inds=None, pos_labels=None)
    kwargs = dict(pos_weight=0.25, neg_weight=0.75)
    # The head's heatmap holds integers if there is no object.
    target = target if some else target.long()
    for factor in (4.0, torch.tensor(4.0)):
        assert_same_with_gradient(
            GaussianFocalLoss(**kwargs)(
                pred, target, avg_factor=factor, **where),
            stock.GaussianFocalLoss(**kwargs)(
                pred, target, avg_factor=factor, **where), pred)


@pytest.mark.parametrize('some', [True, False])
def test_images_without_objects(some):
    """CenterNetUpdateHead fills them with the number of classes.

    They are integers, unless another image of the batch has objects.
    """
    pred, target = heatmap(20, 3)
    target[10:] = 0
    where = dict(pos_inds=torch.tensor([4]), pos_labels=torch.tensor([0]))
    if not some:
        target, where = torch.zeros(20, 3).long(), {}
    loss = GaussianFocalLoss(neg_weight=0.75)
    filled = target.clone()
    filled[10:] = 80
    close(loss(pred, filled, **where), loss(pred, target, **where))
    assert loss(pred, filled, **where) < 10


def test_positives_by_index_keep_the_contract():
    pred, target = heatmap(20, 3)
    where = dict(
        pos_inds=torch.tensor([4, 0, 4]), pos_labels=torch.tensor([0, 2, 0]))
    loss = GaussianFocalLoss()
    elements = loss(pred, target, reduction_override='none', **where)
    assert elements.shape == pred.shape
    close(loss(pred, target, **where), elements.mean())
    weight = torch.rand(20).double()
    close(
        loss(pred, target, weight, **where),
        (elements * weight[:, None]).mean())
    logits = torch.logit(pred.detach())
    close(
        GaussianFocalLoss(use_sigmoid=True)(logits, target, **where),
        loss(pred, target, **where))
    empty = torch.zeros(0).long()
    got = loss(
        pred, torch.zeros_like(target), pos_inds=empty, pos_labels=empty)
    close(got, loss(pred, torch.zeros_like(target)))


@pytest.mark.parametrize('change, error, words', [
    (dict(pos_labels=None), ValueError, 'no pos_labels'),
    (dict(pos_inds=None), ValueError, 'no pos_inds'),
    (dict(pos_inds=torch.tensor([0.0, 1.0])), TypeError, 'pos_inds'),
    (dict(pos_inds=torch.tensor([0])), ValueError, '(1,)'),
    (dict(pos_inds=torch.tensor([0, 20])), ValueError, 'got 20'),
    (dict(pos_labels=torch.tensor([0, 3])), ValueError, 'got 3'),
])
def test_wrong_positives(change, error, words):
    where = dict(
        pos_inds=torch.tensor([0, 1]), pos_labels=torch.tensor([0, 1]))
    with pytest.raises(error) as caught:
        GaussianFocalLoss()(*heatmap(20, 3), **{**where, **change})
    assert words in str(caught.value)


def test_positives_by_index_compile_to_one_graph():
    needs_dynamo()
    torch._dynamo.reset()
    loss = GaussianFocalLoss()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    pred, target = heatmap(20, 3)
    where = dict(
        pos_inds=torch.tensor([4, 0]), pos_labels=torch.tensor([0, 2]))
    close(compiled(pred, target, **where), loss(pred, target, **where))


@pytest.mark.parametrize('alpha', [0.5, 2.0])
def test_heatmap_gradient_lives_at_any_logit(stock, alpha):
    """mmdet's sigmoid and CornerNet's clamp have vanished there."""
    logits = torch.tensor([-100.0, 100.0, 20.0, -1e4], requires_grad=True)
    target = torch.tensor([1.0, 0.0, 0.0, 1.0])
    loss = GaussianFocalLoss(alpha, use_sigmoid=True, reduction='none')
    got = loss(logits, target)
    close(got, torch.tensor([100.0, 100.0, 20.0, 1e4]))
    grad, = torch.autograd.grad(got.sum(), logits)
    close(grad, torch.tensor([-1.0, 1.0, 1.0, -1.0]))
    theirs = stock.GaussianFocalLoss(reduction='none')(logits.sigmoid(),
                                                       target)
    grad, = torch.autograd.grad(theirs.sum(), logits)
    assert (grad == 0).all()
    right = (-logits.detach()).requires_grad_()
    got = loss(right, target)
    grad, = torch.autograd.grad(got.sum(), right)
    assert (got < 1e-6).all() and (grad.abs() < 1e-6).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_heatmap_of_exactly_0_and_1(stock, dtype):
    pred = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype, requires_grad=True)
    target = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=dtype)
    got = GaussianFocalLoss(reduction='none')(pred, target)
    expected = -math.log(1e-12)
    close(got, torch.tensor([0.0, expected, expected, 0.0]))
    grad, = torch.autograd.grad(got.sum(), pred)
    assert torch.isfinite(grad).all()
    for alpha in (0.5, 1.0):
        pred = pred.detach().requires_grad_()
        GaussianFocalLoss(alpha)(pred, target).backward()
        assert torch.isfinite(pred.grad).all()
    # In half precision mmdet's 1e-12 is 0.
    theirs = stock.GaussianFocalLoss(reduction='none')(pred, target)
    assert torch.isfinite(theirs).all() == (dtype == torch.float32)


def test_only_target_1_is_positive():
    pred = torch.tensor([0.3, 0.3])
    target = torch.tensor([1.0, 1.0 - 2**-20])
    near, far = GaussianFocalLoss(reduction='none')(pred, target)
    assert near.item() == pytest.approx(-0.49 * math.log(0.3), rel=1e-6)
    assert 0 <= far < 1e-12
    # With gamma 0, mmdet counts a positive as a negative too.
    got = GaussianFocalLoss(gamma=0.0, reduction='none')(pred, target)[0]
    close(got, near)


def test_repeated_positive_indices():
    """Each index counts, repeated ones as often as they occur."""
    pred = torch.tensor([[0.2, 0.7, 0.4], [0.9, 0.1, 0.5]])
    target = torch.tensor([[0.5, 1.0, 0.0], [0.25, 0.0, 0.0]])
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([2, 2, 0])
    times = torch.tensor([[0, 0, 2], [1, 0, 0]])
    expected = torch.tensor([[
        -n * (1 - p)**2 * math.log(p) - (t != 1) *
        (1 - t)**4 * p**2 * math.log(1 - p) for p, t, n in zip(*line)
    ] for line in zip(pred.tolist(), target.tolist(), times.tolist())])
    loss = GaussianFocalLoss(reduction='none')
    close(loss(pred, target, pos_inds=rows, pos_labels=columns), expected)
    loss = GaussianFocalLoss(use_sigmoid=True, reduction='none')
    close(
        loss(pred.logit(), target, pos_inds=rows, pos_labels=columns),
        expected)
    for bad in (torch.tensor([0, 0, 2]), torch.tensor([-1, 0, 1])):
        with pytest.raises(ValueError, match='pos_inds'):
            loss(pred, target, pos_inds=bad, pos_labels=columns)
    with pytest.raises(ValueError, match='pos_labels'):
        loss(pred, target, pos_inds=rows, pos_labels=torch.tensor([2, 3, 0]))
    with pytest.raises(ValueError, match=r'\(N, C\)'):
        loss(pred[0], target[0], pos_inds=rows, pos_labels=columns)


# Both shapes decide which axis of `pred` holds the classes.
CLASS_AXES = [((2, 3), (2, ), 1), ((2, 3), (2, 3), -1), ((2, 3, 4), (2, 4), 1),
              ((2, 5, 3), (2, 5, 3), -1), ((2, 3, 4, 5), (2, 3, 4, 5), 1),
              ((3, ), (3, ), None)]


@pytest.mark.parametrize('pred_shape, target_shape, axis', CLASS_AXES)
def test_class_weights_of_a_sigmoid_by_hand(pred_shape, target_shape, axis):
    """The focal loss weights all decisions, the others only positives."""
    numbers = [0.5, 2.0, 7.0] if axis is not None else [2.0]
    pred, target = torch.randn(pred_shape), torch.rand(target_shape)
    if len(target_shape) < len(pred_shape):
        target = torch.randint(4, target_shape)
    shape = [1] * len(pred_shape)
    if axis is not None:
        shape[axis] = 3
    weight = torch.tensor(numbers).reshape(shape)
    kwargs = dict(reduction='none')
    close(
        FocalLoss(class_weight=numbers, **kwargs)(pred, target),
        weight * FocalLoss(**kwargs)(pred, target))
    share = target
    if len(target_shape) < len(pred_shape):
        share = torch.stack([target == label for label in range(3)], dim=1)
    share = share.float()
    for smoothing in (0.0, 0.3):
        smooth = (1 - smoothing) * share + smoothing * (1 - share)
        expected = -(
            weight * smooth * pred.sigmoid().log() + (1 - smooth) *
            (-pred).sigmoid().log())
        close(
            LabelSmoothLoss(
                smoothing=smoothing,
                use_sigmoid=True,
                class_weight=numbers,
                **kwargs)(pred, target), expected)
    close(
        CrossEntropyLoss(use_sigmoid=True, class_weight=numbers,
                         **kwargs)(pred, target),
        LabelSmoothLoss(
            smoothing=0.0, use_sigmoid=True, class_weight=numbers,
            **kwargs)(pred, target))


@pytest.mark.parametrize('alpha, gamma', [(2.0, 4.0), (1.5, 3.0)])
def test_second_derivative_of_heatmap_logits(alpha, gamma):
    """Autograd of the formula; the first derivative is hand-written."""
    target = torch.tensor([0.0, 0.3, 0.9, 1.0], dtype=torch.float64)
    loss = GaussianFocalLoss(
        alpha=alpha,
        gamma=gamma,
        use_sigmoid=True,
        pos_weight=0.7,
        neg_weight=1.3,
        reduction='none')
    pred = scores(4)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), pred)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), pred)
    slope = torch.func.grad(lambda x: loss(x, target).sum())(pred.detach())
    close(slope, torch.autograd.grad(loss(pred, target).sum(), pred)[0])
