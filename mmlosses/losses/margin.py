"""Softmax over the angles to class vectors, without and with a margin."""
from __future__ import annotations
import math
from typing import Any, Dict, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlosses.registry import MODELS
from .base import BaseLoss
from .class_entropy import fast_class_entropy
from .class_shard import ClassShard
from .features import (FeatureLoss, check_features, check_size, check_softmax,
                       make_class_vectors)
from .labels import check_label_range, check_sample_labels
from .numeric import safe_sqrt, unit_vectors
from .reduction import autocast_off, check_floating, upcast

BOUNDARIES = ('keep', 'continuous', 'easy', 'none')


def cosine_logits(features: Tensor,
                  class_vectors: Tensor,
                  scale: float = 1.0) -> Tensor:
    r"""Scaled cosine of each feature to each class vector.

    .. math::
        z_{nj} = s \cos\theta_{nj}
        = s \frac{x_n \cdot w_j}{\|x_n\| \, \|w_j\|}

    Args:
        features (Tensor): Features of the samples.
        class_vectors (Tensor): One vector for each class.
        scale (float): Factor s of the cosine.

    Shape:
        - features: (N, D); class_vectors: (C, D).
        - returns: (N, C).

    Returns:
        Tensor: The logits.
    """
    return scale * (unit_vectors(features) @ unit_vectors(class_vectors).T)


def angular_margin(cosine: Tensor,
                   margin: float,
                   boundary: str = 'keep') -> Tensor:
    r"""Cosine of an angle that grows by a margin.

    .. math::
        \phi = \cos(\theta + m) = \cos\theta \cos m - \sin\theta \sin m

    Beyond :math:`\theta = \pi - m` the sum passes :math:`\pi` and the cosine
    would rise again. ``boundary`` says what replaces it there.

    Args:
        cosine (Tensor): Cosine of the angle.
        margin (float): Margin m in radians.
        boundary (str): See :class:`ArcFaceLoss`.

    Shape:
        - cosine, returns: (\*).

    Returns:
        Tensor: The cosine with the margin.
    """
    # By the sum of angles: the gradient of acos is infinite at 0 and pi.
    # Rounding takes the cosine past 1, and the square below 0.
    square = (1 - cosine) * (1 + cosine)
    sine = safe_sqrt(square)
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    if boundary == 'easy':
        return torch.where(cosine > 0, moved, cosine)
    inside = cosine > -math.cos(margin)
    if boundary == 'keep':
        return torch.where(inside, moved, cosine - margin * math.sin(margin))
    if boundary == 'continuous':
        return torch.where(inside, moved, -2 - moved)
    return moved


def scaled_margin(logits: Tensor, scale: float, margin: float,
                  boundary: str) -> Tensor:
    """The angular margin of a scaled cosine, see :func:`arcface_logits`."""
    return scale * angular_margin(logits / scale, margin, boundary)


def arcface_logits(logits: Tensor,
                   labels: Tensor,
                   scale: float,
                   margin: float,
                   boundary: str = 'keep',
                   background: bool = False) -> Tensor:
    r"""Put the angular margin on the logit of each sample's label.

    .. math::
        z_{nj} = s \phi(\theta_{nj}) \text{ for } j = y_n, \qquad
        z_{nj} = s \cos\theta_{nj} \text{ for } j \ne y_n

    with :math:`\phi` of :func:`angular_margin`.

    Args:
        logits (Tensor): ``scale`` times the cosine to each class vector.
        labels (Tensor): The class of each sample.
        scale (float): Factor s of the cosine in ``logits``.
        margin (float): Margin m in radians.
        boundary (str): See :class:`ArcFaceLoss`.
        background (bool): Whether the last class gets no margin.

    Shape:
        - logits, returns: (N, C); labels: (N,).

    Returns:
        Tensor: The logits with the margin.
    """
    index = labels.unsqueeze(1)
    target = logits.gather(1, index)
    moved = scaled_margin(target, scale, margin, boundary)
    if background:
        moved = torch.where(index == logits.shape[1] - 1, target, moved)
    return logits.scatter(1, index, moved)


def check_margin(margin: float, boundary: str) -> None:
    """Raise a ``ValueError`` for arguments that make no margin."""
    if not 0 <= margin < math.pi:
        raise ValueError('margin must be an angle in radians, at least 0 and '
                         f'below pi, got {margin}')
    if boundary not in BOUNDARIES:
        raise ValueError("boundary must be 'keep', 'continuous', 'easy' or "
                         f"'none', got {boundary!r}")


