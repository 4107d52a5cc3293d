"""Cross entropy by softmax, by sigmoid and of masks; label smoothing."""
from __future__ import annotations
from typing import Any, Dict, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments, Inputs
from mmlosses.core.buffers import register_weights
from mmlosses.core.checks import (check_choice, check_index, check_label_range,
                                  check_number, check_same_shape, check_size,
                                  check_tensor, least_of)
from mmlosses.core.classification import (ClassificationArguments,
                                          ClassificationLoss, CustomClassLoss,
                                          SampleLoss)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import KeypointArguments, KeypointLoss
from mmlosses.core.numeric import without_impossible
from mmlosses.core.reduction import EPS, align_weight
from mmlosses.registry import MODELS
from .hard_negative import binary_cross_entropy


def soft_cross_entropy(log_prob: Tensor,
                       target: Tensor,
                       class_weight: Tensor | None = None) -> Tensor:
    r"""Cross entropy of a distribution over the classes on axis 1.

    .. math::
        -\sum_c w_c t_c \log p_c, \qquad 0 \cdot \infty = 0

    Log-probabilities p and probabilities t are (N, C, \*), the result (N, \*).
    ``class_weight`` w broadcasts to ``target``.
    """
    log_prob = without_impossible(log_prob, target)
    if class_weight is not None:
        target = target * class_weight
    return -(target * log_prob).sum(dim=1)


def smooth_labels(target: Tensor, smoothing: float, distribute: str,
                  num_classes: int) -> Tensor:
    """Redistribute target probabilities, see :class:`LabelSmoothLoss`."""
    if distribute != 'others':
        return (1 - smoothing) * target + smoothing / num_classes
    others = smoothing / max(num_classes - 1, 1)
    return (1 - smoothing) * target + others * (1 - target)


def smooth_cross_entropy(log_prob: Tensor,
                         labels: Tensor,
                         smoothing: float,
                         distribute: str,
                         class_weight: Tensor | None = None) -> Tensor:
    r"""Cross entropy of smoothed labels (N, \*), without materialising them.

    Args: see :func:`soft_cross_entropy` and :class:`LabelSmoothLoss`.
    """
    if class_weight is not None:
        log_prob = log_prob * class_weight
    classes = log_prob.shape[1]
    uniform = distribute != 'others'
    others = smoothing / (classes if uniform else max(classes - 1, 1))
    own = 1 - smoothing + others * uniform
    label = -log_prob.gather(1, labels.unsqueeze(1)).squeeze(1)
    if smoothing == 0:
        # Another class may have probability 0: 0 * inf.
        return label
    return (own - others) * label - others * log_prob.sum(dim=1)


def weighted_binary_cross_entropy(pred: Tensor, target: Tensor,
                                  class_weight: Tensor | None,
                                  pos_weight: Tensor | None) -> Tensor:
    r"""Binary cross entropy of logits, with weights of the classes.

    .. math::
        -w_c \left(v_c t_c \log \sigma(x_c)
        + (1 - t_c) \log (1 - \sigma(x_c))\right)

    Without ``pos_weight`` v, ``class_weight`` w is that of the positives, as
    in mmdet.
    """
    if pos_weight is None:
        return F.binary_cross_entropy_with_logits(
            pred, target, pos_weight=class_weight, reduction='none')
    return F.binary_cross_entropy_with_logits(
        pred, target, class_weight, pos_weight=pos_weight, reduction='none')


def as_mmpretrain(kwargs: Dict[str, Any], use_sigmoid: Any) -> None:
    """Give ``class_weight`` of a sigmoid the meaning of mmpretrain."""
    weights = kwargs.get('class_weight')
    if use_sigmoid and weights is not None:
        if kwargs.get('pos_weight') is None:
            kwargs['pos_weight'] = [1.0] * len(weights)


def register_pos_weight(loss: ClassificationLoss,
                        pos_weight: Sequence[float] | Tensor | None) -> None:
    """Keep the weights of positives, which only a sigmoid has."""
    if pos_weight is not None and not loss.use_sigmoid:
        raise ValueError('pos_weight needs use_sigmoid=True, got '
                         f'{loss.use_sigmoid!r}')
    register_weights(loss, 'pos_weight', pos_weight, 'class')


