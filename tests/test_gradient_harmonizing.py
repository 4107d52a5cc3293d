"""GHM: the paper's equations, running averages over calls and ranks."""
import math

import pytest
import torch
from ranks import needs_ranks, run_ranks

from mmlosses.losses import GHMC, GHMR, authentic_smooth_l1, harmonizing_weight


def bin_of(norm, bins):
    return next(b for b in reversed(range(bins)) if norm >= b / bins)


def equations(norms, losses, slopes, kept, bins, momentum, average):
    """The equations of the paper, element by element.

    Returns the mean loss, its derivatives and the new average.
    """
    counts = [0] * bins
    for norm, keep in zip(norms, kept):
        counts[bin_of(norm, bins)] += keep
    average = [
        momentum * old + (1 - momentum) * new if new else old
        for old, new in zip(average, counts)
    ]
    total, occupied = sum(kept), sum(x > 0 for x in counts)
    value, grads = 0.0, []
    for norm, loss, slope, keep in zip(norms, losses, slopes, kept):
        beta = keep and total / average[bin_of(norm, bins)] / occupied
        value += beta * loss / total
        grads.append(beta * slope / total)
    return value, grads, average


@pytest.mark.parametrize('bins, momentum', [(10, 0.0), (30, 0.75), (1, 0.5)])
def test_classification_by_the_equations(bins, momentum):
    """Labels with background, and some rows that do not count."""
    loss, average = GHMC(bins, momentum).double(), [0.0] * bins
    for step in range(4):
        torch.manual_seed(step)
        pred = 3 * torch.randn(9, 4, dtype=torch.float64)
        labels = torch.arange(9) % 5
        weight = (torch.rand(9) > 0.3).double()
        logits = pred.flatten().tolist()
        targets = [float(y == c) for y in labels.tolist() for c in range(4)]
        probs = [1 / (1 + math.exp(-x)) for x in logits]
        value, grads, average = equations(
            [abs(p - t) for p, t in zip(probs, targets)],
            [-math.log(p if t else 1 - p) for p, t in zip(probs, targets)],
            [p - t for p, t in zip(probs, targets)],
            [w for w in weight.tolist()
             for _ in range(4)], bins, momentum, average)
        pred.requires_grad_()
        got = loss(pred, labels, weight, avg_factor=3)  # as heads call it
        assert got.item() == pytest.approx(value, rel=1e-9)
        grad, = torch.autograd.grad(got, pred)
        assert grad.flatten().tolist() == pytest.approx(grads, rel=1e-9)
        if momentum:
            assert loss.acc_sum.tolist() == pytest.approx(average)


@pytest.mark.parametrize('mu, momentum', [(0.02, 0.0), (0.5, 0.7)])
def test_regression_by_the_equations(mu, momentum):
    loss, average = GHMR(mu, 10, momentum).double(), [0.0] * 10
    for step in range(4):
        torch.manual_seed(step)
        pred, target = torch.randn(2, 9, 4, dtype=torch.float64)
        weight = (torch.rand(9, 4) > 0.3).double()
        errors = (pred - target).flatten().tolist()
        value, grads, average = equations(
            [abs(d) / math.hypot(d, mu)
             for d in errors], [math.hypot(d, mu) - mu for d in errors],
            [d / math.hypot(d, mu) for d in errors],
            weight.flatten().tolist(), 10, momentum, average)
        pred.requires_grad_()
        got = loss(pred, target, weight, 3)
        assert got.item() == pytest.approx(value, rel=1e-9)
        grad, = torch.autograd.grad(got, pred)
        assert grad.flatten().tolist() == pytest.approx(grads, rel=1e-9)


def test_each_occupied_bin_has_the_same_weight():
    """90 easy negatives, 9 undecided ones and an outlier."""
    pred = torch.tensor([-9.0] * 90 + [0.0] * 9 + [9.0]).reshape(-1, 1)
    zeros = torch.zeros_like(pred)
    got = GHMC(reduction='none')(pred, zeros).flatten()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(
        pred, zeros, reduction='none').flatten()
    weight = got / plain
    for part in (weight[:90], weight[90:99], weight[99:]):
        assert part.sum().item() == pytest.approx(100 / 3, rel=1e-4)


def test_edges_belong_to_the_bin_above():
    norms = torch.tensor([0.0, 0.1, 0.3, 0.7, 0.9, 1.0, 1.0])
    _, counts = harmonizing_weight(norms, torch.ones(7).bool(), 10)
    assert counts.tolist() == [1, 1, 0, 1, 0, 0, 0, 1, 0, 3]


