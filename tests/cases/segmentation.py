"""Cases of the family segmentation."""
import torch

from mmlosses.losses import (BoundaryLoss, ClDiceLoss, HausdorffDistanceLoss,
                             LovaszLoss, OhemCrossEntropy, TverskyLoss)
from mmlosses.testing import LossCase, Stock
from .inputs import CLASS_WEIGHT, CLASSES

SIZE = 4, 5


def maps(batch):
    """Scores of the classes of each pixel, and their labels."""
    return (torch.randn(batch, CLASSES,
                        *SIZE), torch.randint(CLASSES, (batch, *SIZE)))


def certain_maps(batch):
    """Scores that leave no doubt about the label."""
    _, labels = maps(batch)
    scores = torch.nn.functional.one_hot(labels, CLASSES).movedim(-1, 1)
    return 200 * scores.float(), labels


def edges(batch):
    """Logits of one channel, and edge maps of 0 and 1."""
    return torch.randn(batch, 1, *SIZE), torch.randint(2, (batch, *SIZE))


def certain_edges(batch):
    """Logits that leave no doubt."""
    _, edge = edges(batch)
    return 200 * edge.unsqueeze(1) - 100.0, edge


def per_map(batch):
    """One element is one map."""
    return (batch, )


def per_pixel(batch):
    """One element is one pixel."""
    return (batch, *SIZE)


WEIGHTS = dict(
    class_weight=({}, dict(class_weight=CLASS_WEIGHT)),
    ignore_index=({}, dict(ignore_index=1)))

CASES = [
    LossCase(
        loss=LovaszLoss,
        inputs=maps,
        element_shape=per_map,
        arguments=dict(
            WEIGHTS,
            loss_type=({}, dict(loss_type='binary')),
            classes=({}, dict(classes=[0, 2])),
            per_image=({}, dict(per_image=True))),
        stock_kwargs=[
            dict(loss_type='multi_class', per_image=True, loss_weight=1.0),
            dict(loss_weight=1.0, reduction='none'),
        ],
        perfect=certain_maps,
        non_negative=True,
        selects=True,
        stock=[
            Stock('mmseg.LovaszLoss', kwargs, kwargs, calls=('plain', ))
            for kwargs in (
                dict(per_image=True),
                dict(per_image=True, classes='all', class_weight=CLASS_WEIGHT))
        ]),
    LossCase(
        loss=TverskyLoss,
        inputs=maps,
        element_shape=per_map,
        arguments=dict(
            WEIGHTS,
            smooth=({}, dict(smooth=0.1)),
            alpha=({}, dict(alpha=0.6)),
            beta=({}, dict(beta=0.4)),
            gamma=({}, dict(gamma=4 / 3))),
        stock_kwargs=[dict(loss_name='loss_tversky', loss_weight=1.0)],
        perfect=certain_maps,
        non_negative=True,
        stock=[
            Stock('mmseg.TverskyLoss', kwargs, kwargs, calls=('plain', ))
            for kwargs in ({},
                           dict(
                               smooth=0.1,
                               alpha=0.5,
                               beta=0.5,
                               class_weight=CLASS_WEIGHT,
                               loss_weight=3.0))
        ]),
    LossCase(
        loss=ClDiceLoss,
        inputs=maps,
        element_shape=per_map,
        arguments=dict(
            WEIGHTS,
            iterations=({}, dict(iterations=1)),
            smooth=({}, dict(smooth=0.1))),
        perfect=certain_maps,
        non_negative=True),
    LossCase(
        loss=OhemCrossEntropy,
        inputs=maps,
        element_shape=per_pixel,
        arguments=dict(
            ignore_label=({}, dict(ignore_label=1)),
            thres=(dict(min_kept=1), dict(min_kept=1, thres=0.2)),
            min_kept=(dict(thres=0.1), dict(thres=0.1, min_kept=9)),
            class_weight=WEIGHTS['class_weight']),
        stock_kwargs=[
            dict(
                thres=0.9,
                min_kept=131072,
                class_weight=CLASS_WEIGHT,
                loss_weight=1.0),
        ],
        perfect=certain_maps,
        non_negative=True,
        selects=True,
        mean=lambda loss: loss.sum() / (loss != 0).sum(),
        stock=[
            Stock('mmseg.OhemCrossEntropy', kwargs, kwargs, calls=('plain', ))
            for kwargs in (dict(min_kept=9),
                           dict(
                               thres=0.5,
                               min_kept=9,
                               class_weight=CLASS_WEIGHT,
                               loss_weight=0.4))
        ]),
    LossCase(
        loss=BoundaryLoss,
        inputs=edges,
        element_shape=per_pixel,
        stock_kwargs=[dict(loss_weight=20.0)],
        perfect=certain_edges,
        non_negative=True,
        selects=True,
        stock=[
            Stock(
                'mmseg.BoundaryLoss',
                dict(loss_weight=20.0),
                dict(loss_weight=20.0),
                calls=('plain', ))
        ]),
    LossCase(
        loss=HausdorffDistanceLoss,
        inputs=maps,
        element_shape=per_map,
        arguments=dict(WEIGHTS, alpha=({}, dict(alpha=1))),
        stock_kwargs=[
            dict(loss_name='loss_huasdorff_disstance', loss_weight=1.0)
        ],
        perfect=certain_maps,
        non_negative=True),
]
