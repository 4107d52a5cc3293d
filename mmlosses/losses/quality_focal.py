"""Classification whose target is the quality of a box, and binned distances.

Generalized focal loss and varifocal loss train one score for the class and the
quality, usually the IoU, of the box.
"""
from __future__ import annotations
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_floating, check_index,
                                  check_label_range, check_number,
                                  check_same_shape, check_sigmoid)
from mmlosses.core.classification import SampleLoss
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.focal import (neighbour_entropy,
                                         neighbour_entropy_and_derivative,
                                         quality_focal_and_derivative,
                                         varifocal_and_derivative)
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.numeric import logs_of_probability, safe_power
from mmlosses.core.tensors import one_hot
from mmlosses.registry import MODELS

GFL_PAPER = Paper(
    'Xiang Li, Wenhai Wang, Lijun Wu, Shuo Chen, Xiaolin Hu, Jun Li, Jinhui '
    'Tang, Jian Yang',
    'Generalized Focal Loss: Learning Qualified and Distributed Bounding '
    'Boxes for Dense Object Detection', 'NeurIPS', 2020, '2006.04388')
VFNET_PAPER = Paper('Haoyang Zhang, Ying Wang, Feras Dayoub, Niko Sünderhauf',
                    'VarifocalNet: An IoU-aware Dense Object Detector', 'CVPR',
                    2021, '2008.13367')


def quality_focal_loss(pred: Tensor,
                       target: Tensor,
                       beta: float = 2.0,
                       activated: bool = False) -> Tensor:
    r"""Return :math:`-|y - p|^\beta (y \log p + (1 - y) \log (1 - p))`.

    Args: see :class:`QualityFocalLoss`; ``target`` is as ``pred``, from 0 to
    1, the result too.
    """
    if activated:
        log_prob, log_rest = logs_of_probability(pred)
        prob = pred
        entropy = -(target * log_prob + (1 - target) * log_rest)
    else:
        prob = torch.sigmoid(pred)
        entropy = F.binary_cross_entropy_with_logits(
            pred, target, reduction='none')
    return safe_power((target - prob).abs(), beta) * entropy


def rated_focal_loss(pred: Tensor,
                     labels: Tensor,
                     quality: Tensor,
                     beta: float = 2.0,
                     activated: bool = False) -> Tensor:
    r"""Return the loss (N, \*) of labels with a quality each.

    Args: see :class:`QualityFocalLoss`.
    """
    hot = one_hot(labels, pred.shape[1])
    # The quality of the background may be NaN.
    target = torch.where(hot, quality.unsqueeze(1), quality.new_zeros(()))
    return quality_focal_loss(pred, target, beta, activated).sum(dim=1)


def varifocal_loss(pred: Tensor,
                   target: Tensor,
                   alpha: float = 0.75,
                   gamma: float = 2.0,
                   iou_weighted: bool = True,
                   least_positive: float = 0.0) -> Tensor:
    """Return the loss of each number, see :class:`VarifocalLoss`.

    Args: see there; targets above ``least_positive`` are positives.
    """
    entropy = F.binary_cross_entropy_with_logits(
        pred, target, reduction='none')
    positive = target if iou_weighted else torch.ones_like(target)
    negative = alpha * safe_power(torch.sigmoid(pred), gamma)
    return torch.where(target > least_positive, positive, negative) * entropy


def distribution_focal_loss(pred: Tensor, target: Tensor) -> Tensor:
    r"""Cross entropy with the two bins beside each target (N, \*).

    Args: see :class:`DistributionFocalLoss`; the result is (N, \*).
    """
    return with_gradient(neighbour_entropy, neighbour_entropy_and_derivative,
                         pred.movedim(1, -1), target.to(pred.dtype))