def check_scale(scale: float) -> None:
    """Raise a ``ValueError`` unless the factor of the cosine is positive."""
    if not scale > 0:
        raise ValueError(f'scale must be positive, got {scale}')


class ClassVectorLoss(FeatureLoss):
    """Cross entropy over the similarity to class vectors of the loss's own.

    The vectors are the parameter ``weight`` (num_classes, in_channels), or
    what this rank has of it.

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        use_sigmoid (bool): Always False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
        loss_weight (float): Factor of the reduced loss.
        chunk_size (int, optional): Number of classes whose logits are in
            memory at a time.
        shard_classes (bool): Whether each rank has its part of the vectors.
    """

    def __init__(self, num_classes: int, in_channels: int, use_sigmoid: bool,
                 reduction: str, loss_weight: float, chunk_size: int | None,
                 shard_classes: bool) -> None:
        super().__init__(num_classes, in_channels, reduction, loss_weight)
        check_softmax(use_sigmoid)
        if chunk_size is not None:
            check_size('chunk_size', chunk_size)
        if not isinstance(shard_classes, bool):
            raise ValueError('shard_classes must be True or False, got '
                             f'{shard_classes!r}')
        self.use_sigmoid = use_sigmoid
        self.chunk_size = chunk_size
        self.shard = None
        # The vectors of all ranks, while someone needs them.
        self.whole: Tensor | None = None
        if shard_classes:
            self.shard = ClassShard.of_this_rank(num_classes)
        self.weight = make_class_vectors(num_classes, in_channels, self.shard)

    def queries(self, features: Tensor) -> Tensor:
        """What is multiplied by the class vectors of length 1."""
        raise NotImplementedError

    def with_margin(self, logits: Tensor) -> Tensor:
        """The logits of the labels that are learned from."""
        return logits

    def logits(self, features: Tensor) -> Tensor:
        """The logits (N, C) for inference: no labels, and no margin.

        With ``shard_classes`` of the classes of this rank, but for validation
        and test with :class:`mmlosses.hooks.ShardedClassesHook`.

        Args:
            features (Tensor): Features (N, D).

        Returns:
            Tensor: One logit for each class, in float32 or float64.
        """
        check_features(features, self.in_channels)
        features = upcast(features)
        with autocast_off(features.device.type):
            vectors = self.weight if self.whole is None else self.whole
            vectors = unit_vectors(vectors.to(features.dtype))
            logits = self.queries(features) @ vectors.T
        return logits

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The cross entropy of each sample: (N,)."""
        check_label_range(target, self.num_classes)
        return fast_class_entropy(
            self.queries(pred),
            self.weight.to(pred.dtype),
            target.long(),
            normalize=True,
            move=self.with_margin,
            chunk_size=self.chunk_size,
            shard=self.shard)

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str,
                              *args: Any) -> None:
        """Take the vectors of this rank out of those of all classes."""
        name, shard = f'{prefix}weight', self.shard
        if shard is not None and len(state_dict.get(name,
                                                    ())) == shard.classes:
            state_dict[name] = state_dict[name][shard.begin:shard.end]
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class ModifiedSoftmaxLoss(ClassVectorLoss):
    r"""Softmax cross entropy with class vectors of length 1 and no bias.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{\|x_n\| \cos\theta_{n y_n}}}
        {\sum_j e^{\|x_n\| \cos\theta_{nj}}}, \qquad
        \|x_n\| \cos\theta_{nj} = x_n \cdot \frac{w_j}{\|w_j\|}

    The lengths of the class vectors and a bias no longer decide, only the
    angles do. The length of the features is free. The class vectors
    :math:`w` are the parameter ``weight`` (C, D); :meth:`logits` gives the
    scores for inference. ``reduction='none'`` gives (N,).

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        use_sigmoid (bool): Kept for heads that read it; only False.
            Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        chunk_size (int, optional): Number of classes whose logits are in
            memory at a time, so that it does not grow with their number; the
            backward pass makes them again. ``None`` keeps all of them.
            Default: None.
        shard_classes (bool): Whether each rank of a distributed training has
            its part of the class vectors only, see
            :class:`mmlosses.wrappers.ShardedClassesDDP`. Default: False.

    Shape:
        - features (pred): (N, in_channels).
        - labels (target): (N,), integers from 0 to num_classes - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, a label on the CPU names no class,
            or an argument is out of range.
        TypeError: If features are not floating-point, or labels not integer.

    Use:
        - For: a classifier with class vectors of length 1.
        - Slots: The slots of :class:`ArcFaceLoss`.

    Source:
        Weiyang Liu, Yandong Wen, Zhiding Yu, Ming Li, Bhiksha Raj, Le Song.
        SphereFace: Deep Hypersphere Embedding for Face Recognition. CVPR 2017,
        `arXiv:1704.08063 <https://arxiv.org/abs/1704.08063>`_, where it is
        the loss without a margin.

    Differs from upstream:
        - Code that normalises with ``renorm(2, 1, 1e-5).mul(1e5)`` leaves a
          class vector shorter than 1e-5 as short as it is, and is 0.1 % off
          at the length 1e-4. This class divides by a length from 1e-6.

    Example:
        In the ReID head of mmdet, which calls it with features and labels:

        >>> loss = dict(
        ...     type='mmlosses.ModifiedSoftmaxLoss',
        ...     num_classes=380, in_channels=128)
        >>> head = dict(loss_triplet=dict(_delete_=True, **loss))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(loss)
        >>> value = loss(torch.zeros(2, 128), torch.tensor([0, 379]))
        >>> print('%.4f' % value.item())
        5.9402
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 use_sigmoid: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 chunk_size: int | None = None,
                 shard_classes: bool = False) -> None:
        super().__init__(num_classes, in_channels, use_sigmoid, reduction,
                         loss_weight, chunk_size, shard_classes)

    def queries(self, features: Tensor) -> Tensor:
        """The features as they are."""
        return features


