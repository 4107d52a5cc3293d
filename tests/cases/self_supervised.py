"""Cases of the family self_supervised."""
import torch

from mmlosses.losses import (CAELoss, CosineSimilarityLoss,
                             CrossCorrelationLoss, PixelReconstructionLoss,
                             SwAVLoss)
from mmlosses.testing import LossCase, Stock


def patches(batch):
    """Three patches of four numbers."""
    return torch.randn(batch, 3, 4), torch.randn(batch, 3, 4)


def same_patches(batch):
    """The target as prediction."""
    target = torch.randn(batch, 3, 4)
    return target, target


def without_mask(loss, pred, target, *args, **kwargs):
    """The third argument is a mask."""
    return loss(pred, target, None, *args, **kwargs)


def by_mask(loss):
    """The loss of an image, of which a part is masked."""
    image = torch.arange(12.0).reshape(1, 3, 2, 2)
    mask = torch.tensor([1.0, 0, 0, 1]).reshape(1, 1, 2, 2)
    return loss(image, 0 * image, mask)


def matrices(batch):
    """A correlation matrix for each number."""
    return torch.randn(batch, 3, 3), torch.arange(batch).int()


def identities(batch):
    """Features of which none is redundant."""
    return torch.eye(3).expand(batch, 3, 3), torch.arange(batch).int()


def of_matrices(loss, matrix, numbers, *args, **kwargs):
    """There is no target."""
    if len(matrix) != len(numbers):
        raise ValueError(f'{len(matrix)} matrices, {len(numbers)} numbers')
    return loss(matrix, *args, **kwargs)


def tokens(batch):
    """Scores of five tokens and latent features of three numbers."""
    pred = torch.randn(batch, 5), torch.randn(batch, 3)
    return pred, (torch.randint(5, (batch, )), torch.randn(batch, 3))


def certain_tokens(batch):
    """No doubt about a token, and the features of the teacher."""
    _, (labels, latent) = tokens(batch)
    return (200 * torch.eye(5)[labels], latent.clone()), (labels, latent)


def both_terms(loss, pred, target, *args, **kwargs):
    """One number: the sum of both terms."""
    (logits, latent), (labels, goal) = pred, target
    return sum(loss(logits, labels, latent, goal, *args, **kwargs))


def views(batch):
    """Features of three views of each image."""
    return torch.randn(batch, 3, 4), torch.arange(batch).int()


def of_views(loss, pred, images, *args, **kwargs):
    """The images of one view after another."""
    if len(pred) != len(images):
        raise ValueError(f'{len(pred)} features, {len(images)} images')
    return loss(pred.transpose(0, 1).flatten(0, 1), *args, **kwargs)


def initialised(loss):
    """The prototypes, as mmengine initialises them."""
    loss.init_weights()
    return loss.prototypes.weight


L2 = dict(criterion='L2')

CASES = [
    LossCase(
        loss=PixelReconstructionLoss,
        inputs=patches,
        element_shape=lambda batch: (batch, 3),
        kwargs=L2,
        arguments=dict(
            criterion=({}, dict(criterion='L1')),
            channel=({}, dict(channel=3))),
        show=dict(channel=by_mask),
        stock_kwargs=[L2, dict(criterion='L1', channel=3)],
        perfect=same_patches,
        non_negative=True,
        call=without_mask,
        stock=[
            Stock(
                'mmpretrain.PixelReconstructionLoss',
                kwargs,
                kwargs,
                calls=('plain', )) for kwargs in (L2, dict(criterion='L1'))
        ]),
    LossCase(
        loss=CosineSimilarityLoss,
        inputs=patches,
        element_shape=lambda batch: (batch, 3),
        arguments=dict(
            shift_factor=({}, dict(shift_factor=2.0)),
            scale_factor=({}, dict(scale_factor=2.0))),
        stock_kwargs=[dict(shift_factor=2.0, scale_factor=2.0)],
        perfect=same_patches,
        perfect_kwargs=dict(shift_factor=1.0),
        non_negative=True,
        call=without_mask,
        stock=[
            Stock(
                'mmpretrain.CosineSimilarityLoss',
                kwargs,
                kwargs,
                calls=('plain', ))
            for kwargs in (dict(), dict(shift_factor=2.0, scale_factor=2.0))
        ]),
    LossCase(
        loss=CrossCorrelationLoss,
        inputs=matrices,
        element_shape=lambda batch: (batch, 3, 3),
        arguments=dict(lambd=({}, dict(lambd=0.5))),
        stock_kwargs=[dict(), dict(lambd=0.0051)],
        perfect=identities,
        non_negative=True,
        call=of_matrices,
        mean=torch.Tensor.sum),
    LossCase(
        loss=CAELoss,
        inputs=tokens,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(lambd=2),
        arguments=dict(lambd=({}, dict(lambd=0.5))),
        stock_kwargs=[dict(lambd=2)],
        perfect=certain_tokens,
        non_negative=True,
        call=both_terms,
        stock=[
            Stock(
                'mmpretrain.CAELoss',
                dict(lambd=2),
                dict(lambd=2),
                calls=('plain', ))
        ]),
    LossCase(
        loss=SwAVLoss,
        inputs=views,
        element_shape=lambda batch: (batch, ),
        kwargs=dict(feat_dim=4, num_crops=[2, 1], num_prototypes=5),
        arguments=dict(
            sinkhorn_iterations=({}, dict(sinkhorn_iterations=1)),
            epsilon=({}, dict(epsilon=0.5)),
            temperature=({}, dict(temperature=1.0)),
            crops_for_assign=({}, dict(crops_for_assign=[0])),
            num_prototypes=({}, dict(num_prototypes=7)),
            init_cfg=(
                {},
                dict(
                    init_cfg=dict(type='Constant', layer='Linear', val=1.0)))),
        show=dict(init_cfg=initialised),
        refused=dict(feat_dim=5, num_crops=[2]),
        stock_kwargs=[
            dict(
                feat_dim=128, epsilon=0.05, temperature=0.1, num_crops=[2, 6])
        ],
        non_negative=True,
        parameters=('prototypes.weight', ),
        call=of_views,
        training=False,
        selects=True,
        constant_factors=True),
]
