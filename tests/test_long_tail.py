"""Seesaw and equalization loss: the equations, and what they have counted."""
import math

import pytest
import torch
from ranks import needs_ranks, run_ranks

from mmlosses.losses import EQLV2Loss, SeesawLoss

C = 4


def softmax(scores):
    powers = [math.exp(x) for x in scores]
    return [x / sum(powers) for x in powers]


def seesaw_of_sample(scores, label, numbers, p, q, eps):
    """The equations of the paper: the loss of a sample and its gradient."""
    probs = softmax(scores)
    powers = []
    for j, score in enumerate(scores):
        factor = 1.0
        if j != label:
            ratio = max(numbers[j], 1) / max(numbers[label], 1)
            factor *= ratio**p if ratio < 1 else 1
            ratio = probs[j] / max(probs[label], eps)
            factor *= ratio**q if ratio > 1 else 1
        powers.append(factor * math.exp(score))
    shares = [x / sum(powers) for x in powers]
    grad = [x - (j == label) for j, x in enumerate(shares)]
    return -math.log(shares[label]), grad


def scores_and_labels(seed, number=12, columns=C + 2):
    """Class 0 is frequent, class 3 does not occur; the last is background."""
    torch.manual_seed(seed)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, C, C, C, C])[:number]
    scores = 2 * torch.randn(number, columns, dtype=torch.float64)
    return scores.requires_grad_(), labels


@pytest.mark.parametrize('p, q, eps', [(0.8, 2.0, 0.01), (0.3, 0.5, 0.3)])
def test_seesaw_by_the_equations(p, q, eps):
    loss = SeesawLoss(p=p, q=q, num_classes=C, eps=eps).double()
    numbers = [0] * (C + 1)
    for step in range(3):
        scores, labels = scores_and_labels(step)
        weight = torch.rand(12, dtype=torch.float64) + 0.5
        for label in labels.tolist():
            numbers[label] += 1
        of_classes, of_objects, grads = 0.0, 0.0, []
        for row, label, w in zip(scores.tolist(), labels.tolist(),
                                 weight.tolist()):
            grad = [0.0] * C
            if label < C:
                value, grad = seesaw_of_sample(row[:C], label, numbers, p, q,
                                               eps)
                of_classes += w * value
            probs = softmax(row[C:])
            of_objects -= w * math.log(probs[label == C])
            probs[label == C] -= 1
            grads.append([w * x for x in (*grad, *probs)])
        got = loss(scores, labels, weight, avg_factor=7.0)
        assert list(got) == ['loss_cls_objectness', 'loss_cls_classes']
        assert got['loss_cls_classes'].item() == pytest.approx(
            of_classes / 7, rel=1e-6)
        assert got['loss_cls_objectness'].item() == pytest.approx(
            of_objects / 7, rel=1e-6)
        grad, = torch.autograd.grad(sum(got.values()), scores)
        torch.testing.assert_close(
            grad, torch.tensor(grads).double() / 7, rtol=1e-5, atol=1e-7)
        assert loss.cum_samples.tolist() == numbers
        # Without avg_factor: over the 8 objects, and over all samples.
        got = loss.eval()(scores, labels, label_weights=weight)
        loss.train()
        assert got['loss_cls_objectness'].item() == pytest.approx(of_objects /
                                                                  12)


def test_seesaw_mean_of_classes_is_over_the_objects():
    scores, labels = scores_and_labels(0)
    loss = SeesawLoss(num_classes=C).eval()
    elements = loss(scores, labels, reduction_override='none')
    for name, number in (('objectness', 12), ('classes', 8)):
        terms = elements[f'loss_cls_{name}']
        assert terms.shape == (12, )
        torch.testing.assert_close(
            loss(scores, labels)[f'loss_cls_{name}'],
            terms.sum() / number)
    assert not elements['loss_cls_classes'][8:].any()
    total = SeesawLoss(num_classes=C, return_dict=False).eval()
    torch.testing.assert_close(
        total(scores, labels, reduction_override='none'),
        sum(elements.values()))
    nothing = loss(scores[8:], labels[8:])['loss_cls_classes']
    assert nothing == 0 and nothing.requires_grad


def test_seesaw_without_background():
    """C scores, as in mmpretrain; and maps of them."""
    scores, labels = scores_and_labels(0, 8, C)
    loss = SeesawLoss(num_classes=C, reduction='none').eval()
    got = loss(scores, labels)
    numbers = [5, 2, 1, 0]
    expected = [
        seesaw_of_sample(row, label, numbers, 0.8, 2.0, 0.01)[0]
        for row, label in zip(scores.tolist(), labels.tolist())
    ]
    assert got.tolist() == pytest.approx(expected, rel=1e-6)
    maps = scores.reshape(2, 2, 2, C).permute(0, 3, 1, 2)
    torch.testing.assert_close(
        loss(maps, labels.reshape(2, 2, 2)).flatten(), got)
    with pytest.raises(ValueError, match='from 0 to 3, got 4'):
        loss(scores, labels.clamp(min=C))


