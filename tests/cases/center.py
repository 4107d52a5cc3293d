"""Cases of the family center."""
import torch

from mmlosses.losses import CenterLoss, CenterSoftmaxLoss
from mmlosses.testing import LossCase
from .inputs import (CHANNELS, NUM_CLASSES, REFUSED, SIZES, SOFTMAX,
                     metric_inputs)

CENTERS = dict(
    alpha=({}, dict(alpha=0.1)), learn_centers=(dict(learn_centers=True), {}))


def center_perfect(batch):
    """Features at the centres, which start at the origin."""
    return torch.zeros(batch, CHANNELS), torch.arange(batch) % NUM_CLASSES


def moved(loss):
    """The centres after a call in training mode."""
    loss.train()(*metric_inputs(3))
    return loss.centers


CASES = [
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
]
