"""Softmax over the angles to class vectors, without and with a margin."""
from __future__ import annotations
import math
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments
from mmlosses.core.checks import (check_choice, check_label_range,
                                  check_number, check_sample_labels,
                                  check_softmax)
from mmlosses.core.features import ClassVectorArguments, ClassVectorLoss
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.numeric import safe_sqrt, unit_vectors
from mmlosses.registry import MODELS

BOUNDARIES = ('keep', 'continuous', 'easy', 'none')


def cosine_logits(features: Tensor,
                  class_vectors: Tensor,
                  scale: float = 1.0) -> Tensor:
    r"""Scaled cosines of features x (N, D) to class vectors w (C, D): (N, C).

    .. math::
        z_{nj} = s \cos\theta_{nj}
        = s \frac{x_n \cdot w_j}{\|x_n\| \, \|w_j\|}
    """
    return scale * (unit_vectors(features) @ unit_vectors(class_vectors).T)


def angular_margin(cosine: Tensor,
                   margin: float,
                   boundary: str = 'keep') -> Tensor:
    r"""Return :math:`\cos(\theta + m)` of :math:`\cos\theta`, m in radians.

    ``boundary``, see :class:`ArcFaceLoss`, replaces it beyond
    :math:`\theta = \pi - m`, where it would rise again.
    """
    # By the angle sum identity: acos has an infinite gradient at 0 and pi.
    # Rounding can take the cosine past 1, and the square below 0.
    sine = safe_sqrt((1 - cosine) * (1 + cosine))
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
    """Apply the angular margin to the logit of each sample's label.

    Args: see :class:`ArcFaceLogitLoss`; ``logits`` (N, C), ``labels`` (N,).
    """
    index = labels.unsqueeze(1)
    target = logits.gather(1, index)
    moved = scaled_margin(target, scale, margin, boundary)
    if background:
        moved = torch.where(index == logits.shape[1] - 1, target, moved)
    return logits.scatter(1, index, moved)


def check_margin(margin: float, boundary: str) -> None:
    """Raise a ``ValueError`` for an invalid margin or boundary."""
    check_number('margin', margin)
    if not 0 <= margin < math.pi:
        raise ValueError('margin must be an angle in radians, at least 0 and '
                         f'below pi, got {margin}')
    check_choice('boundary', boundary, BOUNDARIES)


@MODELS.register_module(name=['ModifiedSoftmaxLoss', 'Modified'])
class ModifiedSoftmaxLoss(ClassVectorLoss):
    r"""Softmax cross entropy with class vectors of length 1 and no bias.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{\|x_n\| \cos\theta_{n y_n}}}
        {\sum_j e^{\|x_n\| \cos\theta_{nj}}}, \qquad
        \|x_n\| \cos\theta_{nj} = x_n \cdot \frac{w_j}{\|w_j\|}

    Only the angles to the class vectors :math:`w` decide. Also registered as
    ``Modified``.

    Differs from upstream:
        - Code that normalises with ``renorm(2, 1, 1e-5).mul(1e5)`` leaves
          class vectors shorter than 1e-5 unnormalised, and is 0.1 % off at
          length 1e-4. This class normalises every length above 1e-6.
    """
    info = LossInfo(
        purpose='a classifier with class vectors of length 1',
        slots='heads that pass features and labels, as ``LinearReIDHead``',
        expects='features',
        paper=Paper(
            'Weiyang Liu, Yandong Wen, Zhiding Yu, Ming Li, Bhiksha Raj, Le '
            'Song',
            'SphereFace: Deep Hypersphere Embedding for Face Recognition',
            'CVPR', 2017, '1704.08063'),
        source='where it is the loss without a margin.')

    def queries(self, features: Tensor) -> Tensor:
        return features


