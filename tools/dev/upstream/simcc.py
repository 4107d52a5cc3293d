"""SimCC."""
from __future__ import annotations
import math

import torch
import torch.nn.functional as F
from mmpose.models import losses as mmpose
from torch import Tensor
from upstream import Shown, formula_of, gradient, kind, outcome, shows

import mmlosses.losses as mmlosses


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'grows with the batch',
       'the mean of equal samples is that of one: log(8) / 8 per axis')
def simcc_batch() -> Shown:
    """It sums over the samples, so the batch size scales the gradient."""
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
       'a divergence is 0 where prediction and target agree')
def simcc_border() -> Shown:
    """The Gaussian of a keypoint at the border is cut off.

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


@shows('KLDiscretLoss', mmpose.KLDiscretLoss,
       'gives the longer axis less weight',
       'log(bins) is the divergence of a uniform prediction from one bin')
def simcc_bins() -> Shown:
    """It averages over the bins: 512 of y weigh 0.75 of 384 of x.

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
       'only the first person is valid: log(8) / 8 per axis')
def simcc_weights() -> Shown:
    """Its documentation allows one weight per sample."""
    target = F.one_hot(torch.tensor([[3, 4], [5, 6]]), 8).float()
    args = [(torch.zeros(2, 2, 8), ) * 2, (target, ) * 2,
            torch.tensor([1., 0.])]
    stock = outcome(lambda: mmpose.KLDiscretLoss()(*args))
    ours = mmlosses.KLDiscretLoss()(*args)
    right = (2 * math.log(8) / 8 + 0) / 2
    return stock, ours, right


@shows('KLDiscretLoss', mmpose.KLDiscretLoss, 'NaN where the weight is 0',
       'the valid keypoint: log(8) / 8 per axis, over 2 keypoints')
def simcc_nan() -> Shown:
    """A NaN in a keypoint of weight 0 makes the loss of the batch NaN."""
    target = F.one_hot(torch.tensor([[3, 4]]), 8).float()
    target[0, 1] = math.nan
    args = [(torch.zeros(1, 2, 8), ) * 2, (target, ) * 2,
            torch.tensor([[1., 0.]])]
    stock = mmpose.KLDiscretLoss()(*args)
    ours = mmlosses.KLDiscretLoss()(*args)
    right = (2 * math.log(8) / 8 + 0) / 2
    return stock, ours, right


@shows('JSDiscretLoss', mmpose.JSDiscretLoss, 'NaN gradient at weight 0',
       'an ignored element has the gradient 0')
def js_gradient() -> Shown:
    """The weight scales both heatmaps to 0, where the logarithm is infinite.
    """
    target = F.one_hot(torch.tensor([[3]]), 8).float()
    pred, weight = torch.full((1, 1, 8), 1 / 8), torch.zeros(1, 1)
    stock = gradient(lambda x: mmpose.JSDiscretLoss()(x, target, weight), pred)
    ours = gradient(lambda x: mmlosses.JSDiscretLoss()(x, target, weight),
                    pred)
    right = torch.zeros(1, 1, 8)
    return stock, ours, right


@shows('JSDiscretLoss', mmpose.JSDiscretLoss, 'NaN gradient of a softmax',
       'a softmax that has rounded to 0 has a finite gradient')
def js_softmax() -> Shown:
    """A softmax 104 below its peak is 0: one such pixel spoils the model."""
    scores = torch.tensor([[[120., 0., 1.]]])
    target = torch.tensor([[[0.9, 0.1, 0.]]])
    weight = torch.ones(1, 1)
    stock = kind(
        gradient(
            lambda x: mmpose.JSDiscretLoss()(x.softmax(-1), target, weight),
            scores))
    ours = kind(
        gradient(lambda x: mmlosses.JSDiscretLoss()(x.softmax(-1), target),
                 scores))
    right = 'finite'
    return stock, ours, right


@shows('JSDiscretLoss', mmpose.JSDiscretLoss, 'NaN in float16',
       'the divergence of equal distributions is 0')
def js_float16() -> Shown:
    """It adds 1e-24 before the logarithm, which is 0 in float16."""
    pred = F.one_hot(torch.tensor([[3]]), 8).half()
    stock = mmpose.JSDiscretLoss(False)(pred, pred)
    ours = mmlosses.JSDiscretLoss()(pred, pred)
    right = 0.0
    return stock, ours, right


@shows('MLECCLoss', mmpose.MLECCLoss, 'NaN gradients at weight 0',
       'what is not annotated has no gradient')
def likelihood_gradient() -> Shown:
    """It sets a NaN of the loss to 0, but its gradient remains NaN."""
    target, weight = torch.full((1, 1, 4), 0.25), torch.zeros(1, 1)
    pred = torch.full((1, 1, 4), math.nan)
    stock, ours = [
        kind(gradient(lambda x: loss((x, x), (target, target), weight), pred))
        for loss in (mmpose.MLECCLoss(use_target_weight=True),
                     mmlosses.MLECCLoss())
    ]
    right = 'finite'
    return stock, ours, right


@shows('MLECCLoss', mmpose.MLECCLoss, 'hides a diverged model',
       'no number is known of a prediction of NaN')
def likelihood_nan() -> Shown:
    """A prediction of NaN has the loss 0, less than any other."""
    target = (torch.full((1, 1, 4), 0.25), ) * 2
    pred = (torch.full((1, 1, 4), math.nan), ) * 2
    stock = kind(mmpose.MLECCLoss()(pred, target))
    ours = kind(mmlosses.MLECCLoss()(pred, target))
    right = 'NaN'
    return stock, ours, right


@shows('MLECCLoss', mmpose.MLECCLoss, "'sum' is one number per sample",
       'two samples of 1 - 0.25 ** 2, summed')
def likelihood_sum() -> Shown:
    """mmengine averages them, so that the loss is divided by the batch."""
    target = (torch.ones(2, 1, 4) / 4, ) * 2
    pred = (torch.tensor([1., 0., 0., 0.]).expand(2, 1, 4), ) * 2
    stock = mmpose.MLECCLoss('sum', 'linear')(pred, target)
    ours = mmlosses.MLECCLoss('sum', 'linear')(pred, target)
    right = 2 * (1 - 0.25**2)
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
       'log(8) / 8 per axis')
def simcc_batch_of_one() -> Shown:
    """A squeeze drops the batch axis."""
    target = F.one_hot(torch.tensor([[3]]), 8).float()
    pred = torch.zeros(1, 1, 8)
    stock = outcome(lambda: simcc_loss(pred, target))
    ours = mmlosses.KLDiscretLoss()((pred, pred), (target, target),
                                    torch.ones(1, 1))
    right = 2 * math.log(8) / 8
    return stock, ours, right
