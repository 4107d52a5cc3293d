"""The centre losses."""
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from cases import CASES
from feature_samples import CHANNELS, CLASSES, SIZES, build, dot, rows
from helpers import needs_dynamo
from ranks import needs_ranks, run_ranks

from mmlosses.losses import CenterLoss, CenterSoftmaxLoss, center_loss
from mmlosses.testing import CONTRACT


def test_center_loss_by_hand():
    loss = CenterLoss(3, 2)
    loss.centers.copy_(torch.tensor([[0., 0.], [1., 1.], [5., 5.]]))
    features = torch.tensor([[3., 4.], [1., 3.], [1., 1.]])
    labels = torch.tensor([0, 1, 0])
    # Half of 25, 4 and 2.
    got = loss(features, labels, reduction_override='none')
    assert got.tolist() == [12.5, 2, 1]
    # Class 0: c - 0.5 * ((0 - 3) + (0 - 1)) / (1 + 2), and so on.
    torch.testing.assert_close(
        loss.centers, torch.tensor([[4 / 6, 5 / 6], [1.0, 1.5], [5.0, 5.0]]))


def equation_four(centers, features, labels, alpha):
    """Equation 4 of the paper as a loop over classes and samples."""
    moved = []
    for j, center in enumerate(centers.tolist()):
        mine = [
            x for x, y in zip(features.tolist(), labels.tolist()) if y == j
        ]
        moved.append([
            c - alpha * sum(c - x[d] for x in mine) / (1 + len(mine))
            for d, c in enumerate(center)
        ])
    return torch.tensor(moved, dtype=centers.dtype)


@pytest.mark.parametrize('loss', [CenterLoss, CenterSoftmaxLoss])
def test_center_update_matches_paper(sample, loss):
    for alpha in (0.5, 0.1, 0.0, 1.0):
        module = build(loss, alpha=alpha)
        for _ in range(3):
            expected = equation_four(module.centers, *sample, alpha)
            module(*sample)
            torch.testing.assert_close(module.centers, expected)
    assert not module.centers.requires_grad
    assert 'centers' in module.state_dict()
    assert 'centers' not in dict(module.named_parameters())


@pytest.mark.parametrize('loss', [CenterLoss, CenterSoftmaxLoss])
def test_centers_stay_in_evaluation(sample, loss):
    module = build(loss)
    module(*sample)
    before = module.centers.clone()
    module.eval()(*sample)
    assert torch.equal(module.centers, before)


def test_loss_uses_centers_before_update(sample):
    loss = build(CenterLoss, reduction='none')
    features, labels = sample
    got = loss(features, labels)
    torch.testing.assert_close(got, features.square().sum(1) / 2)
    expected = center_loss(features, loss.centers[labels])
    torch.testing.assert_close(loss(features, labels), expected)


def test_weight_zero_moves_no_center(sample):
    features, labels = sample
    weight = torch.tensor([1, 0, 0.3, 1, 0, 1, 1, 0])
    kept = weight > 0
    for bad in (0.0, float('nan'), float('inf')):
        features = torch.where(kept[:, None], features, bad)
        # The label of an ignored sample may be out of range.
        labels = torch.where(kept, labels, torch.tensor(-1))
        for shape in ((8, ), (8, 1)):
            one, other = build(CenterLoss), build(CenterLoss)
            one(features, labels, weight.reshape(shape))
            other(features[kept], labels[kept])
            torch.testing.assert_close(one.centers, other.centers)
    one(features, labels, torch.zeros(1))
    torch.testing.assert_close(one.centers, other.centers)


def test_overflow_does_not_reach_centers(sample):
    """The gradient scaler skips the optimizer step, not the centres."""
    features, labels = sample
    loss, other = build(CenterLoss), build(CenterLoss)
    features = features.clone()
    features[0, 0] = float('inf')
    assert loss(features, labels).isinf()
    other(features[1:], labels[1:])
    torch.testing.assert_close(loss.centers, other.centers)


def test_half_features_move_float32_centers(sample):
    features, labels = sample[0].half(), sample[1]
    loss, other = CenterLoss(**SIZES), CenterLoss(**SIZES)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss(features, labels)
    other(features.float(), labels)
    assert loss.centers.dtype == torch.float32
    assert torch.equal(loss.centers, other.centers)


def test_center_loss_differs_from_tutorial(sample):
    """The tutorial takes the distance of the batch, without the square."""
    features, labels = sample
    loss = build(CenterLoss).eval()
    for factor in (1, 2, 10):
        far = (factor * features).requires_grad_()
        got = loss(far, labels)
        got.backward()
        expected = sum(dot(x, x) for x in far.tolist()) / 2 / len(far)
        assert got.item() == pytest.approx(expected)
        # The gradient grows with the distance ...
        torch.testing.assert_close(far.grad, far.detach() / len(far))
        tutorial = far.detach().requires_grad_()
        (tutorial.dist(loss.centers[labels]) / 2 / len(far)).backward()
        # ... unlike the tutorial's.
        assert tutorial.grad.norm().item() == pytest.approx(1 / 16)


