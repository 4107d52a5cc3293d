"""Losses for classes of which some are rare."""
from __future__ import annotations
import math
from typing import Any, Dict, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.checks import (check_index, check_label_range, check_number,
                                  check_numbers, check_sigmoid, check_size,
                                  check_softmax)
from mmlosses.core.classification import (ClassificationArguments,
                                          ClassificationLoss, check_head)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.reduction import reduce_loss
from mmlosses.core.statistics import StatisticsLoss
from mmlosses.core.tensors import upcast
from mmlosses.registry import MODELS


def accuracy(cls_score: Tensor,
             labels: Tensor,
             counted: Tensor | None = None) -> Tensor:
    """Return the percentage of scores (N, C) whose label is the largest."""
    if cls_score.shape[0] == 0:
        return cls_score.new_zeros(())
    right = cls_score.argmax(dim=-1) == labels
    if counted is None:
        counted = torch.ones_like(right)
    number = counted.sum().clamp(min=1)
    return 100 * (right & counted).sum() / number


def seesaw_cross_entropy(pred: Tensor,
                         labels: Tensor,
                         cum_samples: Tensor,
                         p: float = 0.8,
                         q: float = 2.0,
                         eps: float = 1e-2) -> Tensor:
    r"""Cross entropy with the factors of :class:`SeesawLoss`, in log space.

    .. math::
        -\log \frac{e^{z_y}}{\sum_j M_{yj} C_{yj} \, e^{z_j}}

    The logits are (N, C, \*), the labels and the result (N, \*). The factors
    of the numbers (C,) and of the probabilities have no gradient.
    """
    index = labels.unsqueeze(1)
    log_prob = F.log_softmax(pred.detach(), dim=1)
    own = log_prob.gather(1, index).clamp(min=math.log(eps))
    numbers = cum_samples.clamp(min=1).log().to(pred.dtype)
    own_number = numbers[labels].unsqueeze(1)
    numbers = numbers.reshape((1, -1) + (1, ) * (pred.ndim - 2))
    # Both are 0 for the class itself.
    mitigation = (numbers - own_number).clamp_(max=0).mul_(p)
    compensation = (log_prob - own).clamp_(min=0)
    factors = torch.add(mitigation, compensation, alpha=q)
    return F.cross_entropy(pred + factors, labels, reduction='none')


