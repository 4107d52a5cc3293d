"""Boxes in 3D, bins of angles, sets of points and banks of kernels."""
import math

import pytest
import torch
from cases.boxes_3d import Bank, random_corners
from cases.rotated import random_boxes
from torch import nn

from mmlosses.core.kernels.rotated import (overlap_and_derivative,
                                           overlap_of_pairs)
from mmlosses.losses import (AxisAlignedIoULoss, ChamferDistance, MultiBinLoss,
                             PAConvRegularizationLoss, RotatedIoU3DLoss,
                             axis_aligned_iou, rotated_iou_3d)


def interval(low, high, other_low, other_high):
    """The length that two intervals share."""
    return max(min(high, other_high) - max(low, other_low), 0)


def corner_pairs():
    """Random boxes; the same, nested, apart, touching, flat and empty."""
    torch.manual_seed(0)
    special = torch.tensor([
        [[0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2]],
        [[0, 0, 0, 2, 2, 2], [0.5, 0.5, 0.5, 1, 1, 1]],
        [[0, 0, 0, 2, 2, 2], [0, 0, 3, 2, 2, 4]],
        [[0, 0, 0, 2, 2, 2], [0, 0, 2, 2, 2, 4]],
        [[0, 0, 0, 2, 2, 0], [0, 0, 0, 2, 2, 2]],
        [[0, 0, 0, 0, 0, 0], [0, 0, 0, 2, 2, 2]],
        [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
    ])
    random = torch.stack([random_corners(50), random_corners(50)], dim=1)
    return torch.cat([random, special]).double().unbind(1)


def test_axis_aligned_iou_by_loops():
    pred, target = corner_pairs()
    for got, p, t in zip(
            axis_aligned_iou(pred, target), pred.tolist(), target.tolist()):
        shared = math.prod(
            [interval(p[i], p[i + 3], t[i], t[i + 3]) for i in range(3)])
        union = sum(
            [math.prod([x[i + 3] - x[i] for i in range(3)])
             for x in (p, t)]) - shared
        assert got.item() == pytest.approx(shared / union if union else 0)


@pytest.mark.parametrize('side', [1e-4, 0.005, 1.0, 1000.0])
def test_the_unit_of_boxes_does_not_matter(side):
    """mmdet3d's loss of a cube of 0.005 with itself is 0.875."""
    box = side * torch.tensor([[0.0, 0, 0, 1, 1, 1]])
    moved = box + 0.5 * side * torch.tensor([1.0, 0, 0, 1, 0, 0])
    loss = AxisAlignedIoULoss()
    assert loss(box, box) == 0
    assert loss(moved, box).item() == pytest.approx(2 / 3, rel=1e-4)


def test_half_precision_of_large_boxes():
    """In mmdet3d's, the volume is infinite and the loss NaN."""
    box = torch.tensor([[0, 0, 0, 60, 60, 60]]).half()
    assert AxisAlignedIoULoss()(box, box) == 0


def test_calls_of_axis_aligned_heads():
    """VoteNet has a batch of samples, FCAF3D positives with a factor."""
    torch.manual_seed(0)
    pred, target = [random_corners(8).reshape(2, 4, 6) for _ in range(2)]
    weight = torch.rand(2, 4)
    weight[0] = 0
    each = AxisAlignedIoULoss(reduction='none')(pred, target)
    vote = AxisAlignedIoULoss(reduction='sum', loss_weight=10 / 3)
    torch.testing.assert_close(
        vote(pred, target, weight=weight), 10 / 3 * (each * weight).sum())
    fcaf = AxisAlignedIoULoss()
    pred, target = pred.flatten(0, 1), target.flatten(0, 1)
    torch.testing.assert_close(
        fcaf(pred, target, weight=weight.flatten(), avg_factor=1.7),
        (each * weight).sum() / 1.7)


def turned_pairs():
    """Random boxes; the same, over and beside each other, flat and empty."""
    torch.manual_seed(0)
    box = [1, 2, 3, 4, 2, 3, 0.3]
    special = torch.tensor([
        [box, box],
        [box, [1, 2, 3, 4, 2, 3, 0.3 + math.pi]],
        [box, [1, 2, 3, 2, 4, 3, 0.3 + math.pi / 2]],
        [box, [1, 2, 4.5, 4, 2, 3, 0.9]],
        [box, [1, 2, 9, 4, 2, 3, 0.9]],
        [box, [9, 2, 3, 4, 2, 3, 0.9]],
        [box, [1, 2, 3, 1, 1, 1, 0]],
        [box, [1, 2, 3, 4, 0, 3, 0]],
        [box, [1, 2, 3, 4, 2, 0, 0]],
        [[0] * 7, box],
        [[0] * 7, [0] * 7],
    ])
    random = torch.stack([random_boxes(100, 3), random_boxes(100, 3)], dim=1)
    return torch.cat([random, special]).double().unbind(1)


def polygon(geometry, x, y, width, length, yaw):
    cos, sin = math.cos(yaw), math.sin(yaw)
    return geometry.Polygon([(x + a * width / 2 * cos - b * length / 2 * sin,
                              y + a * width / 2 * sin + b * length / 2 * cos)
                             for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


@pytest.mark.parametrize('origin', [0, 1000])
def test_rotated_iou_3d_of_shapely(origin):
    """The overlap seen from above, times that of the heights."""
    geometry = pytest.importorskip('shapely.geometry')
    pred, target = turned_pairs()
    move = torch.tensor([origin] * 3 + [0] * 4)
    got = rotated_iou_3d(pred + move, target + move)
    for value, p, t in zip(got.tolist(), pred.tolist(), target.tolist()):
        above = [polygon(geometry, *x[:2], *x[3:5], x[6]) for x in (p, t)]
        ends = [x[2] + side * x[5] / 2 for x in (p, t) for side in (-1, 1)]
        shared = above[0].intersection(above[1]).area * interval(*ends)
        union = sum([math.prod(x[3:6]) for x in (p, t)]) - shared
        expected = shared / union if union else 0
        assert value == pytest.approx(expected, abs=1e-9)


def sorted_vertices(vertices, valid):
    """What mmcv compiles: the corners of the overlap, around their mean."""
    rows = []
    for points, mask in zip(vertices[0].detach(), valid[0]):
        kept = mask.nonzero().flatten()
        nothing = int((~mask[8:]).nonzero()[0]) + 8  # its coordinates are 0
        around = points[kept] - points[kept].mean(0)
        order = kept[torch.atan2(*around.T).argsort(descending=True)].tolist()
        order = order[:8] + order[:1] if len(order) > 2 else []
        rows.append(order + [nothing] * (9 - len(order)))
    return torch.tensor(rows).unsqueeze(0)


@pytest.fixture
def mmcv(monkeypatch):
    """Its overlap, with the sorting that needs a GPU replaced."""
    try:
        from mmcv.ops import diff_iou_rotated
    except ImportError as error:
        pytest.skip(f'needs mmcv: {error}')
    monkeypatch.setattr(diff_iou_rotated, 'sort_indices', sorted_vertices)
    return diff_iou_rotated


@pytest.mark.openmmlab
def test_ordinary_boxes_match_mmcv(mmcv):
    pred, target = [x[:100].float() for x in turned_pairs()]
    pred.requires_grad_()
    got = rotated_iou_3d(pred, target)
    expected = mmcv.diff_iou_rotated_3d(pred[None], target[None])[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    gradients = [
        torch.autograd.grad(x.sum(), pred)[0] for x in (got, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.openmmlab
def test_mmcv_loses_corners_far_from_zero(mmcv):
    box = torch.tensor([[1005., 1004., 3., 4., 2., 3., 0.3]])
    assert mmcv.diff_iou_rotated_3d(box[None], box[None]) < 0.5
    assert rotated_iou_3d(box, box) == 1


@pytest.mark.openmmlab
def test_boxes_of_size_0_are_nan_in_mmcv(mmcv):
    box = torch.zeros(1, 7)
    assert mmcv.diff_iou_rotated_3d(box[None], box[None]).isnan()
    assert RotatedIoU3DLoss()(box, box) == 1


def test_an_upright_box_is_one_of_corners():
    pred, target = corner_pairs()
    boxes = [
        torch.cat([(x[:, :3] + x[:, 3:]) / 2, x[:, 3:] - x[:, :3],
                   torch.zeros(len(x), 1)], 1) for x in (pred, target)
    ]
    torch.testing.assert_close(
        rotated_iou_3d(*boxes), axis_aligned_iou(pred, target))


def test_box_far_from_zero_has_the_iou_1_with_itself():
    """mmcv's loses the corners of its overlap by rounding."""
    box = torch.tensor([[1005., 1004., 1003., 4., 2., 3., 0.3]])
    pred = box.clone().requires_grad_()
    loss = RotatedIoU3DLoss()(pred, box)
    gradient, = torch.autograd.grad(loss, pred)
    assert loss == 0 and not gradient.any()


def test_derivative_of_the_overlap():
    """By hand, it is that of autograd; a side below 0 has none."""
    pred, target = [x[:100, [0, 1, 3, 4, 6]] for x in turned_pairs()]
    pred[:5, 2] = -1
    pred.requires_grad_()
    expected = overlap_of_pairs(pred, target)
    gradient, = torch.autograd.grad(expected.sum(), pred)
    got, derivative = overlap_and_derivative(pred.detach(), target)
    torch.testing.assert_close(got, expected.detach())
    torch.testing.assert_close(derivative, gradient)


def test_gradients_of_turned_boxes():
    torch.manual_seed(0)
    pred, target = [random_boxes(6, 3).double() for _ in range(2)]
    pred.requires_grad_()
    loss = RotatedIoU3DLoss(reduction='sum')
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (pred, ))
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), (pred, ))


def test_weights_of_turned_boxes():
    """FCAF3D passes (N,), ImVoxelNet too; (N, 7) is averaged."""
    pred, target = turned_pairs()
    weight = torch.rand(len(pred), 7).double()
    loss = RotatedIoU3DLoss(reduction='none')
    torch.testing.assert_close(
        loss(pred, target, weight), loss(pred, target, weight.mean(1)))
    nothing = torch.zeros(len(pred))
    assert RotatedIoU3DLoss()(pred, target, nothing, avg_factor=1.0) == 0
    with pytest.raises(ValueError, match=r'7 numbers \(x, y, z, w, l, h, yaw'):
        loss(pred[:, :6], target[:, :6])


def multibin_by_loops(pred, target, bins):
    """The text of the formula, for lists of numbers."""
    entropy = offsets = count = 0
    for row, truth in zip(pred, target):
        for b in range(bins):
            no, yes = row[2 * b:2 * b + 2]
            chosen = yes if truth[b] == 1 else no
            entropy += math.log(math.exp(no) + math.exp(yes)) - chosen
            if truth[b] == 1:
                sin, cos = row[2 * bins + 2 * b:2 * bins + 2 * b + 2]
                length = math.hypot(sin, cos)
                offsets += abs(sin / length - math.sin(truth[bins + b]))
                offsets += abs(cos / length - math.cos(truth[bins + b]))
                count += 1
    return entropy / (bins * len(pred)) + offsets / max(count, 1)


def directions(number, bins):
    torch.manual_seed(0)
    inside = (torch.rand(number, bins) > 0.6).double()
    offset = torch.rand(number, bins).double() - 0.5
    pred = torch.randn(number, 4 * bins).double()
    return pred, torch.cat([inside, offset], dim=1)


@pytest.mark.parametrize('bins', [1, 4])
def test_multibin_by_loops(bins):
    pred, target = directions(9, bins)
    expected = multibin_by_loops(pred.tolist(), target.tolist(), bins)
    loss = MultiBinLoss(loss_weight=0.1)
    for args in ((), (bins, )):
        got = loss(pred, target, *args)
        assert got.item() == pytest.approx(0.1 * expected)
    # The mean of the elements is the loss.
    each = loss(pred, target, bins, 'none')
    torch.testing.assert_close(each.mean(), got)


def test_all_bins_learn():
    """mmdet3d's returns after the first one."""
    pred, target = directions(9, 4)
    pred.requires_grad_()
    gradient, = torch.autograd.grad(MultiBinLoss()(pred, target), pred)
    assert gradient.any(dim=0).all()


def test_no_angle_in_any_bin():
    """mmdet3d's divides by zero without an angle in the first bin."""
    pred, target = directions(5, 4)
    target[:, :4] = 0
    expected = multibin_by_loops(pred.tolist(), target.tolist(), 4)
    assert MultiBinLoss()(pred, target).item() == pytest.approx(expected)
    assert MultiBinLoss()(pred[:0], target[:0]) == 0


def test_angles_of_weight_0_leave_the_mean_of_the_others():
    pred, target = directions(8, 4)
    weight = (torch.arange(8) < 6).double()
    pred[6:] = math.nan
    expected = multibin_by_loops(pred[:6].tolist(), target[:6].tolist(), 4)
    got = MultiBinLoss()(pred, target, weight=weight, avg_factor=6)
    assert got.item() == pytest.approx(expected)


@pytest.mark.parametrize('shapes, bins, text', [
    (((3, 16), (3, 8)), 3, 'num_dir_bins .* 3 and'),
    (((3, 16), (3, 4)), None, r'pred must .* \(3, 16\) and \(3, 4\)'),
    (((3, 6), (3, 3)), None, r'pred must .* \(3, 6\) and \(3, 3\)'),
])
def test_shapes_of_bins(shapes, bins, text):
    with pytest.raises(ValueError, match=text):
        MultiBinLoss()(*[torch.zeros(shape) for shape in shapes], bins)


def chamfer_by_loops(source, target, mode, target_weight=None):
    """The distance of each point to the nearest of the other set."""

    def distance(one, other):
        total = 0
        for a, b in zip(one, other):
            d = abs(a - b)
            near = mode == 'smooth_l1' and d < 1
            total += {
                'l2': d * d,
                'l1': d
            }.get(mode, d * d / 2 if near else d - 0.5)
        return total

    kept = [
        point for i, point in enumerate(target)
        if target_weight is None or target_weight[i]
    ]
    return ([min([distance(p, q) for q in kept]) for p in source],
            [min([distance(p, q) for p in source]) for q in target])


def two_sets(batch=2, number=5, other=7):
    torch.manual_seed(0)
    return (2 * torch.randn(batch, number, 3).double(),
            2 * torch.randn(batch, other, 3).double())


@pytest.mark.parametrize('mode', ['l2', 'l1', 'smooth_l1'])
def test_chamfer_by_loops(mode):
    source, target = two_sets()
    loss = ChamferDistance(
        mode, 'none', loss_src_weight=3.0, loss_dst_weight=5.0)
    one, other, nearest, reverse = loss(source, target, return_indices=True)
    expected = [
        chamfer_by_loops(*x, mode)
        for x in zip(source.tolist(), target.tolist())
    ]
    torch.testing.assert_close(
        one, 3 * torch.tensor([x[0] for x in expected]).double())
    torch.testing.assert_close(
        other, 5 * torch.tensor([x[1] for x in expected]).double())
    assert nearest.shape == one.shape and reverse.shape == other.shape
    sample = torch.arange(2).unsqueeze(1)
    l2 = (source - target[sample, nearest]).square().sum(-1)
    if mode == 'l2':
        torch.testing.assert_close(3 * l2, one)
    for reduction in ('sum', 'mean'):
        got = loss(source, target, 1.0, 1.0, reduction)
        reduced = [getattr(x, reduction)() for x in (one, other)]
        torch.testing.assert_close(list(got), reduced)


@pytest.mark.parametrize('mode', ['l2', 'l1', 'smooth_l1'])
def test_gradients_of_both_sets(mode):
    sets = [x.requires_grad_() for x in two_sets()]
    loss = ChamferDistance(mode, loss_src_weight=3.0)
    assert torch.autograd.gradcheck(lambda *x: sum(loss(*x)), sets)
    assert torch.autograd.gradgradcheck(lambda *x: sum(loss(*x)), sets)


def test_votes_of_a_head():
    """VoteNet: one vote for each seed, up to three targets, most of which
    are the same; the weight is that of the seed."""
    torch.manual_seed(0)
    votes, targets = torch.randn(6, 1, 3), torch.randn(6, 3, 3)
    weight = torch.tensor([0.25, 0, 0.25, 0.25, 0, 0.25])
    votes[1] = math.nan
    loss = ChamferDistance('l1', 'none', loss_dst_weight=10.0)
    distance = loss(votes, targets, dst_weight=weight.view(6, 1))[1]
    assert distance.shape == (6, 3)
    expected = 10 * (votes - targets).abs().sum(-1) * weight.view(6, 1)
    kept = weight > 0
    torch.testing.assert_close(distance[kept], expected[kept])
    assert not distance[~kept].any()


def test_padding_is_no_target():
    """VoteNet fills up its centres with zeros, of weight 0: in mmdet3d's a
    proposal at 0 has no loss, and others are drawn there."""
    source, target = two_sets()
    target[:, 3:] = 0
    weight = (torch.arange(7) < 3).double().expand(2, 7)
    loss = ChamferDistance('l2', 'none')
    one, other = loss(source, target, 1.0, weight)
    for index in range(2):
        expected, _ = chamfer_by_loops(source[index].tolist(),
                                       target[index].tolist(), 'l2',
                                       weight[index])
        torch.testing.assert_close(one[index], torch.tensor(expected).double())
    cut = loss(source, target[:, :3])
    torch.testing.assert_close(one, cut[0])
    torch.testing.assert_close(other[:, :3], cut[1])
    assert not other[:, 3:].any()
    # NaN as padding is the same, and a sample may be nothing but padding.
    target[:, 3:] = math.nan
    again = loss(source, target, 1.0, weight)
    torch.testing.assert_close(again, (one, other))
    one, other = loss(source, target, 1.0, 0 * weight)
    assert not one.any() and not other.any()
    # A weight of 0 for the whole term does not make its points padding.
    torch.testing.assert_close(
        loss(source, target[:, :3], 1.0, 0.0)[0], cut[0])


def test_a_source_of_weight_0_may_be_the_nearest():
    """VoteNet's weight is 0 for proposals far from all objects, which the
    objects must find."""
    source, target = two_sets()
    weight = torch.zeros(2, 5).double()
    loss = ChamferDistance(reduction='none')
    one, other = loss(source, target, weight)
    assert not one.any()
    torch.testing.assert_close(other, loss(source, target)[1])
    source[:, 2] = math.nan
    rest = source[:, [0, 1, 3, 4]]
    torch.testing.assert_close(
        loss(source, target, weight)[1],
        loss(rest, target)[1])


@pytest.mark.parametrize('number, other', [(0, 3), (3, 0), (0, 0)])
def test_empty_sets(number, other):
    """A scene without an object; mmdet3d's raises."""
    source, target = two_sets(2, number, other)
    source.requires_grad_()
    one, two, nearest, reverse = ChamferDistance()(
        source, target, return_indices=True)
    assert one == 0 and two == 0
    assert nearest.shape == (2, number) and reverse.shape == (2, other)
    (one + two).backward()
    assert not source.grad.any()


def test_memory_of_many_points():
    """Beside the sets, the backward pass keeps nothing of (B, N, M)."""
    kept = []

    def pack(x):
        kept.append(x.numel())
        return x

    source = torch.randn(2, 200, 3).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        sum(ChamferDistance()(source, torch.randn(2, 100, 3))).backward()
    assert max(kept) < 2 * 200 * 100


@pytest.mark.parametrize('call, text', [
    ((torch.zeros(2, 3, 3), torch.zeros(1, 3, 3)), 'source must have'),
    ((torch.zeros(2, 3, 3), torch.zeros(2, 3, 2)), 'source must have'),
    ((torch.zeros(2, 3, 3), torch.zeros(2, 4, 3), torch.ones(
        2, 4)), 'src_weight of shape'),
    ((torch.zeros(2, 3, 3), torch.zeros(2, 4, 3), 1.0, -1.0), 'dst_weight'),
])
def test_misshaped_sets(call, text):
    with pytest.raises(ValueError, match=text):
        ChamferDistance()(*call)


def correlation_by_loops(bank, number):
    """Squared cosines of all pairs, from the columns of the bank."""
    columns = len(bank[0]) // number
    kernels = [[row[k * columns + i] for row in bank for i in range(columns)]
               for k in range(number)]
    total = 0
    for i in range(number):
        for j in range(i):
            dot = sum([a * b for a, b in zip(kernels[i], kernels[j])])
            total += (dot / math.hypot(*kernels[i]) /
                      math.hypot(*kernels[j]))**2
    return total


def test_weight_banks_by_loops():
    """The layers of a model, which differ in size."""
    torch.manual_seed(0)
    layers = [
        Bank(nn.Parameter(torch.randn(channels, number * 5)), number)
        for channels, number in ((3, 4), (6, 8), (2, 3))
    ]
    model = nn.Sequential(nn.Linear(2, 2), *layers)
    expected = torch.tensor([
        correlation_by_loops(x.weight_bank.tolist(), x.num_kernels)
        for x in layers
    ])
    loss = PAConvRegularizationLoss(reduction='sum', loss_weight=10.0)
    got = loss(model.modules())
    torch.testing.assert_close(got, 10 * expected.sum())
    torch.testing.assert_close(loss(model.modules(), 'none'), 10 * expected)
    torch.testing.assert_close(
        loss(model.modules(), 'mean'), 10 * expected.mean())
    got.backward()
    assert all([x.weight_bank.grad.any() for x in layers])


def test_kernels_of_zeros_and_no_bank():
    """mmdet3d's is NaN for the first, and has a message about stacking for
    the second."""
    bank = torch.zeros(2, 6).requires_grad_()
    loss = PAConvRegularizationLoss()
    value = loss([Bank(bank)])
    value.backward()
    assert value == 0 and bank.grad.isfinite().all()
    with pytest.raises(ValueError, match='no module has a weight_bank'):
        loss(nn.Linear(2, 2).modules())


def test_kernels_that_learn_become_orthogonal():
    torch.manual_seed(0)
    layer = Bank(nn.Parameter(torch.randn(4, 12)))
    optimizer = torch.optim.Adam([layer.weight_bank], 0.05)
    loss = PAConvRegularizationLoss()
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(layer.modules())
        value.backward()
        optimizer.step()
    assert value < 1e-4
