"""Focal loss by sigmoid and by softmax."""
from __future__ import annotations
import math
from typing import Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlosses.registry import MODELS
from .classification import ClassificationLoss, one_hot
from .gradient import with_slope
from .labels import check_label_range
from .numeric import safe_power

# mmdet's, in every dtype that losses are computed in.
EPS_LOG = 1e-12


def logs_of_probability(prob: Tensor) -> Tuple[Tensor, Tensor]:
    """log p and log(1 - p), finite at 0 and 1, and without a gradient there.

    It would be 1e12, which half precision cannot hold: times the 0 of the
    sigmoid before it, NaN. Beyond them a probability counts as 0 or 1.
    """
    inside = (prob > 0) & (prob < 1)
    prob = torch.where(inside, prob, prob.detach().clamp(0, 1))
    return (prob + EPS_LOG).log(), (1 - prob + EPS_LOG).log()


def sigmoid_focal_loss(pred: Tensor,
                       target: Tensor,
                       gamma: float = 2.0,
                       alpha: float | None = 0.25,
                       activated: bool = False) -> Tensor:
    r"""Focal loss of binary decisions.

    .. math::
        -(\alpha t + (1 - \alpha) (1 - t)) \,
        ((1 - p) t + p (1 - t))^\gamma \,
        (t \log p + (1 - t) \log (1 - p)), \qquad p = \sigma(pred)

    Args:
        pred (Tensor): Logits, or probabilities with ``activated``.
        target (Tensor): Targets from 0 to 1.
        gamma (float): Exponent of the modulating factor.
        alpha (float, optional): Share of the positives; ``None`` or a
            negative number weighs both alike, by 1.
        activated (bool): Whether ``pred`` are probabilities.

    Shape:
        - pred, target, returns: any one shape.

    Returns:
        Tensor: The loss of each decision.
    """
    if activated:
        log_prob, log_rest = logs_of_probability(pred)
        prob, rest = pred, 1 - pred
    else:
        log_prob, log_rest = F.logsigmoid(pred), F.logsigmoid(-pred)
        # Not 1 - sigmoid(pred), which rounds to 0.
        prob, rest = torch.sigmoid(pred), torch.sigmoid(-pred)
    entropy = -(target * log_prob + (1 - target) * log_rest)
    loss = safe_power(rest * target + prob * (1 - target), gamma) * entropy
    if alpha is None or alpha < 0:
        return loss
    return (alpha * target + (1 - alpha) * (1 - target)) * loss


def focal_and_slope(logits: Tensor, gamma: float) -> Tuple[Tensor, Tensor]:
    r"""The focal loss of negatives, and its derivative.

    .. math::
        \sigma^\gamma s, \qquad
        \sigma^\gamma (\gamma (1 - \sigma) s + \sigma), \qquad
        s = \log(1 + e^{logits})

    Those of a positive are the same with the sign of the logit turned.
    """
    prob = torch.sigmoid(logits)
    # Exact below the threshold, whose default double precision would notice.
    entropy = F.softplus(logits, threshold=50)
    power = prob * prob if gamma == 2 else prob.pow(gamma)
    slope = entropy * gamma
    slope.addcmul_(slope, prob, value=-1).add_(prob).mul_(power)
    return power.mul_(entropy), slope


def label_focal_loss(pred: Tensor, labels: Tensor, gamma: float,
                     alpha: float | None) -> Tensor:
    """The focal loss of labels, of which C is background."""
    target = one_hot(labels, pred.shape[1]).to(pred.dtype)
    return sigmoid_focal_loss(pred, target, gamma, alpha)


def label_focal_and_slope(pred: Tensor, labels: Tensor, gamma: float,
                          alpha: float | None) -> Tuple[Tensor, Tensor]:
    """The same with its derivative: all are negatives but one of a row."""
    share = None if alpha is None or alpha < 0 else alpha
    loss, slope = focal_and_slope(pred, gamma)
    if share is not None:
        loss.mul_(1 - share)
        slope.mul_(1 - share)
    index = labels.unsqueeze(1)
    background = index == pred.shape[1]
    index = index.masked_fill(background, 0)
    own, own_slope = focal_and_slope(-pred.gather(1, index), gamma)
    for every, one, factor in ((loss, own, 1.0), (slope, own_slope, -1.0)):
        one = one * (factor if share is None else factor * share)
        one = torch.where(background, every.gather(1, index), one)
        every.scatter_(1, index, one)
    return loss, slope


def softmax_focal_loss(pred: Tensor,
                       target: Tensor,
                       gamma: float = 2.0,
                       alpha: float | None = 0.25,
                       activated: bool = False,
                       class_weight: Tensor | None = None) -> Tensor:
    r"""Focal loss of one choice between the classes on axis 1.

    .. math::
        -\alpha \sum_c w_c t_c (1 - p_c)^\gamma \log p_c, \qquad
        p = \mathrm{softmax}(pred)

    Args:
        pred (Tensor): Logits, or probabilities with ``activated``.
        target (Tensor): Probability of each class.
        gamma (float): Exponent of the modulating factor.
        alpha (float, optional): A factor; ``None`` or a negative number
            is 1.
        activated (bool): Whether ``pred`` are probabilities.
        class_weight (Tensor, optional): Weight of each class, broadcastable
            to ``target``.

    Shape:
        - pred, target: (N, C, \*).
        - returns: (N, \*).

    Returns:
        Tensor: The loss of each sample.
    """
    if activated:
        log_prob, _ = logs_of_probability(pred)
        rest = 1 - pred
    else:
        log_prob = F.log_softmax(pred, dim=1)
        rest = -torch.expm1(log_prob)
    # A class that is masked by a logit of -inf may have no share.
    impossible = (target == 0) & torch.isinf(log_prob)
    log_prob = log_prob.masked_fill(impossible, 0)
    loss = -target * safe_power(rest, gamma) * log_prob
    if class_weight is not None:
        loss = loss * class_weight
    if alpha is not None and alpha >= 0:
        loss = alpha * loss
    return loss.sum(dim=1)


