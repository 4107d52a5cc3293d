"""Each broken loss fails the check of the contract that guards its promise."""
import dataclasses

import pytest
import torch
from helpers import needs_dynamo
from torch import nn

from mmlosses.losses import BaseLoss
from mmlosses.testing import CONTRACT, LossCase


class Healthy(BaseLoss):
    """``factor * |pred - target|``, the correct loss."""

    def __init__(self,
                 factor=2.0,
                 reduction='mean',
                 loss_weight=1.0,
                 use_target_weight=None):
        super().__init__(reduction, loss_weight, use_target_weight)
        self.factor = factor

    def elementwise(self, pred, target):
        return self.factor * (pred - target).abs()


class DeadArgument(Healthy):

    def elementwise(self, pred, target):
        return 2.0 * (pred - target).abs()


class ForgottenArgument(Healthy):

    def __init__(self, factor=2.0, unused=1.0, reduction='mean'):
        super().__init__(factor, reduction)


class NoLossWeight(Healthy):

    def __init__(self, factor=2.0, reduction='mean'):
        super().__init__(factor, reduction)


class IgnoresLossWeight(Healthy):

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs) / self.loss_weight


class RefusesStockArgument(Healthy):
    """As KLDiscretLoss without ``mask``."""


class WeightsTheInputs(Healthy):
    """As mmpose's SmoothL1Loss does: not linear for a square."""

    def forward(self, pred, target, weight=None, *args, **kwargs):
        if weight is not None:
            weight = weight.reshape(weight.shape + (1, ) *
                                    (pred.ndim - weight.ndim))
            pred, target = pred * weight, target * weight
        return super().forward(pred, target, None, *args, **kwargs)

    def elementwise(self, pred, target):
        return self.factor * (pred - target)**2


class DividesByWeights(Healthy):

    def forward(self,
                pred,
                target,
                weight=None,
                avg_factor=None,
                *args,
                **kwargs):
        if self.reduction == 'mean' and weight is not None:
            avg_factor = weight.expand_as(pred).sum()
        return super().forward(pred, target, weight, avg_factor, *args,
                               **kwargs)


class WeightsAfterTheFormula(Healthy):
    """0 * NaN is NaN."""

    def elementwise(self, pred, target):
        return self.factor * (pred - target).abs()

    def forward(self,
                pred,
                target,
                weight=None,
                avg_factor=None,
                reduction_override=None):
        loss = super().forward(pred, target, reduction_override='none')
        loss = loss if weight is None else loss * weight
        reduction = reduction_override or self.reduction
        return loss if reduction == 'none' else getattr(loss, reduction)()


class MasksOnlyTheValue(WeightsAfterTheFormula):
    """The value is 0, but the gradient is 0 * NaN."""

    def elementwise(self, pred, target):
        return self.factor * ((pred - target)**2 + 1).sqrt()

    def forward(self,
                pred,
                target,
                weight=None,
                avg_factor=None,
                reduction_override=None):
        loss = super().forward(pred, target, None, None, 'none')
        if weight is not None:
            loss = torch.where(weight > 0, loss * weight, 0.0)
        reduction = reduction_override or self.reduction
        return loss if reduction == 'none' else getattr(loss, reduction)()


class IgnoresUseTargetWeight(Healthy):

    def given_weight(self, weight, target_weight):
        return weight if target_weight is None else target_weight


class OnlyTrailingAxes(Healthy):
    """torch's own broadcasting pads a weight on the left."""

    def element_weight(self, weight, shape, dtype):
        return weight


class MeanOverSamples(Healthy):

    def weigh(self, loss, inputs):
        inputs.denominator = max(loss.shape[0], 1)
        return super().weigh(loss, inputs)


class AvgFactorKeepsItsShape(Healthy):

    def forward(self, *args, avg_factor=None, **kwargs):
        if avg_factor is None:
            return super().forward(*args, **kwargs)
        return super().forward(
            *args, **kwargs, reduction_override='sum') / avg_factor


