"""Rotated boxes as Gaussians: distances, options, degenerate boxes, calls."""
import itertools
import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmlosses.checks.traps import find_traps
from mmlosses.checks.watch import LossWatch
from mmlosses.losses import (GDLoss, GDLoss_v1, KFLoss, ProbIoULoss, kf_iou,
                             prob_iou_loss)
from mmlosses.registry import MODELS

linalg = pytest.importorskip('scipy.linalg', reason='it is the oracle')

KINDS = ('gwd', 'kld', 'jd', 'kld_symmax', 'kld_symmin', 'bcd')


def random_boxes(number, seed=0):
    """Boxes of sides from 4 to 34, of which most overlap."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(number, 5, generator=generator).double()
    return torch.tensor([8., 8, 30, 30, 6]) * share + torch.tensor(
        [50., 50, 4, 4, -3])


def random_correlations(number, seed=0):
    """Means, deviations and correlations."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(number, 5, generator=generator).double()
    return torch.tensor([5., 5, 3, 3, 1.8]) * share + torch.tensor(
        [0., 0, 1, 1, -0.9])


def gaussian_of_box(box):
    """Mean and covariance, by a matrix of rotation."""
    x, y, width, height, angle = box.tolist()
    turn = np.array([[math.cos(angle), -math.sin(angle)],
                     [math.sin(angle), math.cos(angle)]])
    return np.array([x, y]), turn @ np.diag([width**2, height**2]) @ turn.T / 4


def gaussian_of_correlation(numbers):
    x, y, across, down, share = numbers.tolist()
    return np.array([x, y]), np.array([[across**2, share * across * down],
                                       [share * across * down, down**2]])


def kl(one, other, alpha=1.0):
    """Of N_0 from N_1, with the offset of the means divided by alpha."""
    (mean0, cov0), (mean1, cov1) = one, other
    offset = (mean1 - mean0) / alpha
    return 0.5 * (
        np.trace(np.linalg.inv(cov1) @ cov0) +
        offset @ np.linalg.inv(cov1) @ offset - 2 +
        np.linalg.slogdet(cov1)[1] - np.linalg.slogdet(cov0)[1])


def wasserstein(pred, target, alpha=1.0):
    """Its square, by square roots of matrices."""
    (mean0, cov0), (mean1, cov1) = pred, target
    root = linalg.sqrtm(cov0)
    both = linalg.sqrtm(root @ cov1 @ root)
    return (((mean0 - mean1)**2).sum() +
            alpha**2 * np.trace(cov0 + cov1 - 2 * both).real)


def bhattacharyya(pred, target, alpha=1.0):
    (mean0, cov0), (mean1, cov1) = pred, target
    both, offset = (cov0 + cov1) / 2, (mean0 - mean1) / alpha
    logs = [np.linalg.slogdet(x)[1] for x in (both, cov0, cov1)]
    return (offset @ np.linalg.inv(both) @ offset / 8 +
            (logs[0] - logs[1] / 2 - logs[2] / 2) / 2)


def distance(kind, pred, target, alpha):
    """D without its root, of the target from the prediction."""
    ways = kl(target, pred, alpha), kl(pred, target, alpha)
    return dict(
        gwd=wasserstein(pred, target, alpha),
        kld=ways[0],
        jd=sum(ways) / 2,
        kld_symmax=max(ways),
        kld_symmin=min(ways),
        bcd=bhattacharyya(pred, target, alpha))[kind]


def size_of(pred, target):
    """2 |covariances| ** (1 / 8)."""
    return 2 * (np.linalg.det(pred[1]) * np.linalg.det(target[1]))**0.125


FUNCTIONS = {'log1p': np.log1p, 'sqrt': np.sqrt, 'none': lambda x: x}
MAKE = dict(
    xy_wh_r=(random_boxes, gaussian_of_box),
    xy_stddev_pearson=(random_correlations, gaussian_of_correlation))


