"""Poses in 3D, object keypoint similarity and residual log-likelihood."""
from __future__ import annotations
import math
from typing import Any, Dict, Tuple

import torch
from mmpose.models import losses as mmpose
from torch import Tensor
from upstream import Shown, gradient, kind, outcome, shows

import mmlosses.losses as mmlosses


@shows('OKSLoss', mmpose.OKSLoss, '1 - K without a weight',
       'the similarity of a perfect prediction is 1')
def oks_mean() -> Shown:
    """Without a weight, it adds the similarities of the keypoints."""
    pose = torch.rand(2, 17, 2)
    stock = mmpose.OKSLoss()(pose, pose)
    ours = mmlosses.OKSLoss()(pose, pose)
    right = 0.0
    return stock, ours, right


@shows('OKSLoss', mmpose.OKSLoss, 'NaN gradient for far keypoints',
       'd ** 2 / 2 A has the gradient d / A, split among 17 keypoints')
def oks_far() -> Shown:
    """In the mode ``'log'``, the logarithm of a similarity of 0."""
    pred, target = torch.full((1, 17, 2), 500.0), torch.zeros(1, 17, 2)
    weight, areas = torch.ones(1, 17), torch.full((1, ), 1000.0)

    def slope(loss: torch.nn.Module) -> Tensor:
        return gradient(lambda x: loss(x, target, weight, areas), pred)

    stock = slope(mmpose.OKSLoss(mode='log'))
    ours = slope(mmlosses.OKSLoss(mode='log'))
    right = torch.full((1, 17, 2), 500 / 1000 / 17)
    return stock, ours, right


@shows('OKSLoss', mmpose.OKSLoss, 'a loss for invisible objects',
       'nothing is known about this object')
def oks_invisible() -> Shown:
    """An object without visible keypoints counts 1, or infinity."""
    pred, target = torch.rand(1, 17, 2), torch.rand(1, 17, 2)
    weight = torch.zeros(1, 17)
    stock = [
        mmpose.OKSLoss(mode=mode)(pred, target, weight)
        for mode in ('linear', 'log')
    ]
    ours = [
        mmlosses.OKSLoss(mode=mode)(pred, target, weight)
        for mode in ('linear', 'log')
    ]
    right = [0.0, 0.0]
    return stock, ours, right


@shows('OKSLoss', mmpose.OKSLoss, 'NaN where the weight is 0',
       '1 - exp(-1 / 2) of the first keypoint, the second is not annotated')
def oks_nan() -> Shown:
    """A NaN in a keypoint of weight 0 makes the loss NaN."""
    pred, target = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    pred[0, 0, 0], target[0, 1] = 1, math.nan
    weight = torch.tensor([[1., 0.]])
    options: Dict[str, Any] = dict(norm_target_weight=True)
    stock = mmpose.OKSLoss(**options)(pred, target, weight)
    ours = mmlosses.OKSLoss(**options)(pred, target, weight)
    right = 1 - math.exp(-1 / 2)
    return stock, ours, right


@shows('MPJPEVelocityJointLoss', mmpose.MPJPEVelocityJointLoss,
       'fails on weights', 'sqrt(3): the scale and the velocity are right')
def motion_weights() -> Shown:
    """Its head passes a weight for each frame; there is one step less."""
    pred, target = torch.ones(2, 5, 17, 3), torch.zeros(2, 5, 17, 3)
    weight = torch.ones(2, 5, 17, 1)
    options: Dict[str, Any] = dict(use_target_weight=True)
    theirs = mmpose.MPJPEVelocityJointLoss(**options)
    stock = outcome(lambda: theirs(pred, target, weight))
    loss = mmlosses.MPJPEVelocityJointLoss(**options)
    ours = loss(pred, target, weight)
    right = math.sqrt(3)
    return stock, ours, right


@shows('MPJPEVelocityJointLoss', mmpose.MPJPEVelocityJointLoss,
       'NaN for a pose of zeros', '(1 + 0.5) * sqrt(3), and no velocity')
def motion_zeros() -> Shown:
    """It divides 0 by 0 to fit the scale of the pose."""
    pred, target = torch.zeros(1, 2, 17, 3), torch.ones(1, 2, 17, 3)
    stock = mmpose.MPJPEVelocityJointLoss()(pred, target)
    ours = mmlosses.MPJPEVelocityJointLoss()(pred, target)
    right = 1.5 * math.sqrt(3)
    return stock, ours, right


@shows('MPJPEVelocityJointLoss', mmpose.MPJPEVelocityJointLoss,
       'NaN for one frame', 'sqrt(3) + 0: a factor of 2 makes the pose fit')
def motion_frame() -> Shown:
    """The mean velocity of no steps is NaN."""
    pred, target = torch.ones(1, 1, 17, 3), torch.full((1, 1, 17, 3), 2.0)
    stock = mmpose.MPJPEVelocityJointLoss()(pred, target)
    ours = mmlosses.MPJPEVelocityJointLoss()(pred, target)
    right = math.sqrt(3)
    return stock, ours, right


@shows('BoneLoss', mmpose.BoneLoss, 'fails on documented weights',
       'half the weight of all bones is half the loss, (2 - 1) / 2')
