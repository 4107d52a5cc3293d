"""The ``keypoint_weight`` of every keypoint loss."""
import copy

import pytest
import torch
from cases import CASES

from mmlosses import losses
from mmlosses.losses import KeypointLoss

WEIGHTS = [0.5, 0.0, 2.0]


def heatmaps():
    """Probabilities of 3 keypoints, with peaks."""
    target = 0.9 * torch.rand(2, 3, 4, 5)
    target[:, :, 1, 2] = 1
    return torch.rand(2, 3, 4, 5), target


def coordinates():
    """Coordinates of 3 keypoints."""
    return torch.randn(2, 3, 2), torch.randn(2, 3, 2)


def gaussians():
    """One Gaussian for each keypoint."""
    mean, target = coordinates()
    return mean, torch.rand(2, 3, 2) + 0.1, target


def bins():
    """Scores and densities along two axes."""
    sizes = (6, 8)
    return ([torch.randn(2, 3, size) for size in sizes],
            [torch.rand(2, 3, size).softmax(-1) for size in sizes])


def distributions():
    """Probabilities and densities along two axes."""
    pred, target = bins()
    return [axis.softmax(-1) for axis in pred], target


def heatmaps_with_offsets():
    """Three channels of each of 3 keypoints."""
    return torch.rand(2, 2, 9, 4, 5).unbind()


def second(x):
    """The second of 3 keypoints, with all its channels."""
    return x.chunk(3, dim=1)[1]


# Any other keypoint loss takes coordinates.
SPECIAL = {
    losses.AdaptiveWingLoss: heatmaps,
    losses.BCELoss: heatmaps,
    losses.CombinedTargetMSELoss: heatmaps_with_offsets,
    losses.FocalHeatmapLoss: heatmaps,
    losses.GaussianFocalLoss: heatmaps,
    losses.JSDiscretLoss: heatmaps,
    losses.KeypointMSELoss: heatmaps,
    losses.KeypointOHKMMSELoss: heatmaps,
    losses.KeypointPROPELLoss: gaussians,
    losses.KLDiscretLoss: bins,
    losses.RLELoss: gaussians,
    losses.MLECCLoss: distributions,
}
# The third argument of KDLoss is not the weight.
ROWS = [
    (case.loss, SPECIAL.get(case.loss, coordinates)) for case in CASES
    if issubclass(case.loss, KeypointLoss) and case.loss is not losses.KDLoss
]
MEANS = {case.loss: case.mean for case in CASES}
SELECTING = [case.loss for case in CASES if case.selects]
ROWS.append((losses.MSELoss, heatmaps))


@pytest.mark.parametrize('given', [False, True], ids=['alone', 'with weight'])
@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
@pytest.mark.parametrize('loss, inputs', ROWS)
def test_matches_loop_over_keypoints(loss, inputs, reduction, given):
    """The loss of each keypoint times its weight."""
    torch.manual_seed(0)
    args = inputs()
    weight = torch.rand(2, 3) if given else torch.ones(2, 3)
    factors = [0.5, 0.1, 2.0] if loss in SELECTING else WEIGHTS
    plain, weighted = loss(), loss(keypoint_weight=factors)
    weighted.load_state_dict(plain.state_dict())
    if not given:
        weighted.use_target_weight = None
    got = weighted(
        *args, *([weight] if given else []), reduction_override=reduction)
    elements = plain(*args, weight, reduction_override='none')
    for k, factor in enumerate(factors):
        elements[:, k] = elements[:, k] * factor
    mean = MEANS[loss](elements)
    if loss in (losses.FocalHeatmapLoss, losses.KeypointOHKMMSELoss):
        mean = elements.sum() / 6  # peaks, or keypoints
    expected = dict(none=elements, sum=elements.sum(), mean=mean)[reduction]
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('loss, inputs', ROWS)
def test_weight_0_removes_keypoint(loss, inputs):
    """Even if it is NaN."""
    torch.manual_seed(0)

    def spoiled(x):
        if isinstance(x, list):
            return [spoiled(each) for each in x]
        x = x.clone()
        second(x).fill_(float('nan'))
        return x.requires_grad_()

    args = inputs()
    weighted = loss(keypoint_weight=WEIGHTS)
    bad = [spoiled(x) for x in args]
    got = weighted(*bad, torch.ones(2, 3))
    torch.testing.assert_close(got, weighted(*args, torch.ones(2, 3)))
    got.backward()
    pred = bad[0][0] if isinstance(bad[0], list) else bad[0]
    assert (second(pred.grad) == 0).all() and pred.grad.isfinite().all()