@MODELS.register_module()
class NormFaceLoss(ClassVectorLoss):
    r"""Softmax cross entropy over scaled cosines.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{s \cos\theta_{n y_n}}}{\sum_j e^{s \cos\theta_{nj}}}

    Features and class vectors both have length 1, so that only the angle
    between them counts. No arrangement of C classes gets below
    :math:`\log(1 + (C - 1) e^{-s C / (C - 1)})`, and a regular simplex gets
    there; with s = 1 that is 1.38 for 10 classes, so the scale must be
    larger. The class vectors are the parameter ``weight`` (C, D);
    :meth:`logits` gives the scaled cosines for inference.
    ``reduction='none'`` gives (N,).

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        scale (float): Factor s of the cosine. Default: 16.0.
        use_sigmoid (bool): Kept for heads that read it; only False.
            Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        chunk_size (int, optional): Number of classes whose logits are in
            memory at a time, so that it does not grow with their number; the
            backward pass makes them again. ``None`` keeps all of them.
            Default: None.
        shard_classes (bool): Whether each rank of a distributed training has
            its part of the class vectors only, see
            :class:`mmlosses.wrappers.ShardedClassesDDP`. Default: False.

    Shape:
        - features (pred): (N, in_channels).
        - labels (target): (N,), integers from 0 to num_classes - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, a label on the CPU names no class,
            or an argument is out of range.
        TypeError: If features are not floating-point, or labels not integer.

    Use:
        - For: a classifier over cosines.
        - Slots: The slots of :class:`ArcFaceLoss`.

    Source:
        Feng Wang, Xiang Xiang, Jian Cheng, Alan L. Yuille. NormFace: L2
        Hypersphere Embedding for Face Verification. ACM MM 2017,
        `arXiv:1704.06369 <https://arxiv.org/abs/1704.06369>`_.

    Differs from upstream:
        - A feature of zeros, as a dead ReLU emits it, has the cosine 0 to
          every class and an ordinary gradient. With ``F.normalize`` the
          gradient is of the order of 1e12, and NaN in half precision.

    Example:
        In the ReID head of mmdet, which calls it with features and labels:

        >>> loss = dict(
        ...     type='mmlosses.NormFaceLoss',
        ...     num_classes=380, in_channels=128, scale=16.0)
        >>> head = dict(loss_triplet=dict(_delete_=True, **loss))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(loss)
        >>> value = loss(torch.zeros(2, 128), torch.tensor([0, 379]))
        >>> print('%.4f' % value.item())
        5.9402
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 scale: float = 16.0,
                 use_sigmoid: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 chunk_size: int | None = None,
                 shard_classes: bool = False) -> None:
        super().__init__(num_classes, in_channels, use_sigmoid, reduction,
                         loss_weight, chunk_size, shard_classes)
        check_scale(scale)
        self.scale = scale

    def queries(self, features: Tensor) -> Tensor:
        """The features, all of the same length."""
        return self.scale * unit_vectors(features)


@MODELS.register_module(name=['ArcFaceLoss', 'ArcMarginProduct'])
class ArcFaceLoss(NormFaceLoss):
    r"""Softmax cross entropy over angles, with a margin on the right one.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{s \cos(\theta_{n y_n} + m)}}
        {e^{s \cos(\theta_{n y_n} + m)} +
        \sum_{j \ne y_n} e^{s \cos\theta_{nj}}}

    The class vectors are the parameter ``weight`` (C, D); :meth:`logits`
    gives the scaled cosines, without the margin, for inference.
    ``reduction='none'`` gives (N,). Also registered as ``ArcMarginProduct``.

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        scale (float): Factor s of the cosine. Default: 32.0.
        margin (float): Margin m in radians. Default: 0.5.
        boundary (str): What replaces :math:`\cos(\theta + m)` where the sum
            is beyond :math:`\pi`. ``'keep'``:
            :math:`\cos\theta - m \sin m`, as insightface does, which jumps
            at the boundary. ``'continuous'``:
            :math:`-2 - \cos(\theta + m)`, without a jump. ``'easy'``: a
            margin only where :math:`\theta` is below a right angle.
            ``'none'``: nothing, so that the loss falls again for the worst
            samples. Default: ``'keep'``.
        use_sigmoid (bool): Kept for heads that read it; only False.
            Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        chunk_size (int, optional): Number of classes whose logits are in
            memory at a time, so that it does not grow with their number; the
            backward pass makes them again. ``None`` keeps all of them.
            Default: None.
        shard_classes (bool): Whether each rank of a distributed training has
            its part of the class vectors only, see
            :class:`mmlosses.wrappers.ShardedClassesDDP`. Default: False.

    Shape:
        - features (pred): (N, in_channels).
        - labels (target): (N,), integers from 0 to num_classes - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, a label on the CPU names no class,
            or an argument is out of range.
        TypeError: If features are not floating-point, or labels not integer.

    Use:
        - For: features with a margin between the angles of classes.
        - Slots: ``loss_triplet`` of mmdet's ``LinearReIDHead``; any head that
          calls it with features and labels.

    Source:
        Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou. ArcFace:
        Additive Angular Margin Loss for Deep Face Recognition. CVPR 2019,
        `arXiv:1801.07698 <https://arxiv.org/abs/1801.07698>`_.

    Differs from upstream:
        - mmpretrain takes the ``acos`` of the cosine: NaN where rounding
          takes it past 1, an infinite gradient at 1. Here there is no
          ``acos``, and a feature along its class vector has the exact value
          and a finite gradient.
        - insightface adds the margin outside of the graph, which gives the
          paper's loss, but not its gradient. Here it is the loss's.
        - ``ArcMarginProduct`` as published in tutorials returns the logits
          with the loss, and has no boundary: ``boundary='none'`` is its
          number.
        - A feature of zeros has an ordinary gradient, not one of 1e12.

    Example:
        In the ReID head of mmdet, which calls it with features and labels:

        >>> loss = dict(
        ...     type='mmlosses.ArcFaceLoss',
        ...     num_classes=380, in_channels=128, scale=30.0, margin=0.5)
        >>> head = dict(loss_triplet=dict(_delete_=True, **loss))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(loss)
        >>> value = loss(torch.zeros(2, 128), torch.tensor([0, 379]))
        >>> print('%.3f' % value.item())
        20.320
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 scale: float = 32.0,
                 margin: float = 0.5,
                 boundary: str = 'keep',
                 use_sigmoid: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 chunk_size: int | None = None,
                 shard_classes: bool = False) -> None:
        super().__init__(num_classes, in_channels, scale, use_sigmoid,
                         reduction, loss_weight, chunk_size, shard_classes)
        check_margin(margin, boundary)
        self.margin = margin
        self.boundary = boundary

    def with_margin(self, logits: Tensor) -> Tensor:
        """The margin on the scaled cosine of the label."""
        return scaled_margin(logits, self.scale, self.margin, self.boundary)