@MODELS.register_module(name=['NormFaceLoss', 'NormFace'])
class NormFaceLoss(ClassVectorLoss):
    r"""Softmax cross entropy over scaled cosines.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{s \cos\theta_{n y_n}}}{\sum_j e^{s \cos\theta_{nj}}}

    The minimum for C classes is :math:`\log(1 + (C - 1) e^{-s C / (C - 1)})`,
    at a regular simplex: for 10 classes 1.38 with s = 1, which is too small.
    Also registered as ``NormFace``, with ``s`` for ``scale``.

    Args:
        scale (float): Scale s of the cosine. Default: 16.0.

    Differs from upstream:
        - A zero feature, as of a dead ReLU, has cosine 0 and an ordinary
          gradient, not one of 1e12, NaN in half precision, as ``F.normalize``.
    """
    info = LossInfo(
        purpose='a classifier over cosines',
        slots='heads that pass features and labels, as ``LinearReIDHead``',
        expects='features',
        search=dict(scale=(4.0, 64.0)),
        paper=Paper(
            'Feng Wang, Xiang Xiang, Jian Cheng, Alan L. Yuille',
            'NormFace: L2 Hypersphere Embedding for Face Verification',
            'ACM MM', 2017, '1704.06369'))
    synonyms = {'s': 'scale'}

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 scale: float = 16.0,
                 **kwargs: Unpack[ClassVectorArguments]) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        check_number('scale', scale, above=0)
        self.scale = scale

    def queries(self, features: Tensor) -> Tensor:
        return self.scale * unit_vectors(features)


@MODELS.register_module(name=['ArcFaceLoss', 'ArcMarginProduct'])
class ArcFaceLoss(NormFaceLoss):
    r"""Softmax cross entropy over angles, with a margin on the true class.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{s \cos(\theta_{n y_n} + m)}}
        {e^{s \cos(\theta_{n y_n} + m)} +
        \sum_{j \ne y_n} e^{s \cos\theta_{nj}}}

    :meth:`logits` gives the scaled cosines, without the margin, for inference.
    Also registered as ``ArcMarginProduct``, with the arguments of published
    code: ``(in_feature, out_feature, s=, m=, easy_margin=)``.

    Args:
        scale (float): Scale s of the cosine. Default: 32.0.
        margin (float): Margin m in radians. Default: 0.5.
        boundary (str): Replaces :math:`\cos(\theta + m)` where the sum exceeds
            :math:`\pi`. ``'keep'``: :math:`\cos\theta - m \sin m`, as
            insightface, which jumps at the boundary. ``'continuous'``:
            :math:`-2 - \cos(\theta + m)`, without a jump. ``'easy'``: a margin
            only where :math:`\theta` is below 90 degrees. ``'none'``: itself:
            the loss falls again for the worst samples. Default: ``'keep'``.

    Differs from upstream:
        - mmpretrain takes the ``acos`` of the cosine: NaN where rounding takes
          it past 1, an infinite gradient at 1. Here a feature along its class
          vector has the exact value and a finite gradient.
        - insightface adds the margin outside the graph: the loss is the
          paper's, the gradient is not. Here it is that of the loss.
        - ``ArcMarginProduct`` as published in tutorials returns the logits
          with the loss, and its values are those of ``boundary='none'``.
        - A zero feature has an ordinary gradient, not one of 1e12.
    """
    info = LossInfo(
        purpose='features with an angular margin between classes',
        slots="``loss_triplet`` of mmdet's ``LinearReIDHead``; any head that "
        'passes features and labels',
        expects='features',
        search=dict(scale=(8.0, 64.0), margin=(0.1, 0.7)),
        paper=Paper(
            'Jiankang Deng, Jia Guo, Niannan Xue, Stefanos Zafeiriou',
            'ArcFace: Additive Angular Margin Loss for Deep Face Recognition',
            'CVPR', 2019, '1801.07698'))
    synonyms = {
        'in_feature': 'in_channels',
        'out_feature': 'num_classes',
        's': 'scale',
        'm': 'margin'
    }
    published = {'easy_margin': "``boundary='easy'``"}

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """Arguments in the order of published code, if one has its name."""
        names = (*cls.synonyms, *cls.published)
        if not kwargs.keys().isdisjoint(names):
            args, kwargs = (), {**dict(zip(names, args)), **kwargs}
            if kwargs.pop('easy_margin', False):
                kwargs.setdefault('boundary', 'easy')
        return super().own_arguments(args, kwargs)

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 scale: float = 32.0,
                 margin: float = 0.5,
                 boundary: str = 'keep',
                 **kwargs: Unpack[ClassVectorArguments]) -> None:
        super().__init__(num_classes, in_channels, scale, **kwargs)
        check_margin(margin, boundary)
        self.margin, self.boundary = margin, boundary

    def with_margin(self, logits: Tensor) -> Tensor:
        return scaled_margin(logits, self.scale, self.margin, self.boundary)


