"""Cases of the family cross_entropy."""
import torch

from mmlosses.losses import (BCELoss, CrossEntropyCustomLoss, CrossEntropyLoss,
                             LabelSmoothLoss, MultiPosCrossEntropyLoss)
from mmlosses.testing import LossCase, Stock
from .inputs import (CLASS_WEIGHT, CLASSES, KEYPOINT_WEIGHT, certain, labelled,
                     mask_inputs, mask_perfect)


def call_cross_entropy(loss, pred, target, weight=None, *args, **kwargs):
    """With masks, the third argument is the class of each RoI.

    The labels are then a mask of them.
    """
    if not loss.use_mask:
        return loss(pred, target, weight, *args, **kwargs)
    if weight is not None:
        kwargs['target_weight'] = weight
    roi_class = torch.ones(len(pred), dtype=torch.long, device=pred.device)
    mask = target.float().clamp(max=1).to(target.dtype)
    return loss(pred, mask, roi_class, *args, **kwargs)


def matches(batch):
    """Similarities, and which of them are of a pair."""
    return torch.randn(batch, 6), torch.rand(batch, 6) > 0.5


def certain_matches(batch):
    """Similarities that leave no doubt about pairs."""
    target = matches(batch)[1]
    return 200 * target.float() - 100, target


ARGUMENTS = dict(
    use_mask=({}, dict(use_mask=True)),
    class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
    ignore_index=({}, dict(ignore_index=1)),
    avg_non_ignore=(dict(ignore_index=1),
                    dict(ignore_index=1, avg_non_ignore=True)),
    avg_class_weight=(dict(class_weight=CLASS_WEIGHT),
                      dict(class_weight=CLASS_WEIGHT, avg_class_weight=True)))
POS_WEIGHT = dict(pos_weight=CLASS_WEIGHT, use_sigmoid=True)

CASES = [
    LossCase(
        loss=CrossEntropyLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            use_sigmoid=({}, dict(use_sigmoid=True)),
            pos_weight=(dict(use_sigmoid=True), POS_WEIGHT),
            **ARGUMENTS),
        stock_kwargs=[
            dict(use_sigmoid=False, loss_weight=1.0),
            dict(use_sigmoid=True, loss_weight=1.0),
            dict(use_sigmoid=False, loss_weight=1.0, loss_name='loss_ce'),
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
            pos_weight=(dict(use_sigmoid=True), POS_WEIGHT),
            ignore_index=({}, dict(ignore_index=1))),
        refused=dict(num_classes=CLASSES + 1),
        stock_kwargs=[
            dict(use_sigmoid=False, loss_weight=1.0),
            dict(use_sigmoid=True, loss_weight=1.0),
        ],
        perfect=certain,
        perfect_kwargs=dict(smoothing=0.0),
        non_negative=True),
    LossCase(
        loss=CrossEntropyCustomLoss,
        inputs=labelled,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(num_classes=CLASSES - 1),
        arguments=dict(
            use_sigmoid=({}, dict(use_sigmoid=True, num_classes=CLASSES)),
            pos_weight=(dict(use_sigmoid=True, num_classes=CLASSES),
                        dict(num_classes=CLASSES, **POS_WEIGHT)),
            **ARGUMENTS),
        refused=dict(num_classes=CLASSES),
        stock_kwargs=[
            dict(use_sigmoid=use_sigmoid, num_classes=13204, loss_weight=1.0)
            for use_sigmoid in (False, True)
        ],
        perfect=certain,
        non_negative=True,
        call=call_cross_entropy,
        stock=[
            Stock('mmdet.CrossEntropyCustomLoss',
                  dict(num_classes=CLASSES - 1)),
            Stock('mmdet.CrossEntropyCustomLoss',
                  dict(use_sigmoid=True, num_classes=CLASSES),
                  dict(use_sigmoid=True, num_classes=CLASSES)),
        ]),
    LossCase(
        loss=BCELoss,
        inputs=mask_inputs,
        element_shape=lambda batch: (batch, 4, 5),
        arguments=dict(
            use_sigmoid=({}, dict(use_sigmoid=True)), **KEYPOINT_WEIGHT),
        stock_kwargs=[
            dict(use_target_weight=True, reduction='sum', loss_weight=1.0),
            dict(use_target_weight=False, use_sigmoid=True),
            dict(use_target_weight=True, use_sigmoid=True, loss_weight=1e-3),
        ],
        perfect=mask_perfect,
        non_negative=True,
        stock=[Stock('mmpose.BCELoss', dict(use_target_weight=True))]),
    LossCase(
        loss=MultiPosCrossEntropyLoss,
        inputs=matches,
        element_shape=lambda batch: (batch, ),
        stock_kwargs=[dict(loss_weight=0.25)],
        perfect=certain_matches,
        non_negative=True,
        stock=[Stock('mmdet.MultiPosCrossEntropyLoss')]),
]