def test_no_cancellation_far_from_the_origin():
    """The tutorial's x^2 + c^2 - 2xc gives 0 for distinct points."""
    center = torch.full((1, 4), 1000.0)
    feature = center + 0.01
    got = center_loss(feature, center)
    expected = 2 * (feature - center)[0, 0].item()**2
    assert got.item() == pytest.approx(expected, rel=1e-6)
    squares = (feature**2).sum() + (center**2).sum()
    expanded = squares - 2 * (feature @ center.T).sum()
    assert abs(expanded.item() / 2 - expected) > 0.1 * expected


# The case covers the checks excluded here.
LEARNED = [
    name for name in CONTRACT if name not in ('no_dead_argument', 'optimum')
]


@pytest.mark.slow
@pytest.mark.parametrize('loss', [CenterLoss, CenterSoftmaxLoss])
@pytest.mark.parametrize('name', LEARNED)
def test_contract_of_learned_centers(loss, name):
    if name == 'compiles':
        needs_dynamo()
    case, = [case for case in CASES if case.loss is loss]
    CONTRACT[name](
        dataclasses.replace(
            case,
            kwargs=dict(case.kwargs, learn_centers=True),
            parameters=['centers', *case.parameters],
            non_negative=False,
            training=True))


def test_learned_centers_get_the_gradient(sample):
    features, labels = sample
    loss = build(CenterLoss, learn_centers=True)
    before = loss.centers.detach().clone()
    loss(features, labels).backward()
    assert torch.equal(loss.centers, before)
    expected = torch.zeros_like(before)
    for x, y in zip(features, labels):
        expected[y] += (before[y] - x) / len(features)
    torch.testing.assert_close(loss.centers.grad, expected)


def test_center_softmax_is_the_sum_of_both(sample):
    features, labels = sample
    for center_weight in (0.2, 0.0, 3.0):
        joint = build(CenterSoftmaxLoss, center_weight=center_weight)
        center = build(CenterLoss)
        for _ in range(2):
            entropy = rows(joint, features, labels, lambda x, w, _: dot(x, w))
            expected = entropy + center_weight * center(features, labels)
            got = joint(features, labels)
            assert got.item() == pytest.approx(expected.item(), rel=1e-12)
            assert torch.equal(joint.centers, center.centers)


def move_centers(rank, halves, folder):
    """One of two processes, with its share of the batch."""
    loss = CenterLoss(3, 4)
    loss.defer(True)
    for features, labels, weight in halves[rank]:
        if len(features):  # a head may skip the loss
            loss(features, labels, weight)
        loss.synchronize()
    torch.save(loss.centers, folder / f'{rank}.pt')


@pytest.mark.slow
@needs_ranks
def test_centers_are_the_same_on_every_rank(tmp_path):
    """As in one process with the whole batch; a rank may be empty."""
    torch.manual_seed(0)
    halves, whole = ([], []), CenterLoss(3, 4)
    for split, labels in ((3, [0, 0, 1, 1, 2]), (0, [2, 2, 1]), (2, [0, 1])):
        features = torch.randn(len(labels), 4)
        labels = torch.tensor(labels)
        weight = torch.arange(len(labels)).clamp(max=1).float()
        for half, part in zip(halves, (slice(split), slice(split, None))):
            # Copies: Python 3.8 cannot send two views of one storage.
            half.append([x[part].clone() for x in (features, labels, weight)])
        whole(features, labels, weight)
    run_ranks(move_centers, halves, tmp_path)
    first, second = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, whole.centers)


def test_center_softmax_of_each_sample(sample):
    """Cross entropy and distance belong to the same sample."""
    features, labels = sample
    loss = CenterSoftmaxLoss(
        CLASSES, CHANNELS, center_weight=0.3, reduction='none').double()
    loss.centers += torch.randn_like(loss.centers)
    loss.eval()
    entropy = F.cross_entropy(
        features @ loss.weight.T, labels, reduction='none')
    distance = 0.5 * ((features - loss.centers[labels])**2).sum(dim=1)
    torch.testing.assert_close(
        loss(features, labels), entropy + 0.3 * distance)


def test_target_weight_zero_moves_no_center():
    """For either keyword of the weight."""
    features, labels = torch.ones(2, 4), torch.tensor([0, 1])
    weight = torch.tensor([1.0, 0.0])
    one, other = CenterLoss(3, 4), CenterLoss(3, 4)
    one(features, labels, weight)
    other(features, labels, target_weight=weight)
    torch.testing.assert_close(one.centers, other.centers)
    assert one.centers[0].any() and not one.centers[1].any()
