"""Cases of the family cross_entropy."""
import torch

from mmlosses.losses import CrossEntropyLoss, LabelSmoothLoss
from mmlosses.testing import LossCase, Stock
from .inputs import CLASS_WEIGHT, CLASSES, certain, labelled


def call_cross_entropy(loss, pred, target, weight=None, *args, **kwargs):
    """With masks, the third argument is the class of each RoI.

    The labels are then a mask of them.
    """
    if not loss.use_mask:
        return loss(pred, target, weight, *args, **kwargs)
    if weight is not None:
        kwargs['target_weight'] = weight
    roi_class = torch.ones(len(pred), dtype=torch.long, device=pred.device)
    return loss(pred, target.clamp(max=1), roi_class, *args, **kwargs)


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
                            dict(ignore_index=1, avg_non_ignore=True)),
            avg_class_weight=(dict(class_weight=CLASS_WEIGHT),
                              dict(
                                  class_weight=CLASS_WEIGHT,
                                  avg_class_weight=True))),
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
]
