"""Label maps."""
from __future__ import annotations
import math
from typing import Any

import torch
from mmseg.models import losses as mmseg
from upstream import Shown, gradient, outcome, shows

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


@shows('LovaszLoss', mmseg.LovaszLoss, 'refuses its own defaults',
       'scores of a certain and right prediction: 0')
def map_lovasz_defaults() -> Shown:
    """``reduction='mean'`` and ``per_image=False`` exclude each other."""
    scores, labels = torch.tensor([[[[99.]], [[0.]]]]), torch.tensor([[[0]]])
    stock, ours = [
        outcome(lambda: losses.LovaszLoss()(scores, labels))
        for losses in (mmseg, mmlosses)
    ]
    right = 0.0
    return stock, ours, right


@shows('LovaszLoss', mmseg.LovaszLoss, 'fails for two channels if binary',
       'each class against the rest: the hinge of scores of 0 is 1',
       ['test_segmentation.py::test_lovasz_matches_its_definition'])
def map_lovasz_binary() -> Shown:
    """It compares twice as many logits as labels (mmsegmentation#1036)."""
    scores, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    kwargs: Any = dict(loss_type='binary', per_image=True)
    stock, ours = [
        outcome(lambda: losses.LovaszLoss(**kwargs)(scores, labels))
        for losses in (mmseg, mmlosses)
    ]
    right = 1.0
    return stock, ours, right


@shows('LovaszLoss', mmseg.LovaszLoss, 'NaN without a pixel',
       'all pixels are ignored: 0',
       ['test_segmentation.py::test_nothing_but_ignored_pixels'])
def map_lovasz_ignored() -> Shown:
    """It takes the mean of nothing."""
    scores, labels = torch.zeros(1, 2, 1, 1), torch.tensor([[[255]]])

    def call(losses: Any) -> Any:
        loss = losses.LovaszLoss(per_image=True)
        return outcome(lambda: loss(scores, labels, ignore_index=255))

    stock, ours = call(mmseg), call(mmlosses)
    right = 0.0
    return stock, ours, right


@shows('LovaszLoss', mmseg.LovaszLoss, 'rounds the gradient away',
       'times k (k + 1), the step from k - 1 to k wrong pixels is 1',
       ['test_segmentation.py::test_small_steps_of_lovasz_are_exact'])
def map_lovasz_steps() -> Shown:
    """It subtracts Jaccard losses near 1 from each other."""
    logits = torch.linspace(3, 0, 20_000)
    logits[-1] = 0.9  # the foreground, the only right pixel
    labels = (torch.arange(20_000) == 19_999).long().reshape(1, 1, -1)
    kwargs: Any = dict(loss_type='binary', per_image=True)
    stock, ours = [
        gradient(lambda x: losses.LovaszLoss(**kwargs)
                 (x, labels), logits.reshape(1, 1, 1, -1)).flatten()[9_999] *
        10_000 * 10_001 for losses in (mmseg, mmlosses)
    ]
    right = 1.0
    return stock, ours, right


@shows('LovaszLoss', mmseg.LovaszLoss, 'IndexError for a single pixel',
       'two scores of 0 and one pixel: the error is 1/2')
def map_lovasz_single() -> Shown:
    """It squeezes the index of the pixels that are not ignored."""
    scores, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 255]]])

    def call(losses: Any) -> Any:
        loss = losses.LovaszLoss(per_image=True)
        return outcome(lambda: loss(scores, labels, ignore_index=255))

    stock, ours = call(mmseg), call(mmlosses)
    right = 0.5
    return stock, ours, right


@shows('TverskyLoss', mmseg.TverskyLoss, 'takes negative labels for class 0',
       'labels are from 0',
       ['test_segmentation.py::test_ignored_pixels_may_hold_anything'])
def map_tversky_negative() -> Shown:
    """And 99 for the last class."""
    scores, labels = torch.zeros(1, 2, 1, 1), torch.tensor([[[-1]]])
    stock, ours = [
        outcome(lambda: losses.TverskyLoss()(scores, labels))
        for losses in (mmseg, mmlosses)
    ]
    right = 'ValueError'
    return stock, ours, right


@shows(
    'TverskyLoss', mmseg.TverskyLoss, 'refuses other prices',
    'TP / (TP + FP + FN) of p = 1/2 on one pixel, the Jaccard index: '
    '(1/2 + 1) / 2 from 1')
