"""Cases of the family mask."""
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
            batch=({}, dict(batch=True))),
        stock_kwargs=[
            dict(use_sigmoid=True, loss_weight=3.0),
            dict(
                use_sigmoid=True,
                activate=False,
                reduction='mean',
                naive_dice=True,
                eps=1.0,
                loss_weight=5.0),
        ],
        perfect=mask_perfect,
        non_negative=True,
        # Its eps is in the denominator only.
        stock=[Stock('mmdet.DiceLoss', tolerance=1e-3)]),
]
