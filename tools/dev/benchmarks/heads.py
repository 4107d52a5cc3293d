"""Rows of calls as heads make them: weights, a factor, other targets."""
from __future__ import annotations
import functools
from typing import Any, Callable, Dict, List

import torch
import torch.nn.functional as F
from torch import Tensor

from . import inputs
from .inputs import Arguments, blobs, leaf
from .row import Function, Late, Row, stock

IGNORED = 255


def dense_scores(boxes: int = 20_000, classes: int = 80) -> Arguments:
    """Logits of anchors, of which some are between positive and negative."""
    pred, labels = inputs.detections(boxes, classes)
    return pred, labels, (torch.rand(boxes) > 0.05).float(), 400.0


def dense_qualities(boxes: int = 20_000, classes: int = 80) -> Arguments:
    """The same with a quality of each box."""
    pred, labels, weight, factor = dense_scores(boxes, classes)
    return pred, (labels, torch.rand(boxes)), weight, factor


def several_labels(images: int = 4096, classes: int = 80) -> Arguments:
    """Logits of images, and one-hot labels of three classes each."""
    target = (torch.rand(images, classes) < 3 / classes).float()
    return leaf(torch.randn(images, classes)), target


def soft_labels(images: int = 256, classes: int = 1000) -> Arguments:
    """Scores of images, and mixtures of two labels."""
    pred, labels = inputs.scores(images, classes)
    return pred, F.one_hot(labels, classes) * 0.7 + F.one_hot(
        labels.flip(0), classes) * 0.3


def roi_scores(boxes: int = 1024, classes: int = 81) -> Arguments:
    """Scores of RoIs, all with weight 1."""
    pred, labels = inputs.scores(boxes, classes)
    return pred, labels, torch.ones(boxes), float(boxes)


def sampled(boxes: int) -> Tensor:
    """Weights of anchors, of which an RPN samples 256."""
    weight = torch.zeros(boxes)
    weight[torch.randperm(boxes)[:256]] = 1
    return weight


def anchor_scores(boxes: int = 100_000) -> Arguments:
    """Objectness of anchors: 0 is an object, 1 background."""
    labels = torch.randint(2, (boxes, ))
    return leaf(torch.randn(boxes, 1)), labels, sampled(boxes), 256.0


def anchor_deltas(boxes: int = 100_000) -> Arguments:
    """Deltas of anchors."""
    pred, target = torch.randn(2, boxes, 4)
    weight = sampled(boxes).unsqueeze(1).expand(boxes, 4).contiguous()
    return leaf(pred), target, weight, 256.0


def positive_boxes(batch: int = 500) -> Arguments:
    """Boxes of positives, weighted by their scores."""
    pred, target = inputs.box_pairs(batch)
    return leaf(pred), target, torch.rand(batch) + 0.1, batch / 2


def distances(sides: int = 2000, bins: int = 17) -> Arguments:
    """Binned distances of positives, weighted by their scores."""
    target = torch.rand(sides) * (bins - 1.01)
    return (leaf(torch.randn(sides,
                             bins)), target, torch.rand(sides) + 0.1, 4.0)


def roi_masks(boxes: int = 64, classes: int = 80, side: int = 28) -> Arguments:
    """A mask for each class of each RoI."""
    pred = blobs(boxes, classes, side, side)
    target = (blobs(boxes, side, side) > 0).float()
    return leaf(pred), target, torch.randint(classes, (boxes, ))


def mask_points(objects: int = 100, points: int = 12_544) -> Arguments:
    """Masks at sampled points."""
    pred = torch.randn(objects, points)
    target = (torch.rand(objects, points) > 0.5).float()
    return leaf(pred), target


def flat_points(objects: int = 100, points: int = 12_544) -> Arguments:
    """The same, one after another."""
    pred, target = mask_points(objects, points)
    return leaf(pred.detach().flatten()), target.flatten()


def partial_maps(images: int = 2,
                 classes: int = 19,
                 side: int = 512) -> Arguments:
    """Scores and labels of pixels, a tenth of which is not labelled."""
    pred, labels = inputs.label_maps(images, classes, side)
    return pred, labels.masked_fill(torch.rand(labels.shape) < 0.1, IGNORED)


def centres(images: int = 4, classes: int = 80, side: int = 128) -> Arguments:
    """Probabilities of centres, and Gaussians about them."""
    pred, target = inputs.heatmaps(images, classes, side)
    pred = pred.detach().sigmoid().clamp(1e-4, 1 - 1e-4)
    return leaf(pred), target


def keypoints(people: int = 64) -> Arguments:
    """Coordinates of keypoints, some not visible."""
    target = torch.rand(people, 17, 2)
    weight = (torch.rand(people, 17, 1) > 0.2).float()
    return (leaf(target + 0.1 * torch.randn_like(target)), target,
            weight.expand_as(target).contiguous())


def visibilities(people: int = 500) -> Arguments:
    """Logits of visibilities of keypoints, some not annotated."""
    target, weight = (torch.rand(2, people, 17) > 0.2).float()
    return leaf(torch.randn(people, 17)), target, weight