@pytest.mark.parametrize('loss, inputs', ROWS)
@pytest.mark.parametrize('weights, text', [
    ([1.0] * 4, 'keypoint_weight has 4 numbers, but the prediction has 3 key'),
    ([1.0] * 2, 'has 2 numbers, but the prediction has 3 keypoints, on axis'),
    ([1.0], 'If each keypoint has 3 channels, repeat its number'),
])
def test_wrong_length(loss, inputs, weights, text):
    with pytest.raises(ValueError, match=text):
        loss(keypoint_weight=weights)(*inputs(), torch.ones(2, 3))


@pytest.mark.parametrize('weights', [2.0, [[1.0]], 'all', ['a'], [None]])
def test_wrong_type(weights):
    with pytest.raises(TypeError, match='number for each keypoint, got'):
        losses.L1Loss(keypoint_weight=weights)


def test_needs_keypoints():
    with pytest.raises(ValueError, match=r'on axis 1, got .* shape \(3,\)'):
        losses.L1Loss(keypoint_weight=WEIGHTS)(torch.ones(3), torch.zeros(3))


def test_not_in_state_dict():
    """A tensor works too and is copied."""
    given = torch.tensor(WEIGHTS, requires_grad=True)
    loss = losses.L1Loss(keypoint_weight=given)
    assert not loss.state_dict() and not list(loss.parameters())
    pred, target = coordinates()
    expected = loss(pred, target)
    with torch.no_grad():
        given.zero_()
    twin = copy.deepcopy(losses.L1Loss(keypoint_weight=WEIGHTS)).double()
    for got in (loss(pred, target), twin(pred, target)):
        torch.testing.assert_close(got, expected)
    assert losses.L1Loss(keypoint_weight=WEIGHTS).keypoint_weight == WEIGHTS


def test_multiplies_other_weights():
    """`use_target_weight` only concerns the weight of the call."""
    pred, target = coordinates()
    loss = losses.L1Loss(use_target_weight=False, keypoint_weight=WEIGHTS)
    torch.testing.assert_close(
        loss(pred, target, torch.zeros(2, 3)),
        losses.L1Loss(keypoint_weight=WEIGHTS)(pred, target))
    loss = losses.L1Loss(use_target_weight=True, keypoint_weight=WEIGHTS)
    with pytest.raises(ValueError, match='needs a weight'):
        loss(pred, target)
    # `supervise_empty=False` averages over elements of positive weight.
    kwargs = dict(keypoint_weight=WEIGHTS, supervise_empty=False)
    got = losses.SmoothL1Loss(**kwargs)(pred, target)
    total = losses.SmoothL1Loss(keypoint_weight=WEIGHTS)(
        pred, target, reduction_override='sum')
    torch.testing.assert_close(got, total / 8)
    # The mask of KLDiscretLoss is another factor.
    args, weight = bins(), torch.ones(2, 3)
    loss = losses.KLDiscretLoss(
        keypoint_weight=WEIGHTS, mask=[0], mask_weight=4.0)
    same = losses.KLDiscretLoss(keypoint_weight=[2.0, 0.0, 2.0])
    torch.testing.assert_close(loss(*args, weight), same(*args, weight))
