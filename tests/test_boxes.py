"""Box losses: values, invariances and convergence."""
import copy
import math
import random

import pytest
import torch
from box_oracles import (ORACLES, TERMS, aspect, bounded_iou_loss, centre, iou,
                         sides)
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import needs_ranks, run_ranks

from mmlosses import losses
from mmlosses.losses import (AlphaIoULoss, BoundedIoULoss, CIoULoss, DIoULoss,
                             EIoULoss, ExtendedIoULoss, GIoULoss, InnerIoULoss,
                             IoULoss, MPDIoULoss, NWDLoss, ShapeIoULoss,
                             SIoULoss, WIoULoss)
from mmlosses.losses.boxes.modes import PENALTIES
from mmlosses.registry import MODELS

# Every loss, with every mode and several values of each argument.
FORMS = [
    *[(IoULoss, dict(mode=mode)) for mode in ('log', 'linear', 'square')],
    (GIoULoss, {}),
    (ExtendedIoULoss, {}),
    (ExtendedIoULoss, dict(smooth_point=0.7)),
    (DIoULoss, {}),
    (CIoULoss, {}),
    (EIoULoss, {}),
    (EIoULoss, dict(focal_gamma=0.5)),
    (SIoULoss, {}),
    (SIoULoss, dict(theta=2.0)),
    (WIoULoss, dict(version=1)),
    (WIoULoss, dict(version=2, gamma=0.7)),
    (WIoULoss, dict(version=3)),
    (WIoULoss, dict(version=3, alpha=1.6, delta=4.0)),
    *[(AlphaIoULoss, dict(mode=mode)) for mode in PENALTIES],
    (AlphaIoULoss, dict(mode='ciou', alpha=0.5)),
    (MPDIoULoss, {}),
    (MPDIoULoss, dict(img_shape=(480, 640))),
    *[(InnerIoULoss, dict(mode=mode)) for mode in PENALTIES],
    (InnerIoULoss, dict(ratio=1.3)),
    (ShapeIoULoss, {}),
    (ShapeIoULoss, dict(scale=1.5)),
    (NWDLoss, {}),
    (NWDLoss, dict(constant=50.0)),
]


def name_of(form):
    loss, kwargs = form
    return '-'.join(
        [loss.__name__, *[str(value) for value in kwargs.values()]])


def build(form, **more):
    """In evaluation mode, so that the running mean stays fixed."""
    loss, kwargs = form
    return loss(**kwargs, **more).eval()


def forms(*, without=lambda loss, kwargs: False):
    chosen = [form for form in FORMS if not without(*form)]
    return pytest.mark.parametrize('form', chosen, ids=name_of)


def needs_overlap(loss, kwargs):
    """Without overlap, the formula has no gradient."""
    return (loss is IoULoss or kwargs.get('mode') == 'iou'
            or 'focal_gamma' in kwargs
            or loss is InnerIoULoss and 'mode' not in kwargs)


def random_pairs(number, seed=0):
    """Boxes within 100 pixels: disjoint, nested, crossing, close."""
    choose = random.Random(seed)

    def box():
        x, y = choose.uniform(0, 60), choose.uniform(0, 60)
        return [x, y, x + choose.uniform(2, 40), y + choose.uniform(2, 40)]

    pairs = [(box(), box()) for _ in range(number)]
    for _ in range(number):
        target = box()
        pairs.append(([z + choose.uniform(-0.8, 0.8) for z in target], target))
    pairs.append(([10., 10., 20., 20.], [12., 12., 15., 17.]))  # nested
    pairs.append(([0., 0., 10., 10.], [10., 0., 20., 10.]))  # touching
    return pairs


def tensors(pairs, dtype=torch.float64):
    pred, target = zip(*pairs)
    return (torch.tensor(pred, dtype=dtype, requires_grad=True),
            torch.tensor(target, dtype=dtype))


@forms()
def test_value_matches_paper(form):
    pairs = random_pairs(40)
    got = build(form, reduction='none', eps=1e-9).double()(*tensors(pairs))
    oracle = ORACLES[form[0].__name__]
    expected = [oracle(p, t, p, **form[1]) for p, t in pairs]
    if form[0] is IoULoss and form[1]['mode'] == 'log':
        expected = [min(x, -math.log(1e-9)) if x > 13 else x for x in expected]
        apart = [x > 13.8 for x in expected]
        expected = [
            20.7232658 if far else x for far, x in zip(apart, expected)
        ]
    torch.testing.assert_close(
        got.detach(),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-6,
        atol=1e-8)