@MODELS.register_module()
class FocalLoss(ClassificationLoss):
    r"""Focal loss: cross entropy that turns from easy to hard examples.

    .. math::
        L = -w_c \alpha_t (1 - p_t)^\gamma \log p_t

    with the probability :math:`p_t` of what is the case and the weight
    :math:`w_c` of the class; see :func:`sigmoid_focal_loss`, also for soft
    targets, and :func:`softmax_focal_loss`. No compiled op is needed.

    Args:
        use_sigmoid (bool): Whether each class is a binary decision, as in
            RetinaNet, or one of them is chosen by softmax. Detection heads
            read it from the config, so write it there. Default: True.
        gamma (float): Exponent of the modulating factor. 0 is cross entropy
            weighted by ``alpha``. The paper has 2. Default: 2.0.
        alpha (float, optional): Weight of the positives, beside 1 - alpha
            for the negatives; with a softmax, the weight of all. ``None`` or
            a negative number weighs all by 1. The paper has 0.25.
            Default: 0.25.
        activated (bool): Whether ``pred`` are probabilities already.
            Default: False.
        class_weight (list[float] | Tensor, optional): Weight of each class,
            for its positives and negatives. Default: None.
        ignore_index (int, optional): Label that does not count: loss and
            gradient are 0. Default: None.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred: (N, C, \*), with a sigmoid any shape.
        - target: integer labels (N, \*), where with a sigmoid C is
          background, or one-hot or soft of the shape of ``pred``.
        - weight: (N,), (N, C) or, flattened, (N * C,).
        - returns: 0-dim; for ``'none'`` the shape of ``pred``, with a softmax
          (N, \*).

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If ``gamma`` is negative, ``alpha`` above 1 with a
            sigmoid, shapes do not fit, ``class_weight`` has not one entry for
            each channel, or a label on the CPU is out of range.
        TypeError: If ``pred`` is not a floating-point tensor, or labels are
            not integers.

    Use:
        - For: classes with many easy negatives, by sigmoid or softmax.
        - Slots: ``loss_cls`` of RetinaNet, FCOS, SOLO and Deformable DETR.

    Source:
        Tsung-Yi Lin, Priya Goyal, Ross Girshick, Kaiming He, Piotr Dollár.
        Focal Loss for Dense Object Detection. ICCV 2017, `arXiv:1708.02002
        <https://arxiv.org/abs/1708.02002>`_.

    Differs from upstream:
        - mmdet has no softmax, ``class_weight`` or ``ignore_index``.
        - A row of weight 0 does not count even where its logits are NaN or
          its label is out of range.
        - With ``activated``, probabilities of exactly 0 and 1 cost 27.6
          instead of 100, and ones out of range raise no error.
        - The gradient is finite for every ``gamma``, also below 1.

    Example:
        In a config that inherits mmdet's RetinaNet:

        >>> bbox_head = dict(loss_cls=dict(
        ...     type='mmlosses.FocalLoss', use_sigmoid=True, gamma=2.0,
        ...     alpha=0.25))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_cls'])
        >>> pred = torch.tensor([[2.0, -1.0], [-3.0, -3.0]])
        >>> labels = torch.tensor([0, 2])  # The second is background.
        >>> print('%.5f' % loss(pred, labels, avg_factor=1))
        0.01761
    """

    def __init__(self,
                 use_sigmoid: bool = True,
                 gamma: float = 2.0,
                 alpha: float | None = 0.25,
                 activated: bool = False,
                 class_weight: Sequence[float] | Tensor | None = None,
                 ignore_index: int | None = None,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(use_sigmoid, class_weight, ignore_index, reduction,
                         loss_weight)
        if gamma < 0:
            raise ValueError(f'gamma must not be negative, got {gamma}')
        if use_sigmoid and alpha is not None and alpha > 1:
            raise ValueError('alpha must be at most 1 with a sigmoid, got '
                             f'{alpha}')
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each class, or of each sample with a softmax."""
        index = target.ndim < pred.ndim
        class_weight = self.weight_of_classes(pred, target)
        if index:
            classes = pred.shape[1]
            check_label_range(target,
                              classes + 1 if self.use_sigmoid else classes,
                              'target')
            if self.use_sigmoid and not self.activated:
                loss = with_slope(
                    label_focal_loss,
                    label_focal_and_slope,
                    pred,
                    target,
                    gamma=self.gamma,
                    alpha=self.alpha)
                return loss if class_weight is None else loss * class_weight
            target = one_hot(target, classes)
        target = target.to(pred.dtype)
        if not self.use_sigmoid:
            return softmax_focal_loss(pred, target, self.gamma, self.alpha,
                                      self.activated, class_weight)
        loss = sigmoid_focal_loss(pred, target, self.gamma, self.alpha,
                                  self.activated)
        return loss if class_weight is None else loss * class_weight

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Also the weight of every class, flattened, as FSAF passes it."""
        if (isinstance(weight, Tensor) and weight.ndim == 1
                and weight.shape[0] not in (1, shape[0])
                and weight.shape[0] == math.prod(shape)):
            weight = weight.reshape(tuple(shape))
        return super().element_weight(weight, shape, dtype)
