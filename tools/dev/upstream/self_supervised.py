"""Self-supervised."""
from __future__ import annotations
import math
from typing import Any

import torch
from mmpretrain.models import losses as mmpretrain
from upstream import Shown, gradient, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows('PixelReconstructionLoss', mmpretrain.PixelReconstructionLoss,
       'NaN for an empty mask', 'nothing is reconstructed: 0',
       ['test_self_supervised.py::test_empty_mask'])
def nothing_masked() -> Shown:
    """It divides by the sum of the mask."""
    pred, target, mask = torch.ones(1, 2,
                                    3), torch.zeros(1, 2,
                                                    3), torch.zeros(1, 2)
    stock = mmpretrain.PixelReconstructionLoss('L2')(pred, target, mask)
    ours = mmlosses.PixelReconstructionLoss('L2')(pred, target, mask)
    right = 0.0
    return stock, ours, right


@shows('PixelReconstructionLoss', mmpretrain.PixelReconstructionLoss,
       'NaN of a patch outside of the mask',
       'the one patch of the mask has the distance 1')
def unmasked_nan() -> Shown:
    """It multiplies the loss by the mask."""
    pred, target = torch.ones(1, 2, 3), torch.zeros(1, 2, 3)
    pred[0, 1], mask = math.nan, torch.tensor([[1.0, 0.0]])
    stock = mmpretrain.PixelReconstructionLoss('L2')(pred, target, mask)
    ours = mmlosses.PixelReconstructionLoss('L2')(pred, target, mask)
    right = 1.0
    return stock, ours, right


@shows('PixelReconstructionLoss', mmpretrain.PixelReconstructionLoss,
       'squares overflow in float16', '300**2')
def pixels_half() -> Shown:
    """It squares in half precision."""
    pred = torch.full((1, 2, 3), 300.0, dtype=torch.float16)
    stock = mmpretrain.PixelReconstructionLoss('L2')(pred, 0 * pred)
    ours = mmlosses.PixelReconstructionLoss('L2')(pred, 0 * pred)
    right = 300.0**2
    return stock, ours, right


@shows('PixelReconstructionLoss', mmpretrain.PixelReconstructionLoss,
       'broadcasts a target of another shape',
       'images of one and of three channels do not fit')
def pixels_broadcast() -> Shown:
    """torch only warns of it."""
    pred, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)
    stock = outcome(lambda: mmpretrain.PixelReconstructionLoss('L1')
                    (pred, target))
    ours = outcome(lambda: mmlosses.PixelReconstructionLoss('L1')
                   (pred, target))
    right = 'ValueError'
    return stock, ours, right


@shows('CosineSimilarityLoss', mmpretrain.CosineSimilarityLoss,
       'NaN for a feature of zeros in float16', 'its product with any is 0',
       ['test_self_supervised.py::test_cosine_of_zeros'])
def cosine_half() -> Shown:
    """Half precision rounds the bound of the length to 0."""
    pred, target = torch.zeros(1, 2, dtype=torch.float16), torch.ones(1, 2)
    stock = mmpretrain.CosineSimilarityLoss()(pred, target)
    ours = mmlosses.CosineSimilarityLoss()(pred, target)
    right = 0.0
    return stock, ours, right


@shows('CosineSimilarityLoss', mmpretrain.CosineSimilarityLoss,
       'the gradient of a zero feature is 1e12',
       'that of -x @ (1, 1) / 2**0.5',
       ['test_self_supervised.py::test_cosine_of_zeros'])
def cosine_zero() -> Shown:
    """A ReLU gives zeros, and the next step of the optimizer is huge."""
    pred, target = torch.zeros(1, 2), torch.ones(1, 2)
    stock = gradient(lambda x: mmpretrain.CosineSimilarityLoss()(x, target),
                     pred)
    ours = gradient(lambda x: mmlosses.CosineSimilarityLoss()(x, target), pred)
    right = -0.5**0.5
    return stock, ours, right


@shows('CosineSimilarityLoss', mmpretrain.CosineSimilarityLoss,
       'NaN for an empty mask', 'nothing is compared: 0',
       ['test_self_supervised.py::test_empty_mask'])
def nothing_compared() -> Shown:
    """It divides by the sum of the mask."""
    pred, mask = torch.ones(1, 2, 3), torch.zeros(1, 2)
    stock = mmpretrain.CosineSimilarityLoss()(pred, pred, mask)
    ours = mmlosses.CosineSimilarityLoss()(pred, pred, mask)
    right = 0.0
    return stock, ours, right


@shows('CrossCorrelationLoss', mmpretrain.CrossCorrelationLoss,
       'writes to its input', 'the matrix was 3 everywhere',
       ['test_self_supervised.py::test_cross_correlation_leaves_the_matrix'])
def matrix_written() -> Shown:
    """Its diagonal becomes the loss of the diagonal."""
    stock, ours = torch.full((2, 2), 3.0), torch.full((2, 2), 3.0)
    mmpretrain.CrossCorrelationLoss()(stock)
    mmlosses.CrossCorrelationLoss()(ours)
    right = 3.0
    return stock, ours, right