def multi_positive_cross_entropy(pred: Tensor, target: Tensor) -> Tensor:
    r"""Return the loss (N, \*), see :class:`MultiPosCrossEntropyLoss`."""
    # Two of it can be added, and its exponential is 0.
    nothing = torch.finfo(pred.dtype).min / 4
    positives = (-pred).masked_fill(~(target >= 1), nothing).logsumexp(dim=1)
    negatives = pred.masked_fill(target != 0, nothing).logsumexp(dim=1)
    # Not softplus, which is exact up to a threshold only.
    return -F.logsigmoid(-(negatives + positives))


@MODELS.register_module()
class CrossEntropyLoss(ClassificationLoss):
    r"""Cross entropy by softmax, by sigmoid, or of RoI masks.

    .. math::
        L_{softmax} = -w_y \log p_y \quad \text{or} \quad
        -\sum_c w_c t_c \log p_c, \qquad p = \mathrm{softmax}(pred)

    .. math::
        L_{sigmoid} = -w_c t_c \log \sigma(x_c)
        - (1 - t_c) \log (1 - \sigma(x_c))

    with the class weights :math:`w` and the label :math:`y` or, of the shape
    of ``pred``, the one-hot or soft target :math:`t`.

    Args:
        use_sigmoid (bool): If True, each class is a binary decision, and index
            labels become one-hot. The background label, ``num_classes``, is
            negative for every class: with one channel, label 0 is foreground.
            Negative targets are ignored, as in mmdet. Default: False.
        use_mask (bool): If True, the third argument is the class of each RoI,
            whose channel of ``pred`` is compared with the mask by sigmoid;
            pass weights as ``target_weight``. Default: False.
        class_weight (list[float] | float | Tensor, optional): Weight of each
            class, or one for all: with a softmax of its samples, with
            ``use_mask`` of its RoIs, with a sigmoid of its positives.
            Default: None.
        ignore_index (int, optional): Label to ignore, -100 for ``None``.
            Default: -100.
        avg_non_ignore (bool): If True, ``'mean'`` without ``avg_factor`` does
            not count ignored elements. Default: False.
        avg_class_weight (bool, optional): If True, ``'mean'`` without
            ``avg_factor`` divides by the sum of the class weights of the
            labels that are not ignored, as torch and mmseg do, instead of the
            number of elements, as mmdet does. Rare classes then weigh more
            relative to others, at the same size of the loss. A soft label
            counts :math:`\sum_c w_c t_c`, where torch counts 1. No effect
            without ``class_weight``; needs a softmax. ``None`` is True in a
            call with ``ignore_index=``, which only mmseg's heads pass.
            Default: None.
        pos_weight (list[float] | Tensor, optional): With a sigmoid, weight of
            the positives of each class, as in torch and mmpretrain, where
            ``class_weight`` multiplies positives and negatives.
            Default: None.

    mmpretrain's ``use_soft`` is accepted: the target has the shape of
    ``pred`` then, and ``class_weight`` has mmpretrain's meaning.

    Shape:
        - pred: logits (N, C, \*), with a sigmoid any shape.
        - target: integer labels (N, \*), or as pred; a mask is (N, \*).
        - weight: (N, \*); with ``use_mask`` the integer RoI classes (N,).
        - returns: 0-dim; for ``'none'`` (N, \*), with a sigmoid as pred.

    Differs from upstream:
        - With ``use_mask`` mmdet returns the shape (1,) and rejects
          ``avg_factor`` and every reduction but ``'mean'``; its
          ``class_weight`` multiplies columns of pixels instead of RoIs.
        - A row that is ignored, or of weight 0, has no gradient even where its
          logits are NaN or its label is out of range.
        - mmdet's ``avg_non_ignore`` synchronises with the host, and for soft
          labels divides by the number of entries instead of samples.
        - mmseg raises an IndexError for ``class_weight`` and the label 255,
          and with a sigmoid its ``class_weight`` is one of pixel columns.
    """
    info = LossInfo(
        purpose='classification by softmax or sigmoid, and RoI masks',
        slots="any ``loss_cls``; RPN; ``loss_mask`` of mmdet's FCN mask head",
        expects='scores',
        source='The losses of the same name of torch (softmax) and mmdet '
        '(calls and arguments).')
    published = {
        'use_soft':
        "mmpretrain's meaning of ``class_weight``; the shape of a target says "
        'whether it holds labels'
    }
    masks_after_formula = True

    def __init__(self,
                 use_sigmoid: bool = False,
                 use_mask: bool = False,
                 class_weight: Sequence[float] | Tensor | float | None = None,
                 ignore_index: int | None = -100,
                 avg_non_ignore: bool = False,
                 avg_class_weight: bool | None = None,
                 pos_weight: Sequence[float] | Tensor | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(use_sigmoid, class_weight, ignore_index, **kwargs)
        if use_sigmoid and use_mask:
            raise ValueError('use_mask has a sigmoid of its own, got '
                             'use_sigmoid=True and use_mask=True')
        if avg_class_weight and (use_sigmoid or use_mask):
            raise ValueError('avg_class_weight needs a softmax, got '
                             f'use_sigmoid={use_sigmoid} and '
                             f'use_mask={use_mask}')
        self.use_mask, self.avg_non_ignore = use_mask, avg_non_ignore
        self.avg_class_weight = avg_class_weight
        register_pos_weight(self, pos_weight)

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """Translate the arguments that only mmpretrain has."""
        use_sigmoid = args[0] if args else kwargs.get('use_sigmoid')
        if 'use_soft' in kwargs:
            if kwargs.pop('use_soft') and use_sigmoid:
                raise ValueError('use_soft needs a softmax, got '
                                 'use_sigmoid=True')
            as_mmpretrain(kwargs, use_sigmoid)
        return super().own_arguments(args, kwargs)

    @property
    def binary(self) -> bool:
        return self.use_sigmoid or self.use_mask

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        class_weight = None if self.use_mask else self.weight_of_classes(
            pred, target)
        if self.binary:
            return weighted_binary_cross_entropy(
                pred, self.dense_target(pred, target), class_weight,
                self.weight_of_classes(pred, target, 'pos_weight'))
        if target.ndim == pred.ndim:
            return soft_cross_entropy(
                F.log_softmax(pred, dim=1), target.to(pred.dtype),
                class_weight)
        self.check_labels(pred, target)
        if class_weight is not None:
            class_weight = class_weight.flatten()
        return F.cross_entropy(pred, target, class_weight, reduction='none')

    def ignored(self, pred: Tensor, target: Tensor,
                ignore_index: int | None) -> Tensor | None:
        """Also ignore negative targets of a sigmoid, as in mmdet."""
        ignore_index = -100 if ignore_index is None else ignore_index
        if not self.binary:
            return super().ignored(pred, target, ignore_index)
        least = least_of(target)
        if least is None or not least >= 0:
            return (target < 0) | (target == ignore_index)
        if ignore_index < 0:
            return None
        return super().ignored(pred, target, ignore_index)

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                *args: Any,
                target_weight: Tensor | None = None,
                **kwargs: Any) -> Tensor:
        """With ``use_mask``, ``weight`` is the class of each RoI."""
        if self.use_mask:
            check_index(weight, 'with use_mask, the third argument')
            kwargs['_mask_labels'], weight = weight, target_weight
            target_weight = None
        # Python 3.8 does not compile a keyword beside **kwargs.
        kwargs['target_weight'] = target_weight
        return super().forward(pred, target, weight, *args, **kwargs)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                *args: Any,
                _mask_labels: Tensor | None = None,
                **options: Any) -> Inputs:
        """With ``use_mask``, select the channel of each RoI's class."""
        if _mask_labels is not None:
            pred, weight = self.masks_of_labels(pred, target, _mask_labels,
                                                weight)
        return super().prepare(pred, target, weight, *args, **options)

    def count(self, inputs: Inputs, ignored: Tensor | None) -> float | Tensor:
        """Count the elements, or add their class weights."""
        by_class = self.avg_class_weight
        if by_class is None:
            by_class = inputs.ignores and not self.binary
        if not by_class or self._class_weight is None:
            return super().count(inputs, ignored)
        pred, labels = inputs.pred, inputs.target
        class_weight = self.weight_of_classes(pred, labels)
        assert class_weight is not None
        if labels.ndim == pred.ndim:
            # Of a removed element, any number may be NaN.
            return EPS + (labels.nan_to_num(0, 0, 0) * class_weight).sum()
        counted = (labels >= 0) & (labels < pred.shape[1])
        if ignored is not None:
            counted = counted & ~ignored
        index = labels.masked_fill(~counted, 0)
        return EPS + (class_weight.flatten()[index] * counted).sum()

    def masks_of_labels(self, pred: Tensor, target: Tensor, labels: Tensor,
                        weight: Tensor | None) -> Tuple[Tensor, Tensor | None]:
        """Return the channel of each RoI's class, and the pixel weights."""
        if pred.ndim < 2 or labels.shape != pred.shape[:1]:
            raise ValueError(
                'with use_mask, pred must have the shape (N, C, ...) and the '
                f'third argument (N,), the class of each RoI, got '
                f'{tuple(pred.shape)} and {tuple(labels.shape)}')
        pixels = pred.shape[:1] + pred.shape[2:]
        labels = labels.long()
        if weight is not None:
            weight = align_weight(weight, pixels)
            removed = weight == 0
            while removed.ndim > 1:
                removed = removed.all(dim=-1)
            labels = labels.masked_fill(removed, 0)
        check_label_range(labels, pred.shape[1], 'with use_mask, labels')
        class_weight = self.weight_of_classes(pred, target)
        if class_weight is not None:
            class_weight = align_weight(class_weight.flatten()[labels], pixels)
            weight = class_weight if weight is None else class_weight * weight
        # Unlike `gather`, it does not keep the maps of all classes.
        rows = torch.arange(len(pred), device=pred.device) * pred.shape[1]
        return pred.flatten(0, 1).index_select(0, rows + labels), weight


