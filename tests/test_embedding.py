"""TripletLoss, MarginL2Loss and InfoNCELoss against loops and stock."""
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from helpers import needs_dynamo

from mmlosses.losses import InfoNCELoss, MarginL2Loss, MSELoss, TripletLoss
from mmlosses.registry import MODELS


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def people(samples=12, identities=4, seed=0):
    """Features in float64 and labels, of which the last is alone."""
    features = torch.randn(
        samples, 5, generator=random(seed), dtype=torch.float64)
    labels = torch.arange(samples) % identities
    labels[-1] = identities
    return features, labels


# --- triplets ---


def triplets_by_loops(features, labels, margin, hard_mining):
    """Batch hard and batch all of the paper, sample by sample."""
    points, labels = features.tolist(), labels.tolist()
    losses = []
    for a, anchor in enumerate(points):
        same = [
            math.dist(anchor, x) for i, x in enumerate(points)
            if labels[i] == labels[a] and i != a
        ]
        others = [
            math.dist(anchor, x) for i, x in enumerate(points)
            if labels[i] != labels[a]
        ]
        if hard_mining:
            # An anchor that is alone is only pushed.
            losses.append(
                max(0, margin + max(same, default=0) -
                    min(others)) if others else 0.0)
        else:
            found = [
                max(0, margin + p - n)
                for p, n in itertools.product(same, others)
            ]
            losses.append(sum(found) / max(len(found), 1))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize('hard_mining', [True, False])
@pytest.mark.parametrize('margin', [0.0, 0.3, 2.0])
@pytest.mark.parametrize('identities', [1, 2, 4, 12])
def test_triplets_match_loops(hard_mining, margin, identities):
    features, labels = people(identities=identities)
    if identities == 1:
        labels[:] = 0
    loss = TripletLoss(margin, 1.0, hard_mining, reduction='none')
    torch.testing.assert_close(
        loss(features, labels),
        triplets_by_loops(features, labels, margin, hard_mining))


def test_triplets_match_pytorch_metric_learning():
    pytest.importorskip('pytorch_metric_learning')
    from pytorch_metric_learning import distances, losses, miners, reducers
    features, labels = people(identities=3)
    labels[-1] = 0
    distance = distances.LpDistance(normalize_embeddings=False)
    theirs = losses.TripletMarginLoss(
        margin=0.5, distance=distance, reducer=reducers.MeanReducer())
    mined = miners.BatchHardMiner(distance=distance)(features, labels)
    torch.testing.assert_close(
        TripletLoss(0.5)(features, labels), theirs(features, labels, mined))


@pytest.mark.parametrize('kwargs', [{}, dict(margin=2.0, loss_weight=0.5)])
def test_triplets_match_mmdet(kwargs):
    stock = pytest.importorskip('mmdet.models.losses').TripletLoss(**kwargs)
    features, labels = people()
    features.requires_grad_()
    got, expected = [
        x(features, labels) for x in (TripletLoss(**kwargs), stock)
    ]
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, features),
        torch.autograd.grad(expected, features))


@pytest.mark.parametrize('hard_mining', [True, False])
def test_removed_samples_are_in_no_triplet(hard_mining):
    features, labels = people()
    weight = torch.ones(12, dtype=torch.float64)
    weight[[1, 5, 6]] = 0
    features = torch.where(weight[:, None] > 0, features, math.nan)
    kept = weight > 0
    loss = TripletLoss(1.0, hard_mining=hard_mining, reduction='none')
    got = loss(features, labels, weight)
    torch.testing.assert_close(got[kept], loss(features[kept], labels[kept]))
    assert (got[~kept] == 0).all()


def test_one_identity_has_no_negatives():
    """mmdet raises an error: the minimum of nothing."""
    features = torch.randn(4, 3, requires_grad=True)
    labels = torch.zeros(4, dtype=torch.long)
    for hard_mining in (True, False):
        loss = TripletLoss(hard_mining=hard_mining)(features, labels)
        grad, = torch.autograd.grad(loss, features)
        assert loss == 0 and (grad == 0).all()
    stock = pytest.importorskip('mmdet.models.losses').TripletLoss()
    with pytest.raises((RuntimeError, IndexError)):
        stock(features, labels)