@pytest.mark.parametrize('representation', MAKE)
@pytest.mark.parametrize('kind', KINDS)
def test_every_option_by_matrices(kind, representation):
    make, gaussian = MAKE[representation]
    pred, target = make(9, 1), make(9, 2)
    pairs = [[gaussian(x) for x in pair] for pair in zip(pred, target)]
    for fun, tau, alpha, flag in itertools.product(FUNCTIONS, (0.0, 1.0, 2.5),
                                                   (1.0, 0.5), (True, False)):
        expected = []
        for one, other in pairs:
            value = distance(kind, one, other, alpha)
            if kind == 'gwd':
                value = value**0.5 / (size_of(one, other) if flag else 1)
            elif flag:
                value = value**0.5
            value = FUNCTIONS[fun](value)
            expected.append(1 - 1 / (tau + value) if tau else value)
        loss = GDLoss(
            kind,
            representation,
            fun,
            tau,
            alpha,
            reduction='none',
            **{'normalize' if kind == 'gwd' else 'sqrt': flag})
        torch.testing.assert_close(
            loss(pred, target),
            torch.tensor(expected).double(),
            rtol=1e-7,
            atol=1e-9)


@pytest.mark.parametrize('kind', ['gwd', 'kld', 'bcd'])
def test_first_form_by_matrices(kind):
    pred, target = random_boxes(9, 1), random_boxes(9, 2)
    for fun, tau in itertools.product(('sqrt', 'log1p', ''), (1.0, 2.0)):
        expected = []
        for pair in zip(pred, target):
            one, other = [gaussian_of_box(x) for x in pair]
            value = dict(
                gwd=wasserstein(one, other),
                kld=2 * kl(one, other),
                bcd=bhattacharyya(one, other))[kind]
            if kind == 'gwd' and fun == '':
                expected.append(math.log1p(value**0.5 / size_of(one, other)))
                continue
            if fun == 'sqrt':
                value = value**0.5
            elif fun == 'log1p' or kind == 'kld':
                value = math.log1p(value)
            expected.append(1 - 1 / (tau + value))
        got = GDLoss_v1(kind, fun, tau, reduction='none')(pred, target)
        torch.testing.assert_close(got, torch.tensor(expected).double())


def log_density(points, mean, cov):
    offset = points - mean
    return -0.5 * (
        np.einsum('ni,ij,nj->n', offset, np.linalg.inv(cov), offset) +
        np.linalg.slogdet(2 * math.pi * cov)[1])


def test_divergence_by_monte_carlo():
    """The mean of the log of the ratio of densities, over the targets."""
    random = np.random.default_rng(0)
    pred, target = random_boxes(3, 1), random_boxes(3, 2)
    got = GDLoss('kld', fun='none', sqrt=False, reduction='none')(pred, target)
    for value, one, other in zip(got, pred, target):
        one, other = gaussian_of_box(one), gaussian_of_box(other)
        points = random.multivariate_normal(*other, size=400_000)
        expected = log_density(points, *other) - log_density(points, *one)
        error = 5 * expected.std() / len(expected)**0.5
        assert value.item() == pytest.approx(expected.mean(), abs=error)


def test_prob_iou_by_quadrature():
    """The overlap of the roots of both densities is exp(-B)."""
    pred, target = random_boxes(5, 1), random_boxes(5, 2)
    axis = np.linspace(-150, 250, 1601)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    step = axis[1] - axis[0]
    for one, other in zip(pred, target):
        logs = 0
        for mean, cov in map(gaussian_of_box, (one, other)):
            logs = logs + log_density(grid, mean, cov / 3) / 2
        share = np.exp(logs).sum() * step**2
        pair = one[None], other[None]
        assert prob_iou_loss(*pair).item() == pytest.approx(
            (1 - share)**0.5, abs=1e-6)
        assert prob_iou_loss(
            *pair, mode='l2').item() == pytest.approx(
                -math.log(share), rel=1e-6)