def crowds(images: int = 32, height: int = 128, width: int = 128) -> Arguments:
    """Heatmaps of pictures in which some people are not annotated."""
    pred, target = torch.rand(2, images, 17, height, width)
    mask = (torch.rand(images, 1, height, width) > 0.1).float()
    return leaf(pred), target, torch.ones(images, 17), mask


def ignoring(loss: Function) -> Function:
    """Pass the label to ignore, as heads of mmseg do."""
    return functools.partial(loss, ignore_index=IGNORED)


def of_mmseg(loss: Any, *args: Any) -> Function | None:
    """The stock loss, called in the same way."""
    peer = stock('mmseg').build(loss)
    return peer and ignoring(peer)


def of_masks(loss: Any, *args: Any) -> Function | None:
    """The stock loss of masks, which returns one number in an axis."""
    peer = stock('mmdet', use_mask=True).build(loss)
    return peer and (lambda *args: peer(*args).squeeze(0))


def row(name: str,
        arguments: Callable[..., Arguments],
        size: str,
        small: Dict[str, int],
        scope: str = 'mmdet',
        kwargs: Dict[str, Any] | None = None,
        peer: Late | None = None,
        ours: Dict[str, Any] | None = None,
        **settings: Any) -> Row:
    """A row beside the stock loss, with the same arguments."""
    kwargs = kwargs or {}
    peers = {scope: peer or stock(scope, **kwargs)}
    return Row(
        name.partition(',')[0],
        arguments,
        size,
        small,
        peers, {
            **kwargs,
            **(ours or {})
        },
        goal=1.15,
        name=name,
        **settings)


BOXES, POINTS = dict(boxes=9), dict(objects=3, points=8)
MAPS: Dict[str, Any] = dict(
    size='2 x 19 x 512 x 512, 255 ignored',
    small=dict(images=2, side=16),
    scope='mmseg',
    peer=Late(of_mmseg),
    call=ignoring)
LABELLED = dict(use_target_weight=True)

HEAD_ROWS: List[Row] = [
    row('FocalLoss, of a dense head', dense_scores, '20,000 x 80, weights',
        dict(boxes=9, classes=4), 'mmdet', dict(use_sigmoid=True)),
    row('FocalLoss, of several labels', several_labels, '4096 x 80, one-hot',
        dict(images=5, classes=4), 'mmpretrain'),
    row('QualityFocalLoss, of a dense head', dense_qualities,
        '20,000 x 80, weights', dict(boxes=9, classes=4)),
    row('DistributionFocalLoss, of a dense head', distances,
        '2,000 x 17, weights', dict(sides=5)),
    row('GaussianFocalLoss, of probabilities', centres, '4 x 80 x 128 x 128',
        dict(images=2, classes=12, side=12)),
    row('CrossEntropyLoss, of a RoI head', roi_scores, '1024 x 81, weights',
        dict(boxes=9, classes=4)),
    row('CrossEntropyLoss, of an RPN', anchor_scores, '100,000, weights',
        BOXES, 'mmdet', dict(use_sigmoid=True)),
    row('CrossEntropyLoss, of RoI masks', roi_masks, '64 x 80 x 28 x 28',
        dict(boxes=3, classes=4, side=12), 'mmdet', dict(use_mask=True),
        Late(of_masks)),
    row('CrossEntropyLoss, of mask points', flat_points, '100 x 12,544',
        POINTS, 'mmdet', dict(use_sigmoid=True)),
    row('CrossEntropyLoss, of label maps', partial_maps, **MAPS),
    row('CrossEntropyLoss, of soft labels', soft_labels, '256 x 1000',
        dict(images=5, classes=4), 'mmpretrain', dict(use_soft=True)),
    row('DiceLoss, of mask points', mask_points, '100 x 12,544', POINTS,
        'mmdet', dict(naive_dice=True, eps=1.0)),
    row('DiceLoss, of label maps',
        partial_maps,
        differs='mmseg counts the pixels to ignore',
        **MAPS),
    row('L1Loss, of an RPN', anchor_deltas, '100,000 x 4, weights', BOXES),
    *[
        row(f'{loss}, of positives', positive_boxes, '500 boxes, weights',
            dict(batch=7)) for loss in ('IoULoss', 'GIoULoss', 'CIoULoss')
    ],
    row('KLDiscretLoss, of RTMPose',
        inputs.bins,
        '64 x 17 x (384 + 512)',
        dict(images=2, keypoints=3, bins=12),
        'mmpose',
        dict(beta=10.0, label_softmax=True),
        ours=dict(size_average=False)),
    row('KeypointMSELoss, of crowds', crowds, '32 x 17 x 128 x 128, mask',
        dict(images=2, height=4, width=4), 'mmpose', LABELLED),
    row('SmoothL1Loss, of keypoints', keypoints, '64 x 17 x 2, weights',
        dict(people=2), 'mmpose', LABELLED),
    row('BCELoss, of visibilities', visibilities, '500 x 17, weights',
        dict(people=2), 'mmpose', LABELLED),
]
