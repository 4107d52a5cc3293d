"""BalancedBCELoss against a plain Python count and the tutorial."""
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlosses.core.kernels import top_k
from mmlosses.losses import BalancedBCELoss, binary_cross_entropy


def bce(logit, label):
    """Numerically stable binary cross entropy in double precision."""
    return max(logit, 0) - logit * label + math.log1p(math.exp(-abs(logit)))


def count_by_hand(logits, targets, weights, ratio, fallback, threshold):
    """The kept losses of one list of elements, by position."""
    losses = [bce(x, t) for x, t in zip(logits, targets)]
    there = [i for i, w in enumerate(weights) if w != 0]
    positives = [i for i in there if targets[i] > threshold]
    negatives = [i for i in there if targets[i] <= threshold]
    if positives:
        number = math.floor(ratio * len(positives))
    else:
        number = {'all': len(negatives), 'none': 0}.get(fallback, fallback)
    hard = sorted(negatives, key=lambda i: (-losses[i], i))[:number]
    return {i: weights[i] * losses[i] for i in positives + hard}


def tutorial_loss(pred, gt, negative_ratio=3.0, eps=1e-6):
    """The tutorial: integer masks of a float target, probabilities."""
    positive, negative = gt.byte(), (1 - gt).byte()
    num_pos = int(positive.sum())
    num_neg = min(int(negative.sum()), int(num_pos * negative_ratio))
    loss = F.binary_cross_entropy(pred, gt, reduction='none')
    if num_pos == 0:
        return loss.sum() / (int(negative.sum()) + eps)
    hard = sorted((loss * negative).flatten().tolist(), reverse=True)[:num_neg]
    return ((loss * positive).sum() + sum(hard)) / (num_pos + num_neg + eps)


@settings(deadline=None)
@given(
    size=st.integers(1, 12),
    batch=st.integers(1, 3),
    ratio=st.sampled_from([0.0, 0.29, 0.5, 1.0, 2.5, 3.0]),
    fallback=st.sampled_from(['all', 'none', 0, 2, 99]),
    per_image=st.booleans(),
    threshold=st.sampled_from([0.3, 0.5, 0.9]),
    ties=st.booleans(),
    seed=st.integers(0, 2**16))
