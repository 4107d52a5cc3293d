"""Cases of the family angular."""
import torch

from mmlosses.losses import AngularLoss
from mmlosses.testing import LossCase
from .inputs import vectors


def same_directions(batch):
    """The same directions, of other lengths."""
    truth = torch.randn(batch, 2, 2)
    return 2.0 * truth, truth


CASES = [
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
]