def test_triplets_far_from_the_origin():
    """mmdet's squares cancel: 1000.1 and 1000 have no distance of 0.1."""
    features = torch.tensor([[1000.0], [1000.125], [1000.5], [1000.75]])
    labels = torch.tensor([0, 0, 1, 1])
    expected = triplets_by_loops(features, labels, 1.0, True).mean()
    assert TripletLoss(1.0)(features, labels).item() == expected.item()
    stock = pytest.importorskip('mmdet.models.losses').TripletLoss(1.0)
    assert abs(stock(features, labels) - expected) > 0.01


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(4, 3, requires_grad=True)
    for hard_mining in (True, False):
        loss = TripletLoss(hard_mining=hard_mining)
        got = loss(features, torch.tensor([0, 0, 1, 1]))
        grad, = torch.autograd.grad(got, features)
        assert got.item() == pytest.approx(0.3) and (grad == 0).all()


def test_triplets_accept_stock_names():
    features, labels = people()
    loss = TripletLoss(margin=0.3, loss_weight=0.5, hard_mining=True)
    torch.testing.assert_close(
        loss(inputs=features, targets=labels),
        0.5 * TripletLoss()(features, labels))


@pytest.mark.parametrize('labels', [[0, 1], [0.0, 1, 0], [[0], [1], [0]]])
def test_wrong_labels(labels):
    with pytest.raises((ValueError, TypeError), match='labels must have'):
        TripletLoss()(torch.randn(3, 4), torch.tensor(labels))


@pytest.mark.openmmlab
def test_reid_head():
    """LinearReIDHead passes features and labels by position."""
    pytest.importorskip('mmpretrain')
    reid = pytest.importorskip('mmdet.models.reid')
    from mmdet.structures import ReIDDataSample
    from mmdet.utils import register_all_modules
    register_all_modules()
    samples = []
    for label in (0, 0, 1, 1):
        samples.append(ReIDDataSample().set_gt_label(label))
    results = []
    for prefix in ('', 'mmlosses.'):
        torch.manual_seed(0)
        head = reid.LinearReIDHead(
            num_fcs=1,
            in_channels=8,
            fc_channels=6,
            out_channels=4,
            loss_triplet=dict(
                type=prefix + 'TripletLoss', margin=0.3, loss_weight=1.0))
        head.init_weights()
        feats = (torch.randn(4, 8, generator=random()), )
        results.append(head.loss(feats, samples)['triplet_loss'])
    torch.testing.assert_close(*results)


# --- similarities ---


def margin_l2_by_loops(pred, target, weight, bound, pos_margin, neg_margin):
    """Squared errors, and the hardest negatives by a sort."""
    losses, kept, negatives = {}, [], []
    for i, (p, t, w) in enumerate(
            zip(*[x.flatten().tolist() for x in (pred, target, weight)])):
        if w == 0:
            continue
        margin = {1: pos_margin, 0: neg_margin}.get(t, 0)
        losses[i] = (min(max(p - max(margin, 0), 0), 1) - t)**2
        (negatives if t == 0 else kept).append(i)
    positives = sum([target.flatten()[i] == 1 for i in kept])
    if bound > 0:
        negatives.sort(key=lambda i: -losses[i])
        negatives = negatives[:int(bound * positives)]
    kept += negatives
    total = sum([weight.flatten()[i].item() * losses[i] for i in kept])
    return total / max(len(kept), 1)


@pytest.mark.parametrize('bound', [-1, 0.5, 1, 3, 100])
@pytest.mark.parametrize('margins', [(-1, -1), (0, 0.1), (0.2, 0.3)])
@pytest.mark.parametrize('shape', [(7, 9), (31, ), (2, 3, 5)])
def test_margin_l2_matches_loops(bound, margins, shape):
    pred = torch.randn(shape, generator=random(), dtype=torch.float64).tanh()
    target = (torch.rand(shape, generator=random(1)) > 0.8).long()
    target[0] = -1
    weight = torch.rand(shape, generator=random(2), dtype=torch.float64)
    weight = weight * (weight > 0.3)
    got = MarginL2Loss(bound, *margins, True)(pred, target, weight)
    assert got.item() == pytest.approx(
        margin_l2_by_loops(pred, target, weight, bound, *margins))


