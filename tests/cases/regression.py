"""The cases of L1Loss, MSELoss, SmoothL1Loss, AngularLoss and PROPEL."""
import torch

from mmlosses.losses import (AngularLoss, KeypointPROPELLoss, L1Loss, MSELoss,
                             PROPELLoss, SmoothL1Loss)
from mmlosses.testing import LossCase, Stock

SIGMA = 0.5
KEYPOINT_WEIGHT = dict(
    keypoint_weight=({}, dict(keypoint_weight=[0.5, 2.0, 1.0, 3.0])))


def keypoints(batch):
    """Coordinates of 4 keypoints, the errors on either side of 1."""
    return torch.randn(batch, 4, 2), torch.randn(batch, 4, 2)


def the_same(batch):
    """The truth as prediction."""
    truth = torch.randn(batch, 4, 2)
    return truth, truth


def vectors(batch):
    """Vectors of the plane, of any length: both axes may hold them."""
    return torch.randn(batch, 2, 2), torch.randn(batch, 2, 2)


def same_directions(batch):
    """The same directions, of other lengths."""
    truth = torch.randn(batch, 2, 2)
    return 2.0 * truth, truth


def mixtures(batch):
    """Three components in two dimensions, with positive scales."""
    mean, scale = torch.randn(batch, 3, 2), torch.rand(batch, 3, 2) + 0.1
    return torch.cat([mean, scale], dim=-1), torch.randn(batch, 2)


def perfect_mixture(batch):
    """Each component is the target."""
    target = torch.randn(batch, 2)
    mean = target[:, None].expand(batch, 3, 2)
    return torch.cat([mean, torch.full_like(mean, SIGMA)], dim=-1), target


def keypoint_gaussians(batch):
    """One Gaussian for each of 4 keypoints."""
    mu, target = torch.randn(batch, 4, 2), torch.randn(batch, 4, 2)
    return (mu, torch.rand(batch, 4, 2) + 0.1), target


def perfect_gaussians(batch):
    """Each Gaussian is that of the target."""
    target = torch.randn(batch, 4, 2)
    return (target, torch.full_like(target, SIGMA)), target


def call_rle(loss, pred, target, *args, **kwargs):
    """The call of mmpose's RLEHead."""
    return loss(*pred, target, *args, **kwargs)


PROPEL_ARGUMENTS = dict(
    sigma=({}, dict(sigma=[SIGMA, 1.0])),
    scale=(dict(scale='var'), dict(scale='log_var')),
    compat=({}, dict(compat='torchpropel')))

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
        stock=[Stock('mmdet.SmoothL1Loss')]),
    LossCase(
        loss=AngularLoss,
        inputs=vectors,
        element_shape=lambda batch: (batch, 2),
        arguments=dict(
            delta=({}, dict(delta=0)),
            dim=({}, dict(dim=1)),
            period=({}, dict(period='half'))),
        stock_kwargs=[dict(use_target_weight=True),
                      dict(loss_weight=0.05)],
        perfect=same_directions,
        non_negative=True),
    LossCase(
        loss=PROPELLoss,
        inputs=mixtures,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(sigma=SIGMA),
        arguments=PROPEL_ARGUMENTS,
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=perfect_mixture,
        non_negative=True),
    LossCase(
        loss=KeypointPROPELLoss,
        inputs=keypoint_gaussians,
        element_shape=lambda batch: (batch, 4),
        kwargs=dict(sigma=SIGMA),
        arguments=dict(PROPEL_ARGUMENTS, **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=perfect_gaussians,
        non_negative=True,
        call=call_rle),
]