@MODELS.register_module()
class ArcFaceLogitLoss(BaseLoss):
    r"""ArcFace for heads that own the class vectors: takes scaled cosines.

    .. math::
        L = -\frac{1}{N} \sum_n \log
        \frac{e^{s \phi(\theta_{n y_n})}}
        {e^{s \phi(\theta_{n y_n})} + \sum_{j \ne y_n} e^{z_{nj}}}, \qquad
        z_{nj} = s \cos\theta_{nj}

    with :math:`\phi(\theta) = \cos(\theta + m)`, and
    :math:`\phi(\theta) = \cos\theta` for the background. The head computes z,
    for instance with mmdet's ``NormedLinear`` without a bias, as its scores.

    Args:
        scale (float): Scale s of the head's cosines: the ``tempearture`` of
            ``NormedLinear``, which the fork of mmdet spells ``temperature``.
            Default: 32.0.
        margin (float): Margin m in radians. Default: 0.5.
        boundary (str): See :class:`ArcFaceLoss`. Default: ``'keep'``.
        background (bool): If True, the last column is the background, as in
            mmdet's ``BBoxHead``, and its samples get no margin. Heads without
            a background must pass False: the scores do not tell.
            Default: True.
        use_sigmoid (bool): For heads that read it; only False. Default: False.

    Shape:
        - cls_score (pred): (N, C + 1), or (N, C) with ``background=False``.
        - labels (target): (N,), integers: the columns of ``cls_score``.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - The paper has face classes only. Here the background, which is no
          cluster of similar samples, gets no margin.
        - mmpretrain takes the ``acos`` of the cosine, insightface adds the
          margin outside the graph: see :class:`ArcFaceLoss`.
    """
    info = LossInfo(
        purpose='an angular margin in heads that own the class vectors',
        slots="``loss_cls`` of mmdet's RoI heads after "
        '``mmlosses.heads.cosine.CosineLinear``',
        expects='scaled cosines',
        search=dict(margin=(0.1, 0.7)),
        paper=ArcFaceLoss.info.paper)
    pred_name = 'cls_score'

    def __init__(self,
                 scale: float = 32.0,
                 margin: float = 0.5,
                 boundary: str = 'keep',
                 background: bool = True,
                 use_sigmoid: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('scale', scale, above=0)
        check_margin(margin, boundary)
        check_softmax(use_sigmoid)
        self.scale, self.margin, self.boundary = scale, margin, boundary
        self.background, self.use_sigmoid = background, use_sigmoid

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if pred.ndim != 2 or pred.shape[1] == 0:
            raise ValueError('cls_score must have the shape (N, classes), got '
                             f'{tuple(pred.shape)}')
        check_sample_labels(target, len(pred))
        return pred.shape[:1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        check_label_range(target, pred.shape[1])
        target = target.long()
        logits = arcface_logits(pred, target, self.scale, self.margin,
                                self.boundary, self.background)
        return F.cross_entropy(logits, target, reduction='none')


Modified, NormFace = ModifiedSoftmaxLoss, NormFaceLoss
ArcMarginProduct = ArcFaceLoss
