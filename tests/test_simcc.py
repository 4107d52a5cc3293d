"""SimCC losses against independent derivations of their values."""
import math

import numpy as np
import pytest
import torch
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax

from mmlosses.losses import (JSDiscretLoss, KLDiscretLoss, MLECCLoss,
                             kl_discret_loss)


def tutorial_loss(pred, target, weight):
    """The tutorial's formula: a plain loop over joints, samples, bins."""
    samples, joints = weight.shape
    total = 0.0
    for joint in range(joints):
        for scores, labels in zip(pred, target):
            batch = 0.0
            for n in range(samples):
                row, bins = scores[n, joint], scores.shape[2]
                partition = sum(math.exp(float(score)) for score in row)
                kl = 0.0
                for score, label in zip(row.tolist(), labels[n,
                                                             joint].tolist()):
                    if label > 0:
                        kl += label * (
                            math.log(label) - score + math.log(partition))
                batch += kl / bins * float(weight[n, joint])
            total += batch / samples
    return total / joints


def mmpose_loss(pred, target, weight, beta, label_softmax, label_beta, mask,
                mask_weight):
    """mmpose 1.x's value from SciPy's relative entropy."""
    total = 0.0
    for scores, labels in zip(pred, target):
        scores, labels = scores.numpy(), labels.numpy()
        if label_softmax:
            labels = softmax(labels * label_beta, axis=-1)
        loss = rel_entr(labels, np.exp(log_softmax(scores * beta, axis=-1)))
        loss = loss.mean(-1) * weight.numpy()
        loss[:, mask] *= mask_weight
        total += loss.sum()
    return total / weight.shape[1]


def gaussians(batch, joints, bins, normalize, generator):
    """Targets of the SimCC codec: densities, or Gaussians of peak 1."""
    centre = torch.rand(batch, joints, 1, generator=generator) * bins
    target = torch.exp(-(torch.arange(bins) - centre)**2 / (2 * 6.0**2))
    return target / (6.0 * math.sqrt(2 * math.pi)) if normalize else target


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    bins = (48, 64)
    pred = tuple(
        torch.randn(3, 5, b, generator=generator).double() for b in bins)
    target = tuple(gaussians(3, 5, b, True, generator).double() for b in bins)
    weight = torch.rand(3, 5, generator=generator).double()
    weight[0, 0] = 0
    return pred, target, weight


def test_default_matches_tutorial_formula(sample):
    got = KLDiscretLoss()(*sample)
    assert got.item() == pytest.approx(tutorial_loss(*sample), rel=1e-12)


@pytest.mark.parametrize('label_softmax', [False, True])
@pytest.mark.parametrize('beta, mask, mask_weight', [(1.0, [], 1.0),
                                                     (10.0, [0, 3], 0.1)])
def test_size_average_false_matches_mmpose(sample, beta, mask, mask_weight,
                                           label_softmax):
    arguments = dict(
        beta=beta,
        label_softmax=label_softmax,
        label_beta=7.0,
        mask=mask,
        mask_weight=mask_weight)
    got = KLDiscretLoss(size_average=False, **arguments)(*sample)
    expected = mmpose_loss(*sample, **arguments)
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_batch_size_changes_sum_not_mean(sample):
    pred, target, weight = sample
    twice = [tuple(torch.cat([x, x]) for x in xs) for xs in (pred, target)]
    twice.append(torch.cat([weight, weight]))
    for size_average, factor in ((True, 1), (False, 2)):
        loss = KLDiscretLoss(size_average=size_average)
        torch.testing.assert_close(loss(*twice), factor * loss(*sample))


def test_three_axes_are_added(sample):
    pred, target, weight = sample
    loss = KLDiscretLoss()
    axes = [(pred[i:i + 1], target[i:i + 1]) for i in (0, 1, 0)]
    expected = sum(loss(*axis, weight) for axis in axes)
    got = loss(pred + pred[:1], target + target[:1], weight)
    torch.testing.assert_close(got, expected)


def test_lists_act_as_tuples(sample):
    pred, target, weight = sample
    loss = KLDiscretLoss()
    torch.testing.assert_close(
        loss(list(pred), list(target), weight), loss(pred, target, weight))


def test_sum_over_bins_is_kl_divergence(sample):
    pred, target, weight = sample
    got = kl_discret_loss(pred[0], target[0], bin_reduction='sum')
    expected = rel_entr(target[0].numpy(), softmax(pred[0].numpy(),
                                                   axis=-1)).sum(-1)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    # 'mean' gives an axis with more bins less weight.
    mean = kl_discret_loss(pred[0], target[0])
    np.testing.assert_allclose(mean.numpy(), expected / 48, rtol=1e-12)


