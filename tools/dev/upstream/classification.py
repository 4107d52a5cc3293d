"""Classification and masks."""
from __future__ import annotations
import math
import subprocess
import sys
from typing import Any, Dict

import torch
import torch.nn.functional as F
from mmdet.models import losses as mmdet
from mmpose.models import losses as mmpose
from mmpretrain.models import losses as mmpretrain
from torch import Tensor
from upstream import Shown, formula_of, gradient, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows('FocalLoss', mmdet.FocalLoss, 'needs compiled ops of mmcv',
       'the formula needs only a sigmoid and a logarithm')
def focal_compiled() -> Shown:
    """Without them, no loss of mmdet can be imported, not even L1."""

    def imported(module: str) -> str:
        code = ('import sys; sys.modules["mmcv._ext"] = None; '
                f'import {module}')
        run = subprocess.run([sys.executable, '-c', code], capture_output=True)
        return 'fails' if run.returncode else 'works'

    stock = imported('mmdet.models.losses')
    ours = imported('mmlosses.losses')
    right = 'works'
    return stock, ours, right


@shows('FocalLoss', mmdet.FocalLoss, 'NaN gradient for gamma below 1',
       'a confident and correct prediction has gradient 0')
def focal_gamma() -> Shown:
    """The power has an infinite gradient at 0, multiplied by 0."""
    logit, label = torch.tensor([[200., -200.]]), torch.tensor([0])
    stock = gradient(lambda x: mmdet.FocalLoss(gamma=0.5)(x, label), logit)
    ours = gradient(lambda x: mmlosses.FocalLoss(gamma=0.5)(x, label), logit)
    right = [[0.0, 0.0]]
    return stock, ours, right


@shows('FocalLoss', mmdet.FocalLoss, 'NaN where the weight is 0',
       'one row of logits 0: 0.25 * 0.5**2 * log(2) and 0.75 * ..., over 4')
def focal_nan() -> Shown:
    """A NaN in a row of weight 0 makes the loss of the batch NaN."""
    logits = torch.tensor([[0., 0.], [math.nan, 0.]])
    labels, weight = torch.tensor([0, 1]), torch.tensor([1., 0.])
    stock = mmdet.FocalLoss()(logits, labels, weight)
    ours = mmlosses.FocalLoss()(logits, labels, weight)
    right = (0.25 + 0.75) * 0.5**2 * math.log(2) / 4
    return stock, ours, right


@shows('FocalLoss', mmdet.FocalLoss, 'no softmax',
       'alpha * (1 - p)**2 * -log(p) with p = 1 / 3')
def focal_softmax() -> Shown:
    """It accepts ``use_sigmoid=False``, then an assertion fails."""
    logits, label = torch.zeros(1, 3), torch.tensor([0])
    stock = outcome(lambda: mmdet.FocalLoss(use_sigmoid=False)(logits, label))
    ours = mmlosses.FocalLoss(use_sigmoid=False)(logits, label)
    right = 0.25 * (2 / 3)**2 * math.log(3)
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss,
       'divides soft labels by the classes too',
       'the mean over 2 samples, as for hard labels and as in torch')
def soft_labels() -> Shown:
    """With ``avg_non_ignore`` it divides by the number of label entries."""
    logits, labels = torch.zeros(2, 4), torch.full((2, 4), 0.25)
    stock = mmdet.CrossEntropyLoss(avg_non_ignore=True)(logits, labels)
    ours = mmlosses.CrossEntropyLoss(avg_non_ignore=True)(logits, labels)
    right = math.log(4)
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss,
       'avg_non_ignore synchronises with the host',
       'tensors can be divided without a value on the host')
def cross_entropy_syncs() -> Shown:
    """It reads the number of valid labels on the host."""
    args = [torch.rand(8, 4), torch.zeros(8, dtype=torch.long)]
    stock = syncs(mmdet.CrossEntropyLoss(avg_non_ignore=True), *args)
    ours = syncs(mmlosses.CrossEntropyLoss(avg_non_ignore=True), *args)
    right = 'no sync'
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss,
       'NaN gradient of ignored rows', 'an ignored row has the gradient 0')
def ignored_rows() -> Shown:
    """NaN logits of an ignored row still make the gradients NaN."""
    logits, label = torch.tensor([[math.nan, 0.]]), torch.tensor([-100])
    stock = gradient(lambda x: mmdet.CrossEntropyLoss()(x, label), logits)
    ours = gradient(lambda x: mmlosses.CrossEntropyLoss()(x, label), logits)
    right = [[0.0, 0.0]]
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss,
       'fails on labels of weight 0', '(log(2) + 0) / 2')
