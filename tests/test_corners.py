"""AssociativeEmbeddingLoss and CornerNetLoss against tutorial and mmdet."""
import copy
import math

import pytest
import torch

from mmlosses.losses import (AssociativeEmbeddingLoss, CornerNetLoss,
                             associative_embedding_loss, corner_heatmap_loss,
                             corner_offset_loss)


def pull_push_by_loops(tag0, tag1, mask, margin=1.0, eps=0.0):
    """Equations 4 and 5 of the paper for one image, as loops."""
    objects = [i for i, there in enumerate(mask.tolist()) if there]
    tag0, tag1 = tag0.tolist(), tag1.tolist()
    mean = {
        i: [(a + b) / 2 for a, b in zip(tag0[i], tag1[i])]
        for i in objects
    }
    pull = push = 0.0
    for i in objects:
        for tag in (tag0[i], tag1[i]):
            pull += sum([(a - m)**2 for a, m in zip(tag, mean[i])])
        for j in objects:
            if j != i:
                distance = sum([abs(a - b) for a, b in zip(mean[i], mean[j])])
                push += max(0, margin - distance)
    number = len(objects)
    return (pull / (number + eps) if number else 0.0,
            push / (number * (number - 1)) if number > 1 else 0.0)


def tutorial_push(tag0, tag1, mask):
    """The tutorial's push, with its way to exclude j = k."""
    mean = ((tag0 + tag1) / 2)[..., 0]
    number = mask.sum(dim=1)
    total = 0.0
    for b in range(len(mask)):
        n = float(number[b])
        for i in range(mask.shape[1]):
            for j in range(mask.shape[1]):
                # For bool this is a logical or, which never equals 2.
                if (mask[b, i] + mask[b, j]).eq(2):
                    entry = max(0, 1 - abs(float(mean[b, i] - mean[b, j])))
                    total += (entry - 1 / (n + 1e-4)) / ((n - 1) * n + 1e-4)
    return total


def tags_and_mask(batch=3, objects=5, channels=1, seed=0):
    random = torch.Generator().manual_seed(seed)
    tags = [
        0.5 * torch.randn(
            batch, objects, channels, generator=random, dtype=torch.float64)
        for _ in range(2)
    ]
    mask = torch.rand(batch, objects, generator=random) > 0.3
    return tags[0], tags[1], mask


def maps_and_match(batch=3, channels=1, most=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    maps = [
        0.5 * torch.randn(
            batch, channels, 7, 9, generator=random, dtype=torch.float64)
        for _ in range(2)
    ]
    match = []
    for n in range(batch):
        corners = torch.randint(0, 7, (most - 2 * n, 2, 2), generator=random)
        match.append(corners.tolist())
    return maps[0], maps[1], match


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('margin', [1.0, 2.0])
@pytest.mark.parametrize('objects', [0, 1, 2, 5, 20])
def test_matches_loops(channels, margin, objects):
    tag0, tag1, mask = tags_and_mask(3, objects, channels)
    pull, push = associative_embedding_loss(tag0, tag1, mask, margin)
    for n in range(3):
        expected = pull_push_by_loops(tag0[n], tag1[n], mask[n], margin)
        assert pull[n].item() == pytest.approx(expected[0], rel=1e-12)
        assert push[n].item() == pytest.approx(expected[1], rel=1e-12)


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(pull_weight=0.1, push_weight=0.3),
])
@pytest.mark.parametrize('batch, most', [(3, 6), (1, 4), (2, 2), (1, 0)])
def test_maps_match_mmdet(kwargs, batch, most):
    stock = pytest.importorskip('mmdet.models.losses').AssociativeEmbeddingLoss
    tl, br, match = maps_and_match(batch, most=most)
    given = copy.deepcopy(match)
    got = AssociativeEmbeddingLoss(**kwargs)(tl, br, match)
    assert isinstance(got, tuple) and match == given
    for one, other in zip(got, stock(**kwargs)(tl, br, match)):
        assert one.ndim == 0
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_channels_form_one_vector():
    """mmdet treats each channel of a tag as a separate object."""
    tl = torch.zeros(1, 2, 2, 2)
    tl[0, :, 0, 0] = torch.tensor([1., -1.])
    match = [[[[0, 0], [0, 0]], [[1, 1], [1, 1]]]]
    # The L1 distance is 2, beyond the margin.
    _, push = AssociativeEmbeddingLoss(1, 1)(tl, tl, match)
    assert push == 0
    stock = pytest.importorskip('mmdet.models.losses').AssociativeEmbeddingLoss
    _, push = stock(1, 1)(tl, tl, match)
    assert push.item() == pytest.approx(2 / 12)