def test_target_cut_off_at_the_border():
    """Target mass M < 1 has minimum M log M < 0, normalised 0."""
    bins = torch.arange(48.)
    target = torch.exp(-bins**2 / 72) / (6 * math.sqrt(2 * math.pi))
    mass = target.sum().item()
    assert mass == pytest.approx(0.533, abs=1e-3)
    best = (target.log(), ), (target, )
    pred, target = [(x[0][None, None], ) for x in best]
    kwargs = dict(bin_reduction='sum', use_target_weight=None)
    got = KLDiscretLoss(**kwargs)(pred, target)
    assert got.item() == pytest.approx(mass * math.log(mass), rel=1e-5)
    got = KLDiscretLoss(normalize_target=True, **kwargs)(pred, target)
    assert got.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('normalize_target', [False, True])
def test_target_of_zeros_gives_zero(normalize_target):
    """For an invisible keypoint mmpose's codec leaves zeros."""
    pred = torch.randn(2, 3, 8, requires_grad=True),
    loss = KLDiscretLoss(
        use_target_weight=None, normalize_target=normalize_target)
    got = loss(pred, (torch.zeros(2, 3, 8), ))
    got.backward()
    assert got == 0 and (pred[0].grad == 0).all()


@pytest.mark.parametrize('logit', [1e2, 1e4])
def test_saturated_scores(logit):
    """With all mass on the wrong bin the loss is the score difference."""
    pred = torch.zeros(1, 1, 16)
    pred[..., 3] = logit
    target = torch.zeros(1, 1, 16)
    target[..., 9] = 1
    pred.requires_grad_()
    got = KLDiscretLoss(
        use_target_weight=None, bin_reduction='sum')((pred, ), (target, ))
    got.backward()
    assert got.item() == pytest.approx(logit, rel=1e-6)
    expected = torch.zeros(16)
    expected[3], expected[9] = 1, -1
    torch.testing.assert_close(pred.grad[0, 0], expected)


@settings(deadline=None)
@given(
    batch=st.integers(0, 4),
    joints=st.integers(1, 4),
    bins=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    scale=st.floats(0, 50),
    beta=st.floats(0.1, 10),
    data=st.integers(0, 2**16))
def test_properties(batch, joints, bins, scale, beta, data):
    generator = torch.Generator().manual_seed(data)
    pred = tuple(scale * torch.randn(batch, joints, b, generator=generator)
                 for b in bins)
    target = tuple(
        torch.rand(batch, joints, b, generator=generator) for b in bins)
    loss = KLDiscretLoss(
        beta=beta,
        use_target_weight=None,
        normalize_target=True,
        reduction='none')
    got = loss(pred, target)
    assert torch.isfinite(got).all()
    assert (got >= -1e-5).all()
    # Invariant to a constant (softmax) and to the order of bins.
    shifted = tuple(axis + 3.0 for axis in pred)
    torch.testing.assert_close(
        loss(shifted, target), got, rtol=1e-3, atol=1e-3)
    flipped = [tuple(axis.flip(-1) for axis in xs) for xs in (pred, target)]
    torch.testing.assert_close(loss(*flipped), got, rtol=1e-4, atol=1e-4)
    order = torch.randperm(batch, generator=generator)
    permuted = [tuple(axis[order] for axis in xs) for xs in (pred, target)]
    torch.testing.assert_close(loss(*permuted), got[order])


@pytest.mark.parametrize('change, error, words', [
    (dict(pred=lambda x: x[0]), TypeError, ['pred', 'tuple', 'Tensor']),
    (dict(target=lambda x: x[0]), TypeError, ['target', 'tuple', 'Tensor']),
    (dict(pred=lambda x: x[:1]), ValueError, ['axes', '1', '2']),
    (dict(pred=lambda x: (), target=lambda x:
          ()), ValueError, ['at least one', 'got none']),
    (dict(pred=lambda x: (x[1], x[0])), ValueError,
     ['(3, 5, 64)', '(3, 5, 48)']),
    (dict(
        pred=lambda x: tuple(axis[0] for axis in x),
        target=lambda x: tuple(axis[0] for axis in x)), ValueError,
     ['(N, K, bins)', '(5, 48)']),
    (dict(
        pred=lambda x: (x[0], x[1][:, :4]),
        target=lambda x:
        (x[0], x[1][:, :4])), ValueError, ['(N, K, bins)', '(3, 4, 64)']),
    (dict(target=lambda x: tuple(axis.long() for axis in x)), TypeError,
     ['target', 'int64']),
    (dict(weight=lambda x: x.T), ValueError, ['(5, 3)', '(3, 5)']),
    (dict(weight=lambda x: None), ValueError, ['weight', 'KLDiscretLoss']),
])
def test_error_messages(sample, change, error, words):
    arguments = dict(zip(('pred', 'target', 'weight'), sample))
    for name, function in change.items():
        arguments[name] = function(arguments[name])
    with pytest.raises(error) as caught:
        KLDiscretLoss()(**arguments)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize('mask', [[5], [-6], [0, 99]])
