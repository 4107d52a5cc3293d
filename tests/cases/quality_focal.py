"""Cases of the family quality_focal."""
import torch
import torch.nn.functional as F

from mmlosses.losses import (DistributionFocalLoss, QualityFocalLoss,
                             VarifocalLoss, VariFocalLoss)
from mmlosses.testing import LossCase, Stock
from .inputs import CLASSES, labelled

BINS = 5


def rated(batch):
    """Scores, and labels with their qualities; the last is background."""
    pred, labels = labelled(batch)
    labels[2:3] = CLASSES
    return pred, (labels, torch.rand(batch))


def certain_of_rated(batch):
    """Scores that leave no doubt about boxes of quality 1."""
    _, (labels, quality) = rated(batch)
    hot = F.one_hot(labels, CLASSES + 1)[:, :-1].float()
    return 200 * hot - 100, (labels, torch.ones_like(quality))


def qualities(batch):
    """Scores and qualities, many of which are 0."""
    quality = torch.rand(batch, CLASSES)
    return torch.randn(batch, CLASSES), quality.where(
        torch.rand(batch, CLASSES) > 0.4, torch.zeros(()))


def certain_of_qualities(batch):
    """Scores that leave no doubt about qualities of 0 and 1."""
    quality = qualities(batch)[1].ceil()
    return 200 * quality - 100, quality


def distances(batch):
    """Scores of bins and distances."""
    return torch.randn(batch, BINS), (BINS - 1) * torch.rand(batch)


def certain_of_distances(batch):
    """Scores that leave no doubt about distances to the last bin."""
    bins = BINS - 1 - torch.arange(batch) % BINS
    return 200 * F.one_hot(bins, BINS).float(), bins.float()


VARIFOCAL = dict(
    inputs=qualities,
    element_shape=lambda batch: (batch, CLASSES),
    arguments=dict(
        alpha=({}, dict(alpha=0.3)),
        gamma=({}, dict(gamma=0.5)),
        iou_weighted=({}, dict(iou_weighted=False))),
    refused=dict(use_sigmoid=False),
    perfect=certain_of_qualities,
    non_negative=True)

CASES = [
    LossCase(
        loss=QualityFocalLoss,
        inputs=rated,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            beta=({}, dict(beta=0.5)), activated=({}, dict(activated=True))),
        refused=dict(use_sigmoid=False),
        stock_kwargs=[
            dict(use_sigmoid=True, beta=2.0, loss_weight=1.0),
            dict(use_sigmoid=True, activated=True, beta=2.0, loss_weight=1.0),
        ],
        perfect=certain_of_rated,
        non_negative=True,
        stock=[
            Stock('mmdet.QualityFocalLoss'),
            Stock('mmdet.QualityFocalLoss', dict(beta=1.5), dict(beta=1.5))
        ]),
    LossCase(
        loss=VarifocalLoss,
        stock_kwargs=[
            dict(
                use_sigmoid=True,
                alpha=0.75,
                gamma=2.0,
                iou_weighted=True,
                loss_weight=1.0)
        ],
        stock=[
            Stock('mmdet.VarifocalLoss'),
            Stock('mmdet.VarifocalLoss', dict(iou_weighted=False),
                  dict(iou_weighted=False)),
            Stock('mmdet.VarifocalLoss', dict(alpha=0.3, gamma=1.5),
                  dict(alpha=0.3, gamma=1.5)),
        ],
        **VARIFOCAL),
    LossCase(
        loss=VariFocalLoss,
        stock_kwargs=[
            dict(reduction='sum', use_target_weight=True, loss_weight=1.0)
        ],
        stock=[
            Stock('mmpose.VariFocalLoss', dict(use_target_weight=True)),
            Stock('mmpose.VariFocalLoss',
                  dict(use_target_weight=True, alpha=0.3, gamma=1.5),
                  dict(alpha=0.3, gamma=1.5)),
        ],
        **VARIFOCAL),
    LossCase(
        loss=DistributionFocalLoss,
        inputs=distances,
        element_shape=lambda batch: (batch, ),
        stock_kwargs=[dict(loss_weight=0.25)],
        perfect=certain_of_distances,
        non_negative=True,
        stock=[Stock('mmdet.DistributionFocalLoss')]),
]
