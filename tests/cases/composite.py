"""Cases of the family composite."""
import torch

from mmlosses.core.tensors import upcast
from mmlosses.losses import CombinedLoss, MultipleLossWrapper, SumLoss
from mmlosses.testing import LossCase
from .inputs import keypoints
from .regression import the_same

BOTH = [
    dict(type='mmlosses.L1Loss', loss_weight=0.5),
    dict(type='mmlosses.SmoothL1Loss', beta=0.5)
]


def learned(loss):
    """How many numbers it learns."""
    return torch.tensor([sum(x.numel() for x in loss.parameters())]).float()


def call_all(loss, pred, target, *args, **kwargs):
    """The sum of both losses, as a head adds them.

    Here both have one prediction, whose two gradients add up in float32.
    """
    pred = upcast(pred)
    one, other = loss([pred, pred], [target, target], *args, **kwargs)
    return one + other


def call_each(loss, pred, *args, **kwargs):
    """The sum of both losses, called by name."""
    pred = upcast(pred)
    one = loss.one(pred, *args, **kwargs)
    return one + loss['other'](pred, *args, **kwargs)


CASES = [
    LossCase(
        loss=SumLoss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        kwargs=dict(losses=BOTH),
        arguments=dict(
            losses=({}, dict(
                losses=[BOTH[0], dict(type='mmlosses.MSELoss')])),
            # It begins with the same sum. The one without parameters last,
            # since the case says that it has none.
            weighting=(dict(weighting='uncertainty'), {})),
        show=dict(weighting=learned),
        refused=dict(
            log_name='',
            initial_log_var=1.0,
            use_sigmoid=True,
            class_weight=[1.0, 2.0],
            ignore_index=0),
        stock_kwargs=[
            dict(use_target_weight=True),
            dict(loss_weight=2.0, reduction='sum')
        ],
        perfect=the_same,
        non_negative=True),
    LossCase(
        loss=MultipleLossWrapper,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        kwargs=dict(losses=BOTH),
        call=call_all,
        arguments=dict(
            losses=({}, dict(losses=[BOTH[0], dict(type='MSELoss')]))),
        stock_kwargs=[
            dict(use_target_weight=True),
            dict(loss_weight=2.0, reduction='sum')
        ],
        perfect=the_same,
        non_negative=True),
    LossCase(
        loss=CombinedLoss,
        inputs=keypoints,
        element_shape=lambda batch: (batch, 4, 2),
        kwargs=dict(losses=dict(one=BOTH[0], other=BOTH[1])),
        call=call_each,
        arguments=dict(
            losses=({},
                    dict(losses=dict(one=BOTH[0], other=dict(
                        type='MSELoss'))))),
        stock_kwargs=[
            dict(use_target_weight=True),
            dict(loss_weight=2.0, reduction='sum')
        ],
        perfect=the_same,
        non_negative=True),
]