def test_mask_index_out_of_range(sample, mask):
    with pytest.raises(ValueError, match='5 keypoints'):
        KLDiscretLoss(mask=mask)(*sample)


def test_unknown_bin_reduction():
    with pytest.raises(ValueError, match="'mean' or 'sum', got 'max'"):
        KLDiscretLoss(bin_reduction='max')


def test_masked_loss_compiles_to_one_graph(sample):
    needs_dynamo()
    loss = KLDiscretLoss(mask=[0, -1], mask_weight=0.3)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(*sample), loss(*sample))


def test_mask_weight_zero_removes_keypoints(sample):
    pred, target, weight = sample
    pred = tuple(axis.clone() for axis in pred)
    for axis in pred:
        axis[:, 2] = float('nan')
        axis.requires_grad_()
    got = KLDiscretLoss(mask=[2], mask_weight=0.0)(pred, target, weight)
    got.backward()
    assert torch.isfinite(got)
    for axis in pred:
        assert torch.isfinite(axis.grad).all()
        assert (axis.grad[:, 2] == 0).all()


def test_negative_mask_index():
    """As in list indexing."""
    pred = (torch.randn(2, 3, 8), torch.randn(2, 3, 6))
    target = tuple(x.softmax(dim=-1) for x in pred)
    weight = torch.ones(2, 3)
    pred = tuple(2 * x for x in pred)
    one, other = [
        KLDiscretLoss(mask=[index], mask_weight=5.0)(pred, target, weight)
        for index in (0, -3)
    ]
    torch.testing.assert_close(one, other)
    for index in (3, -4):
        with pytest.raises(ValueError, match='mask must hold'):
            KLDiscretLoss(mask=[index])(pred, target, weight)


@pytest.mark.parametrize('mode, function', [
    ('log', lambda q: -math.log(q + 1e-4)),
    ('linear', lambda q: 1 - q),
    ('square', lambda q: 1 - q * q),
])
@pytest.mark.parametrize('axes', [1, 2, 3])
def test_likelihood_of_bins_matches_loop(sample, axes, mode, function):
    """The product over the axes of the mean likelihood of the bins."""
    pred, target, weight = sample
    pred = tuple(x.softmax(dim=-1) for x in (*pred, pred[0] + 1))[:axes]
    target = tuple(100 * x for x in (*target, target[0]))[:axes]
    expected = torch.zeros(3, 5, dtype=torch.float64)
    for n in range(3):
        for k in range(5):
            likelihood = 1.0
            for p, t in zip(pred, target):
                likelihood *= sum(
                    a * b for a, b in zip(p[n, k].tolist(), t[n, k].tolist()))
            expected[n, k] = weight[n, k] * function(likelihood)
    for reduction, right in dict(
            none=expected, sum=expected.sum(), mean=expected.mean()).items():
        loss = MLECCLoss(reduction, mode)
        torch.testing.assert_close(loss(pred, target, weight), right)


def test_likelihood_of_bins_teaches_the_spread():
    """RTMO's targets depend on a predicted spread: they have a gradient."""
    pred = tuple(torch.rand(3, 5, bins).softmax(-1) for bins in (8, 6))
    spread = torch.rand(3, 5, 1).requires_grad_()
    target = tuple(x / (spread + 0.1) for x in pred)
    grad, = torch.autograd.grad(MLECCLoss()(pred, target), spread)
    assert (grad > 0).all()


def test_likelihood_of_bins_hides_no_nan():
    """mmpose sets it to 0; what is not annotated may be NaN."""
    pred = tuple(torch.full((2, 1, 4), 0.25) for _ in range(2))
    pred[0][1] = float('nan')
    target, weight = tuple(torch.rand(2, 2, 1, 4)), torch.tensor([[1.], [0.]])
    assert MLECCLoss()(pred, target).isnan()
    assert MLECCLoss()(pred, target, weight).isfinite()


