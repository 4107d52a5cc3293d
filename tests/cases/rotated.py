"""Cases of the family rotated."""
import torch

from mmlosses.core.rotated import corners_of
from mmlosses.losses import (BCConvexGIoULoss, ConvexGIoULoss, GDLoss,
                             GDLoss_v1, H2RBoxConsistencyLoss, KFLoss,
                             ProbIoULoss, RotatedCIoULoss, RotatedDIoULoss,
                             RotatedGIoULoss, RotatedIoULoss,
                             SpatialBorderLoss)
from mmlosses.testing import LossCase


def random_boxes(batch, dims=2):
    """Boxes of sides from 2 to 4, centres within 2, at any angle."""
    return torch.cat([
        2 * torch.rand(batch, dims), 2 + 2 * torch.rand(batch, dims),
        3 * torch.rand(batch, 1)
    ],
                     dim=-1)


def boxes(batch, dims=2):
    """Rotated boxes that overlap by a third, more or less."""
    return random_boxes(batch, dims), random_boxes(batch, dims)


def the_same(batch, dims=2):
    """The truth as prediction."""
    truth = random_boxes(batch, dims)
    return truth, truth


def point_sets(batch):
    """Nine points that surround a part of a quadrilateral."""
    return 4 * torch.rand(batch, 18) - 1, corners_of(random_boxes(batch))


def points_inside(batch):
    """All points within their box."""
    boxes = random_boxes(batch)
    inner = [
        corners_of(torch.cat([boxes[:, :2], part * boxes[:, 2:4], turn], 1))
        for part, turn in ((0.8, boxes[:, 4:]), (0.3, boxes[:, 4:]))
    ]
    return torch.cat([*inner, boxes[:, :2]], dim=1), corners_of(boxes)


def deltas_and_boxes(batch):
    """Deltas, and the boxes that they stand for, of both."""
    pred, target = boxes(batch)
    return (torch.randn(batch, 5), pred), (torch.randn(batch, 5), target)


def call_kalman(loss,
                pred,
                target,
                weight=None,
                avg_factor=None,
                reduction_override=None,
                **kwargs):
    """The head's own call, with the boxes by keyword."""
    return loss(
        pred[0],
        target[0],
        weight,
        avg_factor=avg_factor,
        pred_decode=pred[1],
        targets_decode=target[1],
        reduction_override=reduction_override,
        **kwargs)


def per_box(batch):
    """One element is one box."""
    return (batch, )


CASES = [
    LossCase(
        loss=RotatedIoULoss,
        inputs=boxes,
        element_shape=per_box,
        arguments=dict(
            linear=({}, dict(linear=True)),
            eps=({}, dict(eps=10.0)),
            mode=(dict(mode='log'), dict(mode='square'))),
        perfect=the_same,
        non_negative=True,
        stock_kwargs=[
            dict(loss_weight=1.0),
            dict(mode='linear', loss_weight=2.0),
        ]),
    LossCase(
        loss=RotatedGIoULoss,
        inputs=boxes,
        element_shape=per_box,
        arguments=dict(eps=({}, dict(eps=10.0))),
        non_negative=True),
    LossCase(
        loss=RotatedDIoULoss,
        inputs=boxes,
        element_shape=per_box,
        arguments=dict(eps=({}, dict(eps=10.0))),
        perfect=the_same,
        non_negative=True),
    LossCase(
        loss=RotatedCIoULoss,
        inputs=boxes,
        element_shape=per_box,
        arguments=dict(eps=({}, dict(eps=10.0))),
        perfect=the_same,
        non_negative=True,
        constant_factors=True),
    LossCase(
        loss=GDLoss,
        inputs=boxes,
        element_shape=per_box,
        kwargs=dict(loss_type='kld'),
        arguments=dict(
            loss_type=({}, dict(loss_type='gwd')),
            representation=({}, dict(representation='xy_stddev_pearson')),
            fun=(dict(fun='none'), dict(fun='sqrt')),
            tau=({}, dict(tau=2.0)),
            alpha=({}, dict(alpha=0.5)),
            sqrt=({}, dict(sqrt=False)),
            normalize=(dict(loss_type='gwd'),
                       dict(loss_type='gwd', normalize=False))),
        perfect=the_same,
        non_negative=True,
        stock_kwargs=[
            dict(loss_type='gwd', loss_weight=5.0),
            dict(
                loss_type='kld',
                fun='log1p',
                tau=1,
                sqrt=False,
                loss_weight=5.5),
        ]),
    LossCase(
        loss=GDLoss_v1,
        inputs=boxes,
        element_shape=per_box,
        kwargs=dict(loss_type='gwd'),
        arguments=dict(
            loss_type=({}, dict(loss_type='bcd')),
            fun=(dict(fun='log1p'), dict(fun='')),
            tau=({}, dict(tau=2.0))),
        perfect=the_same,
        non_negative=True,
        stock_kwargs=[
            dict(loss_type='kld', fun='log1p', tau=1, loss_weight=1.0)
        ]),
    LossCase(
        loss=KFLoss,
        inputs=deltas_and_boxes,
        element_shape=per_box,
        arguments=dict(
            fun=({}, dict(fun='exp')),
            beta=({}, dict(beta=2.0)),
            eps=(dict(fun='ln'), dict(fun='ln', eps=0.1))),
        non_negative=True,
        call=call_kalman,
        stock_kwargs=[dict(loss_weight=5.0),
                      dict(fun='ln', loss_weight=5.0)]),
    LossCase(
        loss=ProbIoULoss,
        inputs=boxes,
        element_shape=per_box,
        arguments=dict(mode=({}, dict(mode='l2'))),
        perfect=the_same,
        non_negative=True),
    LossCase(
        loss=H2RBoxConsistencyLoss,
        inputs=boxes,
        element_shape=per_box,
        arguments=dict(
            center_loss_cfg=({},
                             dict(
                                 center_loss_cfg=dict(
                                     type='mmlosses.L1Loss'))),
            shape_loss_cfg=({},
                            dict(
                                shape_loss_cfg=dict(
                                    type='mmlosses.GIoULoss'))),
            angle_loss_cfg=({},
                            dict(angle_loss_cfg=dict(
                                type='mmlosses.MSELoss')))),
        perfect=the_same,
        non_negative=True,
        stock_kwargs=[
            dict(
                loss_weight=0.4,
                center_loss_cfg=dict(type='L1Loss', loss_weight=0.0),
                shape_loss_cfg=dict(type='IoULoss', loss_weight=1.0),
                angle_loss_cfg=dict(type='L1Loss', loss_weight=1.0))
        ]),
    LossCase(
        loss=ConvexGIoULoss,
        inputs=point_sets,
        element_shape=per_box,
        non_negative=True,
        stock_kwargs=[dict(loss_weight=0.375)]),
    LossCase(
        loss=BCConvexGIoULoss,
        inputs=point_sets,
        element_shape=per_box,
        non_negative=True,
        stock_kwargs=[dict(loss_weight=1.0)]),
    LossCase(
        loss=SpatialBorderLoss,
        inputs=point_sets,
        element_shape=per_box,
        perfect=points_inside,
        non_negative=True,
        stock_kwargs=[dict(loss_weight=0.05)]),
]
