"""Quality focal, varifocal and distribution focal loss."""
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from cases import CASES
from cases.quality_focal import BINS
from class_samples import REDUCTIONS, assert_same_with_gradient, close, scores
from helpers import needs_dynamo

from mmlosses.core import checks
from mmlosses.losses import (DistributionFocalLoss, QualityFocalLoss,
                             VarifocalLoss, VariFocalLoss)
from mmlosses.testing import CONTRACT

NAN = math.nan
QUALITY = next(case for case in CASES if case.loss is QualityFocalLoss)


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


def rated(samples=6, classes=4):
    """Logits, labels of all classes and of the background, and qualities."""
    labels = torch.arange(samples) % (classes + 1)
    return scores(samples, classes), labels, torch.rand(samples).double()


def one_hot(labels, quality, classes):
    """The qualities of all classes."""
    return F.one_hot(labels, classes + 1)[:, :classes] * quality[:, None]


def entropy(prob, target):
    """The cross entropy of one binary decision."""
    return -target * math.log(prob) - (1 - target) * math.log(1 - prob)


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


# --- quality focal loss ---


def quality_focal(pred, labels, quality, beta):
    """Equation 4 of the paper, in plain Python."""
    total = 0
    for c, logit in enumerate(pred):
        target, prob = quality if c == labels else 0.0, sigmoid(logit)
        total += abs(target - prob)**beta * entropy(prob, target)
    return total


@pytest.mark.parametrize('beta', [0, 0.5, 1, 2.0, 3.5])
def test_quality_focal_matches_loop(beta):
    pred, labels, quality = rated()
    expected = [
        quality_focal(*row, beta)
        for row in zip(pred.tolist(), labels.tolist(), quality.tolist())
    ]
    expected = torch.tensor(expected, dtype=torch.float64)
    loss = QualityFocalLoss(beta=beta, reduction='none')
    close(loss(pred, (labels, quality)), expected)
    close(loss(pred, [labels.int(), quality]), expected)
    dense = one_hot(labels, quality, 4)
    close(loss(pred, dense), expected)
    activated = QualityFocalLoss(beta=beta, activated=True, reduction='none')
    for target in ((labels, quality), dense):
        close(activated(pred.sigmoid(), target), expected)
    maps = pred.reshape(2, 3, 4).movedim(-1, 1)
    found = loss(maps, (labels.reshape(2, 3), quality.reshape(2, 3)))
    close(found, expected.reshape(2, 3))
    close(loss(maps, dense.reshape(2, 3, 4).movedim(-1, 1)), found)


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('avg_factor', [None, 7, torch.tensor(2.5)])
@pytest.mark.parametrize('activated', [False, True])
@pytest.mark.parametrize('dense', [False, True])
def test_quality_focal_matches_mmdet(stock, dense, activated, avg_factor,
                                     reduction):
    """The calls of GFL, RTMDet, TOOD and the decoders of DETR."""
    pred, labels, quality = rated(8)
    if activated:
        pred = pred.detach().sigmoid().requires_grad_()
    target = one_hot(labels, quality, 4) if dense else (labels, quality)
    options = dict(avg_factor=avg_factor, reduction_override=reduction)
    if reduction == 'sum':
        options.pop('avg_factor')
    ours, theirs = [
        loss(activated=activated, loss_weight=2.0)
        for loss in (QualityFocalLoss, stock.QualityFocalLoss)
    ]
    assert isinstance(ours, stock.QualityFocalLoss)
    for weight in (None, torch.rand(8).double()):
        assert_same_with_gradient(
            ours(pred, target, weight, **options),
            theirs(pred, target, weight, **options),
            pred,
            rtol=1e-7,
            atol=1e-8)


@pytest.mark.parametrize('name', [x for x in CONTRACT if x != 'optimum'])
def test_contract_of_dense_targets(name):

    def inputs(batch):
        return torch.randn(batch, 4, 2), torch.rand(batch, 4, 2)

    if name == 'compiles':
        needs_dynamo()
    case = dataclasses.replace(
        QUALITY,
        inputs=inputs,
        element_shape=lambda batch: (batch, 2),
        perfect=None)
    CONTRACT[name](case)


def test_score_of_the_quality_is_the_optimum():
    _, labels, quality = rated()
    pred = torch.full((6, 4), -100.0)
    for n, c in enumerate(labels.tolist()):
        if c < 4:
            pred[n, c] = quality[n].logit()
    pred.requires_grad_()
    loss = QualityFocalLoss(reduction='sum')(pred, (labels, quality))
    loss.backward()
    assert loss < 1e-10 and pred.grad.abs().max() < 1e-6


def test_quality_of_the_background_is_not_used():
    pred, labels, quality = rated()
    loss = QualityFocalLoss()
    expected = loss(pred, (labels, quality))
    assert loss(pred, (labels, quality.masked_fill(labels == 4, NAN))) == (
        expected)