@forms()
def test_gradient_matches_paper(form):
    """Also where the paper detaches factors."""
    pairs = random_pairs(15)[:-1]  # touching boxes have no derivative
    pred, target = tensors(pairs)
    build(form, reduction='sum', eps=1e-9).double()(pred, target).backward()
    oracle, step = ORACLES[form[0].__name__], 1e-6
    for (p, t), gradient in zip(pairs, pred.grad):
        for axis in range(4):
            up, down = list(p), list(p)
            up[axis] += step
            down[axis] -= step
            expected = (oracle(up, t, p, **form[1]) -
                        oracle(down, t, p, **form[1])) / (2 * step)
            assert gradient[axis].item() == pytest.approx(
                expected, rel=1e-4, abs=1e-8)


@forms()
def test_perfect_boxes(form):
    """Of any size and shape, also far from the origin."""
    sides = torch.tensor([0.01, 0.5, 3, 10, 77.7, 600])
    size = torch.cartesian_prod(sides, sides)
    for origin in (0.0, 123.4):
        target = torch.cat([size * 0 + origin, origin + size], dim=-1)
        pred = target.clone().requires_grad_()
        loss = build(form, reduction='none')(pred, target)
        torch.testing.assert_close(loss, torch.zeros(36), rtol=0, atol=1e-6)
        gradient, = torch.autograd.grad(loss.sum(), pred)
        # Relative to the box side, which normalises the gradient.
        scaled = gradient * size.repeat(1, 2).clamp(max=1)
        torch.testing.assert_close(
            scaled, torch.zeros(36, 4), rtol=0, atol=1e-4)


@forms()
def test_translation_invariance(form):
    pred, target = tensors(random_pairs(20))
    loss = build(form, reduction='none').double()
    torch.testing.assert_close(
        loss(pred + 31.25, target + 31.25), loss(pred, target))


def in_order(boxes):
    """Swap corners where x2 < x1 or y2 < y1."""
    return boxes.reshape(-1, 2, 2).sort(dim=1).values.flatten(1)


def in_unit(form, factor):
    """The form for boxes that are given in another unit."""
    loss, kwargs = form
    kwargs = dict(kwargs)
    if loss is NWDLoss:
        kwargs['constant'] = factor * kwargs.get('constant', 12.8)
    if 'img_shape' in kwargs:
        kwargs['img_shape'] = [factor * side for side in kwargs['img_shape']]
    return loss, kwargs


def assert_unit_free(form, pred, target, factor, **tolerance):
    """Value and gradient times the unit do not depend on the unit."""
    results = []
    for scale in (1.0, factor):
        scaled = (scale * pred.detach()).requires_grad_()
        loss = build(in_unit(form, scale), reduction='none').to(pred.dtype)
        value = loss(scaled, scale * target)
        gradient, = torch.autograd.grad(value.sum(), scaled)
        results.append((value.detach(), scale * gradient))
    for one, other in zip(*results):
        torch.testing.assert_close(other, one, **tolerance)


@forms()
@pytest.mark.parametrize('factor', [1e-6, 0.1, 7.0, 1e6])
def test_scale_invariance(form, factor):
    pairs = random_pairs(20)[:-1]  # touching boxes have no derivative
    assert_unit_free(form, *tensors(pairs), factor)
    low = [([x / 100 for x in p], [x / 100 for x in t]) for p, t in pairs]
    assert_unit_free(
        form, *tensors(low, torch.float32), factor, rtol=1e-3, atol=1e-4)


eighths = st.integers(-400, 400).map(lambda number: number / 8)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(*[eighths] * 8), min_size=1, max_size=5),
    st.integers(-27, 20))
