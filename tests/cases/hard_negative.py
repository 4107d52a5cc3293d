"""Cases of the family hard_negative."""
from mmlosses.losses import BalancedBCELoss
from mmlosses.testing import LossCase
from .inputs import mask_inputs, mask_perfect

CASES = [
    LossCase(
        loss=BalancedBCELoss,
        inputs=mask_inputs,
        element_shape=lambda batch: (batch, 4, 5),
        arguments=dict(
            use_sigmoid=({}, dict(use_sigmoid=False)),
            negative_ratio=({}, dict(negative_ratio=1.0)),
            fallback=(dict(pos_threshold=2.0),
                      dict(pos_threshold=2.0, fallback=3)),
            per_image=({}, dict(per_image=True)),
            pos_threshold=({}, dict(pos_threshold=0.7)),
            eps=(dict(use_sigmoid=True), dict(use_sigmoid=True, eps=0.5))),
        stock_kwargs=[dict(use_sigmoid=True, loss_weight=1.0)],
        perfect=mask_perfect,
        non_negative=True,
        selects=True,
        mean=lambda loss: loss.sum() / (loss != 0).sum()),
]