@pytest.mark.parametrize('kwargs', [
    dict(),
    dict(neg_pos_ub=3, pos_margin=0, neg_margin=0.1, hard_mining=True),
    dict(neg_pos_ub=1, pos_margin=0.1, hard_mining=True, loss_weight=2.0),
])
@pytest.mark.parametrize('name', ['MarginL2Loss', 'L2Loss'])
@pytest.mark.parametrize('weighted', [False, True])
def test_margin_l2_matches_mmdet(kwargs, name, weighted):
    stocks = pytest.importorskip('mmdet.models.losses')
    stock = getattr(stocks, name)(**kwargs)
    target = (torch.rand(6, 9, generator=random(1)) > 0.8).float()
    weight = torch.rand(6, 9, generator=random(2))
    weight = weight * (weight > 0.3) if weighted else None
    results = []
    for loss in (MarginL2Loss(**kwargs), stock):
        pred = torch.randn(6, 9, generator=random(3)).tanh().requires_grad_()
        # mmdet changes all that it is given.
        given = [x if x is None else x.clone() for x in (target, weight)]
        value = loss(pred.clone(), *given)
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)


def test_random_negatives():
    """As many as the bound allows, all equally often."""
    pred = torch.full((1, 12), 0.5, requires_grad=True)
    target = torch.zeros(1, 12)
    target[0, :2] = 1
    loss = MarginL2Loss(neg_pos_ub=2, reduction='none')
    torch.manual_seed(0)
    count = torch.zeros(12)
    for _ in range(300):
        chosen = (loss(pred, target) > 0)[0]
        assert chosen[:2].all() and chosen.sum() == 2 + 2 * 2
        count += chosen
    assert (count[2:] > 70).all() and (count[2:] < 170).all()


def test_no_positive_keeps_no_negative():
    pred = torch.rand(3, 4, requires_grad=True)
    loss = MarginL2Loss(neg_pos_ub=3)(pred, torch.zeros(3, 4))
    grad, = torch.autograd.grad(loss, pred)
    assert loss == 0 and (grad == 0).all()


def test_positives_of_negative_cosine():
    """mmdet clamps them to 0, where they have no gradient."""
    pred = torch.tensor([-0.5], requires_grad=True)
    for clamp, value, slope in ((True, 1.0, 0.0), (False, 2.25, -3.0)):
        loss = MarginL2Loss(clamp_positives=clamp)(pred, torch.ones(1))
        grad, = torch.autograd.grad(loss, pred)
        assert loss == value and grad == slope


def test_mmdet_changes_its_inputs_and_fails_with_sum():
    pred, target = torch.full((2, 2), 0.5), torch.tensor([[1, 0], [0, 1]])
    weight = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    kwargs = dict(pos_margin=0.1, neg_margin=0.1)
    given = [x.clone() for x in (pred, target, weight)]
    # 0.4 - 1 twice, and 0.4 - 0.
    right = 2 * 0.6**2 + 0.4**2
    got = MarginL2Loss(**kwargs, reduction='sum')(*given)
    assert got.item() == pytest.approx(right)
    assert all([torch.equal(*x) for x in zip(given, (pred, target, weight))])
    stock = pytest.importorskip('mmdet.models.losses').MarginL2Loss
    assert stock(**kwargs)(*given).item() == pytest.approx(right / 3)
    assert given[0][0, 0] == 0.4 and given[1][1, 0] == -1
    with pytest.raises(ValueError, match='avg_factor'):
        stock(**kwargs, reduction='sum')(pred, target)


@pytest.mark.parametrize('kwargs', [
    dict(neg_pos_ub=3),
    dict(neg_margin=0.1),
    dict(pos_margin=0, loss_weight=2.0),
    dict(hard_mining=True, reduction='sum')
])
def test_arguments_of_mmdet_select_its_l2_loss(kwargs):
    loss = MODELS.build(dict(type='mmlosses.L2Loss', **kwargs))
    assert type(loss) is MarginL2Loss
    for name, value in kwargs.items():
        assert getattr(loss, name) == value


def test_l2_loss_alone_is_the_squared_error():
    for kwargs in ({}, dict(reduction='sum', loss_weight=2.0)):
        loss = MODELS.build(dict(type='mmlosses.L2Loss', **kwargs))
        assert type(loss) is MSELoss