@shows('CrossCorrelationLoss', mmpretrain.CrossCorrelationLoss,
       'infinite in float16', '200 * 20**2 on the diagonal',
       ['test_self_supervised.py::test_cross_correlation_leaves_the_matrix'])
def matrix_half() -> Shown:
    """It adds squares in half precision."""
    matrix = 21 * torch.eye(200, dtype=torch.float16)
    stock = mmpretrain.CrossCorrelationLoss()(matrix.clone())
    ours = mmlosses.CrossCorrelationLoss()(matrix)
    right = 200 * 20.0**2
    return stock, ours, right


@shows('CAELoss', mmpretrain.CAELoss, 'NaN for no masked patch',
       'there is nothing to learn: 0',
       ['test_self_supervised.py::test_cae_of_no_patch'])
def no_patch() -> Shown:
    """It takes the mean of nothing."""
    logits, labels = torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)
    latent = torch.zeros(2, 0, 4)
    stock = sum(mmpretrain.CAELoss(2)(logits, labels, latent, latent))
    ours = sum(mmlosses.CAELoss(2)(logits, labels, latent, latent))
    right = 0.0
    return stock, ours, right


def swav(losses: Any, **kwargs: Any) -> Any:
    """A loss of two views with two prototypes, (1, 0) and (0, 1)."""
    kwargs = dict(dict(feat_dim=2, num_prototypes=2), **kwargs)
    loss = losses.SwAVLoss(**kwargs)
    loss.prototypes.weight.data.copy_(torch.eye(2))
    return loss


@shows('SwAVLoss', mmpretrain.SwAVLoss, 'NaN for features of length 5',
       'both views agree, scores of 5 and 0 over 5: log(1 + exp(-1))',
       ['test_self_supervised.py::test_sinkhorn_of_any_scores'])
def swav_overflow() -> Shown:
    """It takes the exponential of a score over epsilon: exp(100)."""
    x = 5 * torch.eye(2).repeat(2, 1)
    stock = swav(mmpretrain, temperature=5.0)(x)
    ours = swav(mmlosses, temperature=5.0)(x)
    right = math.log1p(math.exp(-1))
    return stock, ours, right


@shows('SwAVLoss', mmpretrain.SwAVLoss, 'synchronises with the host',
       'no decision needs a value there', [
           'test_self_supervised.py::'
           'test_swav_with_a_queue_needs_no_value_on_the_host'
       ])
def swav_syncs() -> Shown:
    """It looks for prototypes without a share, and at the queue."""
    x = torch.eye(2).repeat(2, 1)
    kwargs: Any = dict(feat_dim=2, num_prototypes=2)
    stock = syncs(lambda x: mmpretrain.SwAVLoss(**kwargs)(x), x)
    ours = syncs(lambda x: mmlosses.SwAVLoss(**kwargs)(x), x)
    right = 'no sync'
    return stock, ours, right


@shows('SwAVLoss', mmpretrain.SwAVLoss, 'fails for several sets of prototypes',
       'both sets hold (1, 0) and (0, 1): the loss of one, log(1 + exp(-10))',
       ['test_self_supervised.py::test_several_sets_of_prototypes'])
def swav_sets() -> Shown:
    """It takes a list, and asks it for a weight."""
    x = torch.eye(2).repeat(2, 1)

    def call(losses: Any) -> Any:
        loss = losses.SwAVLoss(2, num_prototypes=[2, 2], epsilon=0.01)
        for weight in loss.parameters():
            weight.data.copy_(torch.eye(2))
        return outcome(lambda: loss(x))

    stock, ours = call(mmpretrain), call(mmlosses)
    right = math.log1p(math.exp(-10))
    return stock, ours, right


@shows('SwAVLoss', mmpretrain.SwAVLoss, 'two calls, no backward pass',
       'a sum of two losses has a gradient',
       ['test_self_supervised.py::test_two_calls_before_the_backward_pass'])
def swav_twice() -> Shown:
    """The second call writes to the prototypes of the first."""
    x = torch.eye(2).repeat(2, 1).requires_grad_()

    def call(losses: Any) -> Any:
        loss = swav(losses)
        total = loss(x) + loss(x)
        return outcome(lambda: total.backward() or 'works')

    stock, ours = call(mmpretrain), call(mmlosses)
    right = 'works'
    return stock, ours, right


@shows('SwAVLoss', mmpretrain.SwAVLoss, 'validation moves the queue',
       'nothing is learnt: the queue stays empty',
       ['test_self_supervised.py::test_validation_moves_nothing'])
def swav_validation() -> Shown:
    """In evaluation mode it writes to the queue too."""
    x = torch.eye(2).repeat(2, 1)

    def call(losses: Any) -> Any:
        loss = swav(losses).eval()
        loss.queue = torch.zeros(2, 4, 2)
        loss(x)
        return loss.queue

    stock, ours = call(mmpretrain), call(mmlosses)
    right = 0.0
    return stock, ours, right