@MODELS.register_module()
class SeesawLoss(ClassificationLoss, StatisticsLoss):
    r"""Seesaw loss: weakens the push of frequent classes on rare ones.

    .. math::
        L = -\log \frac{e^{z_y}}{\sum_j M_{yj} C_{yj} \, e^{z_j}}, \qquad
        M_{yj} = \min(1, (N_j / N_y)^p), \qquad
        C_{yj} = \max(1, (\sigma_j / \max(\sigma_y, \epsilon))^q)

    with the probabilities :math:`\sigma = \mathrm{softmax}(z)` and the numbers
    :math:`N_j` of samples of each class so far, at least 1. A sample of a
    frequent class pushes a rare one down less (mitigation M), unless that has
    the larger score (compensation C).

    In a head with a background, the last two of C + 2 scores tell objects from
    background, by plain cross entropy, and the seesaw is between the classes
    of objects. For C scores, as in mmpretrain, there is the seesaw only.

    The buffer ``cum_samples`` (C + 1,) has the numbers, the last that of the
    background. In training mode each call adds the samples whose weight is not
    0, before use. Distributed training needs ``SyncStatisticsHook``, with
    which each iteration adds the samples of all ranks.

    Args:
        use_sigmoid (bool): For heads that read it; only False. Default: False.
        p (float): Exponent of the mitigation; the paper uses 0.8.
            Default: 0.8.
        q (float): Exponent of the compensation; the paper uses 2.
            Default: 2.0.
        num_classes (int): Number C of classes, without background.
            Default: 1203, that of LVIS v1.
        eps (float): Least probability of the label in the compensation.
            Default: 0.01.
        return_dict (bool): If True, the loss of C + 2 scores is a dict of
            ``loss_cls_objectness`` and ``loss_cls_classes``, which the heads
            of mmdet log; else their sum. Default: True.
        class_weight (list[float] | Tensor, optional): Weight of each class,
            for its samples. Default: None.

    Shape:
        - cls_score (pred): logits (N, C + 2, \*) or (N, C, \*).
        - labels (target): (N, \*), integers; of C + 2 scores, C is background.
        - weight: (N, \*).
        - returns: 0-dim, or (N, \*) for ``'none'``; a dict of two such.

    Differs from upstream:
        - Evaluation does not count its samples.
        - A label of weight 0 is not counted, and may be out of range.
        - The numbers of a model in half precision are kept in float32; there,
          mmdet's stop at 2,048.
        - ``'none'`` without ``return_dict``: mmdet adds different shapes.
        - No call synchronises with the host, which mmdet's does for each
          class, or makes a matrix of all pairs of classes.
        - mmpretrain's loss of the same name is that of C scores. Its default
          of ``num_classes`` is 1000.
    """
    info = LossInfo(
        purpose='rare classes in a softmax, as in LVIS',
        slots="``loss_cls`` of mmdet's RoI heads, as in Mask R-CNN for LVIS",
        expects='scores',
        search=dict(p=(0.2, 1.6), q=(0.5, 4.0)),
        paper=Paper(
            'Jiaqi Wang, Wenwei Zhang, Yuhang Zang, Yuhang Cao, Jiangmiao '
            'Pang, Tao Gong, Kai Chen, Ziwei Liu, Chen Change Loy, Dahua Lin',
            'Seesaw Loss for Long-Tailed Instance Segmentation', 'CVPR', 2021,
            '2008.10032'))
    pred_name = 'cls_score'
    # Read by the heads of mmdet.
    custom_cls_channels = custom_activation = custom_accuracy = True
    cum_samples: Tensor

    def __init__(self,
                 use_sigmoid: bool = False,
                 p: float = 0.8,
                 q: float = 2.0,
                 num_classes: int = 1203,
                 eps: float = 1e-2,
                 *,
                 return_dict: bool = True,
                 ignore_index: int | None = None,
                 **kwargs: Unpack[ClassificationArguments]) -> None:
        check_softmax(use_sigmoid)
        super().__init__(False, ignore_index=ignore_index, **kwargs)
        check_numbers(dict(p=p, q=q), least=0)
        check_size('num_classes', num_classes)
        check_number('eps', eps, above=0)
        self.p, self.q, self.num_classes, self.eps = p, q, num_classes, eps
        self.return_dict = return_dict
        self.register_statistics('cum_samples', torch.zeros(num_classes + 1),
                                 (num_classes + 1, ))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_index(target, 'labels')
        shape = super().element_shape(pred, target)
        allowed = self.num_classes, self.num_classes + 2
        if target.ndim == pred.ndim or pred.shape[1] not in allowed:
            raise ValueError(
                f'with num_classes={self.num_classes}, cls_score must have '
                f'the shape (N, {allowed[1]}), or (N, {allowed[0]}) without a '
                f'background, and labels (N,), got {tuple(pred.shape)} and '
                f'{tuple(target.shape)}')
        return shape

    def check_labels(self, pred: Tensor, target: Tensor) -> None:
        background = pred.shape[1] > self.num_classes
        check_label_range(target, self.num_classes + background)

    def loss_and_sums(self, pred: Tensor, target: Tensor, kept: Tensor,
                      buffer: Tensor | None) -> Tuple[Tensor, Tensor]:
        """Return the losses (2, N) of objectness and class, or (1, N)."""
        assert buffer is not None
        self.check_labels(pred, target)
        classes, objectness = pred.tensor_split([self.num_classes], dim=1)
        counts = torch.zeros_like(buffer).index_add(
            0, target.flatten(),
            kept.to(buffer.dtype).expand(target.shape).flatten())
        background = target == self.num_classes
        labels = target.masked_fill(background, 0)
        loss = seesaw_cross_entropy(classes, labels, (buffer + counts)[:-1],
                                    self.p, self.q, self.eps)
        class_weight = self.weight_of_classes(classes, target)
        if class_weight is not None:
            loss = loss * class_weight.flatten()[labels]
        if objectness.shape[1] == 0:
            return loss.unsqueeze(0), counts
        loss = loss.masked_fill(background, 0)
        of_object = F.cross_entropy(
            objectness, background.long(), reduction='none')
        return torch.stack([of_object, loss]), counts

    def moved(self, sums: Tensor) -> Tensor:
        return self.cum_samples + sums

    def count(self, inputs: Inputs, ignored: Tensor | None) -> Tensor:
        """Return the number of samples, and that of objects not removed."""
        objects = inputs.target < self.num_classes
        if inputs.removed is not None:
            objects = objects & ~inputs.removed
        number = objects.sum()
        samples = torch.full_like(number, objects.numel())
        return torch.stack([samples, number]).clamp(min=1)

    def reduce(self, loss: Tensor, inputs: Inputs, reduction: str) -> Tensor:
        """Reduce each term: (2,) or (1,), or (2, N) for ``'none'``."""
        assert isinstance(inputs.denominator, Tensor)
        terms = [
            reduce_loss(term, reduction, number, inputs.avg_factor)
            for term, number in zip(loss, inputs.denominator)
        ]
        return torch.stack(terms)

    def forward(self, cls_score: Tensor, labels: Tensor, *args: Any,
                **kwargs: Any) -> Dict[str, Tensor] | Tensor:
        """Return the loss, or a dict of its terms."""
        terms = super().forward(cls_score, labels, *args, **kwargs)
        if not self.return_dict or len(terms) == 1:
            return terms.sum(dim=0)
        objectness, classes = terms.unbind()
        return {'loss_cls_objectness': objectness, 'loss_cls_classes': classes}

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the number of scores of a head with a background."""
        return check_head(self, num_classes) + 2

    def split(self, cls_score: Tensor) -> Tuple[Tensor, Tensor]:
        """Split (N, C + 2) into the scores of the classes and the others."""
        if cls_score.shape[-1] != self.num_classes + 2:
            raise ValueError('cls_score must have the shape (N, '
                             f'{self.num_classes + 2}), got '
                             f'{tuple(cls_score.shape)}')
        return cls_score[..., :-2], cls_score[..., -2:]

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the probabilities (N, C + 1) of scores (N, C + 2)."""
        classes, objectness = self.split(upcast(cls_score))
        one, other = objectness.softmax(dim=-1).split(1, dim=-1)
        return torch.cat([classes.softmax(dim=-1) * one, other], dim=-1)

    def get_accuracy(self, cls_score: Tensor,
                     labels: Tensor) -> Dict[str, Tensor]:
        """Return the percentages of right objectness and right classes."""
        classes, objectness = self.split(cls_score)
        background = labels == self.num_classes
        return {
            'acc_objectness': accuracy(objectness, background.long()),
            'acc_classes': accuracy(classes, labels, ~background)
        }

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str,
                              *args: Any) -> None:
        """Also load the counts of mmpretrain, without the background."""
        name = f'{prefix}cum_samples'
        counts = state_dict.get(name)
        if counts is not None and counts.shape == (self.num_classes, ):
            state_dict[name] = F.pad(counts, (0, 1))
        super()._load_from_state_dict(state_dict, prefix, *args)


