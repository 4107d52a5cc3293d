"""The cases of the losses over classes."""
import torch

from mmlosses.losses import (CrossEntropyLoss, FocalLoss, GaussianFocalLoss,
                             LabelSmoothLoss)
from mmlosses.testing import LossCase, Stock

CLASSES = 4


def labelled(batch):
    """Scores of 4 classes, and labels, of which the second is 1."""
    target = torch.randint(CLASSES, (batch, ))
    target[1:2] = 1
    return torch.randn(batch, CLASSES), target


def certain(batch):
    """Scores that leave no doubt about the label."""
    _, target = labelled(batch)
    return 200 * torch.nn.functional.one_hot(target, CLASSES).float(), target


def certain_of_each(batch):
    """Scores that leave no doubt about any class."""
    pred, target = certain(batch)
    return pred - 100, target


def heatmaps(batch):
    """Probabilities, and a heatmap with a peak in each picture."""
    pred = 0.1 + 0.8 * torch.rand(batch, 2, 3, 4)
    target = 0.9 * torch.rand(batch, 2, 3, 4)
    target[:, 0, 1, 2] = 1
    return pred, target


def perfect_heatmaps(batch):
    """Peaks of 1 on a target of zeros."""
    target = (heatmaps(batch)[1] == 1).float()
    return target.clone(), target


def call_cross_entropy(loss, pred, target, weight=None, *args, **kwargs):
    """With masks, the third argument is the class of each RoI."""
    if not loss.use_mask:
        return loss(pred, target, weight, *args, **kwargs)
    if weight is not None:
        kwargs['target_weight'] = weight
    roi_class = torch.ones(len(pred), dtype=torch.long, device=pred.device)
    return loss(pred, target, roi_class, *args, **kwargs)


CLASS_WEIGHT = [0.5, 2.0, 1.0, 3.0]

CASES = [
    LossCase(
        loss=CrossEntropyLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            use_sigmoid=({}, dict(use_sigmoid=True)),
            use_mask=({}, dict(use_mask=True)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1)),
            avg_non_ignore=(dict(ignore_index=1),
                            dict(ignore_index=1, avg_non_ignore=True))),
        stock_kwargs=[
            dict(use_sigmoid=False, loss_weight=1.0),
            dict(use_sigmoid=True, loss_weight=1.0),
            dict(use_mask=True, loss_weight=1.0),
            dict(ignore_index=255, loss_weight=0.2),
            dict(
                use_sigmoid=False,
                loss_weight=2.0,
                reduction='mean',
                class_weight=[1.0] * CLASSES + [0.1]),
        ],
        perfect=certain,
        non_negative=True,
        call=call_cross_entropy,
        stock=[
            Stock('mmdet.CrossEntropyLoss'),
            Stock('mmdet.CrossEntropyLoss', dict(class_weight=CLASS_WEIGHT),
                  dict(class_weight=CLASS_WEIGHT))
        ]),
    LossCase(
        loss=LabelSmoothLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            smoothing=({}, dict(smoothing=0.3)),
            distribute=({}, dict(distribute='uniform')),
            use_sigmoid=({}, dict(use_sigmoid=True)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1))),
        stock_kwargs=[
            dict(use_sigmoid=False, loss_weight=1.0),
            dict(use_sigmoid=True, loss_weight=1.0),
        ],
        perfect=certain,
        perfect_kwargs=dict(smoothing=0.0),
        non_negative=True),
    LossCase(
        loss=FocalLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, CLASSES),
        arguments=dict(
            use_sigmoid=(dict(use_sigmoid=False), {}),
            gamma=({}, dict(gamma=0.5)),
            alpha=({}, dict(alpha=None)),
            activated=({}, dict(activated=True)),
            class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
            ignore_index=({}, dict(ignore_index=1))),
        stock_kwargs=[
            dict(use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
            dict(use_sigmoid=True, activated=True, gamma=2.0, loss_weight=1.0),
        ],
        perfect=certain_of_each,
        non_negative=True,
        stock=[Stock('mmdet.FocalLoss')]),
    LossCase(
        loss=GaussianFocalLoss,
        inputs=heatmaps,
        element_shape=lambda batch: (batch, 2, 3, 4),
        arguments=dict(
            alpha=({}, dict(alpha=0.5)),
            gamma=({}, dict(gamma=1.0)),
            use_sigmoid=({}, dict(use_sigmoid=True)),
            pos_weight=({}, dict(pos_weight=2.0)),
            neg_weight=({}, dict(neg_weight=2.0)),
            keypoint_weight=({}, dict(keypoint_weight=[0.5, 3.0]))),
        stock_kwargs=[
            dict(alpha=2.0, gamma=4.0, loss_weight=1),
            dict(loss_weight=1.0),
            dict(pos_weight=0.25, neg_weight=0.75),
        ],
        perfect=perfect_heatmaps,
        non_negative=True,
        stock=[Stock('mmdet.GaussianFocalLoss')]),
]
