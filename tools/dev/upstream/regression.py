"""Regression and angles."""
from __future__ import annotations
import math
from typing import Any, Dict

import torch
from mmdet.models import losses as mmdet
from mmengine.registry import MODELS
from mmpose.models import losses as mmpose
from mmseg.models import losses as mmseg
from torch import Tensor
from upstream import Shown, formula_of, gradient, outcome, shows, syncs

import mmlosses.losses as mmlosses


@shows('SmoothL1Loss', mmpose.SmoothL1Loss, 'weights the inputs, not the loss',
       'half the weight is half the loss')
def weighted_inputs() -> Shown:
    """The weight scales prediction and target, which changes the threshold."""
    pred, target = torch.tensor([[[4., 4.]]]), torch.zeros(1, 1, 2)
    half, one = torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 2)

    def ratio(loss: torch.nn.Module) -> Tensor:
        return loss(pred, target, half) / loss(pred, target, one)

    stock = ratio(mmpose.SmoothL1Loss(use_target_weight=True))
    ours = ratio(mmlosses.SmoothL1Loss(use_target_weight=True))
    right = 0.5
    return stock, ours, right


@shows('WingLoss', mmpose.WingLoss, 'weights the inputs, not the loss',
       'half the weight is half the loss')
def weighted_wings() -> Shown:
    """The weight scales prediction and target, which moves the corner."""
    pred, target = torch.tensor([[[4., 4.]]]), torch.zeros(1, 1, 2)
    half, one = torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 2)

    def ratio(loss: torch.nn.Module) -> Tensor:
        return loss(pred, target, half) / loss(pred, target, one)

    options: Dict[str, Any] = dict(use_target_weight=True)
    stock = [
        ratio(mmpose.WingLoss(**options)),
        ratio(mmpose.SoftWingLoss(**options))
    ]
    ours = [
        ratio(mmlosses.WingLoss(**options)),
        ratio(mmlosses.SoftWingLoss(**options))
    ]
    right = [0.5, 0.5]
    return stock, ours, right


@shows('SoftWingLoss', mmpose.SoftWingLoss, 'NaN for an empty batch',
       'nothing to learn')
def empty_wings() -> Shown:
    """The mean over no samples is NaN."""
    empty = torch.zeros(0, 98, 2)
    stock = [
        mmpose.WingLoss()(empty, empty),
        mmpose.SoftWingLoss()(empty, empty)
    ]
    ours = [
        mmlosses.WingLoss()(empty, empty),
        mmlosses.SoftWingLoss()(empty, empty)
    ]
    right = [0.0, 0.0]
    return stock, ours, right


@shows('MSELoss', mmpose.MSELoss, 'squares the weight', '0.5 * (2 - 0) ** 2')
def squared_weight() -> Shown:
    """The weight scales prediction and target, so the loss gets its square."""
    pred, target = torch.full((1, 1, 2), 2.0), torch.zeros(1, 1, 2)
    weight = torch.full((1, 1, 2), 0.5)
    stock = mmpose.MSELoss(use_target_weight=True)(pred, target, weight)
    ours = mmlosses.MSELoss(use_target_weight=True)(pred, target, weight)
    right = 0.5 * (2 - 0)**2
    return stock, ours, right


@shows('SmoothL1Loss', mmpose.SoftWeightSmoothL1Loss,
       'shape of the weight doubles it',
       'both weights mean: only the first keypoint is valid')
def counted_weights() -> Shown:
    """With ``supervise_empty=False`` it counts weights before broadcasting."""
    pred, target = torch.full((1, 2, 2), 2.0), torch.zeros(1, 2, 2)
    narrow = torch.tensor([[[1.], [0.]]])
    weights = [narrow, narrow.repeat(1, 1, 2)]
    options: Dict[str, Any] = dict(
        use_target_weight=True, supervise_empty=False)
    stock = [
        mmpose.SoftWeightSmoothL1Loss(**options)(pred, target, weight)
        for weight in weights
    ]
    ours = [
        mmlosses.SmoothL1Loss(**options)(pred, target, weight)
        for weight in weights
    ]
    right = [2 - 0.5, 2 - 0.5]
    return stock, ours, right