def bone_weights() -> Shown:
    """It documents weights (N, K - 1), and selects from them as (N, K)."""
    pred, target = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    pred[0, 1:, 0], target[0, 1:, 0] = 2, 1
    weight = torch.full((1, 2), 0.5)
    options: Dict[str, Any] = dict(joint_parents=[0, 0, 0])
    theirs = mmpose.BoneLoss(**options, use_target_weight=True)
    stock = outcome(lambda: theirs(pred, target, weight))
    ours = mmlosses.BoneLoss(**options)(pred, target, weight)
    right = (2 - 1) / 2
    return stock, ours, right


def semi_inputs(depth: float) -> Tuple[Dict[str, Tensor], ...]:
    """Poses of two joints at a depth."""
    pose = torch.tensor([[[0., 0., 0.], [1., 0., 0.]]])
    root = torch.tensor([[[0., 0., depth]]])
    output = dict(labeled_pose=pose, unlabeled_pose=pose, unlabeled_traj=root)
    target = dict(
        unlabeled_target_2d=torch.zeros(1, 2, 2),
        intrinsics=torch.tensor([[1., 1., 0., 0.]]))
    return output, target


@shows('SemiSupervisionLoss', mmpose.SemiSupervisionLoss,
       'writes to the intrinsics', 'a loss must not change its target')
def semi_writes() -> Shown:
    """It adds an axis to them in place."""
    shapes = []
    for kind_of in (mmpose.SemiSupervisionLoss, mmlosses.SemiSupervisionLoss):
        output, target = semi_inputs(depth=4.0)
        kind_of([0, 0])(output, target)
        shapes.append(target['intrinsics'].shape)
    stock, ours = shapes
    right = (1, 4)
    return stock, ours, right


@shows('SemiSupervisionLoss', mmpose.SemiSupervisionLoss,
       'NaN gradient at depth 0', 'the clamped projection does not move')
def semi_depth() -> Shown:
    """It divides by the depth, and clamps infinity."""
    grads = []
    for kind_of in (mmpose.SemiSupervisionLoss, mmlosses.SemiSupervisionLoss):
        output, target = semi_inputs(depth=0.0)
        root = output['unlabeled_traj'].requires_grad_()
        loss = kind_of([0, 0])(output, target)['proj_loss']
        grads.append(kind(torch.autograd.grad(loss, root)[0]))
    stock, ours = grads
    right = 'finite'
    return stock, ours, right


@shows('SemiSupervisionLoss', mmpose.SemiSupervisionLoss,
       'warms up again after a resume',
       'the warm-up of 1 iteration is over: |1 / 4| and |0|, averaged')
def semi_resume() -> Shown:
    """Its count of iterations is not in the checkpoint."""
    values = []
    for kind_of in (mmpose.SemiSupervisionLoss, mmlosses.SemiSupervisionLoss):
        first, resumed = [
            kind_of([0, 0], warmup_iterations=1) for _ in range(2)
        ]
        first(*semi_inputs(depth=4.0))
        resumed.load_state_dict(first.state_dict())
        terms = resumed(*semi_inputs(depth=4.0))
        values.append(terms.get('proj_loss', 0.0))
    stock, ours = values
    right = 0.25 / 2
    return stock, ours, right


@shows('RLELoss', mmpose.RLELoss, 'fails on NaN where the weight is 0',
       'errors of 2 deviations of 1/2, a flow that is a Gaussian: equation',
       ['test_rle.py::test_masked_before_the_flow'])
def rle_nan() -> Shown:
    """A keypoint of weight 0 passes through the flow.

    Once torch has compiled anything, its distributions check nothing, and the
    loss is NaN.
    """
    torch.distributions.Distribution.set_default_validate_args(True)
    pred, sigma = torch.zeros(2, 1, 2, 2)
    target = torch.tensor([[[1., 1.], [math.nan, 1.]]])
    weight = torch.tensor([[[1.], [0.]]])
    results = []
    for kind_of in (mmpose.RLELoss, mmlosses.RLELoss):
        loss = kind_of(use_target_weight=True)
        for parameter in loss.parameters():
            parameter.data.zero_()
        results.append(outcome(lambda: loss(pred, sigma, target, weight)))
    stock, ours = results
    laplace = 2 * (2 * math.log(1 / 2) + math.log(2) + 2)
    right = laplace + 2 * (math.log(2 * math.pi) + (2**2 + 2**2) / 2)
    return stock, ours, right


@shows('RLELoss', mmpose.RLELoss, 'NaN gradient of a small deviation',
       'the logarithm of a sigmoid is finite')
def rle_sigma() -> Shown:
    """It takes the logarithm of a sigmoid that is rounded to 0."""
    zeros = torch.zeros(1, 1, 2)
    sigma = torch.full((1, 1, 2), -200.0)
    stock = kind(gradient(lambda x: mmpose.RLELoss()(zeros, x, zeros), sigma))
    ours = kind(gradient(lambda x: mmlosses.RLELoss()(zeros, x, zeros), sigma))
    right = 'finite'
    return stock, ours, right