@MODELS.register_module()
class LabelSmoothLoss(ClassificationLoss):
    r"""Cross entropy with smoothed labels.

    .. math::
        L = -\sum_c w_c q_c \log p_c, \qquad p = \mathrm{softmax}(pred)
        \\
        \text{'others'}: q = (1 - \epsilon) t + \frac{\epsilon}{K - 1} (1 - t)
        \qquad
        \text{'uniform'}: q = (1 - \epsilon) t + \frac{\epsilon}{K}

    with the class weights :math:`w` and the target t, one-hot for labels.

    Args:
        smoothing (float): Share :math:`\epsilon` of each label that is
            redistributed, from 0 to below 1. Default: 0.1.
        distribute (str): ``'others'``, over the K - 1 other classes, or
            ``'uniform'``, over all K, as in torch. ``'others'`` with
            :math:`\epsilon` equals ``'uniform'`` with
            :math:`\epsilon K / (K - 1)`. ``'classes'`` is ``'uniform'``, but
            K is the number of classes for a sigmoid too, as in ResNet strikes
            back. Default: ``'others'``.
        use_sigmoid (bool): If True, each class is a binary decision, with K =
            2, and index labels become one-hot. Default: False.
        num_classes (int, optional): Number of classes; if given, predictions
            are checked for it. Default: None.
        class_weight (list[float] | Tensor, optional): Weight of each class;
            with a sigmoid, of its positives. Default: None.
        ignore_index (int, optional): Label to ignore. Default: -100.
        pos_weight (list[float] | Tensor, optional): As in
            :class:`CrossEntropyLoss`. Default: None.

    mmpretrain's ``label_smooth_val`` and ``mode`` are accepted instead of
    ``smoothing`` and ``distribute``, and ``class_weight`` has its meaning
    then.

    Differs from upstream:
        - mmpretrain takes no labels to ignore.
        - A logit of -inf for a class without a share of the label is no NaN.
        - Ignored labels and class weights work. ``'mean'`` divides by the
          number of all labels, torch's by the weights of those not ignored.
        - With one class the loss is 0 instead of a division by zero.
    """
    info = LossInfo(
        purpose='classification with labels that may be wrong',
        slots='``loss_cls`` of softmax heads',
        expects='scores',
        search=dict(smoothing=(0.01, 0.3)),
        paper=Paper(
            'Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon '
            'Shlens, Zbigniew Wojna',
            'Rethinking the Inception Architecture for Computer Vision',
            'CVPR', 2016, '1512.00567'),
        source='It distributes uniformly.')
    published = {
        'label_smooth_val':
        "``smoothing``, with ``distribute='classes'`` and mmpretrain's "
        'meaning of ``class_weight``',
        'mode':
        "beside it: ``'classy_vision'`` divides the smoothing by 1 + itself, "
        "``'multi_label'`` is a sigmoid with twice the smoothing"
    }
    masks_after_formula = True

    def __init__(self,
                 smoothing: float = 0.1,
                 distribute: str = 'others',
                 use_sigmoid: bool = False,
                 num_classes: int | None = None,
                 *,
                 ignore_index: int | None = -100,
                 pos_weight: Sequence[float] | Tensor | None = None,
                 **kwargs: Unpack[ClassificationArguments]) -> None:
        super().__init__(use_sigmoid, ignore_index=ignore_index, **kwargs)
        register_pos_weight(self, pos_weight)
        check_number('smoothing', smoothing, least=0, below=1)
        check_choice('distribute', distribute,
                     ('others', 'uniform', 'classes'))
        if num_classes is not None:
            check_size('num_classes', num_classes)
        self.smoothing, self.distribute = smoothing, distribute
        self.num_classes = num_classes

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """Translate the arguments that only mmpretrain has."""
        if 'label_smooth_val' not in kwargs:
            return super().own_arguments(args, kwargs)
        for name in ('smoothing', 'distribute'):
            if args or name in kwargs:
                raise TypeError(f'label_smooth_val replaces {name}, got both')
        value, mode = kwargs.pop('label_smooth_val'), kwargs.pop(
            'mode', 'original')
        check_number('label_smooth_val', value, least=0, below=1)
        check_choice('mode', mode,
                     ('original', 'classy_vision', 'multi_label'))
        if mode == 'classy_vision':
            value = value / (1 + value)
        if kwargs.get('use_sigmoid') is None:
            kwargs['use_sigmoid'] = mode == 'multi_label'
        if mode == 'multi_label' and not kwargs['use_sigmoid']:
            raise ValueError("mode='multi_label' needs use_sigmoid=True, got "
                             'False')
        as_mmpretrain(kwargs, kwargs['use_sigmoid'])
        if mode == 'multi_label':
            return args, dict(
                kwargs, smoothing=2 * value, distribute='uniform')
        return args, dict(kwargs, smoothing=value, distribute='classes')

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Also check the number of classes."""
        shape = super().element_shape(pred, target)
        if self.num_classes not in (None, *pred.shape[1:2]):
            raise ValueError(f'pred must have num_classes={self.num_classes} '
                             'channels on axis 1, got the shape '
                             f'{tuple(pred.shape)}')
        return shape

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        class_weight = self.weight_of_classes(pred, target)
        settings = self.smoothing, self.distribute
        if not self.use_sigmoid and target.ndim < pred.ndim:
            self.check_labels(pred, target)
            return smooth_cross_entropy(
                F.log_softmax(pred, dim=1), target, *settings, class_weight)
        target = smooth_labels(
            self.dense_target(pred, target), *settings, 2 if self.use_sigmoid
            and self.distribute != 'classes' else pred.shape[1])
        if self.use_sigmoid:
            return weighted_binary_cross_entropy(
                pred, target, class_weight,
                self.weight_of_classes(pred, target, 'pos_weight'))
        return soft_cross_entropy(
            F.log_softmax(pred, dim=1), target, class_weight)


@MODELS.register_module()
class CrossEntropyCustomLoss(CustomClassLoss, CrossEntropyLoss):
    r"""Cross entropy that tells its head about the classes, as for V3Det.

    .. math::
        L_{softmax} = -w_y \log p_y, \qquad
        L_{sigmoid} = -w_c t_c \log \sigma(x_c)
        - (1 - t_c) \log (1 - \sigma(x_c))

    Loss, arguments and shapes are those of :class:`CrossEntropyLoss`. The box
    heads of mmdet get from it the number of channels, ``num_classes`` for a
    sigmoid and one more for a softmax, scores and accuracy. So they can be
    trained with a sigmoid, whose background score is 1 minus the sum of the
    others, at least 0.

    Args:
        num_classes (int): Number of classes, without the background.

    Differs from upstream:
        - mmdet synchronises with the host for the accuracy.
        - A prediction with another number of channels raises an error.
    """
    info = LossInfo(
        purpose='two-stage detection by sigmoid, with many classes',
        slots="``loss_cls`` of the box heads in mmdet's configs for V3Det",
        expects='scores',
        source='The loss of the same name of mmdet, for V3Det.')

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return the scores, with that of the background last."""
        scores = super().get_activation(cls_score)
        if not self.use_sigmoid:
            return scores
        rest = 1 - scores.sum(dim=1, keepdim=True)
        return torch.cat([scores, rest.clamp(0, 1)], dim=1)


