"""Focal loss."""
import math

import pytest
import torch
import torch.nn.functional as F
from cases.inputs import CLASS_WEIGHT
from class_samples import REDUCTIONS, assert_same_with_gradient, close, scores

from mmlosses.core.kernels.focal import soft_focal_and_derivative
from mmlosses.losses import (AsymmetricLoss, FocalCustomLoss, FocalLoss,
                             SmoothFocalLoss, sigmoid_focal_loss)


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


def binary_focal(logit, target, gamma, alpha):
    """One binary decision: equation 5 of the paper with soft targets."""
    prob = 1 / (1 + math.exp(-logit))
    wrong = (1 - prob) * target + prob * (1 - target)
    entropy = -target * math.log(prob) - (1 - target) * math.log(1 - prob)
    return (alpha * target + (1 - alpha) *
            (1 - target)) * wrong**gamma * entropy


@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.5, 0.6), (0, 0.5)])
def test_focal_matches_loop(gamma, alpha):
    pred, target = scores(5, 3), torch.rand(5, 3).double()
    got = FocalLoss(gamma=gamma, alpha=alpha, reduction='none')(pred, target)
    for n in range(5):
        for c in range(3):
            expected = binary_focal(pred[n, c].item(), target[n, c].item(),
                                    gamma, alpha)
            assert got[n, c].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('avg_factor', [None, 7, torch.tensor(2.5)])
@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (1.5, 0.6)])
@pytest.mark.parametrize('activated', [False, True])
def test_focal_matches_mmdet(stock, activated, gamma, alpha, avg_factor,
                             reduction):
    """The calls of RetinaHead, FCOSHead, PAAHead and TOODHead."""
    pred = scores(8, 4)
    if activated:
        pred = pred.detach().sigmoid().requires_grad_()
    labels = torch.arange(8) % 5
    given = dict(avg_factor=avg_factor, reduction_override=reduction)
    if reduction == 'sum':
        given.pop('avg_factor')
    ours, theirs = [
        loss(gamma=gamma, alpha=alpha, activated=activated, loss_weight=2.0)
        for loss in (FocalLoss, stock.FocalLoss)
    ]
    hot = F.one_hot(labels, 5)[:, :4]
    for target in (labels, hot.double(), torch.rand(8, 4).double()):
        for weight in (None, torch.rand(8).double(), torch.rand(8, 4).double(),
                       torch.rand(32).double()):
            assert_same_with_gradient(
                ours(pred, target, weight, **given),
                theirs(pred, target, weight, **given),
                pred,
                rtol=1e-7,
                atol=1e-8)


def test_focal_of_masked_logits(stock):
    """GroundingDINO: 1-D logits and targets."""
    pred, target, weight = scores(9), torch.rand(9).round(), torch.rand(9)
    ours, theirs = FocalLoss(), stock.FocalLoss()
    close(
        ours(pred, target, weight, avg_factor=3),
        theirs(pred, target, weight, avg_factor=3))


@pytest.mark.parametrize('alpha', [0.25, 0.7, -1])
def test_focal_matches_torchvision(alpha):
    ops = pytest.importorskip('torchvision.ops')
    pred, target = scores(6, 4), torch.rand(6, 4).double()
    for target in (target, target.round()):
        assert_same_with_gradient(
            FocalLoss(alpha=alpha, reduction='none')(pred, target),
            ops.sigmoid_focal_loss(pred, target, alpha=alpha), pred)


def test_gamma_zero_is_cross_entropy():
    pred, labels = scores(5, 4), torch.tensor([0, 1, 2, 3, 4])
    hot = F.one_hot(labels, 5)[:, :4].double()
    entropy = F.binary_cross_entropy_with_logits(pred, hot, reduction='none')
    for alpha, factor in ((None, 1), (-1, 1), (0.5, 0.5),
                          (0.25, 0.25 * hot + 0.75 * (1 - hot))):
        loss = FocalLoss(gamma=0.0, alpha=alpha, reduction='none')
        assert_same_with_gradient(loss(pred, labels), factor * entropy, pred)
    labels = labels.clamp(max=3)
    for alpha, factor in ((None, 1), (0.25, 0.25)):
        loss = FocalLoss(use_sigmoid=False, gamma=0.0, alpha=alpha)
        assert_same_with_gradient(
            loss(pred, labels), factor * F.cross_entropy(pred, labels), pred)


