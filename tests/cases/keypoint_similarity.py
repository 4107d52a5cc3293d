"""Cases of the family keypoint_similarity."""
from pathlib import Path

import torch

from mmlosses.losses import OksLoss, OKSLoss
from mmlosses.testing import LossCase
from .inputs import keypoints

METAINFO = str(Path(__file__).with_name('four_keypoints.py'))


def perfect_keypoints(batch):
    """The truth as prediction."""
    truth = torch.randn(batch, 4, 2)
    return truth, truth


def call_with_areas(loss, pred, target, weight=None, *args, **kwargs):
    """The call of mmpose's heads, with areas of 1.5."""
    areas = torch.full((len(target), ), 1.5, device=target.device)
    return loss(pred, target, weight, areas, *args, **kwargs)


def call_with_boxes(loss, pred, target, weight=None, *args, **kwargs):
    """The call of mmyolo's head, with boxes of 2 x 2."""
    corner = torch.ones(len(target), 2, device=target.device)
    boxes = torch.cat([-corner, corner], dim=1)
    return loss(pred, target, weight, boxes, *args, **kwargs)


def without_area(loss):
    """The loss of objects that have no area."""
    return loss(
        torch.ones(3, 4, 2), torch.zeros(3, 4, 2), None, torch.zeros(3))


def without_box(loss):
    """The loss of objects whose boxes are points."""
    return loss(
        torch.ones(3, 4, 2), torch.zeros(3, 4, 2), None, torch.zeros(3, 4))


def one_visible(loss):
    """The loss of objects with a single visible keypoint."""
    return loss(torch.zeros(3, 4, 2), torch.zeros(3, 4, 2), torch.eye(4)[:3])


CASES = [
    LossCase(
        loss=OKSLoss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            metainfo=({}, dict(metainfo=METAINFO)),
            sigmas=({}, dict(sigmas=[0.2, 0.3, 0.4, 0.5])),
            mode=(dict(mode='square'), dict(mode='log')),
            eps=({}, dict(eps=1.0)),
            norm_target_weight=({}, dict(norm_target_weight=True))),
        show=dict(eps=without_area, norm_target_weight=one_visible),
        stock_kwargs=[
            dict(
                reduction='none',
                metainfo=METAINFO,
                norm_target_weight=True,
                loss_weight=30.0)
        ],
        perfect=perfect_keypoints,
        non_negative=True,
        call=call_with_areas),
    LossCase(
        loss=OksLoss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            metainfo=({}, dict(metainfo=METAINFO)),
            sigmas=({}, dict(sigmas=[0.2, 0.3, 0.4, 0.5])),
            mode=(dict(mode='square'), dict(mode='log')),
            eps=({}, dict(eps=1.0)),
            norm_target_weight=({}, dict(norm_target_weight=False))),
        show=dict(eps=without_box, norm_target_weight=one_visible),
        stock_kwargs=[dict(metainfo=METAINFO, loss_weight=30.0)],
        perfect=perfect_keypoints,
        non_negative=True,
        call=call_with_boxes),
]