def label_of_weight_zero() -> Shown:
    """Even a label of weight 0 must be a valid class."""
    logits, labels = torch.zeros(2, 2), torch.tensor([0, 255])
    weight = torch.tensor([1., 0.])
    stock = outcome(lambda: mmdet.CrossEntropyLoss()(logits, labels, weight))
    ours = mmlosses.CrossEntropyLoss()(logits, labels, weight)
    right = (math.log(2) + 0) / 2
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss,
       'class weights scale pixel columns',
       'the mask has class 1 with the weight 3: 3 * log(2)')
def mask_class_weight() -> Shown:
    """With ``use_mask`` the weight of class n scales pixel column n."""
    logits, masks = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2)
    labels = torch.tensor([1])
    options: Dict[str, Any] = dict(use_mask=True, class_weight=[1., 3.])
    stock = mmdet.CrossEntropyLoss(**options)(logits, masks, labels)
    ours = mmlosses.CrossEntropyLoss(**options)(logits, masks, labels)
    right = 3 * math.log(2)
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss, 'refuses avg_factor',
       'two masks of four pixels, each log(2), divided by 4')
def mask_avg_factor() -> Shown:
    """With ``use_mask`` it accepts neither ``avg_factor`` nor a reduction."""
    logits, masks = torch.zeros(2, 1, 2, 2), torch.ones(2, 2, 2)
    labels = torch.zeros(2, dtype=torch.long)
    stock = outcome(lambda: mmdet.CrossEntropyLoss(use_mask=True)
                    (logits, masks, labels, avg_factor=4))
    ours = mmlosses.CrossEntropyLoss(use_mask=True)(
        logits, masks, labels, avg_factor=4)
    right = 2 * 4 * math.log(2) / 4
    return stock, ours, right


@shows('CrossEntropyLoss', mmdet.CrossEntropyLoss, 'one axis too many',
       'a reduced loss is a scalar')
def mask_shape() -> Shown:
    """With ``use_mask`` it returns the shape (1,)."""
    logits, masks = torch.zeros(2, 1, 2, 2), torch.ones(2, 2, 2)
    labels = torch.zeros(2, dtype=torch.long)
    stock = mmdet.CrossEntropyLoss(use_mask=True)(logits, masks, labels).shape
    ours = mmlosses.CrossEntropyLoss(use_mask=True)(logits, masks,
                                                    labels).shape
    right = ()
    return stock, ours, right


@shows('LabelSmoothLoss', mmpretrain.LabelSmoothLoss, 'NaN for a masked class',
       'the other two classes share: log(2)')
def mmpretrain_ruled_out() -> Shown:
    """It multiplies a logit of -inf by a share of 0."""
    logits, label = torch.tensor([[0., 0., -math.inf]]), torch.tensor([0])
    stock = mmpretrain.LabelSmoothLoss(0.0)(logits, label)
    ours = mmlosses.LabelSmoothLoss(0.0)(logits, label)
    right = math.log(2)
    return stock, ours, right


@shows('AsymmetricLoss', mmpretrain.AsymmetricLoss,
       'infinite for a missed class in float16',
       'the argument of the logarithm is at least eps: -log(1e-8)')
def asymmetric_half() -> Shown:
    """Half precision rounds its bound to 0."""
    pred = torch.full((1, 2), -30.0, dtype=torch.float16)
    target = torch.ones(1, 2)
    stock = mmpretrain.AsymmetricLoss()(pred, target)
    ours = mmlosses.AsymmetricLoss()(pred, target)
    right = -math.log(1e-8)
    return stock, ours, right


@shows('AsymmetricLoss', mmpretrain.AsymmetricLoss,
       'NaN gradient for gamma_neg below 1',
       'a negative below the margin is dropped: 0',
       ['test_focal.py::test_asymmetric_gradient_is_finite'])
def asymmetric_margin() -> Shown:
    """Below the margin it multiplies an infinite derivative by 0."""
    pred, target = torch.full((1, 2), -10.0), torch.zeros(1, 2)
    stock = gradient(
        lambda x: mmpretrain.AsymmetricLoss(gamma_neg=0.5)(x, target), pred)
    ours = gradient(
        lambda x: mmlosses.AsymmetricLoss(gamma_neg=0.5)(x, target), pred)
    right = 0.0
    return stock, ours, right


@shows('AsymmetricLoss', mmpretrain.AsymmetricLoss,
       'labels synchronise with the host', 'a loss needs no value there')