def test_softmax_focal_matches_loop():
    pred, labels = scores(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    prob = pred.detach().softmax(1)
    expected = [
        -0.25 * CLASS_WEIGHT[y] * (1 - prob[n, y])**1.5 * prob[n, y].log()
        for n, y in enumerate(labels.tolist())
    ]
    kwargs = dict(
        use_sigmoid=False,
        gamma=1.5,
        class_weight=CLASS_WEIGHT,
        reduction='none')
    got = FocalLoss(**kwargs)(pred, labels)
    close(got, torch.stack(expected))
    close(FocalLoss(activated=True, **kwargs)(prob, labels), got)
    maps = pred.detach().reshape(2, 3, 4).movedim(-1, 1)
    close(FocalLoss(**kwargs)(maps, labels.reshape(2, 3)), got.reshape(2, 3))


def test_focal_class_weight_multiplies_columns():
    pred, labels = scores(5, 4), torch.tensor([0, 1, 2, 3, 4])
    plain, weighted = [
        FocalLoss(class_weight=weight, reduction='none')(pred, labels)
        for weight in (None, CLASS_WEIGHT)
    ]
    close(weighted, plain * torch.tensor(CLASS_WEIGHT).double())


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize('use_sigmoid', [True, False])
def test_focal_of_saturated_scores(gamma, use_sigmoid):
    """For confident errors the gradient approaches that of the logit."""
    pred = torch.tensor([[-1e2, 0.0], [1e2, 0.0], [1e4, 0.0], [-1e4, 0.0]])
    pred.requires_grad_()
    labels = torch.tensor([0, 1, 1, 0])
    loss = FocalLoss(
        use_sigmoid=use_sigmoid, gamma=gamma, alpha=None, reduction='none')
    got = loss(pred, labels)
    if use_sigmoid:
        got = got[:, 0]
    close(got, torch.tensor([1e2, 1e2, 1e4, 1e4]))
    got.sum().backward()
    close(pred.grad[:, 0], torch.tensor([-1.0, 1.0, 1.0, -1.0]))
    # For confident hits it vanishes without NaN.
    pred = (-pred.detach()).requires_grad_()
    got = loss(pred, labels)
    if use_sigmoid:
        got = got[:, 0]
    got.sum().backward()
    assert (got.abs() < 1e-6).all()
    assert (pred.grad[:, 0].abs() < 1e-6).all()


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize('use_sigmoid', [True, False])
@pytest.mark.parametrize('dense', [False, True])
def test_focal_of_scores_of_any_size(gamma, use_sigmoid, dense):
    """What is finite has a finite gradient, so weight 0 makes it 0."""
    top = torch.finfo(torch.float32).max
    pred = torch.tensor([[0.3, -1.0], [top, -top], [-top, top], [top, top],
                         [math.inf, -math.inf], [math.nan, 0.0]])
    pred.requires_grad_()
    target = torch.tensor([1, 0, 0, 1, 0, 1])
    if dense:
        target = torch.rand(6, 2).softmax(dim=1)
    weight = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    loss = FocalLoss(use_sigmoid=use_sigmoid, gamma=gamma, reduction='sum')
    for rows in (4, 6):
        value = loss(pred[:rows], target[:rows], weight[:rows])
        grad, = torch.autograd.grad(value, pred)
        torch.testing.assert_close(value, loss(pred[:1], target[:1]))
        assert grad[0].isfinite().all() and grad[1:].eq(0).all()


@pytest.mark.parametrize('gamma', [0.5, 2.0])
@pytest.mark.parametrize('use_sigmoid', [True, False])
def test_focal_of_probabilities_of_0_and_1(gamma, use_sigmoid):
    loss = FocalLoss(use_sigmoid=use_sigmoid, activated=True, gamma=gamma)
    for value in (0.0, 1.0, -1e-6, 1 + 1e-6):
        pred = torch.full((4, 4), value, requires_grad=True)
        got = loss(pred, torch.arange(4))
        got.backward()
        assert torch.isfinite(got) and torch.isfinite(pred.grad).all()


def test_focal_needs_no_compiled_op():
    import subprocess
    import sys
    code = ('import sys; from mmlosses.losses import FocalLoss; '
            'assert not {"mmcv", "mmdet", "torchvision"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True)


def focal_by_hand(probability, target, gamma, alpha):
    share = 1 if alpha is None else (alpha * target + (1 - alpha) *
                                     (1 - target))
    wrong = (1 - probability) * target + probability * (1 - target)
    entropy = -(
        target * math.log(probability) +
        (1 - target) * math.log(1 - probability))
    return share * wrong**gamma * entropy


@pytest.mark.parametrize('gamma', [0.0, 2.0, 3.0])
@pytest.mark.parametrize('alpha', [None, 0.0, 0.25, 1.0])
def test_focal_loss_of_probabilities_by_hand(gamma, alpha):
    pred = [[0.2, 0.9], [0.6, 0.3]]
    soft = [[1.0, 0.0], [0.25, 0.5]]
    for target in (soft, [[1.0, 0.0], [0.0, 1.0]]):
        expected = torch.tensor(
            [[focal_by_hand(p, t, gamma, alpha) for p, t in zip(*rows)]
             for rows in zip(pred, target)])
        loss = FocalLoss(
            gamma=gamma, alpha=alpha, activated=True, reduction='none')
        close(loss(torch.tensor(pred), torch.tensor(target)), expected)
        logits = torch.tensor(pred).logit()
        loss = FocalLoss(gamma=gamma, alpha=alpha, reduction='none')
        close(loss(logits, torch.tensor(target)), expected)
    # As labels: the second row has the second class.
    close(loss(logits, torch.tensor([0, 1])), expected)


def test_focal_loss_of_confident_probabilities():
    """27.6 for confident errors of either class, 0 for hits."""
    loss = FocalLoss(gamma=0, alpha=None, activated=True, reduction='none')
    pred = torch.tensor([[0.0, 1.0, 0.0, 1.0]], requires_grad=True)
    got = loss(pred, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    worst = -math.log(1e-12)
    close(got, torch.tensor([[worst, worst, 0, 0]]))
    got.sum().backward()
    assert (pred.grad == 0).all()


def test_flat_per_class_weight_of_focal_loss():
    """As FSAF passes it."""
    pred, target = torch.randn(3, 4), torch.tensor([0, 3, 4])
    weight, loss = torch.rand(3, 4), FocalLoss(reduction='none')
    plain = loss(pred, target)
    close(loss(pred, target, weight.flatten()), weight * plain)
    close(loss(pred, target, weight[:, 0]), weight[:, :1] * plain)
    close(loss(pred, target, torch.tensor([0.3])), 0.3 * plain)
    # As many samples as entries per class.
    one = torch.randn(3, 1), torch.tensor([0, 1, 0])
    close(loss(*one, weight[:, 0]), weight[:, :1] * loss(*one))
    with pytest.raises(ValueError, match='broadcast'):
        loss(pred, target, torch.rand(6))


def test_focal_custom_is_focal_loss_of_a_dense_head(stock):
    pred, labels = scores(8, 4), torch.arange(8) % 5
    ours, theirs = [
        cls(num_classes=4, gamma=1.5, loss_weight=2.0)
        for cls in (FocalCustomLoss, stock.FocalCustomLoss)
    ]
    assert isinstance(ours, stock.FocalCustomLoss)
    for weight in (None, torch.rand(8).double()):
        assert_same_with_gradient(
            ours(pred, labels, weight, avg_factor=7),
            theirs(pred, labels, weight, avg_factor=7), pred)
    for name in ('get_cls_channels', 'custom_cls_channels',
                 'custom_activation', 'custom_accuracy'):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert one(4) == other(4) if callable(one) else one is other is True
    close(ours.get_activation(pred), theirs.get_activation(pred))
    for one in (labels, torch.full((8, ), 4)):
        close(
            ours.get_accuracy(pred, one)['acc_classes'],
            theirs.get_accuracy(pred, one)['acc_classes'].squeeze(),
            check_dtype=False)


def test_focal_custom_of_probabilities_and_by_softmax():
    """In mmdet, `activated` has no effect, and there is no softmax."""
    pred, labels = scores(8, 4), torch.arange(8) % 5
    loss = FocalCustomLoss(num_classes=4)
    activated = FocalCustomLoss(num_classes=4, activated=True)
    close(activated(pred.sigmoid(), labels), loss(pred, labels))
    close(activated.get_activation(pred.sigmoid()), loss.get_activation(pred))
    softmax = FocalCustomLoss(use_sigmoid=False, num_classes=3)
    assert softmax.get_cls_channels(3) == 4
    close(softmax.get_activation(pred), pred.softmax(1))
    close(
        softmax(pred, labels % 4),
        FocalLoss(use_sigmoid=False)(pred, labels % 4))


def test_smooth_focal_by_loops():
    """Soft labels of bins, with a weight for each sample, as CSL has them."""
    torch.manual_seed(0)
    pred, target = 3 * torch.randn(4, 7).double(), torch.rand(4, 7).double()
    weight = torch.tensor([1, 0, 0.5, 1]).double().unsqueeze(1)
    expected = 0.0
    for i in range(4):
        for x, t in zip(pred[i].tolist(), target[i].tolist()):
            expected += weight[i].item() * binary_focal(x, t, 1.5, 0.3)
    loss = SmoothFocalLoss(1.5, 0.3, 'mean', 2.0)
    got = loss(pred, target, weight=weight, avg_factor=3)
    assert got.item() == pytest.approx(2 * expected / 3, rel=1e-6)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize('alpha', [None, 0.3])
def test_derivative_of_soft_labels_is_that_of_the_formula(gamma, alpha):
    pred = torch.linspace(-40, 40, 161).double().unsqueeze(1)
    pred = pred.expand(161, 5).clone().requires_grad_()
    target = torch.tensor([0, 0.2, 0.5, 0.9, 1]).double().expand(161, 5)
    options = dict(gamma=gamma, alpha=alpha)
    expected = sigmoid_focal_loss(pred, target, **options)
    gradient, = torch.autograd.grad(expected.sum(), pred)
    loss, derivative = soft_focal_and_derivative(pred.detach(), target,
                                                 **options)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(derivative, gradient)


def test_smooth_focal_of_certain_bins():
    """mmrotate's gradient is NaN there for gamma below 1."""
    pred = torch.tensor([[200., -200.]], requires_grad=True)
    loss = SmoothFocalLoss(gamma=0.5)(pred, torch.tensor([[1., 0.]]))
    loss.backward()
    assert loss == 0 and torch.equal(pred.grad, torch.zeros(1, 2))


def asymmetric(prob, target, gamma_pos, gamma_neg, clip):
    """One class: the equations of the paper, weighted by a soft target."""
    shifted = max(prob - clip, 0)
    right = prob * target + (1 - shifted) * (1 - target)
    exponent = gamma_pos * target + gamma_neg * (1 - target)
    return -(1 - right)**exponent * math.log(right)


@pytest.mark.parametrize('use_sigmoid', [True, False])
@pytest.mark.parametrize('gamma_pos, gamma_neg, clip', [
    (0.0, 4.0, 0.05),
    (1.0, 2.5, 0.2),
    (0.5, 0.7, 0.0),
])
def test_asymmetric_by_loops(use_sigmoid, gamma_pos, gamma_neg, clip):
    pred = scores(5, 3)
    hard, soft = (torch.rand(5, 3) > 0.5).double(), torch.rand(5, 3).double()
    loss = AsymmetricLoss(
        gamma_pos, gamma_neg, clip, 'none', use_sigmoid=use_sigmoid)
    for target in (hard, soft):
        got = loss(pred, target)
        for n in range(5):
            powers = [math.exp(x) for x in pred[n].tolist()]
            for c, power in enumerate(powers):
                rest = 1 if use_sigmoid else sum(powers) - power
                expected = asymmetric(power / (power + rest), target[n,
                                                                     c].item(),
                                      gamma_pos, gamma_neg, clip)
                assert got[n, c].item() == pytest.approx(expected, rel=1e-9)


def test_asymmetric_of_confident_scores():
    """The bound eps in every precision, or none."""
    pred = torch.tensor([[-30.0, 30.0]])
    target = torch.tensor([[1.0, 0.0]])
    for dtype in (torch.float16, torch.float32, torch.float64):
        loss = AsymmetricLoss(reduction='none', clip=None)
        for value in loss(pred.to(dtype), target)[0].tolist():
            assert value == pytest.approx(-math.log(1e-8))
    free = AsymmetricLoss(reduction='none', clip=None, eps=0.0)
    close(free(pred, target), torch.tensor([[30.0, 30.0]]))
    assert free(20 * pred, target).isfinite().all()


@pytest.mark.parametrize('gammas', [(0.0, 4.0), (0.5, 0.5), (0.0, 0.0)])
@pytest.mark.parametrize('use_sigmoid', [True, False])
def test_asymmetric_gradient_is_finite(gammas, use_sigmoid):
    """Of decided classes, and of negatives below the margin."""
    pred = torch.tensor([[0.0, -200.0, 200.0, -4.0]], requires_grad=True)
    for target in (torch.eye(4)[:1], torch.eye(4)[2:3], torch.ones(1, 4)):
        loss = AsymmetricLoss(*gammas, use_sigmoid=use_sigmoid)(pred, target)
        grad, = torch.autograd.grad(loss, pred)
        assert loss.isfinite() and grad.isfinite().all()


@pytest.mark.parametrize('use_sigmoid', [True, False])
def test_asymmetric_of_labels(use_sigmoid):
    """One label each, also as a column; C is no class."""
    pred, labels = scores(4, 3), torch.tensor([0, 2, 3, 1])
    loss = AsymmetricLoss(use_sigmoid=use_sigmoid)
    expected = loss(pred, F.one_hot(labels, 4)[:, :3])
    close(loss(pred, labels), expected)
    close(loss(pred, labels.unsqueeze(1)), expected)


def test_asymmetric_softmax_keeps_an_ignored_class():
    """It is no element, but its logit is in the softmax of the others."""
    pred = scores(2, 3)
    target = torch.tensor([[1, 0, 255], [255, 255, 255]])
    loss = AsymmetricLoss(
        use_sigmoid=False, ignore_index=255, reduction='none')
    got = loss(pred, target)
    expected = loss(pred, target.where(target != 255, 0))
    close(got[0, :2], expected[0, :2])
    assert not got[0, 2] and not got[1].any()
    broken = pred.detach().clone()
    broken[1] = math.nan
    broken.requires_grad_()
    grads = torch.autograd.grad(loss(broken, target).sum(), broken)[0]
    close(grads, torch.autograd.grad(got.sum(), pred)[0])
    assert grads[0].all() and not grads[1].any()


@pytest.mark.parametrize('kwargs', [
    dict(clip=1.0),
    dict(gamma_neg=-1.0),
    dict(eps=1.0),
])
def test_asymmetric_refuses(kwargs):
    name, = kwargs
    with pytest.raises(ValueError, match=name):
        AsymmetricLoss(**kwargs)


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(activated=True),
    dict(class_weight=[0.5, 1.0, 2.0]),
    dict(alpha=[0.2, 0.3, 0.4]),
])
def test_label_minus_one_is_background(kwargs):
    """As of FCAF3D and ImVoxelNet, and for the operator that mmcv compiles."""
    loss = FocalLoss(reduction='none', **kwargs)
    torch.manual_seed(0)
    pred = torch.rand(4, 3)
    labels = torch.tensor([0, -1, 2, 3])
    background = labels.masked_fill(labels == -1, 3)
    torch.testing.assert_close(loss(pred, labels), loss(pred, background))
    assert labels[1] == -1
    ignored = loss(pred, labels, ignore_index=-1)
    assert not ignored[1].any() and ignored[3].any()
    with pytest.raises(ValueError, match='got -2'):
        loss(pred, labels - 1)
    with pytest.raises(ValueError, match='got -1'):
        FocalLoss(use_sigmoid=False)(pred, labels.clamp(max=2))