class NoneIsReduced(Healthy):

    def elementwise(self, pred, target):
        return super().elementwise(pred, target).mean(-1)


class ComputesInHalf(Healthy):
    """600 * 600 is infinite in float16."""

    def forward(self, pred, target, *args, **kwargs):
        distance = ((pred - target)**2).sqrt() * self.factor
        return super().forward(distance, torch.zeros_like(distance), *args,
                               **kwargs)

    def elementwise(self, pred, target):
        return pred


class ReturnsHalf(Healthy):

    def forward(self, pred, *args, **kwargs):
        return super().forward(pred, *args, **kwargs).to(pred.dtype)


class ForcesFloat32(Healthy):

    def elementwise(self, pred, target):
        return super().elementwise(pred.float(), target.float())


class MeanOfNothing(Healthy):

    def forward(self, pred, target, *args, **kwargs):
        loss = super().forward(pred, target, *args, **kwargs)
        return loss if pred.numel() else loss / pred.numel()


class DisconnectedZero(Healthy):

    def forward(self, pred, target, *args, **kwargs):
        if pred.numel() == 0:
            return pred.new_zeros(())
        return super().forward(pred, target, *args, **kwargs)


class SynchronisesWithHost(Healthy):
    """mmdet's shortcut for all-zero weights."""

    def forward(self, pred, target, weight=None, *args, **kwargs):
        if weight is not None and not torch.any(weight > 0):
            return pred.sum() * 0
        return super().forward(pred, target, weight, *args, **kwargs)


class SelectsByValue(Healthy):
    """Boolean indexing: the shape depends on the data."""

    def elementwise(self, pred, target):
        loss = super().elementwise(pred, target)
        loss[loss > 1] = loss[loss > 1] * 1
        return loss


class BreaksTheGraph(Healthy):

    def elementwise(self, pred, target):
        torch._dynamo.graph_break()
        return super().elementwise(pred, target)


class RunningMean(Healthy):
    """Its buffer moves in each call, also in a repeated one."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(factor, **kwargs)
        self.register_buffer('mean', torch.ones(()))

    def elementwise(self, pred, target):
        loss = super().elementwise(pred, target) * self.mean
        if self.training:
            self.mean.mul_(0.99).add_(0.01 * loss.detach().mean())
        return loss


class Absolute(torch.autograd.Function):
    """Has a backward pass only."""

    @staticmethod
    def forward(ctx, error):
        ctx.save_for_backward(error)
        return error.abs()

    @staticmethod
    def backward(ctx, grad):
        error, = ctx.saved_tensors
        return grad * error.sign()


class BackwardOnly(Healthy):

    def elementwise(self, pred, target):
        return self.factor * Absolute.apply(pred - target)


class DifferentiatesInside(Healthy):
    """A derivative in the forward pass, which inference mode refuses."""

    def elementwise(self, pred, target):
        with torch.enable_grad():
            leaf = pred.detach().requires_grad_()
            torch.autograd.grad((2 * leaf).sum(), leaf)
        return super().elementwise(pred, target)


class ChangesItsInput(Healthy):
    """As mmdet's L2Loss does with its target."""

    def elementwise(self, pred, target):
        with torch.no_grad():
            target.clamp_(min=-0.1)
        return super().elementwise(pred, target)


class NeedsContiguous(Healthy):
    """Reads the storage instead of the tensor."""

    def elementwise(self, pred, target):
        storage = pred.as_strided(pred.shape, (pred.shape[-1], 1))
        return super().elementwise(storage, target)


class KeepsLastCall(Healthy):

    def elementwise(self, pred, target):
        self.calls = getattr(self, 'calls', 0) + 1
        return super().elementwise(pred, target) * self.calls


class BroadcastsSilently(Healthy):

    def element_shape(self, pred, target):
        return torch.broadcast_shapes(pred.shape, target.shape)


class Asserts(Healthy):

    def element_shape(self, pred, target):
        assert pred.shape == target.shape
        return pred.shape


