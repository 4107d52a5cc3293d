"""Rotated boxes and sets of points: areas, values, gradients."""
import math

import pytest
import torch

from mmlosses.core.kernels.hulls import (area_of_hull,
                                         area_of_hull_and_derivative,
                                         giou_and_derivative, giou_of_points)
from mmlosses.core.kernels.rotated import iou_and_derivative, iou_of_pairs
from mmlosses.core.polygons import convex_hull, overlap, signed_area
from mmlosses.core.rotated import corners_of
from mmlosses.losses import (BCConvexGIoULoss, ConvexGIoULoss,
                             H2RBoxConsistencyLoss, RotatedCIoULoss,
                             RotatedDIoULoss, RotatedGIoULoss, RotatedIoULoss,
                             SpatialBorderLoss, rotated_iou)
from mmlosses.registry import MODELS

geometry = pytest.importorskip('shapely.geometry', reason='it is the oracle')

BOX = [5., 4., 4., 2., 0.3]
#: What is the same, touches, is within the other, parallel or degenerate.
SPECIAL = [
    (BOX, BOX),
    (BOX, [5., 4., 4., 2., 0.3 + math.pi]),
    (BOX, [5., 4., 2., 4., 0.3 + math.pi / 2]),
    ([0., 0., 2., 2., 0.], [2., 0., 2., 2., 0.]),  # a common side
    ([0., 0., 2., 2., 0.], [2., 2., 2., 2., 0.]),  # a common corner
    ([0., 0., 2., 2., 0.], [2., 0.5, 2., 3., 0.]),  # a part of a side
    ([0., 0., 2., 2., 0.], [1., 0., 2., 2., 0.]),  # on one line
    ([0., 0., 2., 2., 0.], [0., 0., 1., 2., 0.]),  # two common sides
    ([0., 0., 2., 2., 0.], [0.5, 0.5, 1., 1., 0.]),  # within a corner
    ([0., 0., 2., 2., 0.], [0., 0., 2**0.5, 2**0.5, math.pi / 4]),
    ([0., 0., 2., 2., 0.], [0., 0., 8**0.5, 8**0.5, math.pi / 4]),
    ([0., 0., 4., 4., 0.7], [0., 0., 1., 2., 0.2]),  # nested
    ([0., 0., 2., 2., 0.], [0., 0., 2., 2., math.pi / 4]),  # an octagon
    ([0., 0., 2., 2., 0.], [9., 9., 2., 2., 1.]),  # apart
    ([0., 0., 50., 0.02, 0.1], [0., 0., 50., 0.02, 0.1001]),  # thin
    ([0., 0., 0., 2., 0.], [0., 0., 2., 2., 0.5]),  # a line
    ([0., 0., 2., 2., 0.], [0., 0., 0., 0., 0.5]),  # a point
    ([0., 0., 0., 0., 0.], [0., 0., 0., 0., 0.]),
    ([0., 0., 0., 0., 0.], [3., 0., 0., 0., 1.]),
]


def random_pairs(number):
    """Boxes of sides from 1 to 4, of which most overlap."""
    torch.manual_seed(0)
    return [
        torch.cat([
            3 * torch.rand(number, 2), 1 + 3 * torch.rand(number, 2),
            8 * torch.rand(number, 1) - 4
        ], 1).double() for _ in range(2)
    ]


def all_pairs():
    special = [torch.tensor(x).double() for x in zip(*SPECIAL)]
    return [torch.cat(x) for x in zip(random_pairs(100), special)]


def polygon(box):
    """A box as a polygon of shapely, by sines and cosines of its own."""
    x, y, width, height, angle = [float(number) for number in box]
    cos, sin = math.cos(angle), math.sin(angle)
    return geometry.Polygon([(x + a * width / 2 * cos - b * height / 2 * sin,
                              y + a * width / 2 * sin + b * height / 2 * cos)
                             for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def ious(pred, target):
    """The IoU, and union and hull, of each pair by shapely; 0 of nothing."""
    for one, other in zip(pred, target):
        one, other = polygon(one), polygon(other)
        shared = one.intersection(other).area
        union = one.area + other.area - shared
        hull = one.union(other).convex_hull.area
        yield shared / union if union else 0, union, hull


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-9),
                                              (torch.float32, 5e-6)])