@shows('L1Loss', mmdet.L1Loss, 'a weight synchronises with the host',
       'the result does not depend on whether a weight is above 0')
def regression_syncs() -> Shown:
    """Every weighted call checks on the host if any weight is above 0."""
    args = [torch.rand(8, 4)] * 3
    stock = [syncs(mmdet.L1Loss(), *args), syncs(mmdet.SmoothL1Loss(), *args)]
    ours = [
        syncs(mmlosses.L1Loss(), *args),
        syncs(mmlosses.SmoothL1Loss(), *args)
    ]
    right = 'no sync'
    return stock, ours, right


@shows('SmoothL1Loss', mmpose.SoftWeightSmoothL1Loss,
       'its mask synchronises with the host',
       'the result does not need the shape of the selection')
def mask_syncs() -> Shown:
    """It indexes with a mask; the host must know the size of the result."""
    args = [torch.rand(8, 17, 2), torch.rand(8, 17, 2), torch.rand(8, 17, 1)]
    options: Dict[str, Any] = dict(
        use_target_weight=True, supervise_empty=False)
    stock = syncs(mmpose.SoftWeightSmoothL1Loss(**options), *args)
    ours = syncs(mmlosses.SmoothL1Loss(**options), *args)
    right = 'no sync'
    return stock, ours, right


@shows('L1Loss', mmdet.L1Loss, "a scalar for reduction 'none'",
       "'none' returns one loss per element")
def regression_none() -> Shown:
    """If no weight is above 0, the unreduced loss is a scalar."""
    pred, weight = torch.ones(3, 4), torch.zeros(3, 4)
    stock = mmdet.L1Loss(reduction='none')(pred, pred, weight).shape
    ours = mmlosses.L1Loss(reduction='none')(pred, pred, weight).shape
    right = (3, 4)
    return stock, ours, right


@shows('L1Loss', mmdet.L1Loss, 'NaN where the weight is 0',
       '(3 + 0) / 2: the second element is not annotated')
def regression_nan() -> Shown:
    """A NaN in an element of weight 0 makes the loss NaN, in mmpose too.
    """
    pred, target = torch.tensor([3., 1.]), torch.tensor([0., math.nan])
    weight = torch.tensor([1., 0.])
    stock = [
        mmdet.L1Loss()(pred, target, weight),
        mmpose.L1Loss(use_target_weight=True)(pred, target, weight),
    ]
    ours = mmlosses.L1Loss()(pred, target, weight)
    right = (3 + 0) / 2
    return stock, ours, right


@shows('SmoothL1Loss', mmdet.SmoothL1Loss, 'refuses beta=0',
       'with beta=0 it is the absolute error, as in torch')
def beta_zero() -> Shown:
    """``beta=0`` is the L1 loss in torch; here an assertion fails."""
    pred, target = torch.tensor([3.]), torch.tensor([0.])
    stock = outcome(lambda: mmdet.SmoothL1Loss(beta=0.0)(pred, target))
    ours = mmlosses.SmoothL1Loss(beta=0.0)(pred, target)
    right = abs(3.0 - 0.0)
    return stock, ours, right


@shows('L2Loss', mmdet.L2Loss, 'clamps the prediction to 1',
       'the squared error, (3 - 0) ** 2')
def l2_clamps() -> Shown:
    """This L2Loss compares similarities: it clamps to [0, 1]."""
    pred, target = torch.full((2, 2), 3.0), torch.zeros(2, 2)
    stock = mmdet.L2Loss()(pred, target)
    ours = MODELS.build(dict(type='mmlosses.L2Loss'))(pred, target)
    right = (3.0 - 0.0)**2
    return stock, ours, right


@shows('L2Loss', mmdet.L2Loss, 'writes to the target',
       'a loss must not change its target')
def l2_writes() -> Shown:
    """It sets targets of weight 0 to -1, in place."""
    stock, ours = torch.zeros(2), torch.zeros(2)
    weight = torch.tensor([1., 0.])
    mmdet.L2Loss()(torch.ones(2), stock, weight)
    MODELS.build(dict(type='mmlosses.L2Loss'))(torch.ones(2), ours, weight)
    right = torch.zeros(2)
    return stock, ours, right