class HyperParameterIsLearnt(Healthy):

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(factor, **kwargs)
        self.factor = nn.Parameter(torch.tensor(factor), requires_grad=False)


class CannotBePickled(Healthy):

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(factor, **kwargs)
        self.scale = lambda x: factor * x


class WrongGradient(Healthy):
    """As insightface's ArcFace: a straight-through gradient."""

    def elementwise(self, pred, target):
        loss = super().elementwise(pred, target)
        return loss.detach() + 0.5 * (loss - loss.detach())


class WrongSign(Healthy):
    """As mmdet's SIoULoss: lower for worse boxes."""

    def elementwise(self, pred, target):
        return -super().elementwise(pred, target)


BROKEN = [
    (DeadArgument, 'no_dead_argument'),
    (ForgottenArgument, 'no_dead_argument'),
    (NoLossWeight, 'constructor'),
    (IgnoresLossWeight, 'reductions'),
    (RefusesStockArgument, 'stock_kwargs'),
    (WeightsTheInputs, 'weight_is_linear'),
    (DividesByWeights, 'weight_is_linear'),
    (WeightsAfterTheFormula, 'weight_zero_removes'),
    (MasksOnlyTheValue, 'weight_zero_removes'),
    (IgnoresUseTargetWeight, 'target_weight'),
    (OnlyTrailingAxes, 'weight_shapes'),
    (MeanOverSamples, 'reductions'),
    (AvgFactorKeepsItsShape, 'avg_factor'),
    (NoneIsReduced, 'element_shape'),
    (ComputesInHalf, 'dtypes'),
    (ReturnsHalf, 'dtypes'),
    (ForcesFloat32, 'dtypes'),
    (MeanOfNothing, 'nothing_to_learn'),
    (DisconnectedZero, 'nothing_to_learn'),
    (SynchronisesWithHost, 'no_host_sync'),
    (SelectsByValue, 'no_host_sync'),
    (BreaksTheGraph, 'compiles'),
    (RunningMean, 'checkpointing'),
    (RunningMean, 'half_modules'),
    (BackwardOnly, 'forward_mode'),
    (DifferentiatesInside, 'inference_mode'),
    (ChangesItsInput, 'inputs_unchanged'),
    (NeedsContiguous, 'memory_layout'),
    (KeepsLastCall, 'memory_layout'),
    (BroadcastsSilently, 'clear_errors'),
    (Asserts, 'clear_errors'),
    (HyperParameterIsLearnt, 'life_cycle'),
    (CannotBePickled, 'life_cycle'),
    (WrongGradient, 'gradients'),
    (WrongSign, 'optimum'),
]


def inputs(batch):
    return torch.randn(batch, 4), torch.randn(batch, 4)


def perfect(batch):
    pred, _ = inputs(batch)
    return pred, pred.clone()


HEALTHY = LossCase(
    loss=Healthy,
    inputs=inputs,
    element_shape=lambda batch: (batch, 4),
    arguments=dict(factor=({}, dict(factor=3.0))),
    stock_kwargs=[dict(use_target_weight=True)],
    non_negative=True)


@pytest.mark.parametrize('check', CONTRACT.values(), ids=CONTRACT)
def test_healthy_loss_passes(check):
    if check.__name__ == 'compiles':
        needs_dynamo()
    check(HEALTHY)


@pytest.mark.parametrize(
    'broken, name',
    BROKEN,
    ids=[f'{loss.__name__}-{name}' for loss, name in BROKEN])
def test_broken_loss_is_caught(broken, name):
    if name == 'compiles':
        needs_dynamo()
    case = dataclasses.replace(HEALTHY, loss=broken)
    if broken is RefusesStockArgument:
        case.stock_kwargs = [dict(mask=None)]
    with pytest.raises(AssertionError):
        CONTRACT[name](case)


def test_every_check_catches_something():
    assert {name for _, name in BROKEN} == set(CONTRACT)
