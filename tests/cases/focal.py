"""Cases of the family focal."""
import torch

from mmlosses.losses import (AsymmetricLoss, FocalCustomLoss, FocalLoss,
                             SmoothFocalLoss)
from mmlosses.testing import LossCase, Stock
from .inputs import CLASS_WEIGHT, CLASSES, certain, labelled


def certain_of_each(batch):
    """Scores that leave no doubt about any class."""
    pred, target = certain(batch)
    return pred - 100, target


def tagged(batch):
    """Scores of 4 classes, of which some are right."""
    return torch.randn(batch, CLASSES), (torch.rand(batch, CLASSES)
                                         > 0.6).float()


def certain_tags(batch):
    """Scores that leave no doubt about any of several classes."""
    _, target = tagged(batch)
    return 200 * target - 100, target


def soft_bins(batch):
    """Scores of 6 bins, and soft labels."""
    return torch.randn(batch, 6), torch.rand(batch, 6)


def certain_bins(batch):
    """Scores that leave no doubt about the right bins."""
    target = torch.eye(6)[torch.arange(batch) % 6]
    return 400 * target - 200, target


ARGUMENTS = dict(
    gamma=({}, dict(gamma=0.5)),
    alpha=({}, dict(alpha=None)),
    activated=({}, dict(activated=True)),
    class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
    ignore_index=({}, dict(ignore_index=1)))

CASES = [
    LossCase(
        loss=FocalLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, CLASSES),
        arguments=dict(use_sigmoid=(dict(use_sigmoid=False), {}), **ARGUMENTS),
        stock_kwargs=[
            dict(use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
            dict(use_sigmoid=True, activated=True, gamma=2.0, loss_weight=1.0),
        ],
        perfect=certain_of_each,
        non_negative=True,
        stock=[Stock('mmdet.FocalLoss')]),
    LossCase(
        loss=FocalCustomLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, CLASSES),
        kwargs=dict(num_classes=CLASSES),
        arguments=dict(
            use_sigmoid=(dict(use_sigmoid=False, num_classes=CLASSES - 1), {}),
            **ARGUMENTS),
        refused=dict(num_classes=CLASSES + 1),
        stock_kwargs=[
            dict(
                use_sigmoid=True,
                num_classes=13204,
                gamma=2.0,
                alpha=0.25,
                loss_weight=1.0)
        ],
        perfect=certain_of_each,
        non_negative=True,
        stock=[
            Stock('mmdet.FocalCustomLoss', dict(num_classes=CLASSES)),
            Stock('mmdet.FocalCustomLoss',
                  dict(num_classes=CLASSES, gamma=1.5, alpha=0.6),
                  dict(gamma=1.5, alpha=0.6))
        ]),
    LossCase(
        loss=AsymmetricLoss,
        inputs=tagged,
        element_shape=lambda batch: (batch, CLASSES),
        arguments=dict(
            gamma_pos=({}, dict(gamma_pos=0.5)),
            gamma_neg=({}, dict(gamma_neg=0.5)),
            clip=({}, dict(clip=None)),
            eps=({}, dict(eps=0.5)),
            use_sigmoid=({}, dict(use_sigmoid=False)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1))),
        stock_kwargs=[
            dict(gamma_pos=1.0, gamma_neg=4.0, clip=0.05, use_sigmoid=True),
            dict(gamma_pos=0.0, gamma_neg=4.0, clip=0.05, loss_weight=1.0),
        ],
        perfect=certain_tags,
        non_negative=True,
        joined_axis=True,
        stock=[
            Stock('mmpretrain.AsymmetricLoss', kwargs, kwargs, weight_ndim=1)
            for kwargs in (dict(), dict(use_sigmoid=False),
                           dict(gamma_pos=1.0, gamma_neg=2.5, clip=None),
                           dict(eps=0.3))
        ]),
    LossCase(
        loss=SmoothFocalLoss,
        inputs=soft_bins,
        element_shape=lambda batch: (batch, 6),
        arguments=dict(
            gamma=({}, dict(gamma=0.5)), alpha=({}, dict(alpha=0.5))),
        stock_kwargs=[dict(gamma=2.0, alpha=0.25, loss_weight=0.2)],
        perfect=certain_bins,
        non_negative=True),
]