def asymmetric_syncs() -> Shown:
    """It asks for the largest label."""
    pred, labels = torch.zeros(2, 3), torch.tensor([0, 2])
    stock = syncs(mmpretrain.AsymmetricLoss(), pred, labels)
    ours = syncs(mmlosses.AsymmetricLoss(), pred, labels)
    right = 'no sync'
    return stock, ours, right


@shows('FocalLoss', mmpretrain.FocalLoss, 'one class: negatives are positives',
       'alpha = 0.25: 0.75 * p**2 * -log(1 - p) of a negative at p = 1/2')
def one_class() -> Shown:
    """It takes a column (N, 1) of targets for labels, and 0 is class 0."""
    pred, target = torch.zeros(1, 1), torch.zeros(1, 1)
    stock = mmpretrain.FocalLoss()(pred, target)
    ours = mmlosses.FocalLoss()(pred, target)
    right = 0.75 * 0.5**2 * math.log(2)
    return stock, ours, right


@shows('AsymmetricLoss', mmpretrain.AsymmetricLoss,
       'one class: negatives are positives',
       '-p**4 * log(1 - p) of a negative at p = 1/2')
def asymmetric_one_class() -> Shown:
    """It takes a column (N, 1) of targets for labels, and 0 is class 0."""
    pred, target = torch.zeros(1, 1), torch.zeros(1, 1)
    stock = mmpretrain.AsymmetricLoss(clip=None)(pred, target)
    ours = mmlosses.AsymmetricLoss(clip=None)(pred, target)
    right = 0.5**4 * math.log(2)
    return stock, ours, right


