"""Quality of boxes and poses, and binned distances."""
from __future__ import annotations
import math

import torch
from mmdet.models import losses as mmdet
from mmpose.models import losses as mmpose
from upstream import Shown, gradient, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows('QualityFocalLoss', mmdet.QualityFocalLoss, 'fails in mixed precision',
       '(0.8 - 0.5)**2 * log(2) and, for the other class, 0.5**2 * log(2)')
def quality_precision() -> Shown:
    """It writes the loss of float32 qualities into half precision."""
    logits, labels = torch.zeros(1, 2).half(), torch.tensor([0])
    target = labels, torch.tensor([0.8])
    stock = outcome(lambda: mmdet.QualityFocalLoss()(logits, target))
    ours = mmlosses.QualityFocalLoss()(logits, target)
    right = (0.3**2 + 0.5**2) * math.log(2)
    return stock, ours, right


@shows('QualityFocalLoss', mmdet.QualityFocalLoss,
       'synchronises with the host',
       'a one-hot mask finds the positives without a value on the host')
def quality_syncs() -> Shown:
    """It looks for the indices of the positives."""
    args = [torch.rand(8, 4), torch.zeros(8, dtype=torch.long), torch.rand(8)]
    stock = syncs(lambda x, *target: mmdet.QualityFocalLoss()(x, target),
                  *args)
    ours = syncs(lambda x, *target: mmlosses.QualityFocalLoss()(x, target),
                 *args)
    right = 'no sync'
    return stock, ours, right


@shows('QualityFocalLoss', mmdet.QualityFocalLoss, 'NaN where the weight is 0',
       'the other sample has quality 0: 0.5**2 * log(2) / 2')
def quality_nan() -> Shown:
    """A NaN in a sample of weight 0 makes the loss of the batch NaN."""
    logits, weight = torch.tensor([[math.nan], [0.]]), torch.tensor([0., 1.])
    target = torch.tensor([0, 1]), torch.tensor([0.5, 0.])
    stock = mmdet.QualityFocalLoss()(logits, target, weight)
    ours = mmlosses.QualityFocalLoss()(logits, target, weight)
    right = 0.5**2 * math.log(2) / 2
    return stock, ours, right


@shows('QualityFocalLoss', mmdet.QualityFocalLoss,
       'NaN gradient for beta below 1',
       'a confident and correct prediction has gradient 0')
def quality_beta() -> Shown:
    """The power has an infinite gradient at 0, multiplied by 0."""
    logit, target = torch.tensor([[-200.]]), torch.zeros(1, 1)
    stock = gradient(lambda x: mmdet.QualityFocalLoss(beta=0.5)(x, target),
                     logit)
    ours = gradient(lambda x: mmlosses.QualityFocalLoss(beta=0.5)(x, target),
                    logit)
    right = 0.0
    return stock, ours, right


@shows('DistributionFocalLoss', mmdet.DistributionFocalLoss,
       'fails at the last bin', 'four bins of probability 1/4: log(4)')
def last_bin() -> Shown:
    """It looks for the bin above, with the weight 0."""
    logits, distance = torch.zeros(1, 4), torch.tensor([3.])
    stock = outcome(lambda: mmdet.DistributionFocalLoss()(logits, distance))
    ours = mmlosses.DistributionFocalLoss()(logits, distance)
    right = math.log(4)
    return stock, ours, right


@shows('DistributionFocalLoss', mmdet.DistributionFocalLoss,
       'NaN where the weight is 0', '(0 + log(4)) / 2')
def distance_nan() -> Shown:
    """A NaN in a row of weight 0 makes the loss of the batch NaN."""
    logits, weight = torch.zeros(2, 4), torch.tensor([0., 1.])
    logits[0] = math.nan
    distance = torch.tensor([1.5, 1.5])
    stock = mmdet.DistributionFocalLoss()(logits, distance, weight)
    ours = mmlosses.DistributionFocalLoss()(logits, distance, weight)
    right = math.log(4) / 2
    return stock, ours, right


@shows('VarifocalLoss', mmdet.VarifocalLoss,
       'the weight of samples multiplies classes',
       'both classes of the first sample: 0.75 * 0.5**2 * log(2) each')
def varifocal_weight() -> Shown:
    """With as many samples as classes, a weight for each sample is one for
    each class; else it fails."""
    logits, target = torch.zeros(2, 2), torch.zeros(2, 2)
    weight = torch.tensor([1., 0.])
    stock = mmdet.VarifocalLoss(reduction='none')(logits, target,
                                                  weight).sum(dim=1)
    ours = mmlosses.VarifocalLoss(reduction='none')(logits, target,
                                                    weight).sum(dim=1)
    right = [2 * 0.75 * 0.5**2 * math.log(2), 0.0]
    return stock, ours, right


@shows('VarifocalLoss', mmdet.VarifocalLoss, 'NaN gradient for gamma below 1',
       'a confident and correct prediction has gradient 0')
def varifocal_gamma() -> Shown:
    """The power has an infinite gradient at 0, multiplied by 0."""
    logit, target = torch.tensor([[-200.]]), torch.zeros(1, 1)
    stock = gradient(lambda x: mmdet.VarifocalLoss(gamma=0.5)(x, target),
                     logit)
    ours = gradient(lambda x: mmlosses.VarifocalLoss(gamma=0.5)(x, target),
                    logit)
    right = 0.0
    return stock, ours, right


@shows('VariFocalLoss', mmpose.VariFocalLoss,
       'confident errors have no gradient',
       'log(1 + exp(20)) has the gradient -1')
def clipped_logits() -> Shown:
    """It clips the logits to [-10, 10]."""
    logit, target = torch.tensor([[-20.]]), torch.ones(1, 1)
    stock = gradient(lambda x: mmpose.VariFocalLoss()(x, target), logit)
    ours = gradient(lambda x: mmlosses.VariFocalLoss()(x, target), logit)
    right = -1.0
    return stock, ours, right


@shows('VariFocalLoss', mmpose.VariFocalLoss,
       'NaN gradient where the weight is 0',
       '0 and, for the other, -(1 - 0.5) / 2')
def hidden_nan() -> Shown:
    """It replaces a NaN of the loss by 0, after which its gradient stays."""
    logits, target = torch.tensor([[math.nan, 0.]]), torch.ones(1, 2)
    weight = torch.tensor([[0., 1.]])
    stock = gradient(
        lambda x: mmpose.VariFocalLoss(use_target_weight=True)
        (x, target, weight), logits)
    ours = gradient(lambda x: mmlosses.VariFocalLoss()(x, target, weight),
                    logits)
    right = [[0.0, -0.25]]
    return stock, ours, right