def gradient_ratio(gradients: Tensor) -> Tensor:
    """Return positive by negative gradients (2, C), and 100 before any."""
    positive, negative = gradients.unbind()
    ratio = positive / (negative + 1e-10)
    return torch.where(negative > 0, ratio, torch.full_like(ratio, 100.0))


def equalized_weights(ratio: Tensor, mu: float, alpha: float,
                      gamma: float) -> Tuple[Tensor, Tensor]:
    r"""Return the weights of positives and negatives of each class.

    .. math::
        w^- = \frac{1}{1 + e^{-\gamma (r - \mu)}}, \qquad
        w^+ = 1 + \alpha (1 - w^-)
    """
    negative = torch.sigmoid(gamma * (ratio - mu))
    return 1 + alpha * (1 - negative), negative


@MODELS.register_module()
class EQLV2Loss(ClassificationLoss, StatisticsLoss):
    r"""Equalization loss v2: balances the gradients of each class.

    .. math::
        L = \frac{1}{N} \sum_n \sum_j (w_j^+ t_{nj} + w_j^- (1 - t_{nj})) \,
        \mathrm{BCE}(x_{nj}, t_{nj})

    .. math::
        w_j^- = \frac{1}{1 + e^{-\gamma (g_j - \mu)}}, \qquad
        w_j^+ = 1 + \alpha (1 - w_j^-)

    with the ratio :math:`g_j` of the gradients that class j has had so far as
    a positive and as a negative. A rare class, with :math:`g_j` near 0, gets
    more from its positives and less from its negatives. The last of C + 1
    scores is that of the background, without weights.

    The buffer ``gradients`` (2, C) has the sums of :math:`w |\sigma(x) - t|`
    of positives and negatives; while it is 0, all weights are 1. In training
    mode each call adds to it, after use, the samples whose weight is not 0.
    Distributed training needs ``SyncStatisticsHook``, with which each
    iteration adds those of all ranks.

    Args:
        use_sigmoid (bool): For heads that read it; only True. Default: True.
        num_classes (int): Number C of classes, without background.
            Default: 1203, that of LVIS v1.
        mu (float): Ratio at which a negative has half of its weight; the paper
            uses 0.8. Default: 0.8.
        alpha (float): Most that a positive gains; the paper uses 4.
            Default: 4.0.
        gamma (float): Steepness of the weights; the paper uses 12.
            Default: 12.0.
        test_with_obj (bool): If True, :meth:`get_activation` multiplies the
            probability of a class by that of no background. Default: True.
        class_weight (list[float] | Tensor, optional): Weight of each of the
            C + 1 scores. Default: None.

    Shape:
        - cls_score (pred): logits (N, C + 1, \*).
        - label (target): integers (N, \*), where C is background, or one-hot,
          as pred.
        - weight: (N, \*), or as pred.
        - returns: 0-dim; for ``'none'`` as pred. ``'mean'`` without
          ``avg_factor`` divides by the number of samples N.

    Differs from upstream:
        - mmdet ignores ``weight``, ``avg_factor``, ``reduction``,
          ``reduction_override`` and ``class_weight``.
        - mmdet's ``BBoxHead`` tests it with a softmax, since it has none of
          the attributes that select :meth:`get_activation`.
        - Without samples, the loss is 0, in mmdet NaN; and the ratios stay.
        - Evaluation does not move the ratios.
        - The gradients of all ranks are added by ``SyncStatisticsHook``, and
          no call communicates: ``use_distributed``, and ``vis_grad``, which
          mmdet never reads, are accepted without effect.
        - Labels (N,) of mmdet's call may be one-hot. Checkpoints with mmdet's
          ``pos_grad`` and ``neg_grad`` load.
    """
    info = LossInfo(
        purpose='rare classes with a sigmoid, as in LVIS',
        slots="``loss_cls`` of mmdet's RoI heads",
        expects='scores',
        paper=Paper(
            'Jingru Tan, Xin Lu, Gang Zhang, Changqing Yin, Quanquan Li',
            'Equalization Loss v2: A New Gradient Balance Approach for '
            'Long-Tailed Object Detection', 'CVPR', 2021, '2012.08548'))
    published = dict.fromkeys(('use_distributed', 'vis_grad'), 'no effect')
    pred_name = 'cls_score'
    # Read by the heads of mmdet.
    custom_cls_channels = custom_activation = custom_accuracy = True
    gradients: Tensor

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """Drop the arguments of mmdet that have no effect."""
        for name in cls.published:
            kwargs.pop(name, None)
        return super().own_arguments(args, kwargs)

    def __init__(self,
                 use_sigmoid: bool = True,
                 *,
                 num_classes: int = 1203,
                 mu: float = 0.8,
                 alpha: float = 4.0,
                 gamma: float = 12.0,
                 test_with_obj: bool = True,
                 **kwargs: Unpack[ClassificationArguments]) -> None:
        check_sigmoid(use_sigmoid)
        super().__init__(True, **kwargs)
        check_size('num_classes', num_classes)
        check_numbers(dict(mu=mu, alpha=alpha, gamma=gamma), least=0)
        self.num_classes, self.mu = num_classes, mu
        self.alpha, self.gamma = alpha, gamma
        self.test_with_obj = test_with_obj
        self.register_statistics('gradients', torch.zeros(2, num_classes),
                                 (2, num_classes))

    @property
    def pos_neg(self) -> Tensor:
        """The ratio of positive to negative gradients of each class."""
        return gradient_ratio(self.gradients)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        shape = super().element_shape(pred, target)
        if pred.ndim < 2 or pred.shape[1] != self.num_classes + 1:
            raise ValueError(
                f'cls_score must have the shape (N, {self.num_classes + 1}) '
                f'with num_classes={self.num_classes}, got '
                f'{tuple(pred.shape)}')
        return shape

    def class_axis(self, pred: Tensor, target: Tensor) -> int:
        return 1

    def check_labels(self, pred: Tensor, target: Tensor) -> None:
        check_label_range(target, self.num_classes + 1, 'label')

    def count(self, inputs: Inputs, ignored: Tensor | None) -> float | Tensor:
        """Return the number of samples."""
        return super().count(inputs, ignored) / (self.num_classes + 1)

    def loss_and_sums(self, pred: Tensor, target: Tensor, kept: Tensor,
                      buffer: Tensor | None) -> Tuple[Tensor, Tensor]:
        assert buffer is not None
        class_weight = self.weight_of_classes(pred, target)
        target = self.dense_target(pred, target)
        weights = equalized_weights(
            gradient_ratio(buffer.to(pred.dtype)), self.mu, self.alpha,
            self.gamma)
        shape = (1, -1) + (1, ) * (pred.ndim - 2)
        # The background has the weight 1.
        positive, negative = [
            F.pad(x, (0, 1), value=1.0).reshape(shape) for x in weights
        ]
        weight = torch.lerp(negative, positive, target)
        loss = weight * F.binary_cross_entropy_with_logits(
            pred, target, reduction='none')
        if class_weight is not None:
            loss = loss * class_weight
        norm = (pred.detach().sigmoid() - target).abs_() * weight
        # A non-finite prediction would stay in the sums for ever.
        norm = (norm * kept).nan_to_num_(nan=0.0)
        pulls, axes = norm * target, [0, *range(2, pred.ndim)]
        sums = [x.sum(dim=axes)[:-1] for x in (pulls, norm - pulls)]
        return loss, torch.stack(sums)

    def moved(self, sums: Tensor) -> Tensor:
        return self.gradients + sums

    def forward(self, cls_score: Tensor, label: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss, see :meth:`BaseLoss.forward`."""
        return super().forward(cls_score, label, *args, **kwargs)

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the number of scores of a head."""
        return check_head(self, num_classes) + 1

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the probabilities (N, C + 1) of scores of this shape."""
        prob = upcast(cls_score).sigmoid()
        if not self.test_with_obj:
            return prob
        classes, background = prob[..., :-1], prob[..., -1:]
        return torch.cat([classes * (1 - background), background], dim=-1)

    def get_accuracy(self, cls_score: Tensor,
                     labels: Tensor) -> Dict[str, Tensor]:
        """Return the percentage of samples with the right largest score."""
        return {'acc': accuracy(cls_score, labels)}

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str,
                              *args: Any) -> None:
        """Also load the sums of mmdet's loss."""
        names = ('pos_grad', 'neg_grad', 'pos_neg')
        stock = [state_dict.pop(f'{prefix}{name}', None) for name in names]
        if stock[0] is not None and stock[1] is not None:
            state_dict[f'{prefix}gradients'] = torch.stack(stock[:2])
        super()._load_from_state_dict(state_dict, prefix, *args)
