"""Cases of the family boxes_3d."""
from functools import partial

import torch
from torch import nn

from mmlosses.losses import (AxisAlignedIoULoss, ChamferDistance, L1Loss,
                             MultiBinLoss, PAConvRegularizationLoss,
                             RotatedIoU3DLoss)
from mmlosses.testing import LossCase
from .rotated import boxes, the_same


def random_corners(batch):
    """Boxes of sides from 2 to 4, with corners up to 2 apart."""
    low = 2 * torch.rand(batch, 3)
    return torch.cat([low, low + 2 + 2 * torch.rand(batch, 3)], dim=-1)


def corners(batch):
    """Boxes along the axes that overlap by a third, more or less."""
    return random_corners(batch), random_corners(batch)


def same_corners(batch):
    """The truth as prediction."""
    truth = random_corners(batch)
    return truth, truth


def angles(batch):
    """Two bins: the first angle is in both, the others in one."""
    inside = torch.tensor([[1.0, 1], [0, 1], [1, 0]])
    offset = torch.rand(batch, 2) - 0.5
    pred = torch.randn(batch, 8)
    return pred, torch.cat([inside[torch.arange(batch) % 3], offset], dim=1)


def sure_angles(batch):
    """The centres of bins, and scores that leave no doubt about them."""
    inside = (torch.rand(batch, 2) > 0.5).float()
    scores = 200 * torch.stack([1 - inside, inside], dim=2)
    vectors = torch.tensor([0.0, 1.0]).expand(batch, 2, 2)
    target = torch.cat([inside, torch.zeros(batch, 2)], dim=1)
    return torch.cat([scores, vectors], dim=1).flatten(1), target


def call_multibin(loss,
                  pred,
                  target,
                  weight=None,
                  avg_factor=None,
                  *args,
                  **kwargs):
    """The call of mmdet3d, which has the bins third."""
    return loss(
        pred, target, 2, *args, weight=weight, avg_factor=avg_factor, **kwargs)


def point_sets(batch):
    """Four points each, the errors on either side of 1."""
    return 2 * torch.randn(batch, 4, 3), 2 * torch.randn(batch, 4, 3)


def same_points(batch):
    """The same points in another order."""
    truth = torch.randn(batch, 4, 3)
    return truth, truth.flip(1)


def call_chamfer(loss,
                 source,
                 target,
                 weight=None,
                 avg_factor=None,
                 *args,
                 **kwargs):
    """The sum of both terms, and over the points of a sample."""
    kwargs['weight'], kwargs['avg_factor'] = weight, avg_factor
    one, other = loss(source, target, 1.0, 1.0, *args, **kwargs)
    return one + other if one.ndim == 0 else (one + other).sum(dim=1)


class Bank(nn.Module):
    """What the loss reads of mmdet3d's PAConv."""

    def __init__(self, weight_bank, num_kernels=3):
        super().__init__()
        self.weight_bank, self.num_kernels = weight_bank, num_kernels


def banks(batch):
    """Weight banks of 2 channels, for 3 kernels of 2 each; no target."""
    return torch.randn(batch, 2, 6), torch.zeros(batch).long()


def orthogonal_banks(batch):
    """Kernels of which each has numbers where the others have zeros."""
    kernels = torch.eye(3, 4).reshape(3, 2, 2).transpose(0, 1).reshape(2, 6)
    return kernels.repeat(batch, 1, 1), torch.zeros(batch).long()


def call_bank(loss,
              pred,
              target,
              weight=None,
              avg_factor=None,
              *args,
              **kwargs):
    """Layers with these banks; a model without one is refused."""
    if len(pred) != len(target):
        raise ValueError('there is no target')
    kwargs['weight'], kwargs['avg_factor'] = weight, avg_factor
    if len(pred) == 0:
        none = L1Loss(reduction=loss.reduction)
        return none(pred.flatten(1).sum(dim=1), target, *args, **kwargs)
    return loss([nn.ReLU(), *map(Bank, pred)], *args, **kwargs)


def per_sample(batch):
    """One element is one box, angle, pair of sets or layer."""
    return (batch, )


EPS = dict(eps=({}, dict(eps=10.0)))

CASES = [
    LossCase(
        loss=AxisAlignedIoULoss,
        inputs=corners,
        element_shape=per_sample,
        arguments=EPS,
        perfect=same_corners,
        non_negative=True,
        stock_kwargs=[dict(reduction='sum', loss_weight=10.0 / 3.0)]),
    LossCase(
        loss=RotatedIoU3DLoss,
        inputs=partial(boxes, dims=3),
        element_shape=per_sample,
        arguments=EPS,
        perfect=partial(the_same, dims=3),
        non_negative=True,
        stock_kwargs=[dict(loss_weight=1.0)]),
    LossCase(
        loss=MultiBinLoss,
        inputs=angles,
        element_shape=per_sample,
        perfect=sure_angles,
        non_negative=True,
        call=call_multibin,
        # The mean number of bins is that of the angles with a weight.
        selects=True,
        stock_kwargs=[dict(loss_weight=0.1)]),
    LossCase(
        loss=ChamferDistance,
        inputs=point_sets,
        element_shape=per_sample,
        arguments=dict(
            mode=(dict(mode='l1'), dict(mode='smooth_l1')),
            loss_src_weight=({}, dict(loss_src_weight=10.0)),
            loss_dst_weight=({}, dict(loss_dst_weight=10.0))),
        perfect=same_points,
        non_negative=True,
        call=call_chamfer,
        mean=lambda elements: elements.mean() / 4,
        stock_kwargs=[
            dict(mode='l1', reduction='none', loss_dst_weight=10.0),
            dict(
                mode='l2',
                reduction='sum',
                loss_src_weight=10.0,
                loss_dst_weight=10.0)
        ]),
    LossCase(
        loss=PAConvRegularizationLoss,
        inputs=banks,
        element_shape=per_sample,
        perfect=orthogonal_banks,
        non_negative=True,
        call=call_bank,
        stock_kwargs=[dict(reduction='sum', loss_weight=10.0)]),
]
