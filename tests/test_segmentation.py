"""Losses of label maps against loops, sets, SciPy and NumPy."""
import itertools
import math

import numpy
import pytest
import torch
import torch.nn.functional as F

from mmlosses.core.distance_transform import (across_at_once, across_by_steps,
                                              distance_to_other)
from mmlosses.core.kernels.lovasz import lovasz_extension, plain_extension
from mmlosses.losses import (BoundaryLoss, ClDiceLoss, HausdorffDistanceLoss,
                             HuasdorffDisstanceLoss, LovaszLoss,
                             OhemCrossEntropy, TverskyLoss, soft_skeleton)

CLASSES = 4
WEIGHTS = [0.5, 2.0, 1.0, 3.0]
MAP_LOSSES = [
    LovaszLoss(),
    LovaszLoss(classes='all'),
    LovaszLoss('binary'),
    LovaszLoss(per_image=True),
    TverskyLoss(),
    TverskyLoss(gamma=4 / 3),
    ClDiceLoss(iterations=2),
    HausdorffDistanceLoss(),
]
every_map_loss = pytest.mark.parametrize(
    'loss', [*MAP_LOSSES, OhemCrossEntropy(min_kept=20)])


@pytest.fixture
def maps():
    """Scores, and labels of all classes but one, with some to ignore."""
    torch.manual_seed(0)
    labels = torch.randint(CLASSES - 1, (2, 6, 5))
    labels[:, :2, :3] = 255
    return torch.randn(2, CLASSES, 6, 5).double().requires_grad_(), labels


def softmax(scores):
    norm = sum([math.exp(score) for score in scores])
    return [math.exp(score) / norm for score in scores]


def pixels_of(pred, labels):
    """The scores and the label of each pixel that is not ignored."""
    for n, *place in (labels != 255).nonzero().tolist():
        index = (n, slice(None), *place)
        yield pred[index].tolist(), labels[(n, *place)].item()


def repeated(pred, labels, weight):
    """Maps (1, C, P) and (1, P) with each pixel as often as it counts."""
    pred, labels = pred.detach().movedim(1, -1).flatten(0,
                                                        -2), labels.flatten()
    index = torch.arange(len(labels)).repeat_interleave(weight.flatten())
    return pred[index].T[None], labels[index][None]


# --- LovaszLoss ---


def jaccard(wrong, truth):
    """One minus the IoU of a prediction that is wrong in a set of pixels."""
    return len(wrong) / len(wrong | truth) if wrong else 0.0