@pytest.mark.openmmlab
def test_seesaw_without_background_matches_mmpretrain():
    try:
        from mmpretrain.models.losses import SeesawLoss as Stock
    except (ImportError, AssertionError) as error:
        pytest.skip(f'needs mmpretrain: {error}')
    ours, stock = SeesawLoss(num_classes=C), Stock(num_classes=C)
    for step in range(3):
        scores, labels = scores_and_labels(step, 8, C)
        results = []
        for loss in (ours, stock):
            got = loss(scores.float(), labels, torch.full((8, ), 0.5), 7)
            results.append((got, *torch.autograd.grad(got, scores)))
        for got, expected in zip(*results):
            torch.testing.assert_close(got, expected)
    fresh = SeesawLoss(num_classes=C)
    fresh.load_state_dict(stock.state_dict())
    assert fresh.cum_samples.tolist() == [15, 6, 3, 0, 0]
    assert torch.equal(fresh.cum_samples, ours.cum_samples)


def test_seesaw_has_no_factors_for_balanced_certain_classes():
    """All ratios are 1 or less: plain cross entropy."""
    labels = torch.arange(C)
    scores = torch.nn.functional.one_hot(labels, C).float()
    got = SeesawLoss(num_classes=C)(scores, labels)
    torch.testing.assert_close(
        got, torch.nn.functional.cross_entropy(scores, labels))


def test_seesaw_counts_only_in_training_and_only_what_counts():
    scores, labels = scores_and_labels(0)
    loss = SeesawLoss(num_classes=C)
    weight = torch.ones(12)
    weight[:2] = 0
    bad = labels.clone()
    bad[:2] = torch.tensor([-1, 255])
    got = loss(scores, bad, weight)
    assert loss.cum_samples.tolist() == [3, 2, 1, 0, 4]
    twin = SeesawLoss(num_classes=C)
    assert twin(scores[2:], labels[2:])['loss_cls_classes'].item() == (
        pytest.approx(got['loss_cls_classes'].item()))
    loss(scores, labels, ignore_index=C)
    assert loss.cum_samples.tolist() == [8, 4, 2, 0, 4]
    before = loss.cum_samples.clone()
    loss.eval()(scores, labels)
    assert torch.equal(loss.cum_samples, before)


def test_seesaw_classes_that_cannot_win():
    """A logit of -inf, and one of the label far below the others."""
    scores = torch.tensor([[0.0, -math.inf, -200.0, 0.0]], requires_grad=True)
    loss = SeesawLoss(num_classes=C)
    for label in (0, 2):
        got = loss(scores, torch.tensor([label]))
        grad, = torch.autograd.grad(got, scores)
        assert got.isfinite() and grad.isfinite().all()


def test_what_heads_ask_seesaw():
    scores, labels = scores_and_labels(0)
    loss = SeesawLoss(num_classes=C)
    assert loss.custom_cls_channels and loss.custom_activation
    assert loss.get_cls_channels(C) == C + 2
    with pytest.raises(ValueError, match='num_classes=4, its head 80'):
        loss.get_cls_channels(80)
    probs, right = loss.get_activation(scores), [0, 0]
    for row, label, got in zip(scores.tolist(), labels.tolist(),
                               probs.tolist()):
        is_object, is_none = softmax(row[C:])
        expected = [is_object * x for x in softmax(row[:C])] + [is_none]
        assert got == pytest.approx(expected)
        right[0] += (is_none > is_object) == (label == C)
        right[1] += label < C and row[:C].index(max(row[:C])) == label
    accuracy = loss.get_accuracy(scores, labels)
    assert accuracy['acc_objectness'].item() == pytest.approx(100 * right[0] /
                                                              12)
    assert accuracy['acc_classes'].item() == pytest.approx(100 * right[1] / 8)
    for rows in (slice(8, None), slice(0, 0)):
        none = loss.get_accuracy(scores[rows], labels[rows])
        assert none['acc_classes'] == 0
    with pytest.raises(ValueError, match=r'\(N, 6\), got \(12, 5\)'):
        loss.get_activation(scores[:, 1:])


