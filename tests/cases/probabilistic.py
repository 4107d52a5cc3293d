"""Cases of the family probabilistic."""
import torch

from mmlosses.losses import (KeypointPROPELLoss, PROPELLoss, RLELoss,
                             UncertainL1Loss, UncertainSmoothL1Loss)
from mmlosses.testing import LossCase
from .inputs import KEYPOINT_WEIGHT

SIGMA = 0.5
PROPEL_ARGUMENTS = dict(
    sigma=({}, dict(sigma=[SIGMA, 1.0])),
    scale=(dict(scale='var'), dict(scale='log_var')),
    compat=({}, dict(compat='torchpropel')))


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


def depths(batch):
    """Errors on either side of 1, and log deviations above 0, since half
    precision has no gradient of an error by one that is far below 0."""
    pred, sigma = 2 * torch.randn(batch, 4), torch.rand(batch, 4)
    return (pred, sigma), 2 * torch.randn(batch, 4)


def call_uncertain(loss, pred, target, *args, **kwargs):
    """The call of mmdet3d's PGDHead."""
    position, sigma = pred
    return loss(position, target, sigma, *args, **kwargs)


def per_number(batch):
    """One element is one number."""
    return (batch, 4)


CASES = [
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
    LossCase(
        loss=RLELoss,
        inputs=keypoint_gaussians,
        element_shape=lambda batch: (batch, 4),
        arguments=dict(
            size_average=({}, dict(size_average=False)),
            residual=({}, dict(residual=False)),
            q_distribution=({}, dict(q_distribution='gaussian')),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=True)],
        call=call_rle,
        mean=lambda elements: elements.sum() / len(elements),
        parameters=[
            f'flow_model.{name}.{coupling}.{layer}.{kind}' for name in 'st'
            for coupling in range(6) for layer in (0, 2, 4)
            for kind in ('weight', 'bias')
        ]),
    LossCase(
        loss=UncertainL1Loss,
        inputs=depths,
        element_shape=per_number,
        arguments=dict(alpha=({}, dict(alpha=0.5))),
        stock_kwargs=[dict(alpha=1.0, loss_weight=1.0)],
        call=call_uncertain),
    LossCase(
        loss=UncertainSmoothL1Loss,
        inputs=depths,
        element_shape=per_number,
        arguments=dict(alpha=({}, dict(alpha=0.5)), beta=({}, dict(beta=3.0))),
        stock_kwargs=[dict(alpha=1.0, beta=3.0, loss_weight=1.0)],
        call=call_uncertain),
]
