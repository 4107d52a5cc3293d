"""Long-tailed classes."""
from __future__ import annotations
import copy
import math
from typing import Any

import torch
from mmdet.models import losses as mmdet
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from upstream import Shown, kind, outcome, shows, syncs

import mmlosses.losses as mmlosses


def seesaw(project: Any, **kwargs: Any) -> Any:
    """The loss of two classes: two scores, and two of the background."""
    return project.SeesawLoss(num_classes=2, **kwargs)


def equalized(project: Any, **kwargs: Any) -> Any:
    """The loss of two classes: two scores, and one of the background."""
    return project.EQLV2Loss(num_classes=2, **kwargs)


def one_sample(scores: int) -> Any:
    """Scores of 0, and the label 0."""
    return torch.zeros(1, scores, requires_grad=True), torch.tensor([0])


@shows('SeesawLoss', mmdet.SeesawLoss, 'counts samples in evaluation',
       'the paper counts the samples of the training')
def seesaw_evaluation() -> Shown:
    """A validation loss changes the weights of the classes."""

    def counted(loss: Any) -> Tensor:
        loss.eval()(*one_sample(4))
        return loss.cum_samples[0]

    stock = counted(seesaw(mmdet))
    ours = counted(seesaw(mmlosses))
    right = 0.0
    return stock, ours, right


@shows('SeesawLoss', mmdet.SeesawLoss, 'counts twice when checkpointed',
       'there is one sample')
def seesaw_checkpointed() -> Shown:
    """Activation checkpointing repeats the call in the backward pass."""

    def counted(loss: Any) -> Tensor:
        scores, label = one_sample(4)
        terms = checkpoint(loss, scores, label, use_reentrant=False)
        sum(terms.values()).backward()
        return loss.cum_samples[0]

    stock = counted(seesaw(mmdet))
    ours = counted(seesaw(mmlosses))
    right = 1.0
    return stock, ours, right


@shows('SeesawLoss', mmdet.SeesawLoss, 'half precision counts to 2,048',
       'there are 2,048 samples and 1 more')
def seesaw_half() -> Shown:
    """In a model cast to half, the counts have 11 bits."""

    def counted(loss: Any) -> Tensor:
        for number in (2048, 1):
            loss(
                torch.zeros(number, 4).half(),
                torch.zeros(number, dtype=torch.long))
        return loss.cum_samples[0]

    stock = counted(seesaw(mmdet).half())
    ours = counted(seesaw(mmlosses).half())
    right = 2049.0
    return stock, ours, right


@shows('SeesawLoss', mmdet.SeesawLoss, 'fails on labels of weight 0',
       'one sample of two equal scores, over 1: log(2)')
def seesaw_label_of_weight_zero() -> Shown:
    """Even a label of weight 0 must be a valid class."""
    scores, labels = torch.zeros(2, 4), torch.tensor([0, -1])
    weight = torch.tensor([1., 0.])

    def classes(project: Any) -> Tensor:
        terms = seesaw(project)(scores, labels, weight, avg_factor=1)
        return terms['loss_cls_classes']

    stock = outcome(lambda: classes(mmdet))
    ours = classes(mmlosses)
    right = math.log(2)
    return stock, ours, right


@shows('SeesawLoss', mmdet.SeesawLoss, 'NaN where the weight is 0',
       'a sample of weight 0 does not count')
def seesaw_nan() -> Shown:
    """A NaN in a row of weight 0 makes the loss of the batch NaN."""
    scores = torch.tensor([[0., 0., 0., 0.], [math.nan, 0., 0., 0.]])
    args = scores, torch.tensor([0, 1]), torch.tensor([1., 0.])
    stock = kind(seesaw(mmdet, return_dict=False)(*args))
    ours = kind(seesaw(mmlosses, return_dict=False)(*args))
    right = 'finite'
    return stock, ours, right


@shows('SeesawLoss', mmdet.SeesawLoss, 'fails for the reduction none',
       'an object has both terms, background only that of objectness')
def seesaw_none() -> Shown:
    """Without ``return_dict`` it adds losses of all samples and of objects."""
    scores, labels = torch.zeros(3, 4), torch.tensor([0, 1, 2])
    options: Any = dict(return_dict=False, reduction='none', p=0.0)
    stock = outcome(lambda: seesaw(mmdet, **options)(scores, labels))
    ours = seesaw(mmlosses, **options)(scores, labels)
    right = [2 * math.log(2), 2 * math.log(2), math.log(2)]
    return stock, ours, right


