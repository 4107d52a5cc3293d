"""The cases of the dense and mask losses."""
import torch

from mmlosses.losses import (AssociativeEmbeddingLoss, BalancedBCELoss,
                             CornerNetLoss, DiceLoss)
from mmlosses.testing import LossCase, Stock


def mask_inputs(batch):
    """Logits and soft masks, most of which are below one half."""
    return torch.randn(batch, 4, 5), torch.rand(batch, 4, 5)**4


def mask_perfect(batch):
    """Logits whose sigmoid is their mask, to the last digit."""
    target = (torch.rand(batch, 4, 5) > 0.7).float()
    return 200 * target - 100, target


def tag_inputs(batch):
    """Two tags of two channels for up to four objects."""
    tags = tuple(0.3 * torch.randn(batch, 4, 2) for _ in range(2))
    mask = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]]).bool()
    return tags, mask[torch.arange(batch) % 3]


def tag_perfect(batch):
    """Tags that are equal within an object, and far from any other."""
    tag = 5 * torch.arange(4.).reshape(1, 4, 1).expand(batch, 4, 2)
    return (tag, tag), torch.ones(batch, 4, dtype=torch.int64)


def tag_call(loss, tags, mask, *args, **kwargs):
    """One number: the sum of pull and push."""
    return sum(loss(*tags, mask, *args, **kwargs))


def corner_inputs(batch):
    """Two stacks, and heatmaps with some peaks of exactly 1."""
    outs, targets = [], []
    for _ in range(2):
        tags, mask = tag_inputs(batch)
        outs += [torch.randn(batch, 2, 3, 4) for _ in range(2)]
        outs += tags
        outs += [torch.randn(batch, 4, 2) for _ in range(2)]
    for _ in range(2):
        heat = torch.rand(batch, 2, 3, 4)
        targets.append(heat.masked_fill(heat > 0.8, 1))
    targets += [mask, torch.rand(batch, 4, 2), torch.rand(batch, 4, 2)]
    return tuple(outs), tuple(targets)


def corner_perfect(batch):
    """Sure of each peak and of nothing else."""
    _, targets = corner_inputs(batch)
    heats = tuple((heat == 1).float() for heat in targets[:2])
    tags, mask = tag_perfect(batch)
    outs = (*[200 * heat - 100 for heat in heats], *tags, *targets[3:])
    return outs, (*heats, mask, *targets[3:])


def corner_call(loss, *args, **kwargs):
    """One number: the sum of the four terms."""
    return sum(loss(*args, **kwargs).values())


CASES = [
    LossCase(
        loss=AssociativeEmbeddingLoss,
        inputs=tag_inputs,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            pull_weight=({}, dict(pull_weight=0.5)),
            push_weight=({}, dict(push_weight=0.5)),
            margin=({}, dict(margin=2.0))),
        stock_kwargs=[dict(pull_weight=0.1, push_weight=0.1)],
        perfect=tag_perfect,
        non_negative=True,
        call=tag_call,
        mean=torch.Tensor.sum),
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
            pos_threshold=({}, dict(pos_threshold=0.7))),
        stock_kwargs=[dict(use_sigmoid=True, loss_weight=1.0)],
        perfect=mask_perfect,
        non_negative=True,
        mean=lambda loss: loss.sum() / (loss != 0).sum()),
    LossCase(
        loss=CornerNetLoss,
        inputs=corner_inputs,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            pull_weight=({}, dict(pull_weight=0.5)),
            push_weight=({}, dict(push_weight=0.5)),
            regr_weight=({}, dict(regr_weight=0.5))),
        stock_kwargs=[dict(pull_weight=1e-1, push_weight=1e-1)],
        perfect=corner_perfect,
        non_negative=True,
        call=corner_call,
        mean=torch.Tensor.sum),
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