@forms()
def test_scale_invariance_of_any_boxes(form, rows, exponent):
    """Also of size 0, with swapped corners, the same, touching, nested.

    A power of 2 rounds no coordinate. The boxes have up to 100 pixels, at
    most a millionth of that in units of the image, or a million times it.
    """
    pred, target = torch.tensor(rows).split(4, dim=1)
    assert_unit_free(
        form, pred, in_order(target), 2.0**exponent, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('loss, expected', [
    (IoULoss, math.log(2)),
    (GIoULoss, 1 / 2),
    (DIoULoss, 1 / 2 + 1 / 32),
    (EIoULoss, 1 / 2 + 1 / 32 + 1 / 4),
])
@pytest.mark.parametrize('side', [1e-6, 1e-4, 1.0, 1e6])
def test_half_a_box_in_any_unit(loss, expected, side):
    """The prediction is the left half of a square."""
    target = torch.tensor([[0.0, 0.0, side, side]])
    pred = torch.tensor([[0.0, 0.0, side / 2, side]])
    assert loss()(pred, target).item() == pytest.approx(expected, rel=1e-5)


@forms()
def test_rotation_and_mirror_invariance(form):
    pred, target = tensors(random_pairs(20))
    loss = build(form, reduction='none').double()
    expected = loss(pred, target)
    transposed = [1, 0, 3, 2]
    if 'img_shape' not in form[1]:
        torch.testing.assert_close(
            loss(pred[:, transposed], target[:, transposed]), expected)
    mirrored = loss(-pred[:, [2, 3, 0, 1]], -target[:, [2, 3, 0, 1]])
    if form[0] is ExtendedIoULoss:  # not so for boxes apart, by definition
        apart = IoULoss('linear', reduction='none')(pred, target) > 1 - 1e-5
        mirrored = torch.where(apart, expected, mirrored)
    torch.testing.assert_close(mirrored, expected)


TARGET = torch.tensor([100.0, 80.0, 160.0, 120.0])
STEPS = torch.linspace(0, 1, 200).unsqueeze(1)


def worsening_paths():
    """Paths of boxes that start on the target and get steadily worse."""
    centre = (TARGET[:2] + TARGET[2:]) / 2
    half = (TARGET[2:] - TARGET[:2]) / 2
    for degrees in range(0, 360, 15):
        angle = math.radians(degrees)
        direction = torch.tensor([math.cos(angle), math.sin(angle)] * 2)
        yield f'away at {degrees}', TARGET + 200 * STEPS * direction
    for name, factor in (('grows', 1 + 5 * STEPS), ('shrinks',
                                                    1 - 0.99 * STEPS)):
        yield name, torch.cat([centre - half * factor, centre + half * factor],
                              -1)
    for name, axes in (('wider', [1, 0]), ('taller', [0, 1])):
        for kind, change in (('grows', 5), ('shrinks', -0.99)):
            size = half * (1 + change * STEPS * torch.tensor(axes))
            yield f'{name} {kind}', torch.cat([centre - size, centre + size],
                                              -1)


def largest_decrease(loss, path, jumps=False):
    """The largest decrease of the loss along a path of worse boxes."""
    target = TARGET.expand(len(path), 4)
    climbs = loss(path, target, reduction_override='none').diff()
    if jumps:
        # By design, CIoU drops the aspect term below IoU 0.5.
        error = IoULoss('linear', reduction='none')(path, target)
        climbs = climbs[((error[:-1] < 0.5) == (error[1:] < 0.5))]
    return -climbs.min().item()


def is_focal(loss, kwargs):
    """Focal weights make poor boxes cheap; only the gradient counts."""
    return 'focal_gamma' in kwargs


def is_reweighted(loss, kwargs):
    """WIoU version 3 down-weights hopeless boxes likewise."""
    return is_focal(loss, kwargs) or kwargs.get('version') == 3


@forms(without=is_reweighted)
def test_worse_boxes_cost_more(form):
    jumps = 'ciou' in name_of(form).lower()
    for name, path in worsening_paths():
        assert largest_decrease(build(form), path, jumps) <= 1e-5, name


@forms()
def test_gradient_points_to_target(form):
    """Also where the value of a reweighted loss falls."""
    loss = build(form, reduction='sum')
    for name, path in worsening_paths():
        if not name.startswith('away'):
            continue
        path = path[1:60].clone().requires_grad_()  # still overlapping
        target = TARGET.expand(len(path), 4)
        gradient, = torch.autograd.grad(loss(path, target), path)
        away = (path - target).detach()
        assert ((gradient * away).sum(dim=1) > -1e-6).all(), name


def remaining_error(loss, start, target, steps=600):
    """Gradient descent on anchor-decoded boxes; the remaining error."""
    size, centre = start[:,
                         2:] - start[:, :2], (start[:, :2] + start[:, 2:]) / 2
    deltas = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([deltas], lr=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 - step / steps)**2)

    def decode():
        middle = centre + deltas[:, :2] * size
        half = size * deltas[:, 2:].exp() / 2
        return torch.cat([middle - half, middle + half], dim=-1)

    for _ in range(steps):
        optimizer.zero_grad()
        loss(decode(), target, reduction_override='sum').backward()
        optimizer.step()
        schedule.step()
    return IoULoss('linear', reduction='none')(decode().detach(), target)


def starting_boxes(overlapping, number=100):
    """Boxes of half to twice the target's sides, overlapping or not."""
    torch.manual_seed(0)
    target_size = 20 + 20 * torch.rand(number, 2)
    size = target_size * 2**(2 * torch.rand(number, 2) - 1)
    reach = (size + target_size) * (0.25 if overlapping else 1.0)
    centre = 100 * torch.rand(number, 2)
    moved = centre + (2 * torch.rand(number, 2) - 1) * reach
    return (torch.cat([moved - size / 2, moved + size / 2], dim=-1),
            torch.cat([centre - target_size / 2, centre + target_size / 2],
                      dim=-1))


@pytest.mark.slow
@forms()
def test_gradient_descent_reaches_target(form):
    pred, target = starting_boxes(needs_overlap(*form))
    # The cube of a penalty far below 1 converges slowly.
    slow = form == (AlphaIoULoss, dict(mode='giou'))
    error = remaining_error(build(form), pred, target, 2000 if slow else 600)
    assert (error < 0.05).all(), f'{(error >= 0.05).sum()} starts are lost'


