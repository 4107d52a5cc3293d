"""Cases of the family simcc."""
import torch

from mmlosses.losses import JSDiscretLoss, KLDiscretLoss, MLECCLoss
from mmlosses.testing import LossCase, Stock
from .inputs import KEYPOINT_WEIGHT

BINS = (5, 7)


def simcc_inputs(batch):
    """Scores of 4 keypoints, and targets cut off at the border."""
    pred = tuple(torch.randn(batch, 4, bins) for bins in BINS)
    target = tuple(0.7 * torch.rand(batch, 4, bins).softmax(-1)
                   for bins in BINS)
    return pred, target


def simcc_perfect(batch):
    """Scores that are the logarithm of their target."""
    _, target = simcc_inputs(batch)
    return tuple(axis.log() for axis in target), target


def heatmaps(batch):
    """Heatmaps of 4 keypoints, with parts of their mass."""
    return torch.randn(batch, 4, 2, 3), torch.rand(batch, 4, 2, 3)


def same_heatmaps(batch):
    """The truth as prediction, also where it is 0 or 1."""
    truth = torch.rand(batch, 4, 2, 3).masked_fill(torch.eye(2, 3) > 0, 0)
    return truth, truth


CASES = [
    LossCase(
        loss=KLDiscretLoss,
        inputs=simcc_inputs,
        element_shape=lambda batch: (batch, 4),
        kwargs=dict(use_target_weight=None),
        arguments=dict(
            beta=({}, dict(beta=2.0)),
            label_softmax=({}, dict(label_softmax=True)),
            label_beta=(dict(label_softmax=True),
                        dict(label_softmax=True, label_beta=1.0)),
            mask=(dict(mask_weight=0.5), dict(mask_weight=0.5, mask=[0, -1])),
            mask_weight=(dict(mask=[1]), dict(mask=[1], mask_weight=0.5)),
            size_average=({}, dict(size_average=False)),
            bin_reduction=({}, dict(bin_reduction='sum')),
            normalize_target=({}, dict(normalize_target=True)),
            **KEYPOINT_WEIGHT),
        stock_kwargs=[
            dict(use_target_weight=True),
            dict(use_target_weight=True, beta=10.0, label_softmax=True),
            dict(
                use_target_weight=True,
                beta=1.0,
                label_softmax=True,
                label_beta=10.0,
                mask=list(range(2)),
                mask_weight=0.1),
        ],
        perfect=simcc_perfect,
        perfect_kwargs=dict(normalize_target=True),
        non_negative=True,
        stock=[
            Stock('mmpose.KLDiscretLoss', dict(use_target_weight=True),
                  dict(size_average=False))
        ]),
    LossCase(
        loss=MLECCLoss,
        inputs=simcc_inputs,
        element_shape=lambda batch: (batch, 4),
        arguments=dict(mode=({}, dict(mode='linear')), **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=True, loss_weight=1.0)],
        perfect_kwargs=dict(mode='square'),
        stock=[
            Stock('mmpose.MLECCLoss', dict(mode=mode, use_target_weight=True),
                  dict(mode=mode)) for mode in ('log', 'linear', 'square')
        ]),
    LossCase(
        loss=JSDiscretLoss,
        inputs=heatmaps,
        element_shape=lambda batch: (batch, 4),
        arguments=dict(
            size_average=({}, dict(size_average=False)), **KEYPOINT_WEIGHT),
        stock_kwargs=[dict(use_target_weight=True)],
        perfect=same_heatmaps,
        mean=lambda loss: loss.sum() / len(loss),
        stock=[
            Stock('mmpose.JSDiscretLoss'),
            Stock('mmpose.JSDiscretLoss', dict(size_average=False),
                  dict(size_average=False))
        ]),
]
