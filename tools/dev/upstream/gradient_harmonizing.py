"""Gradient harmonizing."""
from __future__ import annotations
import math
from typing import Any

import torch
from mmdet.models import losses as mmdet
from torch import Tensor
from upstream import Shown, kind, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows('GHMC', mmdet.GHMC, 'requires a weight', 'each element has log(2)')
def ghmc_without_weight() -> Shown:
    """A call without ``label_weight`` fails."""
    logits, target = torch.zeros(2, 3), torch.zeros(2, 3)
    stock = outcome(lambda: mmdet.GHMC()(logits, target))
    ours = mmlosses.GHMC()(logits, target)
    right = math.log(2)
    return stock, ours, right


@shows('GHMC', mmdet.GHMC, 'the weight is no factor',
       'all in one bin: the mean of log(2), times 0.5')
def ghmc_weight() -> Shown:
    """Any weight above 0 counts as 1."""
    logits, target = torch.zeros(2, 3), torch.zeros(2, 3)
    weight = torch.full((2, 3), 0.5)
    stock = mmdet.GHMC()(logits, target, weight)
    ours = mmlosses.GHMC()(logits, target, weight)
    right = 0.5 * math.log(2)
    return stock, ours, right


@shows('GHMC', mmdet.GHMC, 'fails for the reduction sum',
       'six elements of log(2)')
def ghmc_sum() -> Shown:
    """It passes a divisor on, which a sum refuses."""
    logits, target = torch.zeros(2, 3), torch.zeros(2, 3)
    weight = torch.ones(2, 3)
    stock = outcome(lambda: mmdet.GHMC(reduction='sum')
                    (logits, target, weight))
    ours = mmlosses.GHMC(reduction='sum')(logits, target, weight)
    right = 6 * math.log(2)
    return stock, ours, right


@shows('GHMC', mmdet.GHMC, 'NaN where the weight is 0',
       'one element of log(2) counts')
def ghmc_nan() -> Shown:
    """A NaN in an element of weight 0 makes the loss NaN."""
    logits, target = torch.tensor([[0., math.nan]]), torch.zeros(1, 2)
    weight = torch.tensor([[1., 0.]])
    stock = mmdet.GHMC()(logits, target, weight)
    ours = mmlosses.GHMC()(logits, target, weight)
    right = math.log(2)
    return stock, ours, right


@shows('GHMC', mmdet.GHMC, 'evaluation moves the average',
       'the average of the training starts at 0')
def ghmc_evaluation() -> Shown:
    """A validation loss changes the weights of the training."""

    def average(project: Any) -> Tensor:
        loss = project.GHMC(bins=1, momentum=0.75).eval()
        loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3))
        return loss.acc_sum[0]

    stock = average(mmdet)
    ours = average(mmlosses)
    right = 0.0
    return stock, ours, right


@shows('GHMC', mmdet.GHMC, 'synchronises with the host',
       'elements can be counted without a value on the host')
def ghmc_syncs() -> Shown:
    """It reads the count of every bin on the host."""
    args = [torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3)]
    stock = syncs(lambda *x: mmdet.GHMC()(*x), *args)
    ours = syncs(lambda *x: mmlosses.GHMC()(*x), *args)
    right = 'no sync'
    return stock, ours, right


@shows('GHMR', mmdet.GHMR, 'weights cancel out',
       'both in one bin: sqrt(1 + 0.02**2) - 0.02, times 0.5')
def ghmr_weight() -> Shown:
    """It divides by the sum of the weights, and multiplies by none."""
    pred, target = torch.ones(1, 2), torch.zeros(1, 2)
    weight = torch.full((1, 2), 0.5)
    stock = mmdet.GHMR()(pred, target, weight)
    ours = mmlosses.GHMR()(pred, target, weight)
    right = 0.5 * (math.sqrt(1 + 0.02**2) - 0.02)
    return stock, ours, right


@shows('GHMR', mmdet.GHMR, 'small errors round to 0',
       'about d**2 / (2 * 0.02), in float64')
def ghmr_small() -> Shown:
    """It subtracts two numbers that are equal in float32."""
    pred, target = torch.full((1, 1), 1e-6), torch.zeros(1, 1)
    weight = torch.ones(1, 1)
    stock = mmdet.GHMR(loss_weight=1e10)(pred, target, weight)
    ours = mmlosses.GHMR(loss_weight=1e10)(pred, target, weight)
    right = 1e10 * 1e-6**2 / (2 * 0.02)
    return stock, ours, right


@shows('GHMR', mmdet.GHMR, 'NaN where the weight is 0',
       'an element of weight 0 does not count')
def ghmr_nan() -> Shown:
    """A NaN in an element of weight 0 makes the loss NaN."""
    args = [torch.tensor([[0., math.nan]]), torch.zeros(1, 2)]
    weight = torch.tensor([[1., 0.]])
    stock = kind(mmdet.GHMR()(*args, weight))
    ours = kind(mmlosses.GHMR()(*args, weight))
    right = 'finite'
    return stock, ours, right
