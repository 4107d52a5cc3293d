"""Cases of the family rotated."""
import torch

from mmlosses.losses import RotatedGIoULoss, RotatedIoULoss
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
]