def test_mining_compiles_to_one_graph():
    needs_dynamo()
    pred = torch.rand(4, 6, generator=random())
    target = (pred > 0.7).int()
    loss = MarginL2Loss(1, 0, 0.1, True)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


@pytest.mark.openmmlab
def test_quasi_dense_head():
    """The call of QDTrack's head: integer targets, no weight."""
    heads = pytest.importorskip('mmdet.models.tracking_heads')
    from mmdet.utils import register_all_modules
    register_all_modules()
    results = []
    for prefix in ('', 'mmlosses.'):
        torch.manual_seed(0)
        head = heads.QuasiDenseEmbedHead(
            num_convs=0,
            num_fcs=0,
            embed_channels=8,
            roi_feat_size=1,
            in_channels=4,
            loss_track_aux=dict(
                type=prefix + 'MarginL2Loss',
                neg_pos_ub=3,
                pos_margin=0,
                neg_margin=0.1,
                hard_mining=True))
        feats = torch.randn(40, 4, 1, 1, generator=random())
        key = SimpleNamespace(
            pos_bboxes=torch.zeros(10, 4),
            pos_assigned_gt_inds=torch.arange(10) % 3)
        ref = SimpleNamespace(
            bboxes=torch.zeros(30, 4),
            pos_assigned_gt_inds=torch.arange(8) % 3)
        embeds = head(feats)
        losses = head.loss_by_feat(embeds[:10], embeds[10:], [key], [ref],
                                   [torch.arange(3)])
        loss = losses['loss_track_aux']
        grads = torch.autograd.grad(loss, head.fc_embed.weight)
        results.append((loss, *grads))
    torch.testing.assert_close(*results)


# --- InfoNCE ---


def info_nce_by_loops(features, keys, temperature):
    losses = []
    for i, x in enumerate(features.tolist()):
        scores = []
        for key in keys.tolist():
            dot = sum([a * b for a, b in zip(x, key)])
            length = math.hypot(*x) * math.hypot(*key)
            scores.append(math.exp(dot / length / temperature))
        losses.append(-math.log(scores[i] / sum(scores)))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize('temperature', [0.05, 0.5, 1.0])
@pytest.mark.parametrize('samples', [1, 2, 7])
def test_info_nce_matches_loops(temperature, samples):
    features, keys = [
        torch.randn(samples, 6, generator=random(x), dtype=torch.float64)
        for x in range(2)
    ]
    loss = InfoNCELoss(temperature, reduction='none')
    torch.testing.assert_close(
        loss(features, keys), info_nce_by_loops(features, keys, temperature))
    torch.testing.assert_close(
        loss(features), info_nce_by_loops(features, features, temperature))
    # One person needs no push.
    assert samples > 1 or loss(features) == 0


@pytest.mark.parametrize('samples', [1, 2, 7])
def test_info_nce_matches_mmpose(samples):
    name = 'mmpose.models.losses.classification_loss'
    stock = pytest.importorskip(name).InfoNCELoss(0.05, 2.0)
    features = torch.randn(samples, 6, generator=random(), requires_grad=True)
    got, expected = [
        x(features=features) for x in (InfoNCELoss(0.05, 2.0), stock)
    ]
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, features),
        torch.autograd.grad(expected, features),
        rtol=1e-4,
        atol=1e-6)


def test_features_of_zeros():
    """mmpose's gradient is 1e12 times as large, and NaN in float16."""
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    loss = InfoNCELoss()(features)
    grad, = torch.autograd.grad(loss, features)
    assert grad.abs().max() < 10
    assert torch.isfinite(InfoNCELoss()(features.half()))
    stock = pytest.importorskip('mmpose.models.losses.classification_loss')
    loss = stock.InfoNCELoss()(features)
    grad, = torch.autograd.grad(loss, features)
    assert grad.abs().max() > 1e10


def test_removed_features_are_no_negatives():
    features = torch.randn(5, 3, generator=random(), dtype=torch.float64)
    weight = torch.tensor([1.0, 0.0, 1.0, 2.0, 0.0], dtype=torch.float64)
    kept = weight > 0
    loss = InfoNCELoss(0.2)
    got = loss(features.masked_fill(~kept[:, None], math.inf), weight=weight)
    torch.testing.assert_close(got, loss(features[kept], weight=weight[kept]))
