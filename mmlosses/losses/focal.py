"""Focal loss by sigmoid and by softmax, and its asymmetric form."""
from __future__ import annotations
import math
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, Inputs
from mmlosses.core.buffers import register_weights
from mmlosses.core.checks import check_number, check_numbers
from mmlosses.core.classification import (ClassificationArguments,
                                          ClassificationLoss, CustomClassLoss)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.focal import (asymmetric_and_derivative,
                                         label_focal_and_derivative,
                                         label_focal_loss,
                                         soft_focal_and_derivative)
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.numeric import (logs_of_probability, safe_power,
                                   without_impossible)
from mmlosses.registry import MODELS


def sigmoid_focal_loss(pred: Tensor,
                       target: Tensor,
                       gamma: float = 2.0,
                       alpha: float | None = 0.25,
                       activated: bool = False) -> Tensor:
    r"""Focal loss of binary decisions, for hard or soft targets.

    .. math::
        -(\alpha t + (1 - \alpha) (1 - t)) \,
        ((1 - p) t + p (1 - t))^\gamma \,
        (t \log p + (1 - t) \log (1 - p)), \qquad p = \sigma(pred)

    Args: see :class:`FocalLoss`; ``target`` is as ``pred``, from 0 to 1.
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


def softmax_focal_loss(pred: Tensor,
                       target: Tensor,
                       gamma: float = 2.0,
                       alpha: float | None = 0.25,
                       activated: bool = False,
                       class_weight: Tensor | None = None) -> Tensor:
    r"""Focal loss of a distribution over the classes on axis 1.

    .. math::
        -\alpha \sum_c w_c t_c (1 - p_c)^\gamma \log p_c, \qquad
        p = \mathrm{softmax}(pred)

    Args: see :class:`FocalLoss`; ``pred`` and ``target``, probabilities, are
    (N, C, \*), to which ``class_weight`` broadcasts, the result (N, \*).
    """
    if activated:
        log_prob, _ = logs_of_probability(pred)
        rest = 1 - pred
    else:
        log_prob = F.log_softmax(pred, dim=1)
        rest = -torch.expm1(log_prob)
    log_prob = without_impossible(log_prob, target)
    loss = -target * safe_power(rest, gamma) * log_prob
    if class_weight is not None:
        loss = loss * class_weight
    if alpha is not None and alpha >= 0:
        loss = alpha * loss
    return loss.sum(dim=1)


def asymmetric_loss(pred: Tensor,
                    target: Tensor,
                    gamma_pos: float = 0.0,
                    gamma_neg: float = 4.0,
                    clip: float | None = 0.05,
                    eps: float = 1e-8,
                    use_sigmoid: bool = True,
                    dim: int = -1) -> Tensor:
    r"""Asymmetric loss of each class, for hard or soft targets.

    .. math::
        -(1 - p_t)^{\gamma_{pos} t + \gamma_{neg} (1 - t)}
        \log \max(p_t, \epsilon), \qquad
        p_t = p t + \min(1 - p + m, 1) (1 - t)

    Args: see :class:`AsymmetricLoss`; ``target`` is as ``pred``, from 0 to 1,
    and ``dim`` the axis of the softmax.
    """
    if use_sigmoid:
        # Not 1 - sigmoid(pred), which rounds to 0.
        prob, rest = torch.sigmoid(pred), torch.sigmoid(-pred)
    else:
        log_prob = F.log_softmax(pred, dim=dim)
        prob, rest = log_prob.exp(), -torch.expm1(log_prob)
    margin, negative = clip or 0.0, 1 - target
    right = prob * target + (rest + margin).clamp(max=1) * negative
    wrong = rest * target + (prob - margin).clamp(min=0) * negative
    least = max(eps, torch.finfo(pred.dtype).tiny)
    # The logarithm of a number near 1 is that of its distance from 1.
    entropy = -torch.where(right < max(least, 0.5),
                           right.clamp(min=least).log(),
                           torch.log1p(-wrong.clamp(max=0.5)))
    return entropy * safe_power(wrong,
                                gamma_pos * target + gamma_neg * negative)


@MODELS.register_module()
class FocalLoss(ClassificationLoss):
    r"""Focal loss: cross entropy that down-weights easy examples.

    .. math::
        L = -w_c \alpha_t (1 - p_t)^\gamma \log p_t

    with the probability :math:`p_t` of the true outcome and the class weight
    :math:`w_c`. :func:`sigmoid_focal_loss` and :func:`softmax_focal_loss` give
    the formulas, also for soft targets. No compiled op is needed.

    Args:
        use_sigmoid (bool): If True, each class is a binary decision, as in
            RetinaNet; if False, classes compete in a softmax. Write it in the
            config, where detection heads read it. Default: True.
        gamma (float): Exponent of the modulating factor; 0 is cross entropy
            weighted by ``alpha``. The paper uses 2. Default: 2.0.
        alpha (float | list[float], optional): Weight of positives, with 1 -
            alpha for negatives; with a softmax, the weight of all samples.
            ``None`` or a negative number: no weights. A list has one for each
            class of a sigmoid. The paper uses 0.25. Default: 0.25; with
            ``loss_name``, which mmseg has, 0.5 as there.
        activated (bool): If True, ``pred`` holds probabilities.
            Default: False.
        class_weight (list[float] | Tensor, optional): Weight of each class,
            for its positives and negatives. Default: None.

    Shape:
        - pred: (N, C, \*), with a sigmoid any shape.
        - target: integer labels (N, \*), where with a sigmoid C and -1 are
          background, or one-hot or soft, as pred.
        - weight: (N, \*), (N, C) or, flattened, (N * C,).
        - returns: 0-dim; for ``'none'`` as pred, with a softmax (N, \*).

    Differs from upstream:
        - mmdet has no softmax, ``class_weight`` or ``ignore_index``.
        - A row of weight 0 may hold NaN, or a label out of range.
        - On the CPU, mmdet fails for the label -1, which is background in the
          compiled operator that it has on a GPU, and in FCAF3D.
        - On the CPU, mmseg fails for labels: it takes one column of them.
        - mmpretrain takes the target (N, 1) of a single class for a label: a
          negative for a positive.
        - With ``activated``, probabilities of exactly 0 and 1 cost 27.6
          instead of 100.
        - The gradient is finite for every ``gamma``, also below 1.
    """
    info = LossInfo(
        purpose='classification with many easy negatives, sigmoid or softmax',
        slots='``loss_cls`` of RetinaNet, FCOS, SOLO and Deformable DETR; '
        "``loss`` of mmpretrain's heads for several labels",
        expects='scores',
        search=dict(gamma=(0.5, 5.0), alpha=(0.1, 0.9)),
        paper=Paper(
            'Tsung-Yi Lin, Priya Goyal, Ross Girshick, Kaiming He, Piotr '
            'Dollár', 'Focal Loss for Dense Object Detection', 'ICCV', 2017,
            '1708.02002'))
    published = {'loss_name': "mmseg's default of 0.5 for ``alpha``"}
    masks_after_formula = True

    _alpha: Tensor | None

    def __init__(self,
                 use_sigmoid: bool = True,
                 gamma: float = 2.0,
                 alpha: float | Sequence[float] | None = 0.25,
                 activated: bool = False,
                 *,
                 ignore_index: int | None = None,
                 **kwargs: Unpack[ClassificationArguments]) -> None:
        super().__init__(use_sigmoid, ignore_index=ignore_index, **kwargs)
        check_number('gamma', gamma, least=0)
        several = isinstance(alpha, (list, tuple))
        if several and not use_sigmoid:
            raise TypeError('with a softmax, alpha must be one number for all '
                            f'classes, got {alpha!r}: class_weight takes one '
                            'for each')
        given: Any = alpha
        numbers = given if several else [given]
        for each in numbers:
            if several or alpha is not None:
                check_number('alpha', each, most=1 if use_sigmoid else None)
        register_weights(self, 'alpha', alpha if several else None, 'class')
        self.gamma, self.activated = gamma, activated
        self.alpha: Any = alpha

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """Take the defaults of mmseg with its ``loss_name``."""
        if kwargs.get('loss_name') is not None and len(args) < 3:
            kwargs.setdefault('alpha', 0.5)
        return super().own_arguments(args, kwargs)

    @property
    def takes_probabilities(self) -> bool:
        return self.activated

    def prepare(self, pred: Tensor, *args: Any, **kwargs: Any) -> Inputs:
        """Take the label -1 for background, as mmcv's operator does."""
        inputs = super().prepare(pred, *args, **kwargs)
        if self.use_sigmoid and inputs.target.ndim < pred.ndim:
            nothing = inputs.target == -1
            inputs.target = inputs.target.masked_fill(nothing, pred.shape[1])
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        class_weight = self.weight_of_classes(pred, target)
        alpha = self.alpha if self._alpha is None else None
        settings = self.gamma, alpha, self.activated
        if not self.use_sigmoid:
            target = self.dense_target(pred, target)
            return softmax_focal_loss(pred, target, *settings, class_weight)
        options: Any = {'gamma': self.gamma, 'alpha': alpha}
        if self.activated:
            target = self.dense_target(pred, target)
            loss = sigmoid_focal_loss(pred, target, *settings)
        elif target.ndim < pred.ndim:
            self.check_labels(pred, target)
            loss = with_gradient(label_focal_loss, label_focal_and_derivative,
                                 pred, target, **options)
        else:
            target = target.to(pred.dtype)
            loss = with_gradient(sigmoid_focal_loss, soft_focal_and_derivative,
                                 pred, target, **options)
        share = self.weight_of_classes(pred, target, 'alpha')
        if share is not None:
            target = self.dense_target(pred, target)
            loss = loss * (share * target + (1 - share) * (1 - target))
        return loss if class_weight is None else loss * class_weight

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Also accept the weights of all classes, flattened, as FSAF does."""
        if (isinstance(weight, Tensor) and weight.ndim == 1
                and weight.shape[0] not in (1, shape[0])
                and weight.shape[0] == math.prod(shape)):
            weight = weight.reshape(tuple(shape))
        return super().element_weight(weight, shape, dtype)


@MODELS.register_module()
class SmoothFocalLoss(BaseLoss):
    r"""Focal loss of bins with soft labels, as circular smooth labels.

    .. math::
        L = -(\alpha t + (1 - \alpha) (1 - t)) \,
        ((1 - p) t + p (1 - t))^\gamma \,
        (t \log p + (1 - t) \log (1 - p)), \qquad p = \sigma(pred)

    An angle is a bin, and the bins beside it, also across the end of the
    circle, have labels between 0 and 1.

    Args:
        gamma (float): Exponent of the modulating factor. Default: 2.0.
        alpha (float): Weight of positives, with 1 - alpha for negatives.
            Default: 0.25.

    Shape:
        - pred, target: (N, C), logits, and labels from 0 to 1.
        - weight: (N,), (N, 1) or (N, C).
        - returns: 0-dim, or (N, C) for ``'none'``.

    Differs from upstream:
        - mmrotate's has a NaN gradient for a ``gamma`` below 1 where a bin is
          certain and right.
    """
    info = LossInfo(
        purpose='angles as soft labels of bins',
        slots='``loss_angle`` of Rotated FCOS and Rotated RetinaNet with CSL',
        expects='logits',
        paper=Paper(
            'Xue Yang, Junchi Yan',
            'Arbitrary-Oriented Object Detection with Circular Smooth Label',
            'ECCV', 2020, '2003.05597'))

    def __init__(self,
                 gamma: float = 2.0,
                 alpha: float = 0.25,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 **kwargs: Any) -> None:
        super().__init__(
            reduction=reduction, loss_weight=loss_weight, **kwargs)
        check_number('gamma', gamma, least=0)
        check_number('alpha', alpha, least=0, most=1)
        self.gamma, self.alpha = gamma, alpha

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return with_gradient(
            sigmoid_focal_loss,
            soft_focal_and_derivative,
            pred,
            target,
            gamma=self.gamma,
            alpha=self.alpha)


@MODELS.register_module()
class FocalCustomLoss(CustomClassLoss, FocalLoss):
    r"""Focal loss that tells its head about the classes, as for V3Det.

    .. math::
        L = -w_c \alpha_t (1 - p_t)^\gamma \log p_t

    Loss, arguments and shapes are those of :class:`FocalLoss`. Dense heads of
    mmdet get the scores of the classes from it.

    Args:
        num_classes (int): Number of classes, without the background.

    Differs from upstream:
        - In mmdet, ``activated`` has no effect.
        - mmdet has no softmax, ``class_weight`` or ``ignore_index``.
    """
    info = LossInfo(
        purpose='focal loss in a head with many classes',
        slots="``loss_cls`` of FCOS in mmdet's configs for V3Det",
        expects='scores',
        paper=FocalLoss.info.paper,
        source="Head interface: mmdet's configs for V3Det.")


@MODELS.register_module()
class AsymmetricLoss(ClassificationLoss):
    r"""Focal loss of several labels: easy negatives count less than positives.

    .. math::
        L = -w_c \left(t (1 - p)^{\gamma_{pos}} \log p
        + (1 - t) \, p_m^{\gamma_{neg}} \log(1 - p_m)\right), \qquad
        p_m = \max(p - m, 0)

    with the probability p of a class, its hard target t, the margin m and the
    class weight :math:`w_c`. :func:`asymmetric_loss` gives the formula, also
    for soft targets.

    Args:
        gamma_pos (float): Exponent of positives. Default: 0.0.
        gamma_neg (float): Exponent of negatives. Default: 4.0.
        clip (float, optional): Margin m: negatives of a lower probability
            have the loss and gradient 0. It also bounds the loss of a
            negative, by -log m. ``None`` or 0: no margin. Default: 0.05.
        reduction (str): See :class:`BaseLoss`. Default: ``'mean'``.
        loss_weight (float): See :class:`BaseLoss`. Default: 1.0.
        use_sigmoid (bool): If False, p is the softmax over the classes. Each
            of them is an element all the same. Default: True.
        eps (float): Least argument of the logarithm; a lower probability has
            no gradient. 0 is no bound. Default: 1e-8.
        class_weight (list[float] | Tensor, optional): Weight of each class,
            for its positives and negatives. Default: None.
        ignore_index (int, optional): See :class:`ClassificationLoss`.

    The defaults are those of the paper, which sums over the classes and
    samples. mmpretrain's heads pass the number of samples as ``avg_factor``.

    Shape:
        - pred: (N, C), or any shape with a sigmoid.
        - target: 0, 1 or soft, as pred; or one integer label (N,), where C is
          no class.
        - weight: (N,) or as pred.
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Differs from upstream:
        - In mmpretrain, half precision rounds ``eps`` to 0, and a positive
          without probability is infinite.
        - mmpretrain has a NaN gradient for exponents below 1, where a class is
          decided or a negative is below the margin.
        - mmpretrain takes the target (N, 1) of a single class for a label: a
          negative for a positive.
        - mmpretrain checks labels on the host, which synchronises, and has no
          ``class_weight`` or ``ignore_index``.
    """
    info = LossInfo(
        purpose='several labels for each image, most of them negative',
        slots="``loss`` of mmpretrain's heads for several labels",
        expects='scores',
        paper=Paper(
            'Tal Ridnik, Emanuel Ben-Baruch, Nadav Zamir, Asaf Noy, Itamar '
            'Friedman, Matan Protter, Lihi Zelnik-Manor',
            'Asymmetric Loss For Multi-Label Classification', 'ICCV', 2021,
            '2009.14119'))

    def __init__(self,
                 gamma_pos: float = 0.0,
                 gamma_neg: float = 4.0,
                 clip: float | None = 0.05,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 use_sigmoid: bool = True,
                 eps: float = 1e-8,
                 *,
                 ignore_index: int | None = None,
                 **kwargs: Any) -> None:
        super().__init__(
            use_sigmoid,
            ignore_index=ignore_index,
            reduction=reduction,
            loss_weight=loss_weight,
            **kwargs)
        check_numbers(dict(gamma_pos=gamma_pos, gamma_neg=gamma_neg), least=0)
        if clip is not None:
            check_number('clip', clip, least=0, below=1)
        check_number('eps', eps, least=0, below=1)
        self.gamma_pos, self.gamma_neg = gamma_pos, gamma_neg
        self.clip, self.eps = clip, eps

    @property
    def binary(self) -> bool:
        """Each class is an element, with a softmax too."""
        return True

    def mask_removed(self, inputs: Inputs) -> None:
        """Keep the logits of a softmax, unless all classes are removed."""
        pred, removed = inputs.pred, inputs.removed
        super().mask_removed(inputs)
        if not self.use_sigmoid and removed is not None:
            whole = removed.expand(pred.shape).all(
                dim=self.class_axis(pred, inputs.target), keepdim=True)
            inputs.pred = pred.masked_fill(whole, 0)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        dense = self.dense_target(pred, target)
        options: Any = {
            'gamma_pos': self.gamma_pos,
            'gamma_neg': self.gamma_neg,
            'clip': self.clip,
            'eps': self.eps
        }
        if self.use_sigmoid and self.eps <= 0.5:
            loss = with_gradient(asymmetric_loss, asymmetric_and_derivative,
                                 pred, dense, **options)
        else:
            loss = asymmetric_loss(
                pred,
                dense,
                **options,
                use_sigmoid=self.use_sigmoid,
                dim=self.class_axis(pred, target))
        class_weight = self.weight_of_classes(pred, target)
        return loss if class_weight is None else loss * class_weight