@MODELS.register_module()
class QualityFocalLoss(SampleLoss):
    r"""Focal loss whose positives have a quality instead of a 1 as target.

    .. math::
        L = -\frac{1}{N} \sum_i w_i \sum_c |y_{ic} - p_{ic}|^\beta
        \left( y_{ic} \log p_{ic} + (1 - y_{ic}) \log (1 - p_{ic}) \right),
        \qquad p = \sigma(pred)

    where :math:`y_{ic}` is the quality of sample i, such as the IoU of its
    box, for its class c, and 0 for the others.

    Args:
        use_sigmoid (bool): Must be True, and in the config, where detection
            heads read it. Default: True.
        beta (float): Exponent of the modulating factor; 0 is cross entropy.
            The paper uses 2. Default: 2.0.
        activated (bool): If True, ``pred`` holds probabilities, as in TOOD.
            Default: False.

    Shape:
        - pred: logits (N, C, \*).
        - target: a tuple of the integer labels (N, \*), where C is background,
          and their qualities (N, \*), from 0 to 1; or a tensor of qualities as
          pred.
        - weight: (N, \*).
        - returns: 0-dim; for ``'none'`` (N, \*), the sum over the classes.

    Differs from upstream:
        - mmdet raises where half precision meets float32 qualities.
        - mmdet synchronises with the host to find the positives.
        - mmdet returns NaN where a sample of weight 0 holds NaN.
        - For ``beta`` below 1, a saturated score has a finite gradient.
        - A label that is neither a class nor C raises an error; in mmdet it
          counts as background.
    """
    info = LossInfo(
        purpose='one score for class and box quality, in dense heads',
        slots='``loss_cls`` of GFL, LD, RTMDet, TOOD and DDQ; accepted by '
        'DETR and DINO',
        expects='scores',
        search=dict(beta=(0.5, 4.0)),
        paper=GFL_PAPER,
        source='Section 3.2, QFL.')

    def __init__(self,
                 use_sigmoid: bool = True,
                 beta: float = 2.0,
                 *,
                 activated: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_sigmoid(use_sigmoid)
        check_number('beta', beta, least=0)
        self.use_sigmoid, self.beta = use_sigmoid, beta
        self.activated = activated

    @property
    def takes_probabilities(self) -> bool:
        return self.activated

    def element_shape(self, pred: Tensor, target: Any) -> Sequence[int]:
        samples = self.samples(pred)
        if isinstance(target, Tensor):
            check_same_shape(pred, target)
            return samples
        if not isinstance(target, (tuple, list)) or len(target) != 2:
            raise ValueError('target must be a tensor or a tuple of labels '
                             f'and qualities, got {type(target).__name__}')
        labels, quality = target
        check_index(labels, 'labels')
        check_floating('qualities', quality)
        if labels.shape != samples or quality.shape != samples:
            raise ValueError(
                f'labels and qualities must have the shape {tuple(samples)}, '
                f'got {tuple(labels.shape)} and {tuple(quality.shape)}')
        return samples

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        target = inputs.target
        quality = target if isinstance(target, Tensor) else target[1]
        self.check_range('target', quality, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Any) -> Tensor:
        settings = self.beta, self.activated
        if isinstance(target, Tensor):
            target = target.to(pred.dtype)
            return quality_focal_loss(pred, target, *settings).sum(dim=1)
        labels, quality = target
        check_label_range(labels, pred.shape[1] + 1)
        if self.activated:
            return rated_focal_loss(pred, labels, quality, *settings)
        return with_gradient(
            rated_focal_loss,
            quality_focal_and_derivative,
            pred,
            labels.long(),
            quality,
            beta=self.beta)


@MODELS.register_module()
class VarifocalLoss(BaseLoss):
    r"""Cross entropy weighted by the quality, and focal for negatives.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            -q_i (q_i \log p_i + (1 - q_i) \log (1 - p_i)) & q_i > 0 \\
            -\alpha p_i^\gamma \log (1 - p_i) & q_i = 0
        \end{cases}, \qquad p = \sigma(pred)

    with the quality :math:`q`, such as the IoU of the box, for the true class
    and 0 for the others.

    Args:
        use_sigmoid (bool): Must be True, and in the config, where detection
            heads read it. Default: True.
        alpha (float): Weight of negatives. The paper uses 0.75.
            Default: 0.75.
        gamma (float): Exponent of the factor of negatives. The paper uses 2.
            Default: 2.0.
        iou_weighted (bool): If True, as in the paper, a positive is weighted
            by its quality; if False, by 1. Default: True.

    Shape:
        - pred: logits (\*), such as (N, C).
        - target: qualities as pred, from 0 to 1.
        - weight: as pred, or without trailing axes.
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Differs from upstream:
        - mmdet multiplies the classes by a weight (N,) if N = C, and fails
          otherwise.
        - mmdet returns NaN where an element of weight 0 holds NaN.
        - For ``gamma`` below 1, a saturated score has a finite gradient.
    """
    info = LossInfo(
        purpose='one score for class and box quality, positives weigh more',
        slots='``loss_cls`` of VFNet',
        expects='scores',
        search=dict(alpha=(0.2, 1.0), gamma=(0.5, 4.0)),
        paper=VFNET_PAPER)

    #: Qualities above it are positives.
    least_positive = 0.0

    def __init__(self,
                 use_sigmoid: bool = True,
                 alpha: float = 0.75,
                 gamma: float = 2.0,
                 iou_weighted: bool = True,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_sigmoid(use_sigmoid)
        check_number('alpha', alpha, least=0)
        check_number('gamma', gamma, least=0)
        self.use_sigmoid, self.iou_weighted = use_sigmoid, iou_weighted
        self.alpha, self.gamma = alpha, gamma

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return with_gradient(
            varifocal_loss,
            varifocal_and_derivative,
            pred,
            target.to(pred.dtype),
            alpha=self.alpha,
            gamma=self.gamma,
            iou_weighted=self.iou_weighted,
            least_positive=self.least_positive)


@MODELS.register_module()
class VariFocalLoss(VarifocalLoss):
    r"""Varifocal loss with the name and the threshold of mmpose.

    .. math::
        L = \frac{1}{N} \sum_i w_i
        \begin{cases}
            -q_i (q_i \log p_i + (1 - q_i) \log (1 - p_i)) & q_i > 10^{-4} \\
            -\alpha p_i^\gamma \log (1 - p_i) & \text{otherwise}
        \end{cases}, \qquad p = \sigma(pred)

    It is :class:`VarifocalLoss`, with its arguments, but qualities of at most
    1e-4 are negatives.

    Differs from upstream:
        - mmpose clips logits to [-10, 10], so that confident errors have no
          gradient.
        - mmpose turns NaN and infinite losses into 0, not their gradients.
    """
    info = LossInfo(
        purpose='one score for person and pose quality',
        slots="``loss_cls`` of mmpose's RTMO head",
        expects='scores',
        paper=VFNET_PAPER)
    least_positive = 1e-4


@MODELS.register_module()
class DistributionFocalLoss(SampleLoss):
    r"""Cross entropy of a distance with the two bins beside it.

    .. math::
        L = -\frac{1}{N} \sum_i w_i \left( (l_i + 1 - y_i) \log p_{i, l_i}
        + (y_i - l_i) \log p_{i, l_i + 1} \right), \qquad
        p = \mathrm{softmax}(pred)

    with the target :math:`y` and the bin :math:`l` at or below it. The mean of
    the bins, :math:`\sum_k k p_k`, is the predicted distance.

    Shape:
        - pred: logits (N, bins, \*), of the distances 0, 1, ..., bins - 1.
        - target: distances (N, \*), from 0 to bins - 1, in bins: in GFL,
          multiples of the stride.
        - weight: (N, \*).
        - returns: 0-dim; for ``'none'`` (N, \*).

    Differs from upstream:
        - mmdet fails at the last bin.
        - mmdet extrapolates distances below 0. Here, distances out of range
          raise an error on the CPU, and count as the nearest bin elsewhere.
        - mmdet returns NaN where a distance of weight 0 holds NaN.
    """
    info = LossInfo(
        purpose='regression by a distribution over bins',
        slots='``loss_dfl`` of GFL and LD',
        expects='bins',
        paper=GFL_PAPER,
        source='Section 3.2, DFL.')
    masks_after_formula = True

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        samples = self.samples(pred)
        if pred.shape[1] < 2:
            raise ValueError('pred must have at least 2 bins on axis 1, got '
                             f'the shape {tuple(pred.shape)}')
        if target.shape != samples:
            raise ValueError(f'target must have the shape {tuple(samples)} of '
                             f'distances, got {tuple(target.shape)}')
        return samples

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        last = inputs.pred.shape[1] - 1
        self.check_range('target', inputs.target, inputs, 0, last)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return distribution_focal_loss(pred, target)