def extension(errors, truth):
    """The Lovasz extension of a set function, by its definition."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total = 0.0
    for k, i in enumerate(order):
        step = jaccard({*order[:k + 1]}, truth) - jaccard({*order[:k]}, truth)
        total += errors[i] * step
    return total


def lovasz(found, classes, binary=False, weights=(1, ) * CLASSES):
    """The loss of pixels, averaged over the classes."""
    found, losses = list(found), []
    for c in range(CLASSES) if isinstance(classes, str) else classes:
        truth = {i for i, (_, label) in enumerate(found) if label == c}
        if classes == 'present' and not truth:
            continue
        errors = []
        for i, (scores, _) in enumerate(found):
            sign = 1 if i in truth else -1
            if binary:
                errors.append(max(0.0, 1 - sign * scores[c]))
            else:
                errors.append(abs((i in truth) - softmax(scores)[c]))
        losses.append(weights[c] * extension(errors, truth))
    return sum(losses) / len(losses)


@pytest.mark.parametrize('classes', ['present', 'all', [3, 0]])
@pytest.mark.parametrize('binary', [False, True])
def test_lovasz_matches_its_definition(maps, classes, binary):
    kind = 'binary' if binary else 'multi_class'
    expected = lovasz(pixels_of(*maps), classes, binary, WEIGHTS)
    loss = LovaszLoss(kind, classes, class_weight=WEIGHTS)
    assert loss(*maps).item() == pytest.approx(expected, rel=1e-9)
    pred, labels = maps
    each = [
        lovasz(pixels_of(pred[n:n + 1], labels[n:n + 1]), classes, binary)
        for n in range(2)
    ]
    loss = LovaszLoss(kind, classes, True, 'none')
    assert loss(*maps).tolist() == pytest.approx(each, rel=1e-9)


def test_lovasz_of_one_channel_is_the_hinge_of_label_1():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 1, 4, 3).double(), torch.zeros(2, 4, 3)
    labels = (torch.rand(2, 4, 3) > 0.5).long()
    labels[:, 0] = 255
    loss = LovaszLoss('binary')
    found = [(x[0], y) for x, y in pixels_of(logits, labels)]
    truth = {i for i, (_, label) in enumerate(found) if label}
    errors = [max(0.0, 1 - (2 * y - 1) * x) for x, y in found]
    expected = extension(errors, truth)
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-9)
    # Two channels are two classes, where mmseg raises an IndexError.
    assert loss(torch.cat([-logits, logits], 1), labels).isfinite()


def test_lovasz_of_a_hard_prediction_is_one_minus_the_iou():
    torch.manual_seed(0)
    labels = torch.randint(CLASSES, (1, 8, 8))
    guess = torch.randint(CLASSES, (1, 8, 8))
    pred = 1e4 * F.one_hot(guess, CLASSES).movedim(-1, 1).float()
    losses = []
    for c in range(CLASSES):
        both = ((labels == c) & (guess == c)).sum()
        losses.append(1 - both / ((labels == c) | (guess == c)).sum())
    torch.testing.assert_close(LovaszLoss()(pred, labels), sum(losses) / 4)


def test_lovasz_of_an_absent_class_is_its_largest_probability(maps):
    pred, labels = maps
    kept = (labels != 255).unsqueeze(1)
    expected = (pred.softmax(1) * kept)[:, 3].max()
    got = LovaszLoss(classes=[3])(pred, labels)
    torch.testing.assert_close(got, expected)
    grads = [torch.autograd.grad(x, pred)[0] for x in (got, expected)]
    torch.testing.assert_close(*grads)


def test_lovasz_of_points(maps):
    """As Cylinder3D of mmdet3d calls it: (P, C) with labels (P,)."""
    pred, labels = maps
    points = pred.movedim(1, -1).flatten(0, 2), labels.flatten()
    loss = LovaszLoss(per_sample=False, reduction='none')
    got = loss(*points, ignore_index=255)
    assert got.shape == (60, )
    torch.testing.assert_close(got.mean(), LovaszLoss()(*maps))
    with pytest.raises(TypeError, match='per_image and per_sample'):
        LovaszLoss(per_sample=True, per_image=True)


@pytest.mark.parametrize('hinge', [False, True])
@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('ties', [False, True])
def test_fast_path_of_lovasz_matches_the_formula(hinge, per_image, dtype,
                                                 ties):
    """The order of ties changes no value, and selects a subgradient."""
    torch.manual_seed(0)
    scores = torch.randn(3, 4, 70).to(dtype)
    scores = scores.round(decimals=1) if ties else scores
    scores = scores if hinge else scores.sigmoid()
    scores.requires_grad_()
    mask, pixels = torch.rand(3, 4, 70) > 0.7, torch.rand(3, 70).to(dtype)
    mask[:, 2], pixels[:, 5:20] = False, 0
    results = []
    for function in (lovasz_extension, plain_extension):
        loss = function(
            scores,
            mask,
            pixels,
            hinge=hinge,
            per_image=per_image,
            skip_absent=False)
        grad, = torch.autograd.grad(loss.sum(), scores)
        results.append((loss, loss if ties else grad))
    torch.testing.assert_close(*results)


def test_second_derivative_of_lovasz(maps):
    pred, labels = maps
    assert torch.autograd.gradgradcheck(
        lambda x: LovaszLoss()(x, labels[:, :3, :3]),
        pred.detach()[:, :, :3, :3].clone().requires_grad_())


def test_small_steps_of_lovasz_are_exact():
    """Differences of Jaccard losses near 1 lose all digits in float32."""
    torch.manual_seed(0)
    pred = torch.randn(1, 2, 400, 500)
    labels = (torch.rand(1, 400, 500) < 0.01).long()
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaf = pred.to(dtype).requires_grad_()
        grad, = torch.autograd.grad(LovaszLoss()(leaf, labels), leaf)
        grads.append(grad.double())
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize('kwargs, words', [
    (dict(classes='some'), 'some'),
    (dict(classes=[]), r'\[\]'),
    (dict(loss_type='hinge'), 'hinge'),
])
def test_arguments_of_lovasz(kwargs, words):
    with pytest.raises(ValueError, match=words):
        LovaszLoss(**kwargs)


def test_shapes_of_lovasz():
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="loss_type='binary'"):
        LovaszLoss()(torch.zeros(2, 1, 4, 4), labels)
    with pytest.raises(ValueError, match=r'below the 2 channels.*\[0, 2\]'):
        LovaszLoss(classes=[0, 2])(torch.zeros(2, 2, 4, 4), labels)


# --- every loss of maps ---


@every_map_loss
def test_ignored_pixels_may_hold_anything(maps, loss):
    pred, labels = maps
    clean = loss(pred, labels, ignore_index=255)
    grad, = torch.autograd.grad(clean, pred)
    ignored = (labels == 255).unsqueeze(1).expand_as(pred)
    assert not grad[ignored].any()
    broken = pred.detach().masked_fill(ignored, math.nan).requires_grad_()
    got = loss(broken, labels)
    torch.testing.assert_close(got, clean)
    torch.testing.assert_close(torch.autograd.grad(got, broken)[0], grad)
    # Another label at the call, and labels beyond the classes elsewhere.
    other = labels.masked_fill(labels == 255, 254)
    torch.testing.assert_close(loss(pred, other, ignore_index=254), clean)
    with pytest.raises(ValueError, match='target must be .* got 254'):
        loss(pred, other)


@every_map_loss
def test_nothing_but_ignored_pixels(maps, loss):
    pred, _ = maps
    got = loss(pred, torch.full((2, 6, 5), 255))
    grad, = torch.autograd.grad(got, pred)
    assert got < 1e-30 and not grad.any()


@pytest.mark.parametrize('loss', [
    LovaszLoss(),
    LovaszLoss('binary', classes='all'),
    TverskyLoss(),
])
def test_weights_of_pixels_count_them(maps, loss):
    """As the heads of mmseg pass them that have a sampler."""
    pred, labels = maps
    weight = torch.arange(60).reshape(2, 6, 5) % 3
    got = loss(pred[:1], labels[:1], weight[:1].float())
    expected = loss(*repeated(pred[:1], labels[:1], weight[:1]))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('loss', MAP_LOSSES)
def test_pixels_of_weight_0_are_ignored_ones(maps, loss):
    pred, labels = maps
    weight = (labels != 255).float()
    labels = labels.clamp(max=CLASSES - 1)
    torch.testing.assert_close(loss(pred, labels, weight), loss(*maps))
    with pytest.raises(ValueError, match='weight must not be negative'):
        loss(pred, labels, -weight)


@pytest.mark.parametrize('loss', MAP_LOSSES)
def test_wrong_maps(loss):
    labels = torch.zeros(2, 6, 5, dtype=torch.long)
    with pytest.raises(ValueError, match=r'\(2, 4, 6, 5\) and \(2, 5, 6\)'):
        loss(torch.zeros(2, 4, 6, 5), labels.mT)
    with pytest.raises(TypeError, match='integer dtype, got torch.float32'):
        loss(torch.zeros(2, 4, 6, 5), labels.float())


@pytest.mark.parametrize('cls', [LovaszLoss, TverskyLoss, ClDiceLoss])
def test_number_of_class_weights(maps, cls):
    with pytest.raises(ValueError, match='has 2 numbers, but .* 4 classes'):
        cls(class_weight=[1.0, 2.0])(*maps)


@pytest.mark.parametrize('loss', [
    LovaszLoss('binary'),
    TverskyLoss(),
    ClDiceLoss(),
    HausdorffDistanceLoss(),
])
def test_one_channel_is_label_1(loss):
    labels = torch.zeros(1, 9, 9, dtype=torch.long)
    labels[:, 3:6, 1:8] = 1
    right = torch.where(labels == 1, 20.0, -20.0).unsqueeze(1)
    assert loss(right, labels) < 1e-3
    assert loss(-right, labels) > 0.5


# --- TverskyLoss ---


def tversky(pred, labels, alpha, beta, smooth, gamma=1, dropped=None):
    total = 0.0
    for n, c in itertools.product(range(len(pred)), range(CLASSES)):
        true = false = missed = 0.0
        for scores, label in pixels_of(pred[n:n + 1], labels[n:n + 1]):
            prob = softmax(scores)[c]
            if label == c:
                true, missed = true + prob, missed + 1 - prob
            else:
                false += prob
        index = (true + smooth) / (
            true + alpha * false + beta * missed + smooth)
        total += (c != dropped) * (1 - index)**(1 / gamma)
    return total / len(pred) / CLASSES


@pytest.mark.parametrize('args', [(0.3, 0.7, 1), (0.6, 0.2, 0.1, 4 / 3)])
def test_tversky_matches_loops(maps, args):
    names = 'alpha', 'beta', 'smooth', 'gamma'
    got = TverskyLoss(**dict(zip(names, args)))(*maps)
    assert got.item() == pytest.approx(tversky(*maps, *args), rel=1e-9)


def test_tversky_of_half_and_half_is_dice(maps):
    pred, labels = maps
    prob = pred.softmax(1)
    mask = F.one_hot(labels.clamp(max=3), 4).movedim(-1, 1)
    kept = (labels != 255).unsqueeze(1)
    both = (prob * mask * kept).sum((2, 3))
    dice = 2 * both / ((prob + mask) * kept).sum((2, 3))
    got = TverskyLoss(smooth=0, alpha=0.5, beta=0.5)(*maps)
    torch.testing.assert_close(got, 1 - dice.mean())


def test_tversky_drops_the_class_to_ignore(maps):
    """As mmseg, which also counts it in the mean."""
    pred, labels = maps
    moved = labels.masked_fill(labels == 1, 255)
    expected = tversky(pred, moved, 0.3, 0.7, 1, dropped=1)
    labels = labels.masked_fill(labels == 255, 1)
    got = TverskyLoss(ignore_index=1)(pred, labels)
    assert got.item() == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(TverskyLoss()(pred, labels, ignore_index=1),
                               got)


def test_tversky_without_smoothing_of_an_absent_class():
    """mmseg divides 0 by 0."""
    pred = torch.tensor([[[200.0, 200.0], [0.0, 0.0]]]).requires_grad_()
    got = TverskyLoss(smooth=0)(pred, torch.zeros(1, 2, dtype=torch.long))
    grad, = torch.autograd.grad(got, pred)
    assert got == 0 and grad.isfinite().all()


def test_focal_tversky_has_a_finite_gradient_at_the_optimum():
    pred = torch.tensor([[[90.0, -90.0], [-90.0, 90.0]]]).requires_grad_()
    got = TverskyLoss(gamma=3)(pred, torch.tensor([[0, 1]]))
    assert torch.autograd.grad(got, pred)[0].isfinite().all()


# --- OhemCrossEntropy ---


def ohem(pred, labels, thres, least, weights=(1, ) * CLASSES):
    """The pixels below a threshold: ``thres``, or that of the number."""
    found = [(softmax(scores)[label], weights[label])
             for scores, label in pixels_of(pred, labels)]
    probs = numpy.array([prob for prob, _ in found])
    order = numpy.sort(probs)
    limit = max(order[min(least, len(order) - 1)], thres)
    loss = -numpy.log(probs) * numpy.array([weight for _, weight in found])
    return loss[probs < limit].mean()


@pytest.mark.parametrize('thres, least', [(0.7, 9), (0.2, 30), (0.2, 10**6),
                                          (0.01, 1), (1.0, 1)])
def test_ohem_matches_sorting(maps, thres, least):
    expected = ohem(*maps, thres, least, WEIGHTS)
    loss = OhemCrossEntropy(255, thres, least, 1.0, WEIGHTS)
    assert loss(*maps).item() == pytest.approx(expected, rel=1e-9)
    if thres < 0.1:
        loss = OhemCrossEntropy(thres=None, min_kept=1, class_weight=WEIGHTS)
        assert loss(*maps).item() == pytest.approx(expected, rel=1e-9)


def test_ohem_of_many_pixels():
    """Selected in blocks."""
    torch.manual_seed(0)
    pred, labels = torch.randn(2, 3, 300, 400), torch.randint(3, (2, 300, 400))
    prob = pred.softmax(1).gather(1, labels.unsqueeze(1)).flatten()
    for least in (1, 1000, 239_998):
        got = OhemCrossEntropy(thres=None, min_kept=least)(pred, labels)
        expected = -prob.sort().values[:least].double().log().mean()
        torch.testing.assert_close(got.double(), expected)


def test_ohem_where_all_pixels_are_certain():
    """mmseg keeps none of them, and divides 0 by 0."""
    labels = torch.randint(3, (1, 4, 4))
    pred = 200 * F.one_hot(labels, 3).movedim(-1, 1).float()
    pred.requires_grad_()
    got = OhemCrossEntropy()(pred, labels)
    assert got == 0 and not torch.autograd.grad(got, pred)[0].any()


def test_ohem_does_not_mine_what_a_weight_removes(maps):
    pred, labels = maps
    weight = (labels != 255).float()
    loss = OhemCrossEntropy(thres=0.2, min_kept=20)
    torch.testing.assert_close(
        loss(pred, labels.clamp(max=3), weight), loss(*maps))


# --- BoundaryLoss ---


def test_boundary_matches_loops():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 5, 4).double()
    edge = (torch.rand(2, 5, 4) < 0.3).long()
    edge[:, 0] = 255
    pairs = list(zip(logits.flatten().tolist(), edge.flatten().tolist()))
    on, off = [sum([label == x for _, label in pairs]) for x in (1, 0)]
    total = 0.0
    for logit, label in pairs:
        prob = 1 / (1 + math.exp(-logit))
        if label == 1:
            total -= off / (on + off) * math.log(prob)
        elif label == 0:
            total -= on / (on + off) * math.log(1 - prob)
    loss = BoundaryLoss(20.0)
    for target in (edge, edge.double(), edge.unsqueeze(1)):
        got = loss(logits, target)
        assert got.item() == pytest.approx(20 * total / 40, rel=1e-9)
    # Whatever ignored pixels hold, as a label or as the one of a call.
    logits[:, :, 0] = math.nan
    assert loss(logits, edge).item() == pytest.approx(got.item())
    edge = edge.masked_fill(edge == 255, 1)
    edge[:, 1:][edge[:, 1:] == 1] = 0
    assert loss(logits, edge, ignore_index=1) == 0


def test_boundary_without_edges_is_0():
    """The share of the other class is 0, as in mmseg."""
    logits = torch.randn(1, 1, 3, 3)
    assert BoundaryLoss()(logits, torch.zeros(1, 3, 3)) == 0
    assert BoundaryLoss()(logits, torch.ones(1, 3, 3)) == 0


# --- HausdorffDistanceLoss ---


def nearest(labels, row, column):
    """The distance of a pixel to another label, by all pairs."""
    height, width = labels.shape
    found = [
        math.hypot(row - i, column - j)
        for i, j in itertools.product(range(height), range(width))
        if labels[i, j] != labels[row, column]
    ]
    return min(found, default=math.hypot(height, width))


@pytest.mark.parametrize('size', [(6, 5), (3, 9), (1, 7), (7, 1), (1, 1)])
@pytest.mark.parametrize('labels', [1, 2, 4])
def test_distance_by_all_pairs(size, labels):
    torch.manual_seed(0)
    maps = torch.randint(labels, (3, *size))
    got = distance_to_other(maps)
    for n, i, j in itertools.product(*map(range, maps.shape)):
        expected = nearest(maps[n], i, j)
        assert got[n, i, j].item() == pytest.approx(expected, rel=1e-6)


def test_both_passes_of_the_distance_agree():
    torch.manual_seed(0)
    maps = F.interpolate(torch.rand(3, 4, 6, 5), (50, 40), mode='bilinear')
    labels, square = maps.argmax(1), torch.randint(99, (3, 50, 40)).float()
    assert torch.equal(
        across_at_once(square, labels), across_by_steps(square, labels))


def test_distance_matches_scipy():
    edt = pytest.importorskip('scipy.ndimage').distance_transform_edt
    torch.manual_seed(0)
    maps = F.interpolate(torch.rand(2, 1, 8, 11), (150, 90), mode='bilinear')
    masks = maps[:, 0] > 0.5
    got = distance_to_other(masks.long())
    for mask, distance in zip(masks, got):
        expected = edt(mask.numpy()) + edt(~mask.numpy())
        torch.testing.assert_close(distance.double(),
                                   torch.from_numpy(expected))


def hausdorff(pred, labels, alpha, weights):
    """The double sum, with ignored pixels as background and then left out."""
    total = 0.0
    for n in range(len(pred)):
        kept = labels[n] != 255
        truth = labels[n].masked_fill(~kept, 0)
        seen = pred[n].argmax(0).masked_fill(~kept, 0)
        for c, i, j in itertools.product(
                range(1, CLASSES), *map(range, truth.shape)):
            if kept[i, j]:
                prob = softmax(pred[n, :, i, j].tolist())[c]
                far = 0.0
                for mask in (truth, seen):
                    if mask[i, j] == c:
                        far += nearest(mask == c, i, j)**alpha
                error = prob - float(truth[i, j] == c)
                total += weights[c] * error**2 * far
    return total / labels.numel() / CLASSES


@pytest.mark.parametrize('alpha', [2.0, 1.0])
def test_hausdorff_matches_loops(maps, alpha):
    loss = HausdorffDistanceLoss(alpha=alpha, class_weight=WEIGHTS)
    expected = hausdorff(*maps, alpha, WEIGHTS)
    assert loss(*maps).item() == pytest.approx(expected, rel=1e-6)


def test_hausdorff_of_one_channel_is_that_of_two():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 8, 7)
    labels = (torch.rand(2, 8, 7) > 0.4).long()
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    loss = HausdorffDistanceLoss()
    torch.testing.assert_close(loss(logits, labels), loss(both, labels))


def test_hausdorff_where_all_is_foreground():
    """The distance is the diagonal, so that a miss costs."""
    labels = torch.ones(1, 3, 4, dtype=torch.long)
    pred = torch.zeros(1, 2, 3, 4)
    pred[:, 0] = 1e-3  # background everywhere
    torch.testing.assert_close(
        HausdorffDistanceLoss()(pred, labels),
        torch.tensor(0.25 * 25 / 2),
        rtol=0.01,
        atol=0)


def test_both_spellings_of_hausdorff():
    assert HuasdorffDisstanceLoss is HausdorffDistanceLoss


# --- ClDiceLoss ---

CROSS = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
SQUARE = list(itertools.product((-1, 0, 1), repeat=2))


def eroded(mask, size):
    """The pixels whose neighbours in the map are all in the mask."""
    return {(i, j)
            for i, j in mask
            if all([(i + a, j + b) in mask for a, b in CROSS
                    if 0 <= i + a < size[0] and 0 <= j + b < size[1]])}


def skeleton(mask, size, iterations):
    found = set()
    for _ in range(iterations + 1):
        small = eroded(mask, size)
        opened = {(i + a, j + b) for i, j in small for a, b in SQUARE}
        found |= mask - opened
        mask = small
    return found


def as_set(mask):
    return {tuple(place) for place in mask.nonzero().tolist()}


@pytest.mark.parametrize('iterations', [1, 3, 10])
def test_skeleton_matches_sets(iterations):
    torch.manual_seed(0)
    maps = F.interpolate(torch.rand(3, 1, 6, 5), (24, 21), mode='bilinear')
    masks = (maps > 0.45).float()
    got = soft_skeleton(masks, iterations)
    for mask, thin in zip(masks[:, 0], got[:, 0]):
        expected = skeleton(as_set(mask), mask.shape, iterations)
        assert as_set(thin) == expected and thin.max() == 1


def test_cl_dice_matches_sets():
    torch.manual_seed(0)
    maps = F.interpolate(torch.rand(4, 1, 6, 5), (24, 21), mode='bilinear')
    labels, seen = (maps[:, 0] > 0.45).long().split(2)
    pred = torch.where(seen == 1, 100.0, -100.0).unsqueeze(1)
    got = ClDiceLoss(iterations=5, reduction='none')(pred, labels)
    for n in range(2):
        truth, guess = as_set(labels[n]), as_set(seen[n])
        lines = [skeleton(x, (24, 21), 5) for x in (guess, truth)]
        precision, sensitivity = [(len(line & mask) + 1) / (len(line) + 1)
                                  for line, mask in zip(lines, (truth, guess))]
        expected = 2 * precision * sensitivity / (precision + sensitivity)
        assert got[n].item() == pytest.approx(1 - expected, rel=1e-5)


def test_cl_dice_sees_a_gap_and_not_the_width():
    """A vessel that is cut costs more than one that is too wide."""
    labels = torch.zeros(1, 15, 40, dtype=torch.long)
    labels[:, 6:9] = 1
    cut, wide = labels.clone(), labels.clone()
    cut[:, :, 18:22], wide[:, 5:10] = 0, 1
    loss, dice = ClDiceLoss(), TverskyLoss(alpha=0.5, beta=0.5)
    preds = [
        torch.where(x == 1, 50.0, -50.0).unsqueeze(1) for x in (cut, wide)
    ]
    assert loss(preds[1], labels) < 1e-3 < loss(preds[0], labels)
    assert dice(preds[1], labels) > dice(preds[0], labels)
