"""Embeddings."""
from __future__ import annotations
import math
from typing import Any, Dict

import torch
from mmdet.models import losses as mmdet
from mmpose.models.losses.ae_loss import AssociativeEmbeddingLoss
from mmpose.models.losses.classification_loss import InfoNCELoss
from upstream import Shown, gradient, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows('TripletLoss', mmdet.TripletLoss, 'fails for one identity',
       'without a negative there is no triplet')
def triplet_identity() -> Shown:
    """A batch of one identity, as on one of several GPUs, ends the training.
    """
    features, labels = torch.randn(4, 8), torch.zeros(4, dtype=torch.long)
    stock = outcome(lambda: mmdet.TripletLoss()(features, labels))
    ours = mmlosses.TripletLoss()(features, labels)
    right = 0.0
    return stock, ours, right


@shows('TripletLoss', mmdet.TripletLoss, 'wrong far from the origin',
       'two of four anchors have 0.3 + 0.25 - 0.375, the others 0')
def triplet_cancels() -> Shown:
    """A small distance is the difference of large squares."""
    features = 2000 + torch.tensor([[0.], [0.25], [0.625], [0.875]])
    labels = torch.tensor([0, 0, 1, 1])
    stock = mmdet.TripletLoss()(features, labels)
    ours = mmlosses.TripletLoss()(features, labels)
    right = 2 * (0.3 + 0.25 - 0.375) / 4
    return stock, ours, right


@shows('TripletLoss', mmdet.TripletLoss, 'NaN in float16',
       'the distances are 300 and 400: 0.3 + 300 - 400 is below 0')
def triplet_float16() -> Shown:
    """The squares of features overflow."""
    features = torch.tensor([[0.], [300.], [-400.]]).half()
    labels = torch.tensor([0, 0, 1])
    stock = mmdet.TripletLoss()(features, labels)
    ours = mmlosses.TripletLoss(reduction='none')(features, labels)[0]
    right = max(0.0, 0.3 + 300 - 400)
    return stock, ours, right


@shows('TripletLoss', mmdet.TripletLoss, 'needs the values on the host',
       'the rows of a mask need no shape of their own')
def triplet_sync() -> Shown:
    """It indexes by a mask for each sample, which waits for the device."""
    inputs = torch.randn(4, 8), torch.tensor([0, 0, 1, 1])
    stock = syncs(mmdet.TripletLoss(), *inputs)
    ours = syncs(mmlosses.TripletLoss(), *inputs)
    right = 'no sync'
    return stock, ours, right


@shows('MarginL2Loss', mmdet.MarginL2Loss, 'writes to the prediction',
       'a loss must not change the similarities of the model')
def margin_l2_writes() -> Shown:
    """It subtracts the margins in place, so a second loss sees others."""
    stock, ours = torch.ones(1, 2), torch.ones(1, 2)
    target = torch.tensor([[1., 0.]])
    mmdet.MarginL2Loss(neg_margin=0.1)(stock, target)
    mmlosses.MarginL2Loss(neg_margin=0.1)(ours, target)
    right = torch.ones(1, 2)
    return stock, ours, right


@shows('MarginL2Loss', mmdet.MarginL2Loss, 'ignores avg_factor',
       '(0.5 - 0) ** 2 twice, over 10')
def margin_l2_factor() -> Shown:
    """It replaces the factor that a head passes by its own count."""
    inputs = torch.full((1, 2), 0.5), torch.zeros(1, 2)
    stock = mmdet.MarginL2Loss()(*inputs, avg_factor=10)
    ours = mmlosses.MarginL2Loss()(*inputs, avg_factor=10)
    right = 2 * 0.5**2 / 10
    return stock, ours, right


@shows('MarginL2Loss', mmdet.MarginL2Loss, "fails with reduction='sum'",
       '(0.5 - 0) ** 2 twice')
def margin_l2_sum() -> Shown:
    """Its own count is an ``avg_factor``, which a sum refuses."""
    inputs = torch.full((1, 2), 0.5), torch.zeros(1, 2)
    stock = outcome(lambda: mmdet.MarginL2Loss(reduction='sum')(*inputs))
    ours = mmlosses.MarginL2Loss(reduction='sum')(*inputs)
    right = 2 * 0.5**2
    return stock, ours, right


