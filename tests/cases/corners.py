"""Cases of the family corners."""
import torch

from mmlosses.losses import AssociativeEmbeddingLoss, CornerNetLoss
from mmlosses.testing import LossCase


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


def keypoint_push(loss):
    """The push of keypoints, which are called otherwise."""
    tags = torch.arange(6.0).reshape(1, 1, 2, 3)
    places = torch.tensor([[[[1, 1]], [[2, 1]]]])
    return loss(tags, places)[1]


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
            margin=({}, dict(margin=2.0)),
            push_loss_factor=({}, dict(push_loss_factor=1.0))),
        show=dict(push_loss_factor=keypoint_push),
        stock_kwargs=[dict(pull_weight=0.1, push_weight=0.1)],
        perfect=tag_perfect,
        non_negative=True,
        call=tag_call,
        mean=torch.Tensor.sum),
    LossCase(
        loss=CornerNetLoss,
        inputs=corner_inputs,
        element_shape=lambda batch: (batch, ),
        arguments=dict(
            pull_weight=({}, dict(pull_weight=0.5)),
            push_weight=({}, dict(push_weight=0.5)),
            regr_weight=({}, dict(regr_weight=0.5))),
        refused=dict(focal_loss='gaussian'),
        counts_targets=True,
        stock_kwargs=[dict(pull_weight=1e-1, push_weight=1e-1)],
        perfect=corner_perfect,
        non_negative=True,
        call=corner_call,
        mean=torch.Tensor.sum),
]
