"""Losses over features and class vectors."""
import torch

from mmlosses.losses import (ArcFaceLogitLoss, ArcFaceLoss, CCSLoss,
                             CenterLoss, CenterSoftmaxLoss,
                             ModifiedSoftmaxLoss, NormFaceLoss)
from mmlosses.testing import LossCase

CLASSES, CHANNELS = 5, 4


def metric_inputs(batch):
    """Features and labels."""
    return torch.randn(batch, CHANNELS), torch.arange(batch) % CLASSES


def arcface_inputs(batch):
    """The first features point away from their class vector, so that their
    angle and the margin add up to more than pi."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = ArcFaceLoss(CLASSES, CHANNELS).weight.detach()
    features, labels = metric_inputs(batch)
    labels = (labels + 2) % CLASSES
    features[:1] = -weight[labels[:1]] + 0.01 * features[:1]
    return features, labels


def logit_inputs(batch):
    """Scaled cosines, one near -1, and labels, one of the background."""
    cosine = torch.rand(batch, CLASSES + 1) * 1.8 - 0.9
    cosine[1:2, 1] = -0.99
    return 32 * cosine, torch.tensor([5, 1, 2])[torch.arange(batch) % 3]


def center_perfect(batch):
    """Features at the centres, which start at the origin."""
    return torch.zeros(batch, CHANNELS), torch.arange(batch) % CLASSES


def moved(loss):
    """The centres after a call in training mode."""
    loss.train()(*metric_inputs(3))
    return loss.centers


def class_vectors(dtype=torch.float32, device=None):
    """The weight vectors of a classifier, the same each time."""
    numbers = torch.arange(CLASSES * CHANNELS, dtype=dtype, device=device)
    return numbers.reshape(CLASSES, CHANNELS).mul(1.7).sin()


def ccs_call(loss, pred, target, *args, **kwargs):
    """The call of CCSLoss, with class weights of the classifier's dtype."""
    double = pred.dtype == torch.float64
    vectors = class_vectors(torch.float64 if double else torch.float32,
                            pred.device)
    return loss(pred, vectors, target, *args, **kwargs)


def ccs_perfect(batch):
    """Embeddings along their class vector."""
    labels = torch.arange(batch) % CLASSES
    return 3 * class_vectors()[labels], labels


def ccs_anchors(loss):
    """The loss of an anchor with an IoU of 0.6 to its box."""
    return loss.forward_anchors(
        torch.tensor([[[0., 0., 10., 6.]]]), torch.ones(1, 1, CHANNELS),
        class_vectors(), torch.tensor([[[0., 0., 10., 10., 2.]]]))


def ccs_gradient(loss):
    """The gradient of the class weights."""
    vectors = class_vectors().requires_grad_()
    embeddings, labels = metric_inputs(3)
    loss(embeddings.requires_grad_(), vectors, labels).backward()
    return torch.zeros_like(vectors) if vectors.grad is None else vectors.grad


SIZES = dict(num_classes=CLASSES, in_channels=CHANNELS)
REFUSED = dict(num_classes=1, in_channels=CHANNELS - 1)
SOFTMAX = dict(REFUSED, use_sigmoid=True)
VECTORS = dict(SOFTMAX, chunk_size=0, shard_classes='two')
MARGIN = dict(
    scale=({}, dict(scale=8.0)),
    margin=({}, dict(margin=0.2)),
    boundary=({}, dict(boundary='continuous')))
CENTERS = dict(
    alpha=({}, dict(alpha=0.1)), learn_centers=(dict(learn_centers=True), {}))

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
    LossCase(
        loss=CenterLoss,
        inputs=metric_inputs,
        element_shape=lambda batch: (batch, ),
        kwargs=SIZES,
        refused=REFUSED,
        arguments=CENTERS,
        show=dict(alpha=moved),
        perfect=center_perfect,
        non_negative=True,
        training=False),
    LossCase(
        loss=CenterSoftmaxLoss,
        inputs=metric_inputs,
        element_shape=lambda batch: (batch, ),
        kwargs=SIZES,
        refused=SOFTMAX,
        arguments=dict(CENTERS, center_weight=({}, dict(center_weight=0.5))),
        show=dict(alpha=moved),
        parameters=['weight'],
        training=False),
    LossCase(
        loss=CCSLoss,
        inputs=metric_inputs,
        element_shape=lambda batch: (batch, ),
        call=ccs_call,
        arguments=dict(
            soft=({}, dict(soft=True)),
            detach_weight=({}, dict(detach_weight=False)),
            iou_thresholds=({}, dict(iou_thresholds=dict(object=0.7)))),
        show=dict(
            soft=ccs_anchors,
            detach_weight=ccs_gradient,
            iou_thresholds=ccs_anchors),
        perfect=ccs_perfect,
        non_negative=True),
]