def test_kalman_overlap_by_matrices():
    """The update of a Kalman filter, of two boxes with one centre."""
    pred, target = random_boxes(9, 1), random_boxes(9, 2)
    ious = []
    for one, other in zip(pred, target):
        (_, cov0), (_, cov1) = gaussian_of_box(one), gaussian_of_box(other)
        gain = cov0 @ np.linalg.inv(cov0 + cov1)
        areas = [
            4 * np.linalg.det(x)**0.5 for x in (cov0, cov1, cov0 - gain @ cov0)
        ]
        ious.append(areas[2] / (areas[0] + areas[1] - areas[2]))
    ious = torch.tensor(ious).double()
    torch.testing.assert_close(kf_iou(pred, target), ious)
    torch.testing.assert_close(
        kf_iou(pred, pred),
        torch.full((9, ), 1 / 3).double())
    deltas, goals = torch.randn(9, 5).double(), torch.randn(9, 5).double()
    error, beta = (deltas - goals)[:, :2].abs(), 1 / 9
    near = torch.where(error < beta, error**2 / beta / 2, error - beta / 2)
    for fun, expected in (('none', 1 - ious), ('ln', -(ious + 1e-6).log()),
                          ('exp', (1 - ious).exp() - 1)):
        got = KFLoss(
            fun, reduction='none')(
                deltas, goals, pred_decode=pred, targets_decode=target)
        torch.testing.assert_close(got, near.sum(dim=1) + expected)


def loss_of(kind, **kwargs):
    """A loss of two boxes, by its name here."""
    if kind == 'kfiou':
        loss = KFLoss(**kwargs)
        return lambda pred, target: loss(
            0 * pred, 0 * target, pred_decode=pred, targets_decode=target)
    if kind == 'probiou':
        return ProbIoULoss(**kwargs)
    if kind.startswith('v1'):
        return GDLoss_v1(kind[3:], **kwargs)
    return GDLoss(kind, **kwargs)


ALL = (*KINDS, 'v1 gwd', 'v1 kld', 'v1 bcd', 'probiou', 'kfiou')
every_kind = pytest.mark.parametrize('kind', ALL)


@every_kind
def test_conventions_of_the_angle(kind):
    """Angles of 'oc', 'le90' and 'le135' are names of the same boxes."""
    loss = loss_of(kind, reduction='none')
    pred, target = random_boxes(20, 1), random_boxes(20, 2)
    expected = loss(pred, target)
    half = torch.eye(5)[4] * math.pi
    swapped = pred[:, [0, 1, 3, 2, 4]] + half / 2
    for same in (pred + half, pred - half, swapped, swapped - half):
        torch.testing.assert_close(loss(same, target), expected)
    for same in (target + half, target[:, [0, 1, 3, 2, 4]] - half / 2):
        torch.testing.assert_close(loss(pred, same), expected)


@every_kind
def test_angle_is_periodic_at_the_border_of_a_convention(kind):
    """-89 degrees is 2 degrees from 89, and the gradient leads there."""
    degree = math.pi / 180
    box = torch.tensor([50, 40, 30, 10, 89 * degree], dtype=torch.float64)
    loss = loss_of(kind, reduction='none')
    values, gradients = [], []
    for angle in (-89, 91, 87):
        pred = box.clone()
        pred[4] = angle * degree
        pred = pred[None].requires_grad_()
        value = loss(pred, box[None])
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value.sum(), pred)[0][0, 4])
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], values[2])
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], -gradients[2])
    assert gradients[0] > 0


@every_kind
def test_unit_of_the_boxes_does_not_matter(kind):
    """mmrotate's W of 0.02 x 0.01 is 0.001, its KFLoss 2.1 (mmrotate#541)."""
    if kind in ('v1 gwd', ):
        pytest.skip('W has the unit of the boxes')
    loss = loss_of(kind, reduction='none')
    pred, target = random_boxes(20, 1), random_boxes(20, 2)
    expected = loss(pred, target)
    unit = torch.tensor([1e-3] * 4 + [1.])
    torch.testing.assert_close(loss(unit * pred, unit * target), expected)


