"""Cases of the family heatmap."""
import torch

from mmlosses.losses import (AdaptiveWingLoss, CombinedTargetMSELoss,
                             FocalHeatmapLoss, GaussianFocalLoss,
                             KeypointMSELoss, KeypointOHKMMSELoss)
from mmlosses.testing import LossCase, Stock

MAPS = dict(keypoint_weight=({}, dict(keypoint_weight=[0.5, 3.0])))
WEIGHTED = dict(use_target_weight=True)


def heatmaps(batch):
    """Logits, and a heatmap with a peak in each picture."""
    pred = torch.randn(batch, 2, 3, 4)
    target = 0.9 * torch.rand(batch, 2, 3, 4)
    target[:, 0, 1, 2] = 1
    return pred, target


def half_empty_heatmaps(batch):
    """The second keypoint is not visible."""
    pred, target = heatmaps(batch)
    target[:, 1] = 0
    return pred, target


def combined_heatmaps(batch):
    """A heatmap and two maps of offsets for each of two keypoints."""
    pred, target = torch.randn(2, batch, 6, 3, 4)
    target[:, ::3] = target[:, ::3].sigmoid()
    return pred, target


def element_shape(batch):
    return batch, 2, 3, 4


def perfect_heatmaps(batch):
    """Peaks of 1 on a target of zeros."""
    target = (heatmaps(batch)[1] == 1).float()
    return target.clone(), target


CASES = [
    LossCase(
        loss=KeypointMSELoss,
        inputs=half_empty_heatmaps,
        element_shape=element_shape,
        arguments=dict(
            skip_empty_channel=({}, dict(skip_empty_channel=True)), **MAPS),
        stock_kwargs=[
            dict(use_target_weight=True),
            dict(use_target_weight=True, loss_weight=0.25),
            dict(use_target_weight=True, skip_empty_channel=True),
        ],
        perfect=perfect_heatmaps,
        non_negative=True,
        stock=[
            Stock('mmpose.KeypointMSELoss'),
            Stock('mmpose.KeypointMSELoss', dict(skip_empty_channel=True),
                  dict(skip_empty_channel=True))
        ]),
    LossCase(
        loss=KeypointOHKMMSELoss,
        inputs=lambda batch: torch.randn(2, batch, 4, 3, 5).unbind(),
        element_shape=lambda batch: (batch, 4),
        kwargs=dict(topk=2),
        arguments=dict(
            topk=({}, dict(topk=3)),
            keypoint_weight=({}, dict(keypoint_weight=[0.5, 2.0, 1.0, 3.0]))),
        stock_kwargs=[dict(use_target_weight=True, loss_weight=1.0)],
        perfect=lambda batch: torch.ones(2, batch, 4, 3, 5).unbind(),
        non_negative=True,
        mean=lambda elements: elements.sum() / (2 * len(elements)),
        selects=True,
        stock=[
            Stock(
                'mmpose.KeypointOHKMMSELoss',
                dict(topk=2, use_target_weight=True),
                weighs_inputs=True)
        ]),
    LossCase(
        loss=CombinedTargetMSELoss,
        inputs=combined_heatmaps,
        element_shape=element_shape,
        arguments=MAPS,
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=lambda batch: (combined_heatmaps(batch)[1], ) * 2,
        non_negative=True,
        stock=[
            Stock(
                'mmpose.CombinedTargetMSELoss',
                WEIGHTED,
                weighs_inputs=True,
                weight_ndim=2)
        ]),
    LossCase(
        loss=AdaptiveWingLoss,
        inputs=heatmaps,
        element_shape=element_shape,
        arguments=dict(
            alpha=({}, dict(alpha=3.0)),
            omega=({}, dict(omega=5.0)),
            epsilon=({}, dict(epsilon=2.0)),
            theta=({}, dict(theta=1.0)),
            **MAPS),
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=perfect_heatmaps,
        non_negative=True,
        stock=[
            Stock(
                'mmpose.AdaptiveWingLoss',
                dict(kwargs, **WEIGHTED),
                kwargs,
                weighs_inputs=True)
            for kwargs in ({},
                           dict(alpha=2.5, omega=8, epsilon=0.5, theta=0.7))
        ]),
    LossCase(
        loss=FocalHeatmapLoss,
        inputs=half_empty_heatmaps,
        element_shape=element_shape,
        arguments=dict(
            alpha=({}, dict(alpha=0.5)),
            beta=({}, dict(beta=1.0)),
            use_sigmoid=({}, dict(use_sigmoid=True)),
            skip_empty_channel=({}, dict(skip_empty_channel=True)),
            **MAPS),
        stock_kwargs=[dict(loss_weight=1.0),
                      dict(loss_weight=4.0)],
        perfect=perfect_heatmaps,
        non_negative=True,
        # One peak in each picture.
        mean=lambda elements: elements.sum() / len(elements),
        # Removed peaks are not counted.
        selects=True,
        stock=[
            Stock(
                'mmpose.FocalHeatmapLoss', kwargs, kwargs, weighs_inputs=True)
            for kwargs in ({}, dict(alpha=1, beta=3, skip_empty_channel=True))
        ]),
    LossCase(
        loss=GaussianFocalLoss,
        inputs=heatmaps,
        element_shape=element_shape,
        arguments=dict(
            alpha=({}, dict(alpha=0.5)),
            gamma=({}, dict(gamma=1.0)),
            use_sigmoid=({}, dict(use_sigmoid=True)),
            pos_weight=({}, dict(pos_weight=2.0)),
            neg_weight=({}, dict(neg_weight=2.0)),
            **MAPS),
        stock_kwargs=[
            dict(alpha=2.0, gamma=4.0, loss_weight=1),
            dict(loss_weight=1.0),
            dict(pos_weight=0.25, neg_weight=0.75),
        ],
        perfect=perfect_heatmaps,
        non_negative=True,
        stock=[Stock('mmdet.GaussianFocalLoss')]),
]