@formula_of('tutorials')
def masked_smooth_l1(error: Tensor) -> Tensor:
    """Smooth L1 in tutorials: both cases, masked by 0 and 1."""
    error = error.abs()
    near = (error < 1).to(error.dtype)
    return near * 0.5 * error**2 + (1 - near) * (error - 0.5)


@shows('SmoothL1Loss', masked_smooth_l1, 'infinity times 0 in float16',
       '|1000| - 0.5')
def smooth_l1_mask() -> Shown:
    """The unused square overflows, and 0 * inf is NaN."""
    pred = torch.tensor([1000.]).half()
    stock = masked_smooth_l1(pred)
    ours = mmlosses.SmoothL1Loss()(pred, torch.zeros(1).half())
    right = 1000 - 0.5
    return stock, ours, right


@formula_of('Stack Overflow')
def clipped_angle_loss(pred: Tensor,
                       target: Tensor,
                       delta: float = 0.2) -> Tensor:
    """theta ** (1 + delta) with a clipped arccosine, on Stack Overflow."""
    cosine = (pred * target).sum(dim=-1).clamp(1e-6, 1 - 1e-6)
    return torch.acos(cosine)**(1 + delta)


@shows('AngularLoss', clipped_angle_loss, 'flat beyond 90 degrees',
       'theta ** 1.2')
def angle_flat() -> Shown:
    """The clip maps all obtuse angles to one value, with gradient 0."""
    theta = torch.tensor([math.radians(120), math.radians(170)])
    pred = torch.stack([theta.cos(), theta.sin()], dim=-1)
    target = torch.tensor([[1., 0.], [1., 0.]])
    stock = clipped_angle_loss(pred, target)
    ours = mmlosses.AngularLoss(reduction='none')(pred, target)
    right = [math.radians(120)**1.2, math.radians(170)**1.2]
    return stock, ours, right


@shows('AngularLoss', clipped_angle_loss, 'no gradient beyond 90 degrees',
       '1.2 * theta ** 0.2, orthogonal to the prediction')
def angle_gradient() -> Shown:
    """A prediction in the opposite direction is never corrected."""
    theta = math.radians(120)
    pred = torch.tensor([[math.cos(theta), math.sin(theta)]])
    target = torch.tensor([[1., 0.]])
    stock = gradient(lambda x: clipped_angle_loss(x, target), pred).norm()
    ours = gradient(lambda x: mmlosses.AngularLoss()(x, target), pred).norm()
    right = 1.2 * theta**0.2
    return stock, ours, right


@shows('AngularLoss', clipped_angle_loss, 'the length changes the loss',
       'theta ** 1.2: the angle does not depend on the length')
def angle_length() -> Shown:
    """At 80 degrees, a prediction of length 10 has almost no loss."""
    theta = math.radians(80)
    pred = torch.tensor([[10 * math.cos(theta), 10 * math.sin(theta)]])
    target = torch.tensor([[1., 0.]])
    stock = clipped_angle_loss(pred, target)
    ours = mmlosses.AngularLoss()(pred, target)
    right = theta**1.2
    return stock, ours, right


@shows('SiLogLoss', mmseg.SiLogLoss, 'NaN gradient at the optimum',
       'each depth is right: 0',
       ['test_regression.py::test_gradient_of_depths_is_finite'])
def depth_optimum() -> Shown:
    """The gradient of the root of 0 is infinite, and 0 * inf is NaN."""
    depth = torch.tensor([[[[1., 2.]]]])
    stock = gradient(lambda x: mmseg.SiLogLoss()(x, depth), depth).norm()
    ours = gradient(lambda x: mmlosses.SiLogLoss()(x, depth), depth).norm()
    right = 0.0
    return stock, ours, right


@shows('SiLogLoss', mmseg.SiLogLoss, 'hides predictions that are NaN',
       'a training that has diverged must show it', [
           'test_regression.py::'
           'test_depths_that_are_not_annotated_may_be_anything'
       ])
def depth_nan() -> Shown:
    """It counts them as not annotated."""
    pred, depth = torch.full((1, 1, 1, 2), math.nan), torch.ones(1, 1, 1, 2)
    stock = mmseg.SiLogLoss()(pred, depth).isfinite()
    ours = mmlosses.SiLogLoss()(pred, depth).isfinite()
    right = False
    return stock, ours, right