@forms()
@pytest.mark.parametrize('pred, target', [
    ([5, 5, 5, 5], [5, 5, 5, 5]),
    ([0, 0, 0, 0], [0, 0, 0, 0]),
    ([0, 0, 0, 0], [10, 10, 20, 20]),
    ([12, 12, 12, 12], [10, 10, 20, 20]),
    ([12, 10, 12, 20], [10, 10, 20, 20]),
    ([10, 10, 20, 20], [15, 15, 15, 15]),
    ([10, 10, 20, 20], [10, 15, 20, 15]),
    ([20, 20, 10, 10], [10, 10, 20, 20]),
    ([20, 10, 10, 20], [10, 10, 20, 20]),
    ([10, 10, 20, 20], [20, 20, 10, 10]),
    ([20, 20, 10, 10], [20, 20, 10, 10]),
    ([0, 0, 1e4, 1e4], [9999, 9999, 1e4, 1e4]),
    ([0, 0, 1e-4, 1e4], [0, 0, 1e4, 1e-4]),
])
def test_degenerate_boxes_are_finite(form, pred, target):
    box = [0.0, 0.0, 10.0, 10.0]  # only most targets must be in order
    pred = torch.tensor([pred, box], dtype=torch.float32, requires_grad=True)
    target = torch.tensor([target, box], dtype=torch.float32)
    loss = build(form)(pred, target)
    gradient, = torch.autograd.grad(loss, pred)
    assert torch.isfinite(loss) and loss >= -1e-6
    assert torch.isfinite(gradient).all() and gradient.abs().max() < 1e5


@forms()
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_at_image_scale(form, dtype):
    """With boxes that half precision represents exactly."""
    target = torch.tensor([[0., 0, 600, 600], [512, 256, 1120, 864]])
    pred = target + torch.tensor([16., 8, 16, 8])
    expected = build(form, reduction='none')(pred, target)
    half = pred.to(dtype).requires_grad_()
    got = build(form, reduction='none')(half, target.to(dtype))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected)
    got.sum().backward()
    assert torch.isfinite(half.grad).all() and (half.grad != 0).any()


@pytest.mark.parametrize('alpha', [0.5, 1, 1.5, 2, 3])
def test_alpha_power_is_smooth_without_overlap(alpha):
    target = torch.tensor([[0., 0, 10, 10]])
    pred = (target + 9).requires_grad_()
    for shift in (0, 20):  # from a small IoU to none
        loss = AlphaIoULoss(alpha)(pred + shift, target)
        first, = torch.autograd.grad(loss, pred, create_graph=True)
        second, = torch.autograd.grad(first.sum(), pred)
        assert first.isfinite().all() and second.isfinite().all()


coordinate = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[coordinate] * 8), min_size=1, max_size=5))
@forms()
def test_finite_and_nonnegative_for_any_corners(form, rows):
    """For predicted corners in any order."""
    rows = torch.tensor(rows)
    pred = rows[:, :4].clone().requires_grad_()
    loss = build(form, reduction='none')(pred, in_order(rows[:, 4:]))
    gradient, = torch.autograd.grad(loss.sum(), pred)
    assert torch.isfinite(loss).all() and (loss >= -1e-5).all()
    assert torch.isfinite(gradient).all()


@forms()
def test_weight_of_each_coordinate(form):
    """Heads pass (N, 4): the mean counts, and 0 removes."""
    pred, target = tensors(random_pairs(5))
    loss = build(form, reduction='none').double()
    weight = torch.rand(len(pred), 4)
    weight[0] = 0
    elements = loss(pred, target)
    torch.testing.assert_close(
        loss(pred, target, weight),
        elements * weight.double().mean(dim=-1))
    assert loss(pred, target, weight)[0] == 0
    torch.testing.assert_close(
        loss(pred, target, torch.ones(len(pred), 4, dtype=torch.long)),
        elements)


def test_leading_axes():
    pred, target = tensors(random_pairs(5))
    loss = CIoULoss(reduction='none')
    one = loss(pred, target)
    assert torch.equal(
        loss(pred.reshape(3, 4, 4), target.reshape(3, 4, 4)),
        one.reshape(3, 4))


@pytest.mark.parametrize('loss, kwargs, message', [
    (IoULoss, dict(mode='cubic'), "'cubic'"),
    (EIoULoss, dict(focal_gamma=0.0), '0.0'),
    (SIoULoss, dict(theta=0.5), '0.5'),
    (SIoULoss, dict(neg_gamma=False), 'apart'),
    (AlphaIoULoss, dict(mode='xiou'), "'xiou'"),
    (AlphaIoULoss, dict(alpha=0), 'alpha'),
    (InnerIoULoss, dict(ratio=-1), 'ratio'),
    (InnerIoULoss, dict(mode='log'), "'log'"),
    (MPDIoULoss, dict(img_shape=(640, )), 'img_shape'),
    (MPDIoULoss, dict(img_shape=(640, 0)), 'img_shape'),
    (NWDLoss, dict(constant=0), 'constant'),
    (WIoULoss, dict(version=4), '4'),
    (WIoULoss, dict(alpha=1.0), 'alpha'),
    (WIoULoss, dict(delta=0.0), 'delta'),
    (WIoULoss, dict(momentum=2), 'momentum'),
    (GIoULoss, dict(eps=0), 'eps'),
])
def test_arguments_out_of_range(loss, kwargs, message):
    with pytest.raises(ValueError, match=message):
        loss(**kwargs)