@every_kind
def test_truth(kind):
    """The least value, and no gradient, also of thin boxes, in float32.

    mmrotate's loss of 1000 x 1 at 40 degrees is -0.008 for 'kld', 1 and with
    a NaN gradient for 'bcd', and has the gradient 331 in KFLoss.
    """
    boxes = torch.cat([
        random_boxes(20).float(),
        torch.tensor([[500., 500, 1000, 1, 0.7], [500, 500, 0.5, 2000, 2]])
    ])
    pred = boxes.clone().requires_grad_()
    loss = loss_of(kind, reduction='none')(pred, boxes)
    gradient, = torch.autograd.grad(loss.sum(), pred)
    least = 2 / 3 if kind == 'kfiou' else 0
    torch.testing.assert_close(
        loss, torch.full_like(loss, least), rtol=1e-6, atol=1e-6)
    assert gradient.abs().max() < 1e-3


@pytest.mark.parametrize('scale', [1e-4, 1.0, 1e4])
@every_kind
def test_gradients_are_finite(kind, scale):
    """mmrotate#204, #240, #326, mmyolo#836: NaN after some steps.

    Of boxes of no size, nearly the same, far apart, thin, or all of it. Stock
    is NaN for a side of 0, as the ReLU of its FCOS head gives it.
    """
    sides = [0., 1e-38, 1e-7, 1e-3, 1., 1000.]
    rows = [[x, 0, width, height, angle] for x in (0., 1e-6, 1e5)
            for width in sides for height in sides
            for angle in (0., 1e-20, 1e-7, math.pi / 2, 1e6)]
    pred = torch.tensor(rows)
    unit = torch.tensor([scale] * 4 + [1])
    targets = [[0, 0, 4., 2, 0], [0, 0, 1000, 1, 0.5], [0, 0, 0, 3, 1],
               [0, 0, 0, 0, 0]]
    for target in torch.tensor(targets):
        given = (pred * unit).requires_grad_()
        loss = loss_of(
            kind, reduction='none')(given, (target * unit).expand_as(given))
        gradient, = torch.autograd.grad(loss.sum(), given)
        assert loss.isfinite().all() and gradient.isfinite().all()


@every_kind
def test_gradients_in_half_precision(kind):
    """mmrotate#950: stock raises an error. Areas overflow in half."""
    pred = torch.tensor([[300., 300, 600, 500, 0.3]]).half().requires_grad_()
    target = torch.tensor([[310., 310, 620, 500, 0.25]]).half()
    loss = loss_of(kind)(pred, target)
    gradient, = torch.autograd.grad(loss, pred)
    expected = loss_of(kind)(pred.double(), target.double())
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    assert gradient.isfinite().all() and gradient.any()


@every_kind
def test_gradcheck(kind):
    pred, target = random_boxes(6, 1), random_boxes(6, 2)
    if kind == 'kfiou':  # of both inputs, since that of the deltas is known
        pred[:, :2] = target[:, :2]
    loss = loss_of(kind, reduction='none')
    inputs = pred.requires_grad_(), target.requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize('kind', [x for x in ALL if x != 'kfiou'])
def test_boxes_are_pulled_together(kind):
    """Also from far away, and about the angle."""
    pred = torch.tensor([[0., 0, 5, 9, 0.2]], requires_grad=True)
    target = torch.tensor([[15., 10, 12, 4, 1.0]])
    loss = loss_of(kind, **(dict(mode='l2') if kind == 'probiou' else {}))
    optimizer = torch.optim.Adam([pred], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 700)
    for _ in range(700):
        optimizer.zero_grad()
        loss(pred, target).backward()
        optimizer.step()
        schedule.step()
    assert loss(pred, target) < 0.05
    assert ProbIoULoss()(pred, target) < 0.05