def test_likelihood_of_impossible_bins():
    """Where prediction and target do not overlap, the gradient is finite."""
    pred = torch.tensor([[[1.0, 0.0, 0.0]]], requires_grad=True)
    target = torch.tensor([[[0.0, 0.0, 1.0]]])
    loss = MLECCLoss()((pred, pred), (target, target))
    torch.testing.assert_close(loss, torch.tensor(-math.log(1e-4)))
    grad, = torch.autograd.grad(loss, pred)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize('pred, target, words', [
    (2.0, 0.5, 'pred must be from 0 to 1'),
    (0.5, -1.0, 'target must be from 0, got -1'),
])
def test_likelihood_of_no_distribution(pred, target, words):
    inputs = [
        tuple(torch.full((2, 3, 4), x) for _ in range(2))
        for x in (pred, target)
    ]
    with pytest.raises(ValueError, match=words):
        MLECCLoss()(*inputs)
    with pytest.raises(ValueError, match="mode must be 'log', 'linear' or"):
        MLECCLoss(mode='cubic')


def js_by_loops(pred, target):
    """The Jensen-Shannon divergence of each keypoint, number by number."""
    result = []
    for p, t in zip(pred.flatten(0, 1), target.flatten(0, 1)):
        total = 0.0
        for a, b in zip(p.flatten().tolist(), t.flatten().tolist()):
            middle = (a + b) / 2
            total += sum([x * math.log(x / middle) for x in (a, b) if x > 0])
        result.append(total / 2)
    return torch.tensor(result, dtype=torch.float64).reshape(pred.shape[:2])


def distributions(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return scores.flatten(2).softmax(-1).reshape(shape)


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (2, 3, 7)])
def test_js_matches_loops(shape):
    pred, target = distributions(*shape), distributions(*shape, seed=1)
    target[:, 0] = 0
    target.flatten(2)[:, 0, -1] = 1
    expected = js_by_loops(pred, target)
    got = JSDiscretLoss(reduction='none')(pred, target)
    torch.testing.assert_close(got, expected)
    assert (got > 0).all() and (got < math.log(2)).all()
    torch.testing.assert_close(JSDiscretLoss()(pred, target),
                               expected.sum() / 2)
    loss = JSDiscretLoss(size_average=False)
    torch.testing.assert_close(loss(pred, target), expected.sum())


@pytest.mark.parametrize('weight', ['keypoints', 'samples'])
@pytest.mark.parametrize('size_average', [True, False])
def test_js_matches_mmpose(weight, size_average):
    stock = pytest.importorskip('mmpose.models.losses.classification_loss')
    pred = distributions(2, 3, 4, 5).requires_grad_()
    target = distributions(2, 3, 4, 5, seed=1)
    weight = torch.tensor([[1, 0.5, 2], [1, 1, 0.1]]).double()
    if weight == 'samples':
        weight = weight[:, 0]
    results = []
    for cls in (JSDiscretLoss, stock.JSDiscretLoss):
        value = cls(True, size_average)(
            pred_hm=pred, gt_hm=target, target_weight=weight)
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)


def test_js_of_disjoint_distributions():
    """It is log 2, where mmpose's gradient is NaN."""
    pred = torch.tensor([[[1.0, 0.0, 0.0]]], requires_grad=True)
    target = torch.tensor([[[0.0, 0.0, 1.0]]])
    loss = JSDiscretLoss()(pred, target)
    grad, = torch.autograd.grad(loss, pred)
    assert loss.item() == pytest.approx(math.log(2))
    assert grad.isfinite().all() and grad[0, 0, 0] > 0 > grad[0, 0, 2]
    stock = pytest.importorskip('mmpose.models.losses.classification_loss')
    loss = stock.JSDiscretLoss(False)(pred, target)
    grad, = torch.autograd.grad(loss, pred)
    assert grad.isnan().any()


def test_js_of_a_far_softmax_learns():
    """A softmax underflows to 0 where its scores are 104 below the peak."""
    scores = torch.tensor([[[200.0, 0.0, 0.0]]], requires_grad=True)
    target = torch.tensor([[[0.9, 0.1, 0.0]]])
    loss = JSDiscretLoss()(scores.softmax(-1), target)
    grad, = torch.autograd.grad(loss, scores)
    assert grad.isfinite().all()


def test_js_in_half_precision():
    """mmpose adds 1e-24, which is 0 in float16."""
    pred = torch.tensor([[[1.0, 0.0, 0.0]]]).half()
    got = JSDiscretLoss()(pred, pred)
    assert got == 0
    stock = pytest.importorskip('mmpose.models.losses.classification_loss')
    assert stock.JSDiscretLoss(False)(pred, pred).isnan()


def test_js_wrong_inputs():
    with pytest.raises(ValueError, match=r'\(N, K, \*\)'):
        JSDiscretLoss()(torch.rand(2, 3), torch.rand(2, 3))
    with pytest.raises(ValueError, match='must be from 0 to 1, got 2.0'):
        JSDiscretLoss()(torch.rand(2, 3, 4), torch.full((2, 3, 4), 2.0))