@MODELS.register_module()
class BCELoss(KeypointLoss):
    r"""Binary cross entropy of logits, or of probabilities.

    .. math::
        L = -\frac{1}{N} \sum_i w_i
        \left( t_i \log p_i + (1 - t_i) \log (1 - p_i) \right), \qquad
        p = \sigma(pred)

    Args:
        use_sigmoid (bool): As in mmpose, whether the **head** applies the
            sigmoid: if True, ``pred`` holds probabilities, if False, logits.
            In every other loss it is the other way round.
            ``VisPredictHead`` reads it from the config. Default: False.

    Shape:
        - pred, target: (\*), the same; targets from 0 to 1.
        - weight: as pred, or without trailing axes, such as (N,).
        - returns: 0-dim, or the shape of pred for ``'none'``.

    Differs from upstream:
        - mmpose returns NaN where an element of weight 0 holds NaN, and for
          such probabilities raises an error.
        - mmpose fails on integer targets of probabilities.
        - A probability of exactly 0 or 1 has gradient 0, instead of up to
          1e12.
    """
    info = LossInfo(
        purpose='visibility of keypoints, objectness',
        slots="``loss`` of mmpose's ``VisPredictHead``; ``loss_vis`` and "
        '``loss_obj`` of YOLOX-Pose, ``loss_vis`` of RTMO',
        expects='logits',
        source='No paper; the loss of the same name of mmpose.')

    def __init__(self,
                 *,
                 use_sigmoid: bool = False,
                 **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(**kwargs)
        self.use_sigmoid = use_sigmoid
        # Of probabilities, torch's function refuses any target out of range.
        self.masks_after_formula = not use_sigmoid

    @property
    def takes_probabilities(self) -> bool:
        return self.use_sigmoid

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(pred, target.to(pred.dtype),
                                    not self.use_sigmoid)


@MODELS.register_module()
class MultiPosCrossEntropyLoss(SampleLoss):
    r"""Contrastive loss of samples with several positives.

    .. math::
        L = \frac{1}{N} \sum_i w_i \log \Bigl( 1 + \sum_{j \in P_i}
        \sum_{k \in N_i} e^{s_{ik} - s_{ij}} \Bigr)

    with the similarities :math:`s` of sample i to its positives P and
    negatives N. Without either, the loss is 0.

    Shape:
        - pred: similarities (N, M, \*).
        - target: as pred, integers or booleans: positives are at least 1,
          negatives 0; a number below 0 excludes the pair.
        - weight: (N, \*).
        - returns: 0-dim; for ``'none'`` (N, \*).

    Differs from upstream:
        - mmdet computes each of the M^2 pairs of a sample; here, two sums
          over M give the same.
        - mmdet synchronises with the host.
        - For a pair to exclude, mmdet adds similarities of 0.
        - mmdet returns NaN where a sample of weight 0 holds NaN.
    """
    info = LossInfo(
        purpose='embeddings for tracking, with several matches',
        slots="``loss_track`` of QDTrack's embedding head",
        expects='numbers',
        paper=Paper(
            'Jiangmiao Pang, Linlu Qiu, Xia Li, Haofeng Chen, Qi Li, Trevor '
            'Darrell, Fisher Yu',
            'Quasi-Dense Similarity Learning for Multiple Object Tracking',
            'CVPR', 2021, '2006.06664'))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_tensor('target', target)
        check_same_shape(pred, target)
        return self.samples(pred)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return multi_positive_cross_entropy(pred, target)
