"""Cases of the family mask."""
import torch

from mmlosses.losses import DiceLoss
from mmlosses.testing import LossCase, Stock
from .inputs import mask_inputs, mask_perfect

CASES = [
    LossCase(
        loss=DiceLoss,
        inputs=mask_inputs,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            use_sigmoid=({}, dict(use_sigmoid=False)),
            activate=({}, dict(activate=False)),
            naive_dice=({}, dict(naive_dice=True)),
            eps=({}, dict(eps=1.0)),
            batch=({}, dict(batch=True)),
            ignore_index=({}, dict(ignore_index=0))),
        show=dict(ignore_index=lambda loss: loss(
            torch.zeros(1, 2, 3), torch.tensor([[0, 1, 1]]))),
        stock_kwargs=[
            dict(use_sigmoid=True, loss_weight=3.0),
            dict(loss_name='loss_dice', loss_weight=1.0),
            dict(
                ignore_index=None,
                naive_dice=True,
                eps=1,
                loss_name='loss_mask_dice',
                loss_weight=5.0),
            dict(
                use_sigmoid=True,
                activate=False,
                reduction='mean',
                naive_dice=True,
                eps=1.0,
                loss_weight=5.0),
        ],
        perfect=mask_perfect,
        # At the default, as in mmdet, about eps over the size of the mask.
        perfect_kwargs=dict(eps=1e-9),
        non_negative=True,
        stock=[
            Stock('mmdet.DiceLoss'),
            Stock('mmdet.DiceLoss', dict(eps=1.0), dict(eps=1.0)),
            Stock('mmdet.DiceLoss', dict(naive_dice=True, eps=1.0),
                  dict(naive_dice=True, eps=1.0))
        ]),
]