def test_half_precision_beside_float32_qualities():
    """As in mixed precision: the head computes the IoU in float32."""
    pred, labels, quality = rated()
    half = pred.detach().half()
    for target in ((labels, quality.float()), one_hot(labels, quality,
                                                      4).float()):
        assert QualityFocalLoss()(half,
                                  target) == QualityFocalLoss()(half.float(),
                                                                target)


@pytest.mark.parametrize('loss', [
    QualityFocalLoss(beta=0.5, reduction='none'),
    VarifocalLoss(gamma=0.5, reduction='none')
])
@pytest.mark.parametrize('logit', [0.0, 1e2, -1e2, 1e4, -1e4])
def test_saturated_scores_have_a_finite_gradient(loss, logit):
    pred = torch.full((1, 3), logit, requires_grad=True)
    got = loss(pred, torch.tensor([[0.0, 1.0, 0.6]]))
    got.sum().backward()
    assert got.isfinite().all() and pred.grad.isfinite().all()


@pytest.mark.parametrize('beta', [0, 0.5, 1, 2])
def test_written_gradient_is_that_of_the_formula(beta):
    """Also at saturated scores, and at a score equal to its quality."""
    pred = torch.tensor([[0.0, 90.0], [-90.0, 0.0], [1e4, -1e4]])
    pred.requires_grad_()
    labels, quality = torch.tensor([0, 0, 2]), torch.tensor([0.5, 1.0, 0.3])
    loss = QualityFocalLoss(beta=beta, reduction='none')
    got, expected = [
        loss(pred, target)
        for target in ((labels, quality), one_hot(labels, quality, 2))
    ]
    assert_same_with_gradient(got, expected, pred)


def test_quality_focal_refuses_other_targets():
    pred, labels, quality = torch.randn(3, 4), torch.arange(3), torch.rand(3)
    loss = QualityFocalLoss()
    for target, error, message in [
        (labels, ValueError, 'same shape'),
        ((labels, ), ValueError, 'tuple of labels'),
        (dict(labels=labels), ValueError, 'got dict'),
        ((quality, quality), TypeError, 'labels .*float32'),
        ((labels, labels), TypeError, 'qualities .*int64'),
        ((labels[:2], quality), ValueError, r'\(3,\).* \(2,\) and \(3,\)'),
        ((labels, quality + 1), ValueError, 'target must .* from 0 to 1'),
        ((labels - 1, quality), ValueError, 'labels must .* 0 to 4, got -1'),
        ((labels + 3, quality), ValueError, 'labels must .* 0 to 4, got 5'),
    ]:
        with pytest.raises(error, match=message):
            loss(pred, target)
    with pytest.raises(ValueError, match='at least 2 axes'):
        loss(quality, quality)
    for cls in (QualityFocalLoss, VarifocalLoss):
        with pytest.raises(ValueError, match='use_sigmoid must be True'):
            cls(use_sigmoid=False)


# --- varifocal loss ---


def varifocal(logit, target, alpha, gamma, iou_weighted):
    """Equation 2 of the paper, in plain Python."""
    prob = sigmoid(logit)
    if target > 0:
        return (target if iou_weighted else 1) * entropy(prob, target)
    return -alpha * prob**gamma * math.log(1 - prob)


@pytest.mark.parametrize('iou_weighted', [True, False])
@pytest.mark.parametrize('alpha, gamma', [(0.75, 2.0), (0.3, 0.5), (1, 0)])
def test_varifocal_matches_loop(alpha, gamma, iou_weighted):
    pred, target = scores(5, 3), torch.rand(5, 3).double()
    target[:, 1] = 0
    settings = alpha, gamma, iou_weighted
    got = VarifocalLoss(
        alpha=alpha, gamma=gamma, iou_weighted=iou_weighted,
        reduction='none')(pred, target)
    for n in range(5):
        for c in range(3):
            expected = varifocal(pred[n, c].item(), target[n, c].item(),
                                 *settings)
            assert got[n, c].item() == pytest.approx(expected, rel=1e-10)


def test_weight_of_samples_multiplies_samples():
    """In mmdet, a weight (3,) multiplies the classes of (3, 3)."""
    pred, target, weight = scores(3, 3), torch.rand(3, 3), torch.rand(3)
    plain = VarifocalLoss(reduction='none')(pred, target)
    got = VarifocalLoss(reduction='none')(pred, target, weight)
    close(got, plain * weight[:, None])


@pytest.mark.parametrize('integers', [torch.int64, torch.bool])
def test_qualities_of_0_and_1_may_be_integers(integers):
    pred, target = scores(5, 3), (torch.rand(5, 3) > 0.5).to(integers)
    for loss in (QualityFocalLoss(), VarifocalLoss(), VariFocalLoss()):
        close(loss(pred, target), loss(pred, target.double()))