@pytest.mark.slow
def test_counts_beyond_the_integers_of_float32():
    number = 2**24 + 8
    norms = torch.zeros(1).expand(number)
    _, counts = harmonizing_weight(norms,
                                   torch.ones(1).bool().expand(number), 3)
    assert counts.tolist() == [number, 0, 0]


def test_small_errors_are_half_of_the_square():
    error = torch.tensor([1e-5, 1e-7])
    loss, norm = authentic_smooth_l1(error, torch.zeros(2), 0.02)
    torch.testing.assert_close(loss, error.square() / 0.04, rtol=1e-5, atol=0)
    torch.testing.assert_close(norm, error / 0.02, rtol=1e-5, atol=0)


def test_saturated_predictions():
    """The sigmoid rounds to 1, an error of 1e15 has the norm 1."""
    pred = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    got = GHMC(reduction='none')(pred, torch.zeros(1, 3))
    # Each is alone in its bin: N / M = 1.
    torch.testing.assert_close(got, torch.tensor([[200.0, 0, math.log(2)]]))
    got = GHMR(reduction='none')(1e15 * pred, torch.zeros(1, 3))
    assert got.isfinite().all()


def test_a_weight_multiplies_and_maps_are_allowed():
    torch.manual_seed(0)
    pred, labels = torch.randn(2, 3, 4, 5), torch.randint(4, (2, 4, 5))
    weight = torch.rand(2, 4, 5) + 0.5
    loss = GHMC(reduction='none')
    flat = [pred.permute(0, 2, 3, 1).reshape(-1, 3), labels.flatten()]
    maps = loss(pred, labels, weight).permute(0, 2, 3, 1).reshape(-1, 3)
    torch.testing.assert_close(maps, loss(*flat, weight.flatten()))
    torch.testing.assert_close(maps, loss(*flat) * weight.reshape(-1, 1))


def test_evaluation_and_empty_calls_move_nothing():
    torch.manual_seed(0)
    pred, target = torch.randn(2, 6, 4)
    loss = GHMR(momentum=0.5)
    loss(pred, target)
    before = loss.acc_sum.clone()
    loss(pred, target, torch.zeros(6, 4))
    loss(pred[:0], target[:0])
    value = loss.eval()(pred, target)
    assert torch.equal(loss.acc_sum, before) and before.sum() == 12
    assert loss.train()(pred, target) == value
    assert not torch.equal(loss.acc_sum, before)


def test_calls_of_one_iteration_move_the_average_once():
    """By their mean: a level divides by counts like its own."""
    torch.manual_seed(0)
    loss, other = GHMR(momentum=0.5), GHMR(momentum=0.5)
    pred, target = torch.randn(2, 6, 4)
    loss.defer(True)
    loss(pred, target)
    loss(pred, target)
    loss(pred[:0], target[:0])
    assert not loss.acc_sum.any()
    loss.synchronize()
    other(pred, target)
    torch.testing.assert_close(loss.acc_sum, other.acc_sum)
    loss.synchronize()  # after an iteration without calls
    torch.testing.assert_close(loss.acc_sum, other.acc_sum)


def check_ranks(rank):
    torch.manual_seed(0)
    pred, target = torch.randn(2, 2, 6, 4)
    loss = GHMR(momentum=0.5)
    loss.defer(True)
    for _ in range(2):
        loss(pred[rank], target[rank])
        loss.synchronize()
    _, norm = authentic_smooth_l1(pred, target, loss.mu)
    _, counts = harmonizing_weight(norm, torch.ones_like(norm).bool(), 10)
    # Half of the way to the mean of the ranks, twice.
    torch.testing.assert_close(loss.acc_sum, 0.75 * counts / 2)


@needs_ranks
@pytest.mark.slow
def test_ranks_share_the_average():
    run_ranks(check_ranks)


@pytest.mark.parametrize('momentum', [0, 0.75])
def test_checkpoint_of_stock_loads(momentum):
    """With the edges of the bins, which mmdet saves."""
    model = torch.nn.ModuleDict(dict(loss_cls=GHMC(3, momentum)))
    state = {'loss_cls.edges': torch.arange(4) / 3}
    if momentum:
        state['loss_cls.acc_sum'] = torch.tensor([1.0, 2.0, 3.0])
    model.load_state_dict(state)
    assert 'loss_cls.edges' in state
    if momentum:
        assert model['loss_cls'].acc_sum.tolist() == [1, 2, 3]


def test_sum_and_avg_factor():
    torch.manual_seed(0)
    pred, target = torch.randn(2, 6, 4)
    elements = GHMR(reduction='none')(pred, target)
    total = GHMR(reduction='sum')(pred, target, avg_factor=7)
    torch.testing.assert_close(total, elements.sum())
    mean = GHMR()(pred, target, avg_factor=7)
    torch.testing.assert_close(mean, elements.sum() / 24)
