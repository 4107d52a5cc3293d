"""Cases of the family regression."""
import torch

from mmlosses.losses import (BalancedL1Loss, L1Loss, MSELoss, SiLogLoss,
                             SmoothL1Loss, SoftWingLoss, WingLoss)
from mmlosses.testing import LossCase, Stock
from .inputs import KEYPOINT_WEIGHT, keypoints


def the_same(batch):
    """The truth as prediction."""
    truth = torch.randn(batch, 4, 2)
    return truth, truth


def landmarks(batch):
    """Positions in pixels, the errors on either side of both thresholds."""
    return 6 * torch.randn(batch, 4, 2), 6 * torch.randn(batch, 4, 2)


def depths(batch):
    """Depth maps in metres, some of them not annotated."""
    pred, target = torch.rand(2, batch, 1, 4, 5) + 0.1
    return pred, target * (torch.rand(batch, 1, 4, 5) > 0.2)


def true_depths(batch):
    """The truth as prediction."""
    _, target = depths(batch)
    return target, target


def mean_of_samples(elements):
    """Sums over the keypoints, and the mean over the samples."""
    return elements.sum() / max(len(elements), 1)


CASES = [
    LossCase(
        loss=L1Loss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=KEYPOINT_WEIGHT,
        stock_kwargs=[
            dict(loss_weight=0.1),
            dict(reduction='sum', loss_weight=1.0),
            dict(use_target_weight=True)
        ],
        perfect=the_same,
        non_negative=True,
        stock=[Stock('mmdet.L1Loss')]),
    LossCase(
        loss=MSELoss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=KEYPOINT_WEIGHT,
        stock_kwargs=[
            dict(use_target_weight=True),
            dict(loss_weight=2.0, reduction='sum')
        ],
        perfect=the_same,
        non_negative=True,
        stock=[Stock('mmdet.MSELoss')]),
    LossCase(
        loss=SmoothL1Loss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=dict(
            beta=({}, dict(beta=0)),
            supervise_empty=({}, dict(supervise_empty=False)),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[
            dict(beta=1.0, loss_weight=1.0),
            dict(use_target_weight=True),
            dict(
                use_target_weight=True,
                supervise_empty=False,
                beta=1 / 9,
                loss_weight=0.03)
        ],
        perfect=the_same,
        non_negative=True,
        stock=[
            Stock('mmdet.SmoothL1Loss'),
            Stock('mmpose.SoftWeightSmoothL1Loss',
                  dict(use_target_weight=True)),
            Stock('mmpose.SoftWeightSmoothL1Loss',
                  dict(use_target_weight=True, beta=0.2, loss_weight=0.03),
                  dict(beta=0.2, loss_weight=0.03))
        ]),
    LossCase(
        loss=WingLoss,
        inputs=landmarks,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=dict(
            omega=({}, dict(omega=5.0)),
            epsilon=({}, dict(epsilon=1.0)),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=the_same,
        non_negative=True,
        mean=mean_of_samples),
    LossCase(
        loss=SoftWingLoss,
        inputs=landmarks,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=dict(
            omega1=({}, dict(omega1=4.0)),
            omega2=({}, dict(omega2=10.0)),
            epsilon=({}, dict(epsilon=1.0)),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=the_same,
        non_negative=True,
        mean=mean_of_samples),
    LossCase(
        loss=BalancedL1Loss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        arguments=dict(
            alpha=({}, dict(alpha=1.0)),
            gamma=({}, dict(gamma=1.0)),
            beta=({}, dict(beta=0.5)),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(alpha=0.5, gamma=1.5, beta=1.0, loss_weight=1.0)],
        perfect=the_same,
        non_negative=True,
        stock=[
            Stock('mmdet.BalancedL1Loss'),
            Stock('mmdet.BalancedL1Loss', dict(alpha=0.7, gamma=1.1, beta=0.5),
                  dict(alpha=0.7, gamma=1.1, beta=0.5))
        ]),
    LossCase(
        loss=SiLogLoss,
        inputs=depths,
        element_shape=lambda batch: (batch, ),
        arguments=dict(eps=({}, dict(eps=0.5)), lambd=({}, dict(lambd=0.85))),
        stock_kwargs=[dict(loss_weight=10.0)],
        perfect=true_depths,
        non_negative=True,
        stock=[
            Stock('mmseg.SiLogLoss'),
            Stock('mmseg.SiLogLoss', dict(eps=0.3), dict(eps=0.3))
        ]),
]
