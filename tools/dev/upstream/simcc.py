"""SimCC: one distribution for each axis."""
from __future__ import annotations
import math

import torch
import torch.nn.functional as F
from mmpose.models import losses as mmpose
from torch import Tensor
from upstream import Shown, formula_of, outcome, shows, slope

import mmlosses.losses as mmlosses


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'grows with the batch',
       'the mean of equal samples is that of one: log(8) / 8 for each axis')
def simcc_batch() -> Shown:
    """It sums over the samples, so the batch size scales the step."""
    target = F.one_hot(torch.tensor([[3]]), 8).float()
    pred = torch.zeros(1, 1, 8)
    stock, ours = [], []
    for batch in (1, 32):
        args = [(pred.repeat(batch, 1, 1), ) * 2,
                (target.repeat(batch, 1, 1), ) * 2,
                torch.ones(batch, 1)]
        stock.append(mmpose.KLDiscretLoss()(*args))
        ours.append(mmlosses.KLDiscretLoss()(*args))
    right = [2 * math.log(8) / 8] * 2
    return stock, ours, right


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'negative at the border',
       'a divergence is least, 0, where prediction and target agree')
def simcc_border() -> Shown:
    """Half of the bell of a keypoint at the border is cut off.

    Ours is a drop-in by default, and right with ``normalize_target=True``.
    """
    bins = torch.arange(64.)
    bell = torch.exp(-bins**2 / (2 * 6**2)) / (6 * math.sqrt(2 * math.pi))
    target = bell.view(1, 1, 64)
    args = [(target.log(), ) * 2, (target, ) * 2, torch.ones(1, 1)]
    stock = mmpose.KLDiscretLoss()(*args)
    ours = mmlosses.KLDiscretLoss(normalize_target=True)(*args)
    right = 0.0
    return stock, ours, right


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'counts the longer axis less',
       'log(bins) is the divergence of a uniform prediction from one bin')
def simcc_bins() -> Shown:
    """It averages over the bins: 512 of y count 0.75 of 384 of x.

    Ours is a drop-in by default, and right with ``bin_reduction='sum'``.
    """
    stock, ours, right = [], [], []
    for bins in (384, 512):
        target = torch.zeros(1, 1, bins)
        target[..., 100] = 1
        args = [(torch.zeros(1, 1, bins), ), (target, ), torch.ones(1, 1)]
        stock.append(mmpose.KLDiscretLoss()(*args))
        ours.append(mmlosses.KLDiscretLoss(bin_reduction='sum')(*args))
        right.append(math.log(bins))
    return stock, ours, right


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'fails on weights (N,)',
       'the second person counts nothing, the first log(8) / 8 for each axis')
def simcc_weights() -> Shown:
    """Its documentation allows one weight for each sample."""
    target = F.one_hot(torch.tensor([[3, 4], [5, 6]]), 8).float()
    args = [(torch.zeros(2, 2, 8), ) * 2, (target, ) * 2,
            torch.tensor([1., 0.])]
    stock = outcome(lambda: mmpose.KLDiscretLoss()(*args))
    ours = mmlosses.KLDiscretLoss()(*args)
    right = (2 * math.log(8) / 8 + 0) / 2
    return stock, ours, right


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'NaN where the weight is 0',
       'the one that counts: log(8) / 8 for each axis, over 2 keypoints')
def simcc_nan() -> Shown:
    """A keypoint that does not count spoils the batch if it holds NaN."""
    target = F.one_hot(torch.tensor([[3, 4]]), 8).float()
    target[0, 1] = math.nan
    args = [(torch.zeros(1, 2, 8), ) * 2, (target, ) * 2,
            torch.tensor([[1., 0.]])]
    stock = mmpose.KLDiscretLoss()(*args)
    ours = mmlosses.KLDiscretLoss()(*args)
    right = (2 * math.log(8) / 8 + 0) / 2
    return stock, ours, right


@shows('KLDiscretLoss', mmpose.JSDiscretLoss, 'NaN gradient at weight 0',
       'what does not count has the gradient 0')
def js_gradient() -> Shown:
    """Its weight makes both heatmaps 0, whose logarithm has no gradient.

    There is no Jensen-Shannon loss here; the nearest stands beside it.
    """
    target = F.one_hot(torch.tensor([[3]]), 8).float()
    pred, weight = torch.full((1, 1, 8), 1 / 8), torch.zeros(1, 1)
    stock = slope(lambda x: mmpose.JSDiscretLoss()(x, target, weight), pred)
    ours = slope(
        lambda x: mmlosses.KLDiscretLoss()((x, x), (target, target), weight),
        pred)
    right = torch.zeros(1, 1, 8)
    return stock, ours, right


@formula_of('SimCC')
def simcc_loss(pred: Tensor, target: Tensor) -> Tensor:
    """One axis in leeyegy/SimCC, from its formula, joint by joint."""
    total = torch.zeros(())
    for joint in range(pred.shape[1]):
        scores = F.log_softmax(pred[:, joint].squeeze(), dim=1)
        kl = F.kl_div(scores, target[:, joint].squeeze(), reduction='none')
        total = total + kl.mean(dim=1).mean()
    return total / pred.shape[1]


@shows('KLDiscretLoss', simcc_loss, 'fails for a batch of one',
       'log(8) / 8 for each axis')
def simcc_batch_of_one() -> Shown:
    """A squeeze drops the axis of the batch."""
    target = F.one_hot(torch.tensor([[3]]), 8).float()
    pred = torch.zeros(1, 1, 8)
    stock = outcome(lambda: simcc_loss(pred, target))
    ours = mmlosses.KLDiscretLoss()((pred, pred), (target, target),
                                    torch.ones(1, 1))
    right = 2 * math.log(8) / 8
    return stock, ours, right