def test_call_of_retina_head():
    """Anchors with weights (N, 5); the targets of negatives are zeros."""
    pred, target = random_boxes(12, 1), random_boxes(12, 2)
    weight = torch.zeros(12, 5).double()
    weight[:4] = 1
    target[4:] = 0
    for name in ('gwd', 'kld'):
        loss = MODELS.build(dict(type='mmlosses.GDLoss', loss_type=name))
        expected = GDLoss(name, reduction='sum')(pred[:4], target[:4]) / 4
        torch.testing.assert_close(
            loss(pred, target, weight, avg_factor=4), expected)
        # Stock multiplies by 0: mmrotate#301.
        pred[5] = math.nan
        given = pred.clone().requires_grad_()
        value = loss(given, target, weight, avg_factor=4)
        gradient, = torch.autograd.grad(value, given)
        assert value.isfinite() and not gradient[4:].any()
        pred[5] = 1


def test_call_of_a_head_with_decoded_boxes():
    """``loss_bbox_type='kfiou'``; without it, the head passes no boxes."""
    deltas, goals = torch.randn(6, 5), torch.randn(6, 5)
    pred, target = random_boxes(6, 1).float(), random_boxes(6, 2).float()
    weight = torch.ones(6, 5)
    loss = KFLoss(fun='ln', loss_weight=5.0)
    got = loss(
        deltas,
        goals,
        weight,
        pred_decode=pred,
        targets_decode=target,
        avg_factor=6,
        reduction_override=None)
    expected = 5 * (-(kf_iou(pred, target) + 1e-6).log()).mean()
    near = torch.nn.functional.smooth_l1_loss(
        deltas[:, :2], goals[:, :2], reduction='sum', beta=1 / 9)
    torch.testing.assert_close(got, expected + 5 * near / 6)
    # By position, as stock has them.
    torch.testing.assert_close(
        loss(deltas, goals, weight, 6, pred, target, 'mean'), got)
    with pytest.raises(ValueError, match="loss_bbox_type='kfiou'"):
        loss(deltas, goals, weight, avg_factor=6)
    with pytest.raises(ValueError, match='dx and dy for each box'):
        loss(deltas[:5], goals[:5], pred_decode=pred, targets_decode=target)
    with pytest.raises(TypeError, match='target'):
        loss(deltas, goals.long(), pred_decode=pred, targets_decode=target)


def test_call_of_fcos_head():
    """Weights are centerness, of which ``avg_factor`` is the sum.

    mmrotate's GDLoss_v1 ignores both.
    """
    pred, target = random_boxes(5, 1), random_boxes(5, 2)
    centerness = torch.rand(5).double()
    elements = GDLoss_v1('kld', 'log1p', 1, reduction='none')(pred, target)
    got = GDLoss_v1('kld', 'log1p',
                    1)(pred,
                       target,
                       weight=centerness,
                       avg_factor=centerness.sum())
    torch.testing.assert_close(got, (centerness * elements).sum() /
                               centerness.sum())
    assert elements.shape == (5, )


def test_options_that_do_not_exist():
    for kwargs in (dict(loss_type='wasserstein'),
                   dict(loss_type='kld', fun='log'),
                   dict(loss_type='kld', representation='xyxy')):
        with pytest.raises(ValueError, match='must be'):
            GDLoss(**kwargs)
    with pytest.raises(ValueError, match='rotated boxes must have'):
        GDLoss('kld')(torch.rand(3, 4), torch.rand(3, 4))


def test_check_config_finds_deltas_that_are_not_decoded():
    """As those of Rotated RetinaNet without ``reg_decoded_bbox=True``."""
    model = nn.Module()
    model.bbox_head = nn.Module()
    model.bbox_head.loss_bbox = GDLoss('kld')
    model.bbox_head.reg_decoded_bbox = False
    deltas = torch.tensor([[0.1, -0.2, 0.3, -0.4, 0.1]])
    for target, number in ((random_boxes(3).float(), 0), (deltas, 1)):
        watch = LossWatch(model)
        pred = (target + 0.1).requires_grad_()
        total = model.bbox_head.loss_bbox(pred, target)
        total.backward(retain_graph=True)
        found = find_traps(model, watch, Config(dict(model=dict())))
        assert len(found) == number
    assert 'targets with a side < 0, such as [0.1, -0.2' in str(found[0])
    assert 'write reg_decoded_bbox=True into the head' in str(found[0])
