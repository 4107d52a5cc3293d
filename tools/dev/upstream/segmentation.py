"""Label maps."""
from __future__ import annotations
import math
from typing import Any

import torch
from mmseg.models import losses as mmseg
from upstream import Shown, outcome, shows

import mmlosses.losses as mmlosses


@shows('CrossEntropyLoss', mmseg.CrossEntropyLoss,
       'IndexError for class weights and label 255',
       'the mean of two pixels with two equal scores: log(2)',
       ['test_mmseg.py::test_a_head_trains_where_stock_fails'])
def map_class_weights() -> Shown:
    """It looks up the class weight of the pixels to ignore."""
    scores, labels = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 255]]])

    def call(losses: Any) -> Any:
        loss = losses.CrossEntropyLoss(class_weight=[1.0, 3.0])
        return outcome(lambda: loss(scores, labels, ignore_index=255))

    stock, ours = call(mmseg), call(mmlosses)
    right = math.log(2)
    return stock, ours, right


@shows('CrossEntropyLoss', mmseg.CrossEntropyLoss,
       'class weights of a sigmoid multiply pixel columns',
       'class 0 has the weight 5 in both pixels: 5 * log(2)')
def map_sigmoid_weights() -> Shown:
    """The weight of a class is taken for that of a column."""
    scores, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 0]]])
    kwargs: Any = dict(
        use_sigmoid=True, class_weight=[5.0, 1.0], reduction='none')
    stock = mmseg.CrossEntropyLoss(**kwargs)(scores, labels)[0, 0]
    ours = mmlosses.CrossEntropyLoss(**kwargs)(scores, labels)[0, 0]
    right = 5 * math.log(2)
    return stock, ours, right


@shows('FocalLoss', mmseg.FocalLoss, 'fails for labels on the CPU',
       '0.5 * 0.5**2 * log(2) for each number of the kept pixel, over 4',
       ['test_mmseg.py::test_ignored_pixels_are_out_of_every_sum'])
def map_focal() -> Shown:
    """It takes one column of the one-hot labels (mmsegmentation#3249)."""
    scores = torch.zeros(1, 2, 1, 4)
    labels = torch.tensor([[[0, 255, 0, 255]]])

    def call(losses: Any) -> Any:
        loss = losses.FocalLoss(alpha=0.5)
        return outcome(lambda: loss(scores, labels, ignore_index=255))

    stock, ours = call(mmseg), call(mmlosses)
    right = 0.5 * 0.5**2 * math.log(2) * 2 / 4
    return stock, ours, right


@shows('DiceLoss', mmseg.DiceLoss, 'counts the pixels to ignore',
       'the pixel that is kept is right: 0, but for eps',
       ['test_mmseg.py::test_ignored_pixels_are_out_of_every_sum'])
def map_dice_ignored() -> Shown:
    """What is predicted there costs as a false positive (#2996)."""
    prob = torch.tensor([[1., 1.], [0., 1.]]).reshape(1, 2, 1, 2)
    labels = torch.tensor([[[0, 255]]])
    kwargs: Any = dict(activate=False, eps=1e-9)
    stock = mmseg.DiceLoss(**kwargs)(prob, labels, ignore_index=255)
    ours = mmlosses.DiceLoss(**kwargs)(prob, labels, ignore_index=255)
    right = 0.0
    return stock, ours, right


@shows('DiceLoss', mmseg.DiceLoss, 'the wrong foreground for one channel',
       'the prediction of a head with one channel is label 1, and right: 0',
       ['test_mmseg.py::test_one_channel_has_label_1_in_the_foreground'])
def map_dice_one_channel() -> Shown:
    """It learns label 0, the cross entropy beside it label 1."""
    labels = torch.tensor([[[0, 1, 1]]])
    prob = labels.unsqueeze(1).float()
    kwargs: Any = dict(activate=False, eps=1e-9)
    stock = mmseg.DiceLoss(**kwargs)(prob, labels)
    ours = mmlosses.DiceLoss(**kwargs)(prob, labels)
    right = 0.0
    return stock, ours, right


@shows('DiceLoss', mmseg.DiceLoss, 'takes negative labels for class 0',
       'labels are from 0', ['test_mmseg.py::test_labels_of_dice_are_checked'])
def map_dice_negative() -> Shown:
    """A label of -1, which other tools write for unknown pixels."""
    prob, labels = torch.ones(1, 2, 1, 1), torch.tensor([[[-1]]])

    def call(losses: Any) -> Any:
        loss = losses.DiceLoss(activate=False)
        return outcome(lambda: loss(prob, labels))

    stock, ours = call(mmseg), call(mmlosses)
    right = 'ValueError'
    return stock, ours, right