def test_maps_and_gathered_tags_agree():
    tl, br, match = maps_and_match(channels=3)
    tag0, tag1 = torch.zeros(3, 6, 3), torch.zeros(3, 6, 3)
    tag0, tag1 = tag0.double(), tag1.double()
    mask = torch.zeros(3, 6, dtype=torch.uint8)
    for n, corners in enumerate(match):
        for k, ((y0, x0), (y1, x1)) in enumerate(corners):
            tag0[n, k], tag1[n, k] = tl[n, :, y0, x0], br[n, :, y1, x1]
            mask[n, k] = 1
    loss = AssociativeEmbeddingLoss()
    torch.testing.assert_close(loss(tl, br, match), loss(tag0, tag1, mask))


def test_maps_are_not_saved_for_backward():
    tag0, tag1, match = maps_and_match(channels=2)
    kept = []

    def keep(tensor):
        kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    maps = [x.detach().requires_grad_() for x in (tag0, tag1)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        AssociativeEmbeddingLoss()(*maps, match)
    assert not {x.untyped_storage().data_ptr() for x in maps} & set(kept)


@pytest.mark.parametrize('match', [[[], []], [[]]])
def test_no_object_is_a_zero_with_a_graph(match):
    tl = torch.randn(len(match), 1, 4, 4, requires_grad=True)
    for term in AssociativeEmbeddingLoss()(tl, tl, match):
        grad, = torch.autograd.grad(term, tl, retain_graph=True)
        assert term == 0 and (grad == 0).all()


@pytest.mark.parametrize('dtype', [torch.bool, torch.uint8, torch.int64])
def test_bool_masks(dtype):
    """The tutorial silently gives a push of 0 for a bool mask."""
    tag0, tag1, mask = tags_and_mask()
    _, push = AssociativeEmbeddingLoss(1, 1)(tag0, tag1, mask.to(dtype))
    expected = sum(
        [pull_push_by_loops(*image)[1] for image in zip(tag0, tag1, mask)])
    assert push.item() == pytest.approx(expected) and push > 0.5
    upstream = tutorial_push(tag0, tag1, mask.to(dtype))
    if dtype == torch.bool:
        assert upstream == 0
    else:
        assert upstream == pytest.approx(expected, rel=1e-3)


def test_one_object():
    """The tutorial adds almost 1 for each image with one object."""
    tag0, tag1, _ = tags_and_mask(2)
    mask = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    _, push = AssociativeEmbeddingLoss(1, 1)(tag0, tag1, mask)
    assert push == 0
    upstream = tutorial_push(tag0, tag1, mask)
    assert upstream == pytest.approx(2 / (1 + 1e-4), abs=1e-3)


@pytest.mark.parametrize('channels', [1, 2])
def test_batch_of_one(channels):
    """The tutorial's squeeze drops the batch axis, so the mask misfits."""
    tag0, tag1, mask = tags_and_mask(1, channels=channels)
    with pytest.raises(IndexError):
        tag0[..., :1].squeeze()[mask].sum()
    expected = pull_push_by_loops(tag0[0], tag1[0], mask[0])
    got = AssociativeEmbeddingLoss(1, 1)(tag0, tag1, mask)
    assert [term.item() for term in got] == pytest.approx(expected)


def test_invariant_to_padding_and_order():
    tag0, tag1, mask = tags_and_mask(channels=2)
    loss = AssociativeEmbeddingLoss()
    expected = loss(tag0, tag1, mask)
    order = torch.randperm(5)
    got = loss(tag0[:, order], tag1[:, order], mask[:, order])
    torch.testing.assert_close(got, expected)
    for poison in (math.nan, math.inf):
        spoilt = tag0.masked_fill(~mask[..., None], poison).requires_grad_()
        got = loss(spoilt, tag1, mask)
        torch.testing.assert_close(got, expected)
        sum(got).backward()
        assert torch.isfinite(spoilt.grad).all()
        assert (spoilt.grad[~mask] == 0).all()


def test_equal_tags():
    """At initialisation all tags are equal."""
    tags = torch.full((2, 4, 1), 0.3, requires_grad=True)
    pull, push = AssociativeEmbeddingLoss(1, 1)(tags, tags,
                                                torch.ones(2, 4).bool())
    assert pull == 0 and push.item() == pytest.approx(2)
    (pull + push).backward()
    assert torch.isfinite(tags.grad).all()


def test_reductions():
    """'mean' sums over images, as in mmdet; avg_factor divides."""
    tag0, tag1, mask = tags_and_mask()
    weight = torch.tensor([0.5, 0, 2])
    each = AssociativeEmbeddingLoss(reduction='none')(tag0, tag1, mask, weight)
    assert [term.shape for term in each] == [(3, ), (3, )]
    assert [term[1].item() for term in each] == [0, 0]
    got = AssociativeEmbeddingLoss()(tag0, tag1, mask, weight)
    torch.testing.assert_close(got, tuple(term.sum() for term in each))
    got = AssociativeEmbeddingLoss()(tag0, tag1, mask, weight, avg_factor=3)
    torch.testing.assert_close(got, tuple(term.sum() / 3 for term in each))


@pytest.mark.parametrize('match, error, words', [
    ([[]], ValueError, ['2', '1']),
    ([[], [[[0, 0], [0, 5]]]], ValueError, ['4 x 5', '[0, 5]']),
    ([[], [[[0, 0], [-1, 0]]]], ValueError, ['4 x 5', '-1']),
    ([[], [[[0, 0]]]], ValueError, ['[y, x]', '[[0, 0]]']),
    (torch.ones(2, 3).bool(), ValueError, ['(B, N, E)', '(2, 1, 4, 5)']),
])
def test_errors_of_maps(match, error, words):
    tags = torch.zeros(2, 1, 4, 5)
    with pytest.raises(error) as caught:
        AssociativeEmbeddingLoss()(tags, tags, match)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize('tag1, mask, error, words', [
    ((2, 3, 1), torch.ones(2, 3), TypeError, ['mask', 'float32']),
    ((2, 3, 1), torch.ones(2, 4).bool(), ValueError, ['(2, 4)']),
    ((2, 3, 2), torch.ones(2, 3).bool(), ValueError, ['(2, 3, 2)']),
    ((2, 3, 1), [[], []], ValueError, ['(B, E, H, W)', '(2, 3, 1)']),
])
def test_errors_of_tags(tag1, mask, error, words):
    with pytest.raises(error) as caught:
        AssociativeEmbeddingLoss()(torch.zeros(2, 3, 1), torch.zeros(tag1),
                                   mask)
    for word in words:
        assert word in str(caught.value)


def heatmap_by_loops(logits, target):
    """Equation 1 over the whole batch, not normalised without a peak."""
    total, peaks = 0.0, 0
    for x, y in zip(logits.flatten().tolist(), target.flatten().tolist()):
        p = 1 / (1 + math.exp(-x))
        if y == 1:
            peaks += 1
            total -= (1 - p)**2 * math.log(p)
        else:
            total -= (1 - y)**4 * p**2 * math.log(1 - p)
    return total / max(peaks, 1)


def offset_by_loops(pred, target, mask):
    """Equation 3, with the tutorial's epsilon in the object count."""
    total, number = 0.0, int(mask.sum())
    for p, t, there in zip(
            pred.reshape(-1, 2).tolist(),
            target.reshape(-1, 2).tolist(),
            mask.flatten().tolist()):
        if there:
            for error in (abs(p[0] - t[0]), abs(p[1] - t[1])):
                total += error - 0.5 if error > 1 else 0.5 * error**2
    return total / (number + 1e-4)


def corners(stacks=2, batch=3, channels=1, seed=0):
    """Outputs and targets as CornerNet's network and dataset give them."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    outs = []
    for _ in range(stacks):
        outs += [normal(batch, 2, 4, 5), normal(batch, 2, 4, 5)]
        outs += [0.5 * normal(batch, 6, channels) for _ in range(2)]
        outs += [2 * normal(batch, 6, 2), 2 * normal(batch, 6, 2)]
    heats = []
    for _ in range(2):
        heat = torch.rand(batch, 2, 4, 5, generator=random).double()
        heats.append(heat.masked_fill(heat > 0.8, 1))
    mask = torch.rand(batch, 6, generator=random) > 0.4
    offsets = [normal(batch, 6, 2) for _ in range(2)]
    return outs, [*heats, mask, *offsets]


def tutorial_by_loops(outs, targets, pull_weight, push_weight, regr_weight):
    """The tutorial's loss, with an exact push."""
    heat0, heat1, mask, regr0, regr1 = targets
    total, stacks = 0.0, len(outs) // 6
    for s in range(stacks):
        tl_heat, br_heat, tag0, tag1, tl_regr, br_regr = outs[6 * s:6 * s + 6]
        total += heatmap_by_loops(tl_heat, heat0)
        total += heatmap_by_loops(br_heat, heat1)
        for image in zip(tag0, tag1, mask):
            pull, push = pull_push_by_loops(*image, eps=1e-4)
            total += pull_weight * pull + push_weight * push
        total += regr_weight * offset_by_loops(tl_regr, regr0, mask)
        total += regr_weight * offset_by_loops(br_regr, regr1, mask)
    return total / stacks


@pytest.mark.parametrize('stacks, batch', [(1, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize('weights', [(1.0, 1.0, 1.0), (0.1, 0.2, 3.0)])
def test_sum_matches_tutorial(stacks, batch, weights):
    outs, targets = corners(stacks, batch)
    got = CornerNetLoss(*weights)(outs, targets)
    assert list(got) == ['focal_loss', 'pull_loss', 'push_loss', 'regr_loss']
    assert all([term.ndim == 0 for term in got.values()])
    expected = tutorial_by_loops(outs, targets, *weights)
    assert sum(got.values()).item() == pytest.approx(expected, rel=1e-10)


def test_image_terms_add_up():
    outs, targets = corners()
    got = CornerNetLoss(loss_weight=2.0)(outs, targets)
    each = CornerNetLoss(loss_weight=2.0, reduction='none')(outs, targets)
    for name, term in each.items():
        assert term.shape == (3, )
        torch.testing.assert_close(term.sum(), got[name])


def test_a_weight_changes_no_other_image():
    """The peaks and objects of an image of weight 0 count, as of 1e-9."""
    outs, targets = corners()
    loss = CornerNetLoss(reduction='none')
    whole = loss(outs, targets)
    for weight in (0.0, 1e-9):
        got = loss(outs, targets, torch.tensor([1., weight, 1.]).double())
        for name, each in whole.items():
            assert each[1] > 1e-3
            expected = torch.stack([each[0], weight * each[1], each[2]])
            torch.testing.assert_close(got[name], expected)


def test_removed_image_may_hold_anything():
    outs, targets = corners()
    for x in (*outs, *targets):
        if x.is_floating_point():
            x[1] = math.nan
    outs = [x.requires_grad_() for x in outs]
    got = CornerNetLoss()(outs, targets, torch.tensor([1., 0, 1]))
    sum(got.values()).backward()
    for x in outs:
        assert x.grad.isfinite().all() and not x.grad[1].any()


def test_no_object():
    outs, targets = corners()
    outs = [x.requires_grad_() for x in outs]
    heats = [torch.zeros_like(x) for x in targets[:2]]
    mask = torch.zeros_like(targets[2])
    got = CornerNetLoss()(outs, [*heats, mask, *targets[3:]])
    assert [got[name].item() for name in got
            if name != 'focal_loss'] == [0] * 3
    for grad in torch.autograd.grad(sum(got.values()), outs):
        assert torch.isfinite(grad).all()


def test_without_a_peak_the_sum_is_not_normalised():
    """As in the tutorial: 80 classes on 128 x 128 at the usual bias."""
    logits = torch.full((1, 80, 128, 128), math.log(0.1 / 0.9))
    got = corner_heatmap_loss(logits, torch.zeros_like(logits))
    assert got.item() == pytest.approx(1381, abs=0.5)


@pytest.mark.parametrize('logit', [9.5, 30., 100.])
def test_saturated_heatmaps_keep_their_gradient(logit):
    """The tutorial clamps the sigmoid, so both gradients are 0."""
    logits = torch.tensor([[-logit, logit]], requires_grad=True)
    target = torch.tensor([[1., 0.]])
    limited = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    wrong = -(1 - limited[0, 0])**2 * limited[0, 0].log() - (
        limited[0, 1]**2 * (1 - limited[0, 1]).log())
    assert (torch.autograd.grad(wrong, logits)[0] == 0).all()
    got = corner_heatmap_loss(logits, target)
    grad, = torch.autograd.grad(got.sum(), logits)
    assert got.item() == pytest.approx(2 * logit, rel=2e-2)
    torch.testing.assert_close(
        grad, torch.tensor([[-1., 1.]]), rtol=0, atol=2e-3)


def test_logits_are_not_overwritten():
    """The tutorial applies the sigmoid in place."""
    outs, targets = corners()
    before = [x.clone() for x in (*outs, *targets)]
    CornerNetLoss()(outs, targets)
    for x, copied in zip((*outs, *targets), before):
        assert torch.equal(x, copied)


def test_offsets_of_padding_do_not_count():
    _, (_, _, mask, offset, target) = corners()
    got = corner_offset_loss(
        offset.masked_fill(~mask[..., None], math.nan), target, mask)
    expected = offset_by_loops(offset, target, mask)
    assert got.sum().item() == pytest.approx(expected)


@pytest.mark.parametrize('change, error, words', [
    (lambda outs, targets: (outs[:7], targets), ValueError, ['6', 'got 7']),
    (lambda outs, targets: ([], targets), ValueError, ['got 0']),
    (lambda outs, targets: (outs, targets[:4]), ValueError, ['5', 'and 4']),
    (lambda outs, targets: (outs[0], targets), TypeError, ['outs', 'Tensor']),
    (lambda outs, targets:
     ([x[:1] for x in outs], targets), ValueError, ['(1, 6, 1)', '(3, 6)']),
    (lambda outs, targets:
     (outs[:4] + [x[..., :1] for x in outs[4:6]], targets[:3] +
      [x[..., :1]
       for x in targets[3:]]), ValueError, ['(B, N, 2)', '(3, 6, 1)']),
    (lambda outs, targets:
     (outs, targets[:2] + [targets[2].float()] + targets[3:]), TypeError,
     ['mask', 'float32']),
    (lambda outs, targets:
     (outs, [targets[0].long()] + targets[1:]), TypeError, ['int64']),
])
def test_error_messages(change, error, words):
    with pytest.raises(error) as caught:
        CornerNetLoss()(*change(*corners()))
    for word in words:
        assert word in str(caught.value)


def test_positions_at_the_map_border():
    maps = torch.randn(1, 1, 3, 4)
    loss = AssociativeEmbeddingLoss()
    pull, _ = loss(maps, maps, [[[[2, 3], [2, 3]]]])
    assert pull == 0
    for corner in ([3, 0], [0, 4], [-1, 0]):
        with pytest.raises(ValueError, match='3 x 4'):
            loss(maps, maps, [[[[0, 0], corner]]])


def test_empty_batch_of_maps():
    maps = torch.randn(0, 1, 3, 4, requires_grad=True)
    for term in AssociativeEmbeddingLoss()(maps, maps, []):
        assert term == 0 and term.requires_grad


def test_heatmaps_out_of_range():
    """Values of 0 and 255 are refused, not those of an image of weight 0."""
    tags = [torch.zeros(2, 3, 1) for _ in range(2)]
    offsets = [torch.zeros(2, 3, 2) for _ in range(2)]
    maps = [torch.zeros(2, 1, 4, 4) for _ in range(2)]
    heat = torch.zeros(2, 1, 4, 4)
    heat[1, 0, 2, 2] = 255
    targets = [maps[0], heat, torch.ones(2, 3).bool(), *offsets]
    outs = [*maps, *tags, *offsets]
    with pytest.raises(ValueError, match='from 0 to 1, got 255'):
        CornerNetLoss()(outs, targets)
    terms = CornerNetLoss()(outs, targets, torch.tensor([1.0, 0.0]))
    assert sum(terms.values()).isfinite()