@pytest.mark.parametrize('origin', [0, 1000])
def test_iou_of_shapely(dtype, tolerance, origin):
    pred, target = all_pairs()
    move = torch.tensor([origin, origin, 0, 0, 0])
    expected = torch.tensor([x[0] for x in ious(pred, target)],
                            dtype=torch.float64)
    got = rotated_iou((pred + move).to(dtype), (target + move).to(dtype))
    if origin and dtype == torch.float32:
        tolerance = 1e-3  # the coordinates are rounded
        got, expected = [x[:100] for x in (got, expected)]
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=tolerance)


def test_box_far_from_zero_has_the_iou_1_with_itself():
    box = torch.tensor([[1005., 1004., 4., 2., 0.3]]).requires_grad_()
    iou = rotated_iou(box, box.detach())
    gradient, = torch.autograd.grad(iou.sum(), box)
    assert iou == 1 and not gradient.any()


@pytest.mark.openmmlab
def test_mmcv_loses_corners_of_a_box_far_from_zero():
    """The vertices of the overlap, before its compiled operator sorts them."""
    mmcv = pytest.importorskip('mmcv.ops.diff_iou_rotated')
    corners = mmcv.box2corners(torch.tensor([[[1005., 1004., 4., 2., 0.3]]]))
    vertices, found = mmcv.build_vertices(
        corners, corners, *mmcv.box_in_box(corners, corners),
        *mmcv.box_intersection(corners, corners))
    shared = geometry.MultiPoint(vertices[found].tolist()).convex_hull.area
    assert shared / (16 - shared) == pytest.approx(1 / 3, abs=1e-4)


