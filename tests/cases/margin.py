"""Cases of the family margin."""
import torch

from mmlosses.losses import (ArcFaceLogitLoss, ArcFaceLoss,
                             ModifiedSoftmaxLoss, NormFaceLoss)
from mmlosses.testing import LossCase
from .inputs import CHANNELS, NUM_CLASSES, SIZES, SOFTMAX, metric_inputs

VECTORS = dict(SOFTMAX, chunk_size=0, shard_classes='two')
MARGIN = dict(
    scale=({}, dict(scale=8.0)),
    margin=({}, dict(margin=0.2)),
    boundary=({}, dict(boundary='continuous')))


def arcface_inputs(batch):
    """The first features point away from their class vector, so that their
    angle and the margin add up to more than pi."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = ArcFaceLoss(NUM_CLASSES, CHANNELS).weight.detach()
    features, labels = metric_inputs(batch)
    labels = (labels + 2) % NUM_CLASSES
    features[:1] = -weight[labels[:1]] + 0.01 * features[:1]
    return features, labels


def logit_inputs(batch):
    """Scaled cosines, one near -1, and labels, one of the background."""
    cosine = torch.rand(batch, NUM_CLASSES + 1) * 1.8 - 0.9
    cosine[1:2, 1] = -0.99
    return 32 * cosine, torch.tensor([5, 1, 2])[torch.arange(batch) % 3]


CASES = [
    LossCase(
        loss=ModifiedSoftmaxLoss,
        inputs=metric_inputs,
        element_shape=lambda batch: (batch, ),
        kwargs=SIZES,
        refused=VECTORS,
        parameters=['weight']),
    LossCase(
        loss=NormFaceLoss,
        inputs=metric_inputs,
        element_shape=lambda batch: (batch, ),
        kwargs=SIZES,
        refused=VECTORS,
        arguments=dict(scale=({}, dict(scale=8.0))),
        parameters=['weight']),
    LossCase(
        loss=ArcFaceLoss,
        inputs=arcface_inputs,
        element_shape=lambda batch: (batch, ),
        kwargs=SIZES,
        refused=VECTORS,
        arguments=MARGIN,
        parameters=['weight'],
        # What the slot of a triplet loss leaves in place.
        stock_kwargs=[dict(margin=0.3, loss_weight=1.0)]),
    LossCase(
        loss=ArcFaceLogitLoss,
        inputs=logit_inputs,
        element_shape=lambda batch: (batch, ),
        refused=dict(use_sigmoid=True),
        arguments=dict(MARGIN, background=({}, dict(background=False))),
        stock_kwargs=[dict(use_sigmoid=False, loss_weight=1.0)]),
]