def test_boxes_have_four_coordinates():
    with pytest.raises(ValueError, match=r'\(2, 5\)'):
        GIoULoss()(torch.zeros(2, 5), torch.zeros(2, 5))
    with pytest.raises(ValueError, match='same shape'):
        GIoULoss()(torch.zeros(2, 4), torch.zeros(1, 4))


def corners_to_sides(boxes):
    """(x, y, width, height) of boxes."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


@pytest.mark.parametrize('number', [1, 12, 20_000])
def test_targets_as_corner_and_sides(number):
    torch.manual_seed(0)
    low = 100 + 400 * torch.rand(number, 2)
    target = torch.cat([low, low + 10 + 50 * torch.rand(number, 2)], dim=-1)
    pred, wrong = target + 1, corners_to_sides(target)
    for loss in (GIoULoss(), NWDLoss(), WIoULoss()):
        for boxes in (wrong, wrong.half(), wrong.int(), wrong.unsqueeze(0)):
            with pytest.raises(ValueError, match=r'x2 < x1 .*\(x, y, width'):
                loss(pred.reshape(boxes.shape), boxes)
        loss(wrong, target)  # predictions may be swapped


def test_number_of_swapped_targets():
    """Half may be, and all of those of weight 0."""
    right, wrong = [0.0, 0.0, 10.0, 10.0], [9.0, 0.0, 3.0, 10.0]
    boxes, loss = torch.tensor([right] * 5 + [wrong] * 5), GIoULoss()
    loss(boxes, boxes)
    loss(boxes, boxes, torch.zeros(1))
    weight = torch.tensor([1.0] * 4 + [0.0] * 6)
    loss(boxes, boxes, weight)
    weight = 1 - torch.eye(10)[0]
    for given_weight in (weight, weight.unsqueeze(1).repeat(1, 4)):
        with pytest.raises(ValueError, match=r'in 5 of 9, such as \[9'):
            loss(boxes, boxes, given_weight)


@pytest.mark.parametrize('box', [
    [5.0, 5.0, 5.0, 5.0],
    [0.0, 0.0, 0.0, 0.0],
    [0.5, 0.5, 0.4999999, 0.6],
    [1000.0, 0.0, 999.0, 8.0],
    [math.nan, 0.0, math.nan, 0.0],
])
def test_targets_of_size_zero_up_to_rounding(box):
    pred = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    GIoULoss()(pred, torch.tensor([box]))


def test_integer_targets():
    pred = torch.tensor([[0., 0, 10, 10]])
    target = torch.tensor([[2, 0, 10, 8]])
    assert CIoULoss()(pred, target) == CIoULoss()(pred, target.float())


# The running mean of WIoU


def halves():
    pred, target = tensors(random_pairs(8), torch.float32)
    return pred.detach(), target


def test_running_mean_follows_the_formula():
    pred, target = halves()
    loss = WIoULoss(version=3, momentum=0.1)
    error = IoULoss('linear', reduction='none')(pred, target)
    mean = 1.0
    for weight in (None, (error > 0.5).float()):
        counted = error if weight is None else error[weight > 0]
        before = loss.eval()(pred, target, weight)
        assert loss.mean_iou_loss == pytest.approx(mean)
        # The mean of the previous calls.
        torch.testing.assert_close(loss.train()(pred, target, weight), before)
        mean = 0.9 * mean + 0.1 * counted.mean().item()
        assert loss.mean_iou_loss == pytest.approx(mean)
    expected = ORACLES['WIoULoss'](
        pred[0].tolist(), target[0].tolist(), pred[0].tolist(), mean=mean)
    assert loss(pred[:1], target[:1]).item() == pytest.approx(expected)


def test_running_mean_unchanged_without_boxes():
    pred, target = halves()
    loss = WIoULoss(momentum=0.5)
    loss(pred[:0], target[:0])
    loss(pred, target, torch.zeros(len(pred)))
    loss(pred * float('nan'), target)
    assert loss.mean_iou_loss == 1
    assert 'mean_iou_loss' in loss.state_dict()
    assert not list(WIoULoss(version=1).buffers())
    assert not list(loss.parameters())


def test_perfect_boxes_keep_training_finite():
    """The running mean may become 0."""
    _, target = halves()
    loss = WIoULoss(momentum=1.0)
    loss(target, target)
    assert loss.mean_iou_loss == 0
    pred = (target + 1).requires_grad_()
    loss(pred, target).backward()
    assert torch.isfinite(pred.grad).all()


def update_mean(rank, parts, folder):
    loss = WIoULoss(momentum=0.5)
    loss.defer(True)
    for pred, target in parts[rank]:
        if len(pred):  # a head may skip the loss
            loss(pred, target)
        loss.synchronize()
    torch.save(loss.mean_iou_loss, folder / f'{rank}.pt')


@pytest.mark.slow
@needs_ranks
def test_running_mean_reduces_over_ranks(tmp_path):
    """Also of a rank that skips the loss, having no boxes."""
    pred, target = halves()
    whole, parts = WIoULoss(momentum=0.5), ([], [])
    for split in (5, 0):
        for part, piece in zip(parts, (slice(split), slice(split, None))):
            part.append((pred[piece].clone(), target[piece].clone()))
        whole(pred, target)
    run_ranks(update_mean, parts, tmp_path)
    first, second = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, whole.mean_iou_loss)


# Against stock


def stock(name, **kwargs):
    mmdet = pytest.importorskip('mmdet.models.losses', exc_type=ImportError)
    return getattr(mmdet, name)(**kwargs)


@pytest.mark.openmmlab
@pytest.mark.parametrize('name, kwargs', [
    ('IoULoss', dict(mode='log')),
    ('IoULoss', dict(mode='linear')),
    ('IoULoss', dict(mode='square')),
    ('IoULoss', dict(linear=True)),
    ('GIoULoss', {}),
    ('DIoULoss', {}),
    ('CIoULoss', dict(loss_weight=2.0)),
])
def test_matches_mmdet(name, kwargs):
    pairs = [([6 * x for x in p], [6 * x for x in t])
             for p, t in random_pairs(300)[:-1]]
    target = tensors(pairs, torch.float32)[1]
    weight = torch.rand(len(pairs))
    calls = [((), {}), ((weight, ), {}), ((weight, 37.5), {}),
             ((weight.unsqueeze(1).repeat(1, 4), ), dict(avg_factor=11)),
             ((), dict(reduction_override='none'))]
    for args, more in calls:
        results = []
        for loss in (stock(name, **kwargs), getattr(losses, name)(**kwargs)):
            pred = tensors(pairs, torch.float32)[0]
            value = loss(pred, target, *args, **more)
            results.append((value, torch.autograd.grad(value.sum(), pred)[0]))
        (expected, slope), (got, our_slope) = results
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(our_slope, slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('name, stock_name', [
    ('GIoULoss', 'generalized_box_iou_loss'),
    ('DIoULoss', 'distance_box_iou_loss'),
    ('CIoULoss', 'complete_box_iou_loss'),
])
def test_matches_torchvision(name, stock_name):
    ops = pytest.importorskip('torchvision.ops')
    pred, target = tensors(random_pairs(300)[:-1], torch.float32)
    if name == 'CIoULoss':  # torchvision's CIoU has no threshold
        near = IoULoss('linear', reduction='none')(pred, target) < 0.5
        pred, target = pred[near], target[near]
    got = getattr(losses, name)(reduction='none')(pred, target)
    expected = getattr(ops, stock_name)(pred, target)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.openmmlab
def test_mmdet_siou_pushes_boxes_apart():
    """It fails the monotonicity test that every loss here passes."""
    theirs, ours = stock('SIoULoss'), SIoULoss()
    drop = max(largest_decrease(theirs, path) for _, path in worsening_paths())
    assert drop > 0.003 and largest_decrease(
        ours,
        dict(worsening_paths())['away at 30']) < 1e-6
    pred, target = starting_boxes(False)
    assert (remaining_error(theirs, pred, target) > 0.05).sum() > 50


@pytest.mark.openmmlab
def test_mmdet_ciou_is_nan_on_a_perfect_box():
    box = torch.tensor([[0., 0, 10, 10]])
    assert stock('CIoULoss')(box, box).isnan()
    assert CIoULoss()(box, box) == 0
    pred, target = starting_boxes(False)
    pred[:10] = target[:10]
    assert remaining_error(stock('CIoULoss'), pred, target).isnan().sum() > 5
    assert (remaining_error(CIoULoss(), pred, target) < 0.05).all()


@pytest.mark.openmmlab
@pytest.mark.parametrize('name', ['DIoULoss', 'CIoULoss'])
def test_mmdet_overflows_at_600_pixels(name):
    target = torch.tensor([[0., 0, 600, 600]])
    pred = target + torch.tensor([20., 10, 20, 10])
    expected = stock(name)(pred, target)
    assert stock(name)(pred.half(), target) > 0.9 > 5 * expected
    ours = getattr(losses, name)()
    torch.testing.assert_close(ours(pred.half(), target), expected)


@pytest.mark.openmmlab
def test_mmdet_eiou_is_of_another_paper():
    """mmdet has Extended IoU, smooth at the target; ours is Efficient IoU."""
    pred, target = torch.tensor([[0., 0, 10,
                                  9]]), torch.tensor([[0., 0, 10, 10]])
    # 1 - IoU = 0.1, below which Extended IoU is quadratic.
    assert stock('EIoULoss')(pred, target).item() == pytest.approx(
        0.05, abs=1e-5)
    # The centre is off by 0.5, the height by 1.
    assert EIoULoss()(pred, target).item() == pytest.approx(0.1 + 0.25 / 200 +
                                                            1 / 100)


def test_copies_of_a_loss_have_their_own_mean():
    pred, target = halves()
    loss = WIoULoss(momentum=0.5)
    twin = copy.deepcopy(loss)
    loss(pred, target)
    assert twin.mean_iou_loss == 1


def test_running_mean_of_one_box():
    pred = torch.tensor([[0.0, 0.0, 2.0, 1.0]])
    target = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    loss = WIoULoss(momentum=0.5)
    loss(pred, target)
    assert loss.mean_iou_loss == 0.75  # between 1 and the error of 0.5


@pytest.mark.parametrize('loss, kwargs', FORMS)
def test_boxes_of_any_shape(loss, kwargs):
    """(4,), (N, 4) and (B, N, 4) are the same boxes."""
    torch.manual_seed(0)
    low = 10 * torch.rand(2, 3, 2)
    target = torch.cat([low, low + 5 + torch.rand(2, 3, 2)], dim=-1)
    pred = target + torch.randn(2, 3, 4)
    build = loss(reduction='none', **kwargs).eval()
    flat = build(pred.flatten(0, 1), target.flatten(0, 1))
    got = build(pred, target)
    assert got.shape == (2, 3)
    torch.testing.assert_close(got.flatten(), flat)
    torch.testing.assert_close(build(pred[0, 0], target[0, 0]), flat[0])
    weight = torch.rand(2, 3, 4)
    torch.testing.assert_close(
        build(pred, target, weight), got * weight.mean(dim=-1))


@pytest.mark.parametrize('version', [2, 3])
def test_wise_iou_mean_moves_in_both_versions(version):
    pred = torch.tensor([[0., 0., 10., 10.]])
    target = torch.tensor([[2., 0., 10., 8.]])  # IoU 0.64
    loss = WIoULoss(version=version, momentum=0.5)
    loss(pred, target)
    assert loss.mean_iou_loss.item() == pytest.approx((1 + 0.36) / 2)
    still = WIoULoss(version=version, momentum=0.0)
    still(pred, target)
    assert still.mean_iou_loss.item() == 1


@pytest.mark.parametrize('loss, kwargs', [
    (SIoULoss, dict(theta=1.0)),
    (NWDLoss, dict(constant=0.5)),
    (MPDIoULoss, dict(img_shape=(1, 1))),
])
def test_arguments_at_range_bounds(loss, kwargs):
    box = torch.tensor([[0., 0., 10., 10.]])
    assert loss(**kwargs)(box + 1, box) > 0


def test_zero_ratio_is_refused():
    with pytest.raises(ValueError, match='ratio must be positive'):
        InnerIoULoss(ratio=0)


@pytest.mark.parametrize('beta', [0.2, 0.9])
def test_bounded_iou_matches_overlaps_of_intervals(beta):
    """Value and gradient, with an eps too small to matter."""
    pairs, step = random_pairs(20)[:-2], 1e-6  # the last two are at kinks
    pred, target = tensors(pairs)
    loss = BoundedIoULoss(beta, eps=1e-9, reduction='none').double()
    got = loss(pred, target)
    expected = [bounded_iou_loss(p, t, beta) for p, t in pairs]
    torch.testing.assert_close(got.detach(), got.new_tensor(expected))
    torch.testing.assert_close(
        loss(pred, target, reduction_override='mean'), got.mean())
    gradient, = torch.autograd.grad(got.sum(), pred)
    for axis in range(4):
        change = torch.zeros(4, dtype=torch.float64)
        change[axis] = step
        ends = [[
            sum(bounded_iou_loss(p, t.tolist(), beta))
            for p, t in zip((pred + sign * change).tolist(), target)
        ] for sign in (1, -1)]
        slopes = (got.new_tensor(ends[0]) - got.new_tensor(ends[1])) / step / 2
        torch.testing.assert_close(
            gradient[:, axis], slopes, rtol=1e-4, atol=1e-7)


def test_bounded_iou_of_the_truth_and_of_swapped_corners():
    """mmdet's gradient is NaN at a width of -eps, its loss 3001 beside it."""
    target = torch.tensor([[0.0, 0.0, 30.0, 20.0]]).repeat(5, 1)
    pred = target.clone()
    pred[1:, 2] = torch.tensor([0.0, -0.001, -0.011, -30.0])
    pred.requires_grad_()
    loss = BoundedIoULoss(reduction='none')(pred, target)
    assert (loss[0] < 1e-7).all()
    torch.testing.assert_close(
        loss[1:, 2], torch.tensor([0.9, 0.9, 0.9, 1.9]), rtol=1e-3, atol=0)
    gradient, = torch.autograd.grad(loss.sum(), pred)
    assert (gradient[0].abs() < 1e-4).all() and gradient.isfinite().all()
    # It opens again.
    assert (gradient[1:, 2] < gradient[1:, 0]).all()