@shows('MarginL2Loss', mmdet.MarginL2Loss, 'mines two axes only',
       'the positive and one negative: ((0.5 - 1) ** 2 + 0.75 ** 2) / 2')
def margin_l2_axes() -> Shown:
    """It indexes negatives by two axes, here of one."""
    pred, target = torch.tensor([0.5, 0.25, 0.75]), torch.tensor([1., 0., 0.])
    kwargs: Dict[str, Any] = dict(neg_pos_ub=1, hard_mining=True)
    stock = outcome(lambda: mmdet.MarginL2Loss(**kwargs)
                    (pred.clone(), target.clone()))
    ours = mmlosses.MarginL2Loss(**kwargs)(pred, target)
    right = (0.5**2 + 0.75**2) / 2
    return stock, ours, right


@shows('MarginL2Loss', mmdet.MarginL2Loss, 'no gradient below cosine 0',
       'QDTrack, equation of the auxiliary loss: 2 * (-0.5 - 1)')
def margin_l2_dead() -> Shown:
    """A positive pair of opposite embeddings is clamped, and never pulled.

    Ours is a drop-in by default, and right with ``clamp_positives=False``.
    """
    pred, target = torch.tensor([-0.5]), torch.ones(1)
    loss = mmlosses.MarginL2Loss(clamp_positives=False)
    stock = gradient(lambda x: mmdet.MarginL2Loss()(x, target.clone()), pred)
    ours = gradient(lambda x: loss(x, target), pred)
    right = 2 * (-0.5 - 1)
    return stock, ours, right


@shows('InfoNCELoss', InfoNCELoss, 'gradient of 1e12 for zeros',
       'below 10: the cosines are bounded, as after a dead ReLU')
def info_nce_zeros() -> Shown:
    """The length of zeros is clamped to 1e-12, by which it divides."""
    features = torch.tensor([[0., 0.], [3., 4.]])
    stock = bool(gradient(InfoNCELoss(), features).norm() < 10)
    ours = bool(gradient(mmlosses.InfoNCELoss(), features).norm() < 10)
    right = True
    return stock, ours, right


@shows('InfoNCELoss', InfoNCELoss, 'NaN for zeros in float16',
       'cosines (0, 0) and (0, 1): log(2) + log(1 + exp(-1))')
def info_nce_float16() -> Shown:
    """The minimum length of 1e-12 is 0 in float16."""
    features = torch.tensor([[0., 0.], [3., 4.]]).half()
    stock = InfoNCELoss()(features)
    ours = mmlosses.InfoNCELoss()(features)
    right = math.log(2) + math.log(1 + math.exp(-1))
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', AssociativeEmbeddingLoss,
       'needs the values on the host',
       'places and visibility are an index and a mask')
def tags_sync() -> Shown:
    """It looks at the visibility of each keypoint of each person."""
    tags, places = torch.randn(1, 3, 4, 4), torch.ones(1, 2, 3, 2).long()
    stock = syncs(AssociativeEmbeddingLoss(), tags, places)
    ours = syncs(mmlosses.AssociativeEmbeddingLoss(), tags, places)
    right = 'no sync'
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', AssociativeEmbeddingLoss,
       'no gradient for one person',
       'a push of 0 that stays in the graph of the tags')
def tags_graph() -> Shown:
    """Its zero is a new tensor, on which the model does not depend."""
    tags, places = torch.randn(1, 3, 4, 4), torch.ones(1, 1, 3, 2).long()
    stock = outcome(lambda: gradient(
        lambda x: AssociativeEmbeddingLoss()(x, places)[1], tags).sum())
    ours = gradient(
        lambda x: mmlosses.AssociativeEmbeddingLoss()(x, places)[1],
        tags).sum()
    right = 0.0
    return stock, ours, right


@shows('AssociativeEmbeddingLoss', AssociativeEmbeddingLoss,
       'infinite in float16', 'tags 0 and 600 of one person: 300 ** 2')
def tags_float16() -> Shown:
    """The squares of tags overflow."""
    tags = torch.tensor([0., 600.]).view(1, 2, 1, 1).half()
    places = torch.tensor([[[[0, 1], [0, 1]]]])
    stock, _ = AssociativeEmbeddingLoss()(tags, places)
    ours, _ = mmlosses.AssociativeEmbeddingLoss()(tags, places)
    right = 300.0**2
    return stock, ours, right
