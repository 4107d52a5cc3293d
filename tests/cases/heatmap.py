"""Cases of the family heatmap."""
import torch

from mmlosses.losses import GaussianFocalLoss
from mmlosses.testing import LossCase, Stock


def heatmaps(batch):
    """Logits, and a heatmap with a peak in each picture."""
    pred = torch.randn(batch, 2, 3, 4)
    target = 0.9 * torch.rand(batch, 2, 3, 4)
    target[:, 0, 1, 2] = 1
    return pred, target


def perfect_heatmaps(batch):
    """Peaks of 1 on a target of zeros."""
    target = (heatmaps(batch)[1] == 1).float()
    return target.clone(), target


CASES = [
    LossCase(
        loss=GaussianFocalLoss,
        inputs=heatmaps,
        element_shape=lambda batch: (batch, 2, 3, 4),
        arguments=dict(
            alpha=({}, dict(alpha=0.5)),
            gamma=({}, dict(gamma=1.0)),
            use_sigmoid=({}, dict(use_sigmoid=True)),
            pos_weight=({}, dict(pos_weight=2.0)),
            neg_weight=({}, dict(neg_weight=2.0)),
            keypoint_weight=({}, dict(keypoint_weight=[0.5, 3.0]))),
        stock_kwargs=[
            dict(alpha=2.0, gamma=4.0, loss_weight=1),
            dict(loss_weight=1.0),
            dict(pos_weight=0.25, neg_weight=0.75),
        ],
        perfect=perfect_heatmaps,
        non_negative=True,
        stock=[Stock('mmdet.GaussianFocalLoss')]),
]