def test_bounded_iou_weights():
    """As heads pass it, (N, 4), or (N,); 0 removes a box as a whole."""
    pred, target = tensors(random_pairs(3))
    weight = torch.rand(len(pred), 4, dtype=torch.float64)
    weight[0], weight[1, 0] = 0, 0
    loss = BoundedIoULoss(reduction='none').double()
    elements = loss(pred, target)
    torch.testing.assert_close(loss(pred, target, weight), elements * weight)
    torch.testing.assert_close(
        loss(pred, target, weight[:, 1]), elements * weight[:, 1:2])
    spoiled = pred.detach().clone()
    spoiled[0] = math.nan
    got = loss(spoiled, target, weight)
    torch.testing.assert_close(got, elements.detach() * weight)


def test_extended_iou_is_not_efficient_iou():
    """mmdet's argument leads from the one to the other."""
    for wrong in (lambda: EIoULoss(smooth_point=0.1), lambda: MODELS.build(
            dict(type='mmlosses.EIoULoss', smooth_point=0.1))):
        with pytest.raises(TypeError, match='mmlosses.ExtendedIoULoss'):
            wrong()
    assert ExtendedIoULoss(1e-6, 'sum', 2.0, 0.3).smooth_point == 0.3


def test_extended_iou_of_boxes_apart():
    """Of a unit square and one moved by 3 in x: I = -2 (0 + 1) = -2."""
    target = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    pred = (target + torch.tensor([3.0, 0.0, 3.0, 0.0])).requires_grad_()
    loss = ExtendedIoULoss()(pred, target)
    assert loss.item() == pytest.approx(1 + 2 / (1 + 1 + 2) - 0.05)
    gradient, = torch.autograd.grad(loss, pred)
    assert gradient[0, 0] + gradient[0, 2] > 0


