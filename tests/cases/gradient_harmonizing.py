"""Cases of the family gradient_harmonizing."""
import torch

from mmlosses.losses import GHMC, GHMR
from mmlosses.testing import LossCase, Stock
from .inputs import CLASS_WEIGHT, CLASSES, keypoints
from .regression import the_same

BINS = dict(bins=({}, dict(bins=3)), momentum=({}, dict(momentum=0.5)))


def decisions(batch):
    """Logits of 4 classes, and one target of each three that is positive."""
    return 2 * torch.randn(batch, CLASSES), (torch.rand(batch, CLASSES)
                                             > 2 / 3).float()


def certain_decisions(batch):
    """Logits that leave no doubt."""
    _, target = decisions(batch)
    return 200 * target - 100, target


CASES = [
    LossCase(
        loss=GHMC,
        inputs=decisions,
        element_shape=lambda batch: (batch, CLASSES),
        arguments=dict(
            BINS,
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1))),
        refused=dict(use_sigmoid=False),
        stock_kwargs=[
            dict(bins=30, momentum=0.75, use_sigmoid=True, loss_weight=1.0)
        ],
        perfect=certain_decisions,
        non_negative=True,
        training=False,
        selects=True,
        own_divisor=True,
        constant_factors=True,
        stock=[
            Stock('mmdet.GHMC', calls=['avg_factor'], weighs_inputs=True),
            Stock(
                'mmdet.GHMC',
                dict(bins=30, momentum=0.75),
                dict(bins=30, momentum=0.75),
                calls=['avg_factor'],
                weighs_inputs=True)
        ]),
    LossCase(
        loss=GHMR,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=dict(BINS, mu=({}, dict(mu=0.5))),
        stock_kwargs=[dict(mu=0.02, bins=10, momentum=0.7, loss_weight=10.0)],
        perfect=the_same,
        non_negative=True,
        training=False,
        selects=True,
        own_divisor=True,
        constant_factors=True,
        stock=[
            Stock('mmdet.GHMR', calls=['avg_factor'], weighs_inputs=True),
            Stock(
                'mmdet.GHMR',
                dict(mu=0.5, momentum=0.7),
                dict(mu=0.5, momentum=0.7),
                calls=['avg_factor'],
                weighs_inputs=True)
        ]),
]