def test_mmposes_varifocal_is_that_of_mmdet_above_its_threshold():
    pred, target = scores(6, 4), torch.rand(6, 4).double()
    target[:, 1] = 0
    for kwargs in ({}, dict(alpha=0.3, gamma=1.5, iou_weighted=False)):
        assert_same_with_gradient(
            VariFocalLoss(**kwargs)(pred, target),
            VarifocalLoss(**kwargs)(pred, target), pred)
    # A quality below it is one of 0.
    none = torch.zeros(6, 4)
    close(
        VariFocalLoss()(pred, none + 1e-5),
        VariFocalLoss()(pred, none),
        rtol=1e-4,
        atol=0)


def test_confident_errors_of_poses_have_a_gradient():
    """mmpose clips the logits to [-10, 10]."""
    pred = torch.tensor([[-50.0, 50.0]], requires_grad=True)
    loss = VariFocalLoss(reduction='sum')(pred, torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(50 + 0.75 * 50)
    loss.backward()
    close(pred.grad, torch.tensor([[-1.0, 0.75]]))


def test_nan_shows():
    """mmpose turns the loss into 0, but not its gradient."""
    pred = torch.tensor([[NAN, 0.0]])
    assert VariFocalLoss()(pred, torch.zeros(1, 2)).isnan()


@pytest.mark.parametrize('cls', [VarifocalLoss, VariFocalLoss])
@pytest.mark.parametrize('value', [-1, 2])
def test_qualities_are_from_0_to_1(cls, value):
    with pytest.raises(ValueError, match=f'target must .* got {value}'):
        cls()(torch.zeros(1, 2), torch.tensor([[value, 0.5]]))


# --- distribution focal loss ---


def interpolated(target, bins):
    """The shares (N, bins) of the two bins beside each target."""
    return (1 - (target[:, None] - torch.arange(bins)).abs()).clamp(min=0)


def test_distribution_focal_is_interpolated_cross_entropy():
    """Torch's, of labels that are shares; at both ends and at a bin too."""
    pred = scores(9, BINS)
    target = torch.tensor([0, 1e-6, 0.25, 1, 1.5, 2.9, 3, 3.9, 4]).double()
    expected = F.cross_entropy(
        pred, interpolated(target, BINS), reduction='none')
    loss = DistributionFocalLoss(reduction='none')
    assert_same_with_gradient(loss(pred, target), expected, pred)
    maps = pred.reshape(3, 3, BINS).movedim(-1, 1)
    close(loss(maps, target.reshape(3, 3)), expected.reshape(3, 3))
    # Integers are bins.
    bins = torch.arange(BINS)
    close(
        loss(pred[:BINS], bins),
        F.cross_entropy(pred[:BINS], bins, reduction='none'))


def test_optimum_has_the_distance_as_its_mean():
    target = torch.tensor([0.25, 1.5, 3.9]).double()
    pred = (interpolated(target, BINS) + 1e-12).log().requires_grad_()
    DistributionFocalLoss(reduction='sum')(pred, target).backward()
    assert pred.grad.abs().max() < 1e-9
    close(pred.softmax(1) @ torch.arange(BINS).double(), target)


@pytest.mark.parametrize('value', [-0.5, BINS - 0.5, BINS + 3.0])
def test_distances_out_of_range(value, monkeypatch):
    pred = scores(2, BINS)
    target = torch.tensor([value, 1.0])
    loss = DistributionFocalLoss()
    with pytest.raises(ValueError, match=f'target must .* got {value}'):
        loss(pred, target)
    close(
        loss(pred, target, torch.tensor([0.0, 1.0])),
        loss(pred, target.clamp(0, BINS - 1), torch.tensor([0.0, 1.0])))
    # A device is not asked, and no index may be out of range there.
    monkeypatch.setattr(checks, 'is_visible', lambda tensor: False)
    close(loss(pred, target), loss(pred, target.clamp(0, BINS - 1)))
    assert loss(pred, torch.tensor([NAN, 1.0])).isnan()


def test_distribution_focal_refuses_other_shapes():
    loss = DistributionFocalLoss()
    for pred, target, message in [
        (torch.zeros(3, 1), torch.zeros(3), 'at least 2 bins'),
        (torch.zeros(3), torch.zeros(3), 'at least 2 axes'),
        (torch.zeros(3, BINS), torch.zeros(3, BINS), r'\(3,\) of distances'),
    ]:
        with pytest.raises(ValueError, match=message):
            loss(pred, target)


@pytest.mark.parametrize('avg_factor', [None, 4.0])
def test_distribution_focal_matches_gfl_head(stock, avg_factor):
    pred, target = scores(8, 17), 15.9 * torch.rand(8).double()
    weight = torch.rand(2)[:, None].expand(-1, 4).reshape(-1).double()
    ours, theirs = [
        cls(loss_weight=0.25)(
            pred, target, weight=weight, avg_factor=avg_factor)
        for cls in (DistributionFocalLoss, stock.DistributionFocalLoss)
    ]
    assert_same_with_gradient(ours, theirs, pred)