def map_tversky_prices() -> Shown:
    """It asserts that alpha and beta add up to 1."""
    scores, labels = torch.zeros(1, 2, 1, 1), torch.tensor([[[0]]])
    kwargs: Any = dict(smooth=0, alpha=1.0, beta=1.0)
    stock, ours = [
        outcome(lambda: losses.TverskyLoss(**kwargs)(scores, labels))
        for losses in (mmseg, mmlosses)
    ]
    right = (1 / 2 + 1) / 2
    return stock, ours, right


@shows('TverskyLoss', mmseg.TverskyLoss, 'learns nothing from one channel',
       '1 - TI of p = 1/2 and one foreground pixel: 1 - 1.5 / 1.85')
def map_tversky_one_channel() -> Shown:
    """The softmax of one class is 1, whatever the score."""
    scores, labels = torch.zeros(1, 1, 1, 1), torch.tensor([[[1]]])
    stock = mmseg.TverskyLoss()(scores, labels)
    ours = mmlosses.TverskyLoss()(scores, labels)
    right = 1 - 1.5 / (1.5 + 0.7 * 0.5)
    return stock, ours, right


@shows('OhemCrossEntropy', mmseg.OhemCrossEntropy, 'NaN if all is certain',
       'each pixel is right: 0',
       ['test_segmentation.py::test_ohem_where_all_pixels_are_certain'])
def map_ohem_certain() -> Shown:
    """It keeps no pixel, and takes the mean of nothing."""
    scores = torch.tensor([99., 0.]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    stock = mmseg.OhemCrossEntropy()(scores, labels)
    ours = mmlosses.OhemCrossEntropy()(scores, labels)
    right = 0.0
    return stock, ours, right


@shows('OhemCrossEntropy', mmseg.OhemCrossEntropy,
       'no graph if all is ignored', 'the gradient of no pixel is 0',
       ['test_segmentation.py::test_nothing_but_ignored_pixels'])
def map_ohem_ignored() -> Shown:
    """The backward pass of such a batch raises an error."""
    scores = torch.zeros(1, 2, 1, 1, requires_grad=True)
    labels = torch.tensor([[[255]]])

    def call(losses: Any) -> Any:
        loss = losses.OhemCrossEntropy()(scores, labels)
        return outcome(lambda: torch.autograd.grad(loss, scores)[0].sum())

    stock, ours = call(mmseg), call(mmlosses)
    right = 0.0
    return stock, ours, right


@shows('BoundaryLoss', mmseg.BoundaryLoss, 'NaN at ignored pixels',
       'two pixels of score 0: log(2) / 2 each, over three',
       ['test_segmentation.py::test_boundary_matches_loops'])
def map_boundary_ignored() -> Shown:
    """It multiplies the loss there by 0."""
    scores = torch.tensor([0., 0., math.nan]).reshape(1, 1, 1, 3)
    edges = torch.tensor([[[0, 1, 255]]])
    stock = mmseg.BoundaryLoss()(scores, edges)
    ours = mmlosses.BoundaryLoss()(scores, edges)
    right = math.log(2) / 3
    return stock, ours, right


@shows('HausdorffDistanceLoss', mmseg.HuasdorffDisstanceLoss,
       'compares probabilities with label numbers',
       'the prediction is certain and right: 0',
       ['test_segmentation.py::test_hausdorff_matches_loops'])
def map_hausdorff_classes() -> Shown:
    """With more than two classes, label 2 is no probability."""
    labels = torch.tensor([[[0, 1, 2]]])
    scores = 99.0 * torch.eye(3).reshape(1, 3, 1, 3)
    stock = mmseg.HuasdorffDisstanceLoss()(scores, labels)
    ours = mmlosses.HausdorffDistanceLoss()(scores, labels)
    right = 0.0
    return stock, ours, right


@shows(
    'HausdorffDistanceLoss', mmseg.HuasdorffDisstanceLoss,
    'AssertionError for class weights',
    'a miss of one pixel by 1/2, a pixel from the background: 1/4, with '
    'the weight 3, over two pixels and two classes')
def map_hausdorff_weights() -> Shown:
    """It compares the axes of the weights with the number of classes."""
    labels = torch.tensor([[[0, 1]]])
    scores = torch.tensor([[[[99., 0.]], [[0., 0.]]]])
    kwargs: Any = dict(class_weight=[1.0, 3.0])
    stock, ours = [
        outcome(lambda: losses.HuasdorffDisstanceLoss(**kwargs)
                (scores, labels)) for losses in (mmseg, mmlosses)
    ]
    right = 3 * (1 / 2)**2 / 4
    return stock, ours, right