def test_equalization_by_the_equations():
    """The equations of the paper, over several calls."""
    loss = EQLV2Loss(num_classes=C).double()
    positive, negative = [0.0] * C, [0.0] * C
    for step in range(4):
        scores, labels = scores_and_labels(step, columns=C + 1)
        value, grads = 0.0, []
        sums = [[0.0] * (C + 1) for _ in range(2)]
        for row, label in zip(scores.tolist(), labels.tolist()):
            for j, score in enumerate(row):
                prob = 1 / (1 + math.exp(-score))
                share = 1.0
                if step and j < C:
                    ratio = positive[j] / negative[j]
                    share = 1 / (1 + math.exp(-12 * (ratio - 0.8)))
                weight = 1 + 4 * (1 - share) if j == label else share
                value -= weight * math.log(prob if j == label else 1 - prob)
                grads.append(weight * (prob - (j == label)))
                sums[j != label][j] += abs(grads[-1])
        positive = [a + b for a, b in zip(positive, sums[0])]
        negative = [a + b for a, b in zip(negative, sums[1])]
        # Half of the head's calls know the number of samples.
        got = loss(
            cls_score=scores,
            label=labels,
            avg_factor=12.0 if step % 2 else None)
        assert got.item() == pytest.approx(value / 12, rel=1e-6)
        grad, = torch.autograd.grad(got, scores)
        assert (12 * grad).flatten().tolist() == pytest.approx(grads, rel=1e-6)
        assert loss.pos_neg.tolist() == pytest.approx(
            [a / b for a, b in zip(positive, negative)], rel=1e-6)


def test_equalization_uses_what_mmdet_ignores():
    scores, labels = scores_and_labels(0, columns=C + 1)
    loss = EQLV2Loss(num_classes=C, use_distributed=True, vis_grad=False)
    elements = loss.eval()(scores, labels, reduction_override='none')
    assert elements.shape == (12, C + 1)
    weight = torch.rand(12)
    torch.testing.assert_close(
        loss(scores, labels, weight, 7.0),
        (elements * weight[:, None]).sum() / 7)
    by_class = EQLV2Loss(num_classes=C, class_weight=[1.0, 2, 3, 4, 0.5])
    torch.testing.assert_close(
        by_class.eval()(scores, labels),
        (elements * torch.tensor([1.0, 2, 3, 4, 0.5])).sum() / 12)


def test_equalization_sums_only_what_counts():
    scores, labels = scores_and_labels(0, columns=C + 1)
    loss, twin = EQLV2Loss(num_classes=C), EQLV2Loss(num_classes=C)
    weight = torch.ones(12)
    weight[:2] = 0
    loss(scores, labels, weight)
    twin(scores[2:], labels[2:])
    torch.testing.assert_close(loss.gradients, twin.gradients)
    before = loss.gradients.clone()
    loss(scores[:0], labels[:0])
    loss.eval()(scores, labels)
    assert torch.equal(loss.gradients, before)
    # An overflow, whose step a gradient scaler skips.
    loss.train()(scores * math.nan, labels)
    assert loss.gradients.isfinite().all()
    fresh = EQLV2Loss(num_classes=C)
    assert fresh(scores[:0], labels[:0]) == 0
    assert (fresh.pos_neg == 100).all()


def test_what_heads_ask_equalization():
    scores, labels = scores_and_labels(0, columns=C + 1)
    loss = EQLV2Loss(num_classes=C)
    assert loss.custom_cls_channels and loss.custom_activation
    assert loss.get_cls_channels(C) == C + 1
    for kwargs in (dict(), dict(test_with_obj=False)):
        probs = EQLV2Loss(num_classes=C, **kwargs).get_activation(scores)
        for row, got in zip(scores.tolist(), probs.tolist()):
            expected = [1 / (1 + math.exp(-x)) for x in row]
            if not kwargs:
                none = expected[-1]
                expected[:-1] = [x * (1 - none) for x in expected[:-1]]
            assert got == pytest.approx(expected)
    right = [
        row.index(max(row)) == label
        for row, label in zip(scores.tolist(), labels.tolist())
    ]
    assert loss.get_accuracy(scores, labels)['acc'].item() == pytest.approx(
        100 * sum(right) / 12)


def test_equalization_continues_from_a_checkpoint_of_mmdet():
    model = torch.nn.ModuleDict(dict(loss_cls=EQLV2Loss(num_classes=2)))
    state = dict(
        pos_grad=torch.tensor([1.0, 2.0]),
        neg_grad=torch.tensor([4.0, 4.0]),
        pos_neg=torch.tensor([0.25, 0.5]))
    model.load_state_dict({f'loss_cls.{k}': v for k, v in state.items()})
    torch.testing.assert_close(model['loss_cls'].pos_neg, state['pos_neg'])


def check_ranks(rank):
    part = slice(0, 7) if rank else slice(7, 12)
    for kind, name, columns in ((SeesawLoss, 'cum_samples', C + 2),
                                (EQLV2Loss, 'gradients', C + 1)):
        loss, whole = kind(num_classes=C), kind(num_classes=C)
        loss.defer(True)
        for seed in range(2):
            scores, labels = scores_and_labels(seed, columns=columns)
            loss(scores[part], labels[part])
            loss.synchronize()
            whole(scores, labels)
        torch.testing.assert_close(getattr(loss, name), getattr(whole, name))


@needs_ranks
@pytest.mark.slow
def test_ranks_count_together():
    run_ranks(check_ranks)
