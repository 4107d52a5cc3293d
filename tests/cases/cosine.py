"""Cases of the family cosine."""
import torch

from mmlosses.losses import CCSLoss
from mmlosses.testing import LossCase
from .inputs import CHANNELS, NUM_CLASSES, metric_inputs


def class_vectors(dtype=torch.float32, device=None):
    """The weight vectors of a classifier, the same each time."""
    numbers = torch.arange(NUM_CLASSES * CHANNELS, dtype=dtype, device=device)
    return numbers.reshape(NUM_CLASSES, CHANNELS).mul(1.7).sin()


def ccs_call(loss, pred, target, *args, **kwargs):
    """The call of CCSLoss, with class weights of the classifier's dtype."""
    double = pred.dtype == torch.float64
    vectors = class_vectors(torch.float64 if double else torch.float32,
                            pred.device)
    return loss(pred, vectors, target, *args, **kwargs)


def ccs_perfect(batch):
    """Embeddings along their class vector."""
    labels = torch.arange(batch) % NUM_CLASSES
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


CASES = [
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