def test_matches_plain_count(size, batch, ratio, fallback, per_image,
                             threshold, ties, seed):
    random = torch.Generator().manual_seed(seed)
    shape = (batch, size)
    logits = 3 * torch.randn(shape, generator=random, dtype=torch.float64)
    logits = logits.round() if ties else logits
    target = torch.rand(shape, generator=random, dtype=torch.float64)**2
    target = target.round() if ties else target
    weight = torch.rand(shape, generator=random, dtype=torch.float64)
    weight = weight.masked_fill(weight < 0.2, 0)
    kwargs = dict(
        negative_ratio=ratio,
        fallback=fallback,
        per_image=per_image,
        pos_threshold=threshold)
    rows = batch if per_image else 1
    expected = torch.zeros(rows, batch * size // rows, dtype=torch.float64)
    kept = 0
    for row, lists in enumerate(
            zip(*[
                x.reshape(rows, -1).tolist() for x in (logits, target, weight)
            ])):
        losses = count_by_hand(*lists, ratio, fallback, threshold)
        kept += len(losses)
        for place, value in losses.items():
            expected[row, place] = value
    expected = expected.reshape(shape)
    for reduction, value in (('none', expected), ('sum', expected.sum()),
                             ('mean', expected.sum() / max(kept, 1))):
        got = BalancedBCELoss(
            reduction=reduction, **kwargs)(logits, target, weight)
        torch.testing.assert_close(got, value)


@pytest.mark.parametrize('ratio', [0.0, 0.5, 1.0, 3.0, 100.0])
@pytest.mark.parametrize('positives', [0, 1, 5, 60])
def test_hard_labels_match_tutorial(ratio, positives):
    torch.manual_seed(0)
    logits = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    gt = torch.zeros(60, dtype=torch.float64)
    gt[torch.randperm(60)[:positives]] = 1
    gt = gt.reshape(logits.shape)
    expected = tutorial_loss(logits.sigmoid(), gt, ratio)
    got = BalancedBCELoss(negative_ratio=ratio)(logits, gt)
    torch.testing.assert_close(got, expected, rtol=2e-6, atol=0)
    got = BalancedBCELoss(
        negative_ratio=ratio, use_sigmoid=False)(logits.sigmoid(), gt)
    torch.testing.assert_close(got, expected, rtol=2e-6, atol=0)


def test_soft_labels():
    """The tutorial counts 0.5 as neither class and divides by 1e-6."""
    logits, half = torch.full((1, 1, 10, 20), 0.1), torch.full((1, 1, 10, 20),
                                                               0.5)
    assert tutorial_loss(logits.sigmoid(), half) > 1e8
    got = BalancedBCELoss()(logits, half)
    assert got.item() == pytest.approx(bce(0.1, 0.5), rel=1e-6)
    # And 0.9 is positive.
    got = BalancedBCELoss(fallback='none')(logits, half + 0.4)
    assert got.item() == pytest.approx(bce(0.1, 0.9), rel=1e-6)


@pytest.mark.parametrize('fallback, expected', [('all', [2., 1., 0., -1.]),
                                                ('none', []), (0, []),
                                                (2, [2., 1.]),
                                                (9, [2., 1., 0., -1.])])
def test_fallback_without_a_positive(fallback, expected):
    logits = torch.tensor([[0., 2., -1., 1.]], requires_grad=True)
    got = BalancedBCELoss(fallback=fallback)(logits, torch.zeros(1, 4))
    got.backward()
    mean = sum([bce(x, 0) for x in expected]) / max(len(expected), 1)
    assert got.item() == pytest.approx(mean)
    assert (logits.grad != 0).sum() == len(expected)
    # Unused if there is a positive.
    one = torch.tensor([[1., 0, 0, 0]])
    got = BalancedBCELoss(fallback=fallback)(logits, one)
    torch.testing.assert_close(got, BalancedBCELoss()(logits, one))


@pytest.mark.parametrize('per_image', [False, True])
def test_ties_keep_exact_count(per_image):
    """A constant initial heatmap: all negatives are equally hard."""
    logits = torch.zeros(4, 50, requires_grad=True)
    target = torch.zeros(4, 50)
    target[:, 7] = 1
    got = BalancedBCELoss(
        per_image=per_image, reduction='none')(logits, target)
    assert (got != 0).sum() == 4 * (1 + 3)
    if per_image:
        assert ((got != 0).sum(dim=1) == 4).all()
    again = BalancedBCELoss(
        per_image=per_image, reduction='none')(logits, target)
    assert torch.equal(got, again)


def select_by_sort(loss, candidate, number):
    """The same selection by a stable sort: simple and slow."""
    key = loss.masked_fill(~candidate, -math.inf)
    order = key.sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(loss.shape[1]).expand_as(order)
    rank = torch.zeros_like(order).scatter(1, order, places)
    return candidate & (rank < number)


def awkward_losses(rows, columns, dtype):
    """Negative and equal values, signed zeros, infinities and NaN."""
    loss = torch.randn(rows, columns, dtype=dtype)
    loss[:, ::3] = 0.5
    kinds = (-0.0, 0.0, math.inf, math.nan, -math.nan, 1e-45, -1e-45)
    for place, value in enumerate(kinds):
        loss[place % rows, place:columns // 2:len(kinds)] = value
    return loss


# A few elements, all 16-bit digits, and blocks that cut through ties.
@pytest.mark.parametrize('columns, block', [(0, 2**17), (1, 2**17),
                                            (100, 2**17), (100, 50), (1000, 1),
                                            (70_000, 2**17)])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
def test_top_k_matches_sort(columns, block, dtype, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(top_k, 'BLOCK', block)
    loss = awkward_losses(3, columns, dtype)
    candidate = torch.rand(3, columns) > 0.3
    for number in (0, 1, 3, columns // 4, columns // 2, columns, math.inf):
        number = torch.full((3, 1), number, dtype=torch.float64)
        got = top_k.hardest(loss, candidate, number)
        assert torch.equal(got, select_by_sort(loss, candidate, number))


def test_top_k_of_values_differing_in_the_last_bit():
    bits = 0x3f800000 + torch.randperm(70_000, dtype=torch.int32)
    loss = bits.view(torch.float32).unsqueeze(0)
    candidate = torch.ones_like(loss, dtype=torch.bool)
    number = torch.tensor([[1234]])
    got = top_k.hardest(loss, candidate, number)
    assert torch.equal(got[0], bits >= 0x3f800000 + 70_000 - 1234)


def test_only_kept_elements_have_a_gradient():
    logits = torch.tensor([[3., 0., -1., 2., -4.]], requires_grad=True)
    target = torch.tensor([[0., 1., 0., 0., 0.]])
    BalancedBCELoss(negative_ratio=2)(logits, target).backward()
    assert (logits.grad[0] != 0).tolist() == [True, True, False, True, False]


def test_weight_zero_is_never_mined_nor_counted():
    logits = torch.tensor([[9., 0., -1., 2., -4.]])
    target = torch.tensor([[0., 1., 0., 0., 1.]])
    weight = torch.tensor([[0., 1., 1., 1., 0.]])
    loss = BalancedBCELoss(negative_ratio=1)
    got = loss(logits, target, weight)
    expected = (bce(0, 1) + bce(2, 0)) / 2
    assert got.item() == pytest.approx(expected)
    # Other weights scale the loss, but do not make an element hard.
    weight = torch.tensor([[0., 1., 50., 1., 0.]])
    assert loss(logits, target, weight).item() == pytest.approx(expected)


def test_avg_factor_replaces_the_count():
    logits = torch.tensor([[3., 0., -1.]])
    target = torch.tensor([[0., 1., 0.]])
    loss = BalancedBCELoss(negative_ratio=1)
    got = loss(logits, target, avg_factor=4)
    assert got.item() == pytest.approx((bce(0, 1) + bce(3, 0)) / 4)


def test_rpn_labels():
    """0 is the foreground; 1, the number of classes, is the background."""
    torch.manual_seed(0)
    logits = torch.randn(40, 1)
    labels = (torch.rand(40) > 0.1).long()
    weights = (torch.rand(40) > 0.3).float()
    loss = BalancedBCELoss(reduction='none')
    got = loss(logits, labels, weights)
    assert got.shape == (40, 1)
    foreground = (labels == 0).float()[:, None]
    expected = loss(logits, foreground, weights[:, None])
    torch.testing.assert_close(got, expected)
    kept = (labels == 0) & (weights == 1)
    assert (got[kept] > 0).all() and (got[weights == 0] == 0).all()


def test_multi_class_labels():
    """The number of classes is the background label."""
    logits = torch.randn(4, 3)
    loss = BalancedBCELoss(reduction='none')
    for dtype in (torch.int64, torch.int32, torch.uint8):
        labels = torch.tensor([2, 3, 0, 3], dtype=dtype)
        one_hot = F.one_hot(labels.long(), 4)[:, :3]
        torch.testing.assert_close(
            loss(logits, labels), loss(logits, one_hot.float()))
        torch.testing.assert_close(loss(logits, labels), loss(logits, one_hot))


def test_per_class_weights_with_labels():
    """A sample loses its label only if all its weights are 0."""
    weight = torch.tensor([[1., 0, 1], [0, 0, 1]])
    logits = torch.randn(2, 3)
    loss = BalancedBCELoss(reduction='none')
    got = loss(logits, torch.tensor([0, 2]), weight)
    one_hot = torch.tensor([[1., 0, 0], [0, 0, 1]])
    torch.testing.assert_close(got, loss(logits, one_hot, weight))


def test_saturated_logits():
    """The tutorial's gradient, through probabilities, vanishes."""
    logits = torch.tensor([[50., -50.]], requires_grad=True)
    target = torch.tensor([[0., 1.]])
    wrong, = torch.autograd.grad(
        tutorial_loss(logits.sigmoid(), target), logits)
    assert (wrong.abs() < 1e-9).any()
    got = BalancedBCELoss()(logits, target)
    right, = torch.autograd.grad(got, logits)
    assert got.item() == pytest.approx(50)
    torch.testing.assert_close(right, torch.tensor([[0.5, -0.5]]))


def test_probabilities_out_of_range():
    got = binary_cross_entropy(
        torch.tensor([-1., 0., 1., 7.]), torch.tensor([0., 1., 1., 0.]), False)
    torch.testing.assert_close(got, torch.tensor([0., 100., 0., 100.]))


def test_target_gradient_of_probabilities():
    """log(1 - p) - log p, each clamped at -100; torch's is infinite."""
    pred = torch.tensor([0., 1., 0.25, 1e-40], requires_grad=True)
    target = torch.tensor([0., 1., 0.5, 0.3], requires_grad=True)
    got = binary_cross_entropy(pred, target, False)
    expected = F.binary_cross_entropy(pred, target, reduction='none')
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    (0 * got).sum().backward(retain_graph=True)
    assert (pred.grad == 0).all() and (target.grad == 0).all()
    slope, = torch.autograd.grad(got.sum(), target, retain_graph=True)
    torch.testing.assert_close(slope,
                               torch.tensor([100., -100,
                                             math.log(3), 100]))
    for one, other in zip(
            torch.autograd.grad(got.sum(), pred),
            torch.autograd.grad(expected.sum(), pred)):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_second_derivatives_of_probabilities_and_targets():
    pred, target = [
        torch.rand(5, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    ]

    def value(pred, target):
        return binary_cross_entropy(pred, target, False)

    assert torch.autograd.gradcheck(value, (pred, target))
    assert torch.autograd.gradgradcheck(value, (pred, target))


@pytest.mark.parametrize('kwargs', [
    dict(negative_ratio=-1),
    dict(negative_ratio=math.inf),
    dict(negative_ratio=math.nan),
    dict(fallback='some'),
    dict(fallback=-1),
    dict(fallback=None),
    dict(fallback=1.5),
])
def test_arguments_out_of_range(kwargs):
    (name, value), = kwargs.items()
    with pytest.raises(ValueError, match=f'{name} must be .*{value!r}'):
        BalancedBCELoss(**kwargs)


@pytest.mark.parametrize('pred, target, kwargs, words', [
    ((4, 1), torch.zeros(4), {}, ['(4, 1)', '(4,)']),
    ((4, 1), torch.zeros(4).bool(), {}, ['(4, 1)', '(4,)']),
    ((4, 1), torch.zeros(3).long(), {}, ['4', '3']),
    ((2, 1, 4, 4), torch.zeros(2, 4, 4), {}, ['(2, 1, 4, 4)', '(2, 4, 4)']),
    ((4, ), torch.zeros(4), dict(per_image=True), ['two axes', '(4,)']),
])
def test_error_messages(pred, target, kwargs, words):
    with pytest.raises(ValueError) as caught:
        BalancedBCELoss(**kwargs)(torch.zeros(pred), target)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_saturated_probabilities_have_a_finite_gradient(dtype):
    pred = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.25]], dtype=dtype)
    target = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]])
    loss = BalancedBCELoss(use_sigmoid=False, reduction='sum')
    loss(pred.requires_grad_(), target).backward()
    assert pred.grad.tolist() == [[0, 0, 0, 0, -4]]
