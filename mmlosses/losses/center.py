"""Squared distance of features to the centre of their class."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments, Inputs
from mmlosses.core.checks import check_label_range, check_number, check_softmax
from mmlosses.core.features import FeatureLoss, make_class_vectors
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.class_entropy import fast_class_entropy
from mmlosses.core.statistics import StatisticsLoss
from mmlosses.core.tensors import autocast_off
from mmlosses.registry import MODELS


def center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """Return half the squared distance of each feature to its centre."""
    # Not expanded into squares, which would cancel for large features.
    return 0.5 * (features - centers).square().sum(dim=-1)


@MODELS.register_module()
class CenterLoss(FeatureLoss, StatisticsLoss):
    r"""Half the squared distance of features to the centre of their class.

    .. math::
        L = \frac{1}{N} \sum_n \tfrac{1}{2} \|x_n - c_{y_n}\|^2, \qquad
        c_j \leftarrow c_j - \alpha \frac{\sum_n [y_n = j] (c_j - x_n)}
        {1 + \sum_n [y_n = j]}

    It pulls the features of a class together but does not push classes apart:
    combine it with a classification loss, with a small ``loss_weight``.

    The buffer ``centers`` (C, D) starts at 0. In training mode each call
    updates it, after use, with the samples of finite features whose weight is
    not 0. Distributed training needs ``SyncStatisticsHook``, with which each
    iteration updates it once, by the samples of all ranks.

    Args:
        alpha (float): Update rate of the centres, from 0 to 1; the paper uses
            0.5. Default: 0.5.
        learn_centers (bool): If True, the centres are a randomly initialised
            parameter that the optimizer updates by the gradient; ``alpha`` has
            no effect. Default: False.

    Differs from upstream:
        - The paper sums over the batch, as ``reduction='sum'``. The authors'
          code divides by the batch size, as the default here.
        - A common PyTorch version takes the unsquared distance of the whole
          batch. Its gradient does not grow with the distance.
        - Another one expands the square, which gives 0 for close points far
          from the origin, and adds 1e-12 for each wrong class.
        - With centres as parameters, the gradient moves them, scaled by the
          loss weight: ``learn_centers=True``.
    """
    info = LossInfo(
        purpose='features close to the centre of their class',
        slots='heads that pass features and labels, beside a classifier',
        expects='features',
        paper=Paper(
            'Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao',
            'A Discriminative Feature Learning Approach for Deep Face '
            'Recognition', 'ECCV', 2016))
    centers: Tensor

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 alpha: float = 0.5,
                 learn_centers: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        check_number('alpha', alpha, least=0, most=1)
        self.alpha, self.learn_centers = alpha, learn_centers
        if learn_centers:
            self.centers = nn.Parameter(torch.randn(num_classes, in_channels))
        else:
            # They move by the sum of the features of each class, and their
            # number.
            self.register_statistics('centers',
                                     torch.zeros(num_classes, in_channels),
                                     (num_classes, in_channels + 1))

    def elementwise(self, pred: Tensor, target: Tensor, *centers:
                    Tensor) -> Tensor:
        check_label_range(target, self.num_classes)
        own = centers[0].to(pred.dtype).index_select(0, target)
        return center_loss(pred, own)

    def unreduced(self, inputs: Inputs) -> Tensor:
        """Compute the loss and, in training mode, update the centres."""
        loss = self.run_formula(
            type(self).elementwise, inputs.pred, inputs.target,
            self.seen('centers'))
        if self.is_moving():
            with torch.no_grad():
                self.record(
                    self.sums(inputs.pred, inputs.target, inputs.removed))
        return loss

    def sums(self, features: Tensor, labels: Tensor,
             removed: Tensor | None) -> Tensor:
        """Return sums and counts (C, D + 1) of features (N, D)."""
        # An overflow of mixed precision would stay in the centres for ever,
        # while the gradient scaler skips the step.
        counted = features.isfinite().all(dim=1)
        if removed is not None:
            counted = counted & ~removed
        labels = labels.masked_fill(~counted, 0)
        features = features.masked_fill(~counted.unsqueeze(1), 0)
        ones = counted.to(features.dtype).unsqueeze(1)
        total = features.new_zeros(self.sums_shape)
        return total.index_add(0, labels, torch.cat([features, ones], 1))

    def moved(self, sums: Tensor) -> Tensor:
        """Return the centres after a step."""
        total, counts = sums[:, :-1], sums[:, -1:]
        step = (counts * self.centers - total) / (1 + counts)
        return self.centers - self.alpha * step


@MODELS.register_module(name=['CenterSoftmaxLoss', 'centerloss'])
class CenterSoftmaxLoss(CenterLoss):
    r"""Cross entropy of a linear classifier plus the centre loss.

    .. math::
        L = \frac{1}{N} \sum_n \left(
        -\log \frac{e^{x_n \cdot w_{y_n}}}{\sum_j e^{x_n \cdot w_j}}
        + \frac{\lambda}{2} \|x_n - c_{y_n}\|^2 \right)

    The classifier, without a bias, is the parameter ``weight`` (C, D);
    :meth:`logits` gives its scores for inference. The buffer ``centers``
    (C, D) is that of :class:`CenterLoss`. Also registered as ``centerloss``.

    Args:
        center_weight (float): Weight :math:`\lambda`; ``lamda`` in published
            code. Default: 0.2.
        use_sigmoid (bool): For heads that read it; only False. Default: False.

    Differs from upstream:
        - ``centerloss`` as published in tutorials returns the logits too, and
          its centre term is the unsquared distance of the whole batch, divided
          by twice its size: the total pull on the samples is 1 / 2N at any
          distance. Its centres are a parameter: ``learn_centers=True``.
    """
    info = LossInfo(
        purpose='a linear classifier combined with :class:`CenterLoss`',
        slots='heads that pass features and labels, as ``LinearReIDHead``',
        expects='features',
        search=dict(center_weight=(0.001, 1.0)),
        paper=CenterLoss.info.paper)
    synonyms = {'lamda': 'center_weight'}

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 center_weight: float = 0.2,
                 alpha: float = 0.5,
                 learn_centers: bool = False,
                 use_sigmoid: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(num_classes, in_channels, alpha, learn_centers,
                         **kwargs)
        check_softmax(use_sigmoid)
        check_number('center_weight', center_weight, least=0)
        self.center_weight, self.use_sigmoid = center_weight, use_sigmoid
        self.weight = make_class_vectors(num_classes, in_channels)

    def logits(self, features: Tensor) -> Tensor:
        """Return the scores (N, C) of features (N, D), in at least float32."""
        features = self.inference_features(features)
        with autocast_off(features.device.type):
            return features @ self.weight.to(features.dtype).T

    def elementwise(self, pred: Tensor, target: Tensor, *centers:
                    Tensor) -> Tensor:
        center = super().elementwise(pred, target, *centers)
        entropy = fast_class_entropy(pred, self.weight.to(pred.dtype), target)
        return entropy + self.center_weight * center


centerloss = CenterSoftmaxLoss