@formula_of('tutorials')
def smoothed_cross_entropy(logits: Tensor, labels: Tensor,
                           smoothing: float) -> Tensor:
    """Label smoothing in tutorials, shared by the other classes."""
    classes = logits.shape[1]
    share = torch.full_like(logits, smoothing / (classes - 1.0))
    share.scatter_(1, labels.unsqueeze(1), 1 - smoothing)
    return -(share * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


@shows('LabelSmoothLoss', smoothed_cross_entropy, 'NaN for a masked class',
       'the other two classes share: log(2)')
def ruled_out() -> Shown:
    """It multiplies a logit of -inf by a share of 0."""
    logits, label = torch.tensor([[0., 0., -math.inf]]), torch.tensor([0])
    stock = smoothed_cross_entropy(logits, label, 0.0)
    ours = mmlosses.LabelSmoothLoss(0.0)(logits, label)
    right = math.log(2)
    return stock, ours, right


@shows('LabelSmoothLoss', smoothed_cross_entropy, 'fails on ignored labels',
       'as in torch, an ignored label adds 0 to the sum: log(3)')
def smooth_ignored() -> Shown:
    """It uses the label -100 as an index."""
    logits, labels = torch.zeros(2, 3), torch.tensor([0, -100])
    stock = outcome(lambda: smoothed_cross_entropy(logits, labels, 0.1))
    ours = mmlosses.LabelSmoothLoss(0.1, reduction='sum')(logits, labels)
    right = math.log(3)
    return stock, ours, right


@shows('LabelSmoothLoss', smoothed_cross_entropy, 'fails for one class',
       'the only class has the probability 1: -log(1)')
def smooth_one_class() -> Shown:
    """It divides by the number of other classes, 0."""
    logits, label = torch.zeros(1, 1), torch.tensor([0])
    stock = outcome(lambda: smoothed_cross_entropy(logits, label, 0.1))
    ours = mmlosses.LabelSmoothLoss(0.1)(logits, label)
    right = 0.0
    return stock, ours, right


@shows('FocalCustomLoss', mmdet.FocalCustomLoss, 'activated has no effect',
       'a probability of 0.9: 0.25 * 0.1**2 * -log(0.9)')
def focal_activated() -> Shown:
    """It applies a sigmoid to probabilities."""
    probability, label = torch.tensor([[0.9]]), torch.tensor([0])
    options: Dict[str, Any] = dict(num_classes=1, activated=True)
    stock = mmdet.FocalCustomLoss(**options)(probability, label)
    ours = mmlosses.FocalCustomLoss(**options)(probability, label)
    right = 0.25 * 0.1**2 * -math.log(0.9)
    return stock, ours, right


@shows('CrossEntropyCustomLoss', mmdet.CrossEntropyCustomLoss,
       'its accuracy synchronises with the host',
       'a mask selects the objects without a value on the host')
def accuracy_syncs() -> Shown:
    """It looks for the indices of the objects."""
    args = [torch.rand(8, 5), torch.zeros(8, dtype=torch.long)]
    stock = syncs(
        mmdet.CrossEntropyCustomLoss(num_classes=4).get_accuracy, *args)
    ours = syncs(
        mmlosses.CrossEntropyCustomLoss(num_classes=4).get_accuracy, *args)
    right = 'no sync'
    return stock, ours, right


@shows('BCELoss', mmpose.BCELoss, 'NaN where the weight is 0',
       'the other logit is 0: log(2) / 2')
def visibility_nan() -> Shown:
    """A NaN of weight 0 makes the loss of the batch NaN."""
    logits, target = torch.tensor([[math.nan, 0.]]), torch.ones(1, 2)
    weight = torch.tensor([[0., 1.]])
    stock = mmpose.BCELoss(use_target_weight=True)(logits, target, weight)
    ours = mmlosses.BCELoss()(logits, target, weight)
    right = math.log(2) / 2
    return stock, ours, right


@shows('BCELoss', mmpose.BCELoss, 'fails on integer targets', 'log(2)')
def visibility_integers() -> Shown:
    """Visibilities of 0 and 1 must be floating-point numbers."""
    prob, target = torch.full((1, 2), 0.5), torch.tensor([[0, 1]])
    stock = outcome(lambda: mmpose.BCELoss(use_sigmoid=True)(prob, target))
    ours = mmlosses.BCELoss(use_sigmoid=True)(prob, target)
    right = math.log(2)
    return stock, ours, right


@shows('MultiPosCrossEntropyLoss', mmdet.MultiPosCrossEntropyLoss,
       'NaN where the weight is 0', '(0 + log(1 + exp(0))) / 2')
def matches_nan() -> Shown:
    """A NaN in a sample of weight 0 makes the loss of the batch NaN."""
    logits, target = torch.zeros(2, 2), torch.tensor([[1, 0], [1, 0]])
    logits[0] = math.nan
    weight = torch.tensor([0., 1.])
    stock = mmdet.MultiPosCrossEntropyLoss()(logits, target, weight)
    ours = mmlosses.MultiPosCrossEntropyLoss()(logits, target, weight)
    right = math.log(2) / 2
    return stock, ours, right


@shows('MultiPosCrossEntropyLoss', mmdet.MultiPosCrossEntropyLoss,
       'synchronises with the host',
       'masks select positives and negatives without a value on the host')
def matches_sync() -> Shown:
    """It looks for the indices of positives and negatives."""
    args = [torch.rand(4, 6), torch.ones(4, 6, dtype=torch.long)]
    stock = syncs(mmdet.MultiPosCrossEntropyLoss(), *args)
    ours = syncs(mmlosses.MultiPosCrossEntropyLoss(), *args)
    right = 'no sync'
    return stock, ours, right


@shows('MultiPosCrossEntropyLoss', mmdet.MultiPosCrossEntropyLoss,
       'counts pairs to exclude', 'one positive and one negative: log(2)')
def excluded_pairs() -> Shown:
    """A pair that is neither 1 nor 0 counts as both, with a logit of 0."""
    logits, target = torch.zeros(1, 3), torch.tensor([[1, 0, -1]])
    stock = mmdet.MultiPosCrossEntropyLoss()(logits, target)
    ours = mmlosses.MultiPosCrossEntropyLoss()(logits, target)
    right = math.log(2)
    return stock, ours, right


@formula_of('DBNet')
def dbnet_balanced_bce(pred: Tensor,
                       target: Tensor,
                       negative_ratio: float = 3.0) -> Tensor:
    """The loss of MhLiao/DB, from its formula: all positives and the hardest
    negatives."""
    positive, negative = target.byte(), (1 - target).byte()
    positives = int(positive.sum())
    negatives = min(int(negative.sum()), int(positives * negative_ratio))
    loss = F.binary_cross_entropy(pred, target, reduction='none')
    hardest = (loss * negative).flatten().topk(negatives)[0]
    total = (loss * positive).sum() + hardest.sum()
    if positives:
        return total / (positives + negatives + 1e-6)
    return loss.sum() / (int(negative.sum()) + 1e-6)


@shows('BalancedBCELoss', dbnet_balanced_bce, 'soft labels divided by 1e-6',
       'every element is log(2), so is any mean')
def soft_mask() -> Shown:
    """Cast to bytes, a label of 0.5 is neither positive nor negative."""
    logits, target = torch.zeros(1, 1, 10, 20), torch.full((1, 1, 10, 20), 0.5)
    stock = dbnet_balanced_bce(logits.sigmoid(), target)
    ours = mmlosses.BalancedBCELoss()(logits, target)
    right = math.log(2)
    return stock, ours, right


@shows('BalancedBCELoss', dbnet_balanced_bce,
       'confident errors have no gradient',
       'one positive of logit -200: log(1 + exp(200)) has the gradient -1')
def saturated_mask() -> Shown:
    """It takes probabilities, which the sigmoid rounded to 0."""
    logit, target = torch.tensor([[[[-200.]]]]), torch.ones(1, 1, 1, 1)
    stock = gradient(lambda x: dbnet_balanced_bce(x.sigmoid(), target), logit)
    ours = gradient(lambda x: mmlosses.BalancedBCELoss()(x, target), logit)
    right = -1.0
    return stock, ours, right


@shows('BalancedBCELoss', dbnet_balanced_bce, 'synchronises with the host',
       'the hardest negatives can be masked without a value on the host')
def mining_syncs() -> Shown:
    """It reads on the host how many negatives to keep."""
    args = [torch.rand(2, 1, 8, 8), torch.ones(2, 1, 8, 8)]
    stock = syncs(dbnet_balanced_bce, *args)
    ours = syncs(mmlosses.BalancedBCELoss(), *args)
    right = 'no sync'
    return stock, ours, right


@shows(
    'DiceLoss',
    mmdet.DiceLoss,
    'false positives have no gradient',
    'd/dp of 1 - 0.002 / (16 * p**2 + 0.002) at p = 0.1, for one of 16 pixels',
    tests=['test_mask.py::test_empty_masks_in_mmdet'])
def dice_empty() -> Shown:
    """For an empty mask the loss is 1 and the gradient 0."""
    pred, mask = torch.full((1, 16), 0.1), torch.zeros(1, 16)
    stock = gradient(lambda x: mmdet.DiceLoss(activate=False)(x, mask),
                     pred)[0, 0]
    ours = gradient(lambda x: mmlosses.DiceLoss(activate=False)(x, mask),
                    pred)[0, 0]
    right = 0.002 * 2 * 0.1 / (16 * 0.1**2 + 0.002)**2
    return stock, ours, right


@shows(
    'DiceLoss',
    mmdet.DiceLoss,
    'an empty mask has the loss 1',
    'the prediction is empty too',
    tests=['test_mask.py::test_empty_masks_in_mmdet'])
def dice_perfect() -> Shown:
    """A perfect prediction of an empty mask has the maximum loss."""
    pred, mask = torch.zeros(1, 16), torch.zeros(1, 16)
    stock = mmdet.DiceLoss(activate=False)(pred, mask)
    ours = mmlosses.DiceLoss(activate=False)(pred, mask)
    right = 0.0
    return stock, ours, right


@shows('DiceLoss', mmdet.DiceLoss, 'refuses use_sigmoid=False',
       'a perfect prediction has the loss 0')
def dice_probabilities() -> Shown:
    """It accepts ``use_sigmoid=False``, which is not implemented."""
    mask = torch.ones(1, 16)
    kwargs: Dict[str, Any] = dict(use_sigmoid=False, naive_dice=True)
    stock = outcome(lambda: mmdet.DiceLoss(**kwargs)(mask, mask))
    ours = mmlosses.DiceLoss(**kwargs)(mask, mask)
    right = 0.0
    return stock, ours, right


@formula_of('DBNet')
def dbnet_dice(pred: Tensor, mask: Tensor) -> Tensor:
    """The loss of MhLiao/DB, from its formula."""
    pred, mask = pred[:, 0], mask[:, 0]
    overlap = (pred * mask).sum()
    loss = 1 - 2 * overlap / (pred.sum() + mask.sum() + 1e-6)
    assert loss <= 1
    return loss


@shows('DiceLoss', dbnet_dice, 'fails on large masks in float16',
       'a perfect prediction has the loss 0')
def dice_float16() -> Shown:
    """The sums overflow, and an assertion fails on the NaN."""
    mask = torch.ones(1, 1, 640, 640).half()
    stock = outcome(lambda: dbnet_dice(mask, mask))
    ours = mmlosses.DiceLoss(activate=False, naive_dice=True)(mask, mask)
    right = 0.0
    return stock, ours, right


@shows('DiceLoss', dbnet_dice, 'drops channels after the first',
       'the second channel, half of all pixels, is wrong')
def dice_channels() -> Shown:
    """It compares only the first channel."""
    mask = torch.ones(1, 2, 4, 4)
    pred = torch.cat([torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)], dim=1)
    stock = dbnet_dice(pred, mask)
    ours = mmlosses.DiceLoss(
        activate=False, naive_dice=True, eps=1e-6)(pred, mask)
    right = 1 - 2 * 16 / (16 + 32)
    return stock, ours, right