@shows('SeesawLoss', mmdet.SeesawLoss, 'synchronises with the host',
       'samples can be counted without a value on the host')
def seesaw_syncs() -> Shown:
    """It reads every class of the batch on the host."""
    args = torch.zeros(8, 4), torch.zeros(8, dtype=torch.long)
    stock = syncs(lambda *x: seesaw(mmdet)(*x), *args)
    ours = syncs(lambda *x: seesaw(mmlosses)(*x), *args)
    right = 'no sync'
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'ignores the weight',
       'three scores of log(2), times 0.5')
def eql_weight() -> Shown:
    """The heads' weights of samples have no effect."""
    scores, label = one_sample(3)
    weight = torch.tensor([0.5])
    stock = equalized(mmdet)(scores, label, weight)
    ours = equalized(mmlosses)(scores, label, weight)
    right = 3 * math.log(2) * 0.5
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'ignores avg_factor',
       'three scores of log(2), divided by 4')
def eql_avg_factor() -> Shown:
    """It always divides by the number of samples."""
    scores, label = one_sample(3)
    stock = equalized(mmdet)(scores, label, avg_factor=4)
    ours = equalized(mmlosses)(scores, label, avg_factor=4)
    right = 3 * math.log(2) / 4
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'ignores the reduction',
       'two samples of three scores of log(2)')
def eql_reduction() -> Shown:
    """It always returns the mean."""
    scores, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    stock = equalized(mmdet, reduction='sum')(scores, labels)
    ours = equalized(mmlosses, reduction='sum')(scores, labels)
    right = 2 * 3 * math.log(2)
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'ignores class_weight',
       '(5 + 1 + 1) * log(2)')
def eql_class_weight() -> Shown:
    """The weights of the classes have no effect."""
    weights: Any = dict(class_weight=[5., 1., 1.])
    stock = equalized(mmdet, **weights)(*one_sample(3))
    ours = equalized(mmlosses, **weights)(*one_sample(3))
    right = (5 + 1 + 1) * math.log(2)
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'tested with a softmax',
       'the sigmoid of 0 times that of no background: 0.5 * 0.5')
def eql_softmax() -> Shown:
    """Heads ask for ``custom_cls_channels`` before they use its sigmoid."""
    scores, _ = one_sample(3)

    def tested(loss: Any) -> Tensor:
        # As BBoxHead does.
        if getattr(loss, 'custom_cls_channels', False):
            return loss.get_activation(scores)[0, 0]
        return scores.softmax(dim=-1)[0, 0]

    stock = tested(equalized(mmdet))
    ours = tested(equalized(mmlosses))
    right = 0.5 * 0.5
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'NaN without samples',
       'nothing is to be learnt')
def eql_empty() -> Shown:
    """It divides by the number of samples."""
    scores, labels = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    stock = equalized(mmdet)(scores, labels)
    ours = equalized(mmlosses)(scores, labels)
    right = 0.0
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'an empty batch turns off negatives',
       'before any sample, all weights are 1: 3 * log(2)')
def eql_empty_start() -> Shown:
    """Without any gradient, the ratio of the gradients becomes 0."""

    def second(loss: Any) -> Tensor:
        scores, label = one_sample(3)
        loss(scores[:0], label[:0])
        return loss(scores, label)

    stock = second(equalized(mmdet))
    ours = second(equalized(mmlosses))
    right = 3 * math.log(2)
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'adds gradients in evaluation',
       'the paper adds the gradients of the training')
def eql_evaluation() -> Shown:
    """A validation loss changes the weights of the classes."""

    def ratio(loss: Any) -> Tensor:
        loss.eval()(*one_sample(3))
        return loss.pos_neg

    stock = ratio(equalized(mmdet))
    ours = ratio(equalized(mmlosses))
    right = [100.0, 100.0]
    return stock, ours, right


@shows('EQLV2Loss', mmdet.EQLV2Loss, 'cannot be copied after a call',
       'class 1 has had negatives only: a ratio of 0')
def eql_copy() -> Shown:
    """It keeps the scores of the last call, and so their graph."""

    def copied(loss: Any) -> Tensor:
        scores, label = one_sample(3)
        loss(scores * 1, label)
        return copy.deepcopy(loss).pos_neg[1]

    stock = outcome(lambda: copied(equalized(mmdet)))
    ours = copied(equalized(mmlosses))
    right = 0.0
    return stock, ours, right