def test_giou_of_shapely():
    pred, target = all_pairs()
    pred, target = pred[:-4], target[:-4]  # those with an area
    got = RotatedGIoULoss(reduction='none', eps=1e-12)(pred, target)
    expected = [
        2 - iou - union / hull for iou, union, hull in ious(pred, target)
    ]
    torch.testing.assert_close(
        got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


def test_penalties_of_shapely():
    """The diagonal is that of the bounds of both, turned back; v by loops."""
    affinity = pytest.importorskip('shapely.affinity')
    pred, target = all_pairs()
    pred, target = pred[:-4], target[:-4]
    expected = []
    for one, other, (iou, *_) in zip(pred.tolist(), target.tolist(),
                                     ious(pred, target)):
        both = polygon(one).union(polygon(other))
        turned = affinity.rotate(both, -other[4], (0, 0), use_radians=True)
        left, low, right, high = turned.bounds
        distance = math.dist(one[:2], other[:2])**2 / ((right - left)**2 +
                                                       (high - low)**2)
        v, turn = 0, one[4] - other[4]
        for share, (width, height) in ((math.cos(turn)**2, one[2:4]),
                                       (math.sin(turn)**2, one[3:1:-1])):
            v += share * 4 / math.pi**2 * (math.atan(other[2] / other[3]) -
                                           math.atan(width / height))**2
        alpha = v / (1 - iou + v) if iou > 0.5 and v else 0
        expected.append([1 - iou + distance, 1 - iou + distance + alpha * v])
    expected = torch.tensor(expected, dtype=torch.float64)
    for loss, column in zip((RotatedDIoULoss, RotatedCIoULoss), expected.T):
        got = loss(reduction='none', eps=1e-12)(pred, target)
        torch.testing.assert_close(got, column, rtol=0, atol=1e-9)


def test_iou_by_monte_carlo():
    """Neither polygons nor corners: random points that are in both boxes."""
    torch.manual_seed(1)
    points = 12 * torch.rand(400_000, 2).double() - 4

    def contains(box):
        across, down = (points - box[:2]).unbind(1)
        cos, sin = box[4].cos(), box[4].sin()
        return (((across * cos + down * sin).abs() < box[2] / 2) &
                ((down * cos - across * sin).abs() < box[3] / 2))

    for pred, target in zip(*[x[:6] for x in random_pairs(6)]):
        one, other = contains(pred), contains(target)
        expected = (one & other).sum() / (one | other).sum()
        assert rotated_iou(pred, target).item() == pytest.approx(
            expected.item(), abs=0.01)


def test_gradients():
    pred, target = random_pairs(20)
    assert torch.autograd.gradcheck(
        rotated_iou, (pred.requires_grad_(), target.requires_grad_()))
    for kind in (RotatedGIoULoss, RotatedDIoULoss):
        loss = kind(reduction='none')
        assert torch.autograd.gradcheck(loss, (pred, target))


def test_gradient_of_ciou_is_that_of_constant_alpha():
    """Below an IoU of 0.5, where alpha is 0, and above it."""
    pred, target = random_pairs(40)
    pred = (target + 0.2 * (pred - target)).requires_grad_()
    ciou, diou, iou = [
        kind(reduction='none', **kwargs)(pred, target)
        for kind, kwargs in ((RotatedCIoULoss, {}), (RotatedDIoULoss, {}),
                             (RotatedIoULoss, dict(mode='linear')))
    ]
    _, _, width, height, angle = (pred - target * torch.eye(5)[4]).unbind(1)
    angles = [torch.atan(width / height), torch.atan(height / width)]
    errors = [(torch.atan(target[:, 2] / target[:, 3]) - x)**2 for x in angles]
    v = 4 / math.pi**2 * (
        angle.cos()**2 * errors[0] + angle.sin()**2 * errors[1])
    alpha = ((iou < 0.5) * v / (iou + v)).detach()
    assert (alpha > 0).any() and (alpha == 0).any()
    torch.testing.assert_close(ciou, diou + alpha * v)
    expected, = torch.autograd.grad((diou + alpha * v).sum(), pred)
    got, = torch.autograd.grad(ciou.sum(), pred)
    torch.testing.assert_close(got, expected)


def test_derivative_by_hand_is_that_of_the_formula():
    """Also on top of each other, where it is the mean of both sides."""
    pred, target = all_pairs()
    pred[5, 2] = -1
    pred.requires_grad_()
    expected = iou_of_pairs(pred, target, 1e-6)
    gradient, = torch.autograd.grad(expected.sum(), pred)
    iou, derivative = iou_and_derivative(pred.detach(), target, 1e-6)
    torch.testing.assert_close(iou, expected.detach())
    # From outside, the formula's gradient is 0 on a common side.
    outside = [100 + i for i in (3, 5, 15)]
    assert not gradient[outside].any()
    gradient[outside] = derivative[outside]
    torch.testing.assert_close(derivative, gradient, rtol=1e-6, atol=1e-8)
    # Toward the target, of the side 2, at the union 8: half of 2 / 8.
    torch.testing.assert_close(derivative[103, 0].item(), 1 / 8)


@pytest.mark.parametrize('scale', [1e-4, 1.0, 1e4])
@pytest.mark.parametrize('kwargs', [
    dict(type=RotatedIoULoss),
    dict(type=RotatedIoULoss, mode='linear'),
    dict(type=RotatedGIoULoss),
    dict(type=RotatedDIoULoss),
    dict(type=RotatedCIoULoss),
])
def test_gradients_are_finite_and_bounded(kwargs, scale):
    """mmrotate#204, #240, mmyolo#836: NaN after some steps of training.

    Also for angles that are almost the same, and sides almost parallel.
    """
    pred, target = [x.float() for x in all_pairs()]
    turns = [0, 1e-45, 1e-38, 1e-30, 1e-20, 1e-8, 1e-7, 1e-4]
    turns += [math.pi / 2, math.pi, 1e6]
    near = torch.tensor(BOX).repeat(len(turns), 1)
    turned = near + torch.tensor(turns).unsqueeze(1) * torch.eye(5)[4]
    flat, tiny = near.clone(), near.clone()
    flat[:, 4], tiny[:, 4] = 0, torch.tensor(turns)
    pred, target = [
        torch.cat(x) for x in ((pred, turned, tiny), (target, near, flat))
    ]
    unit = torch.tensor([scale] * 4 + [1])
    pred, target = (pred * unit).requires_grad_(), target * unit
    loss = MODELS.build(dict(kwargs, reduction='none'))(pred, target)
    gradient, = torch.autograd.grad(loss.sum(), pred)
    assert torch.isfinite(loss).all() and torch.isfinite(gradient).all()
    if kwargs.get('mode') == 'linear':
        # Of boxes with sides of at least 1, by their unit.
        assert (gradient[:100] * unit).abs().max() < 10


@pytest.mark.parametrize(
    'kind',
    [RotatedIoULoss, RotatedGIoULoss, RotatedDIoULoss, RotatedCIoULoss])
def test_conventions_of_the_angle(kind):
    """Angles of 'oc', 'le90' and 'le135' are names of the same boxes."""
    loss = kind(reduction='none')
    pred, target = random_pairs(20)
    pred[10:] = target[10:] + 0.1 * (pred - target)[10:]
    expected = loss(pred, target)
    half = torch.eye(5)[4] * math.pi
    swapped = pred[:, [0, 1, 3, 2, 4]] + half / 2
    for same in (pred + half, pred - half, swapped, swapped - half):
        torch.testing.assert_close(loss(same, target), expected)
    for same in (target + half, target[:, [0, 1, 3, 2, 4]] - half / 2):
        torch.testing.assert_close(loss(pred, same), expected)
    if kind is RotatedIoULoss:
        torch.testing.assert_close(loss(target, pred), expected)


def test_upright_boxes_have_the_iou_of_upright_boxes():
    pred, target = random_pairs(20)
    pred[:, 4] = target[:, 4] = 0

    def corners(boxes):
        centre, half = boxes[:, :2], boxes[:, 2:4] / 2
        return torch.cat([centre - half, centre + half], dim=1)

    for name in ('IoULoss', 'DIoULoss', 'CIoULoss'):
        turned, upright = [
            MODELS.build(dict(type=x, reduction='none'))
            for x in (f'Rotated{name}', name)
        ]
        torch.testing.assert_close(
            turned(pred, target), upright(corners(pred), corners(target)))


@pytest.mark.parametrize('kind', [RotatedGIoULoss, RotatedDIoULoss])
def test_boxes_are_moved_together(kind):
    """Also from far away, where the IoU has no gradient."""
    centre = torch.zeros(1, 2, requires_grad=True)
    shape = torch.tensor([[6., 3., 0.4]])
    target = torch.tensor([[29., 15., 6., 3., 1.]])
    optimizer = torch.optim.Adam([centre], lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        pred = torch.cat([centre, shape], dim=1)
        kind()(pred, target).backward()
        optimizer.step()
    assert (pred - target)[:, :2].abs().max() < 0.5


def point_sets(number, grid):
    """Nine points on or beside a grid, and a box in either order."""
    torch.manual_seed(3)
    pred = 4 * torch.rand(number, 18).double()
    target = corners_of(random_pairs(number)[0])
    if grid:
        pred, target = (2 * pred).round() / 2, target.round()
        target[::3] = torch.tensor([0., 0., 3., 0., 3., 2., 0., 2.]).double()
        pred[::3, :8] = target[::3]  # equal points, sides on each other
    target[1::2] = target[1::2].reshape(-1, 4, 2).flip(1).flatten(1)
    return pred, target


def shapes(pred, target):
    for points, corners in zip(pred, target):
        corners = geometry.Polygon(corners.reshape(-1, 2).tolist())
        points = geometry.MultiPoint(points.reshape(-1, 2).tolist())
        if corners.is_valid and corners.area:
            yield points.convex_hull, corners


@pytest.mark.parametrize('grid', [False, True])
def test_hull_and_convex_giou_of_shapely(grid):
    pred, target = point_sets(60, grid)
    hull = signed_area(*convex_hull(pred[:, ::2].T, pred[:, 1::2].T))
    got = ConvexGIoULoss(reduction='none')(pred, target)
    number = 0
    for index, (points, corners) in enumerate(zip(pred, target)):
        for one, other in shapes([points], [corners]):
            shared = one.intersection(other).area
            union = one.area + other.area - shared
            both = one.union(other).convex_hull.area
            assert hull[index].item() == pytest.approx(one.area)
            assert got[index].item() == pytest.approx(
                2 - shared / union - union / both, abs=1e-9)
            number += 1
    assert number > 40


def test_derivatives_of_hulls_by_hand_are_those_of_the_formulas():
    pred, target = point_sets(60, False)
    target[::2] = target[::2].unflatten(1, (4, 2)).flip(1).flatten(1)
    pred.requires_grad_()
    for formula, fast, inputs in ((giou_of_points, giou_and_derivative,
                                   (pred, target)),
                                  (area_of_hull, area_of_hull_and_derivative,
                                   (pred, ))):
        expected = formula(*inputs)
        gradient, = torch.autograd.grad(expected.sum(), pred)
        got, derivative = fast(*[x.detach() for x in inputs])
        torch.testing.assert_close(got, expected.detach())
        torch.testing.assert_close(derivative, gradient)
    # On a grid, edges lie on each other and the derivatives may differ.
    pred, target = point_sets(60, True)
    torch.testing.assert_close(
        giou_and_derivative(pred, target)[0], giou_of_points(pred, target))


@pytest.mark.parametrize('scale', [1e-4, 1.0, 1e4])
@pytest.mark.parametrize('kind', [ConvexGIoULoss, BCConvexGIoULoss])
def test_gradients_of_degenerate_points_are_finite(kind, scale):
    """All the same, on a line, on the corners, and a target without area."""
    corners = corners_of(torch.tensor([BOX]))
    points = torch.cat([corners, corners, corners[:, :2]], 1)
    rows = [
        points, points[:, [0, 1] * 9], points[:, [0, 1, 2, 3] * 5][:, :18],
        points[:, [0, 0] * 9], points * torch.tensor([1, 0] * 9),
        points * torch.tensor([0, 1] * 9), 0 * points, points + 1e5
    ]
    targets = [corners, corners[:, [0, 1, 2, 3] * 2], 0 * corners]
    for target in targets:
        pred = (scale * torch.cat(rows)).requires_grad_()
        loss = kind(reduction='none')(pred, scale * target.repeat(8, 1))
        gradient, = torch.autograd.grad(loss.sum(), pred)
        assert loss.isfinite().all() and gradient.isfinite().all()
        if kind is ConvexGIoULoss:
            assert (loss >= -1e-6).all() and (loss <= 2 + 1e-6).all()


def test_overlap_of_polygons_of_any_form():
    """An L within a square, and a star across it."""
    x = torch.tensor([0., 3, 3, 1, 1, 0]).double()
    y = torch.tensor([0., 0, 1, 1, 3, 3]).double()
    star_x = torch.tensor([0.5, 4, 1, 2, -1]).double()
    star_y = torch.tensor([0.2, 2, 1.2, 4, 2]).double()
    one = geometry.Polygon(list(zip(x.tolist(), y.tolist())))
    other = geometry.Polygon(list(zip(star_x.tolist(), star_y.tolist())))
    assert one.is_valid and other.is_valid
    for first, second in (((x, y), (star_x, star_y)), ((star_x, star_y), (x,
                                                                          y))):
        shared = overlap(*[axis.unsqueeze(1) for axis in (*first, *second)])
        assert shared.item() == pytest.approx(one.intersection(other).area)


def test_perfect_points():
    """The corners, with points between them and within."""
    target = corners_of(torch.tensor([BOX, [0., 0., 9., 1., 2.]]))
    corners = target.reshape(2, 4, 2)
    between = (corners + corners.roll(1, 1)) / 2
    pred = torch.cat([corners, between, corners.mean(1, True)], 1).flatten(1)
    torch.testing.assert_close(
        ConvexGIoULoss(reduction='none')(pred, target),
        torch.zeros(2),
        rtol=0,
        atol=1e-5)


def test_gradient_of_points_is_that_of_the_call():
    """mmrotate's has that of 'mean', without avg_factor, and scales none."""
    pred, target = point_sets(7, False)
    pred.requires_grad_()
    for loss in (ConvexGIoULoss(), BCConvexGIoULoss()):
        mean, = torch.autograd.grad(loss(pred, target), pred)
        assert mean.any(dim=1).all()
        for factor, call in ((3, dict()), (7 / 2, dict(avg_factor=2)),
                             (7, dict(reduction_override='sum'))):
            value = loss(pred, target, **call)
            value = 3 * value if factor == 3 else value
            other, = torch.autograd.grad(value, pred)
            torch.testing.assert_close(other, factor * mean)
    # A point within the hull cannot change it.
    pred = pred.detach()
    pred[:, 16:] = pred[:, :16].reshape(7, 8, 2).mean(1)
    gradient, = torch.autograd.grad(
        ConvexGIoULoss()(pred.requires_grad_(), target), pred)
    assert not gradient[:, 16:].any() and gradient[:, :16].any()


def test_bc_convex_giou_by_loops():
    pred, target = point_sets(8, False)
    got = BCConvexGIoULoss(reduction='none')(pred, target)
    giou = 1 - ConvexGIoULoss(reduction='none')(pred, target)
    for index in range(8):
        known = []
        for row in (pred, target):
            points = row[index].reshape(-1, 2).tolist()
            known.append([(sum(p[0] for p in points) / len(points),
                           sum(p[1] for p in points) / len(points))] + [
                               choose(points, key=lambda p: p[axis])
                               for choose in (min, max) for axis in (0, 1)
                           ])
        errors = [
            abs(a - b) for one, other in zip(*known)
            for a, b in zip(one, other)
        ]
        near = sum(e * e / 2 if e < 1 else e - 0.5 for e in errors)
        corners = target[index].reshape(4, 2)
        sides = sorted([
            math.dist(corners[i].tolist(), corners[i + 1].tolist())
            for i in (0, 1)
        ])
        share = math.exp(-sides[1] / sides[0] / 4)
        expected = share * near + 1 - (1 - 2 * share) * giou[index].item()
        assert got[index].item() == pytest.approx(expected)


def test_spatial_border_by_loops():
    pred, target = point_sets(30, False)
    got = SpatialBorderLoss(reduction='none')(pred, target)
    some = 0
    for value, points, corners in zip(got, pred, target):
        box = geometry.Polygon(corners.reshape(-1, 2).tolist())
        centre = box.centroid
        out = [
            math.dist(p, (centre.x, centre.y))
            for p in points.reshape(-1, 2).tolist()
            # Its border is as broad as mmrotate's, 0.01 by a side.
            if not box.buffer(-1e-9).contains(geometry.Point(p))
        ]
        if out:
            assert value.item() == pytest.approx(0.2 * sum(out) / len(out))
        some += len(out)
    assert 30 < some < 260


def test_border_loss_of_equal_boxes_does_not_depend_on_their_number():
    """mmrotate's divides by their number twice, and has weights of 0 or 1."""
    pred, target = point_sets(1, False)
    loss = SpatialBorderLoss(loss_weight=0.05)
    one, weight = loss(pts=pred, gt_bboxes=target), torch.full((5, ), 0.5)
    five = loss(pred.repeat(5, 1), target.repeat(5, 1), weight, None)
    torch.testing.assert_close(five, one / 2)
    weight = torch.tensor([1.0, 0.0])
    pred = torch.cat([pred, pred + 100])
    target = target.repeat(2, 1)
    torch.testing.assert_close(loss(pred, target, weight, avg_factor=1), one)


def test_consistency_by_loops():
    """The sides are swapped for each box on its own."""
    pred, target = random_pairs(12)
    pred[::2] = target[::2, [0, 1, 3, 2, 4]] + 0.1
    pred[::2, 4] += math.pi / 2
    loss = H2RBoxConsistencyLoss(
        center_loss_cfg=dict(type='mmlosses.L1Loss', loss_weight=0.3),
        reduction='none')
    expected = []
    for (x, y, w, h, a), (x1, y1, w1, h1, a1) in zip(pred.tolist(),
                                                     target.tolist()):
        forms = []
        for width, height, turn in ((w, h, math.sin(a - a1)),
                                    (h, w, math.cos(a - a1))):
            shared = min(width, w1) * min(height, h1)
            union = width * height + w1 * h1 - shared
            forms.append(-math.log(shared / union) + abs(turn))
        expected.append(0.3 * (abs(x - x1) + abs(y - y1)) + min(forms))
    expected = torch.tensor(expected).double()
    torch.testing.assert_close(
        loss(pred, target), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        loss(pred, target, reduction_override='mean'),
        expected.mean(),
        rtol=1e-4,
        atol=1e-6)


@pytest.mark.openmmlab
def test_consistency_takes_losses_of_a_stock_config():
    pytest.importorskip('mmdet.models')
    pred, target = random_pairs(5)
    weight = torch.rand(5).double()
    stock = H2RBoxConsistencyLoss(
        center_loss_cfg=dict(type='mmdet.L1Loss', loss_weight=0.0),
        shape_loss_cfg=dict(type='mmdet.IoULoss', loss_weight=1.0),
        angle_loss_cfg=dict(type='mmdet.L1Loss', loss_weight=1.0),
        loss_weight=0.4)
    torch.testing.assert_close(
        stock(pred, target, weight=weight, avg_factor=3.0),
        H2RBoxConsistencyLoss(loss_weight=0.4)(pred, target, weight, 3.0),
        rtol=1e-5,
        atol=1e-6)