# --- the arguments of mmyolo ---


def yolo_terms(mode, p, t):
    """The aspect ratio of mmyolo's CIoU counts at every IoU."""
    if mode != 'ciou':
        return TERMS[mode](p, t, p)
    v = aspect(p, t)
    return [*TERMS['diou'](p, t, p), v * v / (1 - iou(p, t) + v)]


def centred(box):
    return [*centre(box), *sides(box)]


@pytest.mark.parametrize('mode', ['iou', 'giou', 'siou', 'ciou'])
@pytest.mark.parametrize('bbox_format', ['xyxy', 'xywh'])
def test_modes_of_mmyolo(mode, bbox_format):
    """Boxes by their centres, and the IoU beside the loss."""
    torch.manual_seed(0)
    low, size = torch.rand(2, 6, 2).double(), 1 + torch.rand(2, 6, 2).double()
    pairs = torch.cat([low, low + size], dim=-1).tolist()
    expected = [
        1 - iou(p, t) + sum(yolo_terms(mode, p, t)) for p, t in zip(*pairs)
    ]
    if bbox_format == 'xywh':
        pairs = [[centred(box) for box in boxes] for boxes in pairs]
    pred, target = torch.tensor(pairs).double()
    weight = torch.tensor([0, 1, 2, 0, 0.5, 1])
    loss = IoULoss(
        iou_mode=mode, bbox_format=bbox_format, eps=1e-9, loss_weight=2.0)
    got, overlap = loss(pred, target, weight, avg_factor=3)
    expected = torch.tensor(expected).double()
    torch.testing.assert_close(overlap, 1 - expected)
    torch.testing.assert_close(got, 2 * (weight * expected).sum() / 3)


def test_defaults_of_mmyolo_with_its_arguments():
    loss = IoULoss(iou_mode='giou')
    assert loss.bbox_format == 'xywh' and loss.return_iou
    assert IoULoss(return_iou=False).iou_mode == 'ciou'
    plain = IoULoss()
    assert plain.iou_mode is None and plain.bbox_format == 'xyxy'
    with pytest.raises(ValueError, match='mode and iou_mode are two'):
        IoULoss(mode='square', iou_mode='giou')


def test_mmyolo_without_positives():
    """Stock returns no pair then, which its head unpacks."""
    pred = torch.rand(3, 4, requires_grad=True)
    loss, overlap = IoULoss(iou_mode='ciou')(pred, torch.rand(3, 4),
                                             torch.zeros(3))
    assert loss == 0 and overlap.shape == (3, )
    assert not torch.autograd.grad(loss, pred)[0].any()
