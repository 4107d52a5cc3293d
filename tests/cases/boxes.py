"""Cases of the family boxes."""
import torch

from mmlosses.losses import (AlphaIoULoss, BoundedIoULoss, CIoULoss, DIoULoss,
                             EIoULoss, ExtendedIoULoss, GIoULoss, InnerIoULoss,
                             IoULoss, MPDIoULoss, NWDLoss, ShapeIoULoss,
                             SIoULoss, WIoULoss)
from mmlosses.testing import LossCase, Stock


def random_boxes(batch):
    """Boxes of sides from 1 to 3, with corners up to 2 apart."""
    low = 2 * torch.rand(batch, 2)
    return torch.cat([low, low + 1 + 2 * torch.rand(batch, 2)], dim=-1)


def boxes(batch):
    """Boxes that overlap by a quarter, more or less."""
    return random_boxes(batch), random_boxes(batch)


def near_boxes(batch):
    """Boxes that overlap by more than half, of other aspect ratios."""
    target = random_boxes(batch)
    return target + 0.3 * torch.rand(batch, 4), target


def the_same(batch):
    """The truth as prediction."""
    truth = random_boxes(batch)
    return truth, truth


def per_box(batch):
    """One element is one box."""
    return (batch, )


def case(loss, arguments, **settings):
    """What the losses of boxes have in common."""
    return LossCase(
        loss=loss,
        non_negative=True,
        arguments=dict(eps=({}, dict(eps=10.0)), **arguments),
        **{
            'inputs': boxes,
            'element_shape': per_box,
            'perfect': the_same,
            'stock_kwargs': [dict(eps=1e-6, reduction='sum', loss_weight=2.0)],
            **settings
        })


def only_loss(loss, *args, **kwargs):
    """Leave out the IoU of each box."""
    result = loss(*args, **kwargs)
    return result[0] if isinstance(result, tuple) else result


def moved_mean(loss):
    """The running mean after a step of training."""
    loss.train()(*boxes(5))
    return loss.mean_iou_loss


# Ours, not the defaults of mmyolo.
CORNERS = dict(bbox_format='xyxy', return_iou=False)
GIOU = dict(iou_mode='giou', return_iou=False)

CASES = [
    case(
        IoULoss,
        dict(
            mode=(dict(mode='log'), dict(mode='square')),
            linear=({}, dict(linear=True)),
            iou_mode=[
                dict(iou_mode=mode, **CORNERS) for mode in ('giou', 'siou')
            ],
            bbox_format=(dict(bbox_format='xyxy',
                              **GIOU), dict(bbox_format='xywh', **GIOU)),
            return_iou=({}, dict(CORNERS, iou_mode='giou', return_iou=True))),
        call=only_loss,
        show=dict(return_iou=lambda loss: torch.tensor(1.0 * loss.return_iou)),
        stock_kwargs=[
            dict(loss_weight=1.0),
            dict(iou_mode='giou', eps=1e-7, reduction='sum', **CORNERS),
            dict(mode='square', eps=1e-16, reduction='sum', loss_weight=5.0),
            dict(linear=True, loss_weight=10.0)
        ],
        stock=[
            Stock('mmdet.IoULoss'),
            Stock('mmdet.IoULoss', dict(mode='square'), dict(mode='square'))
        ]),
    case(GIoULoss, {}, stock=[Stock('mmdet.GIoULoss')]),
    case(
        ExtendedIoULoss,
        dict(smooth_point=({}, dict(smooth_point=0.5))),
        stock=[
            Stock('mmdet.EIoULoss'),
            Stock('mmdet.EIoULoss', dict(smooth_point=0.9),
                  dict(smooth_point=0.9))
        ]),
    case(
        BoundedIoULoss,
        dict(beta=({}, dict(beta=0.5))),
        element_shape=lambda batch: (batch, 4),
        joined_axis=True,
        # The loss of the truth is (eps / side)^2 / (2 beta).
        perfect=lambda batch: [10 * x for x in the_same(batch)],
        stock_kwargs=[
            dict(beta=0.2, loss_weight=1.0),
            dict(eps=1e-6, reduction='sum', loss_weight=10.0)
        ],
        stock=[
            Stock('mmdet.BoundedIoULoss'),
            Stock('mmdet.BoundedIoULoss', dict(beta=0.9, eps=0.1),
                  dict(beta=0.9, eps=0.1))
        ]),
    case(DIoULoss, {}, stock=[Stock('mmdet.DIoULoss')]),
    case(
        CIoULoss, {},
        inputs=near_boxes,
        constant_factors=True,
        stock=[Stock('mmdet.CIoULoss')]),
    case(
        EIoULoss,
        dict(focal_gamma=({}, dict(focal_gamma=0.5))),
        constant_factors=True),
    case(
        SIoULoss,
        dict(theta=({}, dict(theta=2.0))),
        refused=dict(neg_gamma=False),
        stock_kwargs=[dict(eps=1e-6, neg_gamma=True)]),
    case(
        WIoULoss,
        dict(
            version=(dict(version=1), dict(version=2)),
            gamma=(dict(version=2), dict(version=2, gamma=1.0)),
            alpha=({}, dict(alpha=1.5)),
            delta=({}, dict(delta=2.0)),
            momentum=({}, dict(momentum=0.5))),
        show=dict(momentum=lambda loss: moved_mean(loss)),
        training=False,
        constant_factors=True),
    case(
        AlphaIoULoss,
        dict(
            alpha=({}, dict(alpha=1.0)),
            mode=(dict(mode='giou'), dict(mode='mpdiou'))),
        kwargs=dict(mode='eiou')),
    case(MPDIoULoss, dict(img_shape=({}, dict(img_shape=(8, 9))))),
    case(
        InnerIoULoss,
        dict(
            ratio=({}, dict(ratio=1.2)),
            mode=(dict(mode='ciou'), dict(mode='siou'))),
        kwargs=dict(mode='shapeiou')),
    case(ShapeIoULoss, dict(scale=({}, dict(scale=1.0)))),
    case(NWDLoss, dict(constant=({}, dict(constant=5.0)))),
]