@MODELS.register_module()
class ArcFaceLogitLoss(BaseLoss):
    r"""ArcFace for heads that own the class vectors: scaled cosines in.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{s \phi(\theta_{n y_n})}}
        {e^{s \phi(\theta_{n y_n})} + \sum_{j \ne y_n} e^{z_{nj}}}, \qquad
        z_{nj} = s \cos\theta_{nj}

    with :math:`\phi(\theta) = \cos(\theta + m)`, and
    :math:`\phi(\theta) = \cos\theta` for the background.
    ``reduction='none'`` gives (N,).

    The head computes z, for instance with mmdet's ``NormedLinear`` without a
    bias, and scores with it at test time.

    Args:
        scale (float): Factor s by which the head multiplied its cosines: the
            ``tempearture`` of ``NormedLinear``, which the fork of mmdet
            spells ``temperature``. Default: 32.0.
        margin (float): Margin m in radians. Default: 0.5.
        boundary (str): ``'keep'``, ``'continuous'``, ``'easy'`` or
            ``'none'``, see :class:`ArcFaceLoss`. Default: ``'keep'``.
        background (bool): Whether the last column is the background, as in
            mmdet's ``BBoxHead``: a sample with its label, C of C + 1 columns,
            gets no margin. The scores do not tell, so a head without a
            background column says False. Default: True.
        use_sigmoid (bool): Kept for heads that read it; only False.
            Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - cls_score (pred): (N, C + 1), or (N, C) with ``background=False``.
        - labels (target): (N,), integers: the columns of ``cls_score``.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, a label on the CPU names no column,
            or an argument is out of range.
        TypeError: If scores are not floating-point, or labels not integer.

    Use:
        - For: a margin in heads that own the class vectors.
        - Slots: ``loss_cls`` of mmdet's RoI heads after
          ``mmlosses.heads.cosine.CosineLinear``.

    Source:
        Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou. ArcFace:
        Additive Angular Margin Loss for Deep Face Recognition. CVPR 2019,
        `arXiv:1801.07698 <https://arxiv.org/abs/1801.07698>`_.

    Differs from upstream:
        - The paper classifies faces only. Here the background, which is no
          class that samples should gather around, gets no margin.
        - mmpretrain takes the ``acos`` of the cosine, insightface adds the
          margin outside of the graph: see :class:`ArcFaceLoss`.

    Example:
        In a config that inherits one of mmdet's Faster R-CNN configs:

        >>> bbox_head = dict(
        ...     cls_predictor_cfg=dict(
        ...         type='NormedLinear', tempearture=30.0, bias=False),
        ...     loss_cls=dict(
        ...         type='mmlosses.ArcFaceLogitLoss', scale=30.0, margin=0.5))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(bbox_head['loss_cls'])
        >>> cls_score = torch.zeros(1, 81)
        >>> print('%.3f' % loss(cls_score, torch.tensor([0])).item())
        18.765
        >>> print('%.3f' % loss(cls_score, torch.tensor([80])).item())
        4.394
    """

    def __init__(self,
                 scale: float = 32.0,
                 margin: float = 0.5,
                 boundary: str = 'keep',
                 background: bool = True,
                 use_sigmoid: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        check_scale(scale)
        check_margin(margin, boundary)
        check_softmax(use_sigmoid)
        self.scale = scale
        self.margin = margin
        self.boundary = boundary
        self.background = background
        self.use_sigmoid = use_sigmoid

    def forward(self,
                cls_score: Tensor,
                labels: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                *,
                target_weight: Tensor | None = None) -> Tensor:
        """Compute the loss of scores (N, C[+1]) and labels (N,).

        See :meth:`BaseLoss.forward` for the other arguments.
        """
        check_floating('cls_score', cls_score)
        if cls_score.ndim != 2 or cls_score.shape[1] == 0:
            raise ValueError('cls_score must have the shape (N, classes), got '
                             f'{tuple(cls_score.shape)}')
        check_sample_labels(labels, len(cls_score))
        return super().forward(
            cls_score,
            labels,
            weight,
            avg_factor,
            reduction_override,
            target_weight=target_weight)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """(N,): one element is one sample."""
        return pred.shape[:1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The cross entropy of each sample: (N,)."""
        check_label_range(target, pred.shape[1])
        target = target.long()
        logits = arcface_logits(pred, target, self.scale, self.margin,
                                self.boundary, self.background)
        return F.cross_entropy(logits, target, reduction='none')
