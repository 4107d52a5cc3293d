"""Cases of the family rotated."""
import torch

from mmlosses.core.rotated import corners_of
from mmlosses.losses import (BCConvexGIoULoss, ConvexGIoULoss,
                             H2RBoxConsistencyLoss, RotatedGIoULoss,
                             RotatedIoULoss, SpatialBorderLoss)
from mmlosses.testing import LossCase


def random_boxes(batch):
    """Boxes of sides from 2 to 4 within a square of 2, at any angle."""
    return torch.cat([
        2 * torch.rand(batch, 2), 2 + 2 * torch.rand(batch, 2),
        3 * torch.rand(batch, 1)
    ],
                     dim=-1)


def boxes(batch):
    """Rotated boxes that overlap by a third, more or less."""
    return random_boxes(batch), random_boxes(batch)


def the_same(batch):
    """The truth as prediction."""
    truth = random_boxes(batch)
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
