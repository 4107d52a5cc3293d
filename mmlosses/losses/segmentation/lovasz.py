"""The Lovasz-Softmax loss and the Lovasz hinge."""
from __future__ import annotations
import math
from typing import Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.checks import check_choice
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.lovasz import lovasz_extension
from mmlosses.core.label_maps import (LabelMapArguments, LabelMapLoss,
                                      class_masks)
from mmlosses.registry import MODELS


@MODELS.register_module()
class LovaszLoss(LabelMapLoss):
    r"""A surrogate of one minus the IoU that is convex in the errors.

    .. math::
        L = \frac{1}{|K|} \sum_{c \in K} w_c \overline{\Delta_J}(e_c), \qquad
        e_{ci} = \begin{cases}
            1 - p_{ci} & y_i = c \\ p_{ci} & y_i \ne c
        \end{cases}

    with the probabilities p, the labels y, the classes K of ``classes`` and
    the Lovasz extension :math:`\overline{\Delta_J}(e) = \sum_k e_{(k)} (J_k -
    J_{k-1})`: errors in falling order, and :math:`J_k`, one minus the IoU of a
    prediction that is wrong in the first k pixels only. The binary loss has
    the hinge :math:`e_i = \max(0, 1 - s_i x_i)` of the logit x, where the sign
    s is 1 in the foreground and -1 elsewhere.

    Args:
        loss_type (str): ``'multi_class'``, classes that compete in a softmax,
            or ``'binary'``, each against the rest, by a hinge.
            Default: ``'multi_class'``.
        classes (str | Sequence[int]): The classes to average over:
            ``'present'`` for those with a pixel, ``'all'``, or a list. A
            single channel counts always. Default: ``'present'``.
        per_image (bool): If True, each map has its own IoU, which suits the
            IoU of single images. If False, the batch is one large map, whose
            loss each sample of it has. ``per_sample`` of mmdet3d is the same
            argument. Default: False.
        class_weight (Sequence[float] | Tensor | float, optional): See
            :class:`LabelMapLoss`; it multiplies the loss of a class, and the
            mean over the classes does not divide by it. Default: None.

    Shape:
        - pred: logits (N, C, \*), such as maps, or points (N, C).
        - target: integer labels (N, \*). A single channel, which needs
          ``loss_type='binary'``, is label 1.
        - weight: (N,), or (N, \*) of the pixels: each counts that often in
          the IoU.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmseg and mmdet3d refuse their own default, ``reduction='mean'`` with
          ``per_image=False``. Here it is the loss of the batch.
        - They synchronise with the host once for each class and more, and
          store a gradient of the size of all classes for each one.
        - With no pixel left, or none of the classes, they return NaN, an empty
          tensor or an error, and for a single pixel an error.
        - They subtract Jaccard losses near 1 from each other, which rounds the
          gradient of large maps away.
        - ``'binary'`` of mmseg and mmdet3d takes one channel only, and ignores
          ``class_weight`` (mmsegmentation#1036, #1681, #2034).
        - mmseg ignores ``weight``, mmdet3d has ``avg_factor`` in its place.
    """
    info = LossInfo(
        purpose='label maps, by the IoU of each class',
        slots="``loss_decode`` of mmseg's heads; ``loss_lovasz`` of mmdet3d's "
        'Cylinder3D',
        expects='logits',
        paper=Paper(
            'Maxim Berman, Amal Rannen Triki, Matthew B. Blaschko',
            'The Lovász-Softmax Loss: A Tractable Surrogate for the '
            'Optimization of the Intersection-Over-Union Measure in Neural '
            'Networks', 'CVPR', 2018, '1705.08790'),
        source='The hinge: Jiaqian Yu, Matthew B. Blaschko. Learning '
        'Submodular Losses with the Lovász Hinge. ICML 2015.')
    synonyms = dict(per_sample='per_image')

    def __init__(  # type: ignore[misc]
            self,
            loss_type: str = 'multi_class',
            classes: str | Sequence[int] = 'present',
            per_image: bool = False,
            reduction: str = 'mean',
            class_weight: Sequence[float] | Tensor | float | None = None,
            loss_weight: float = 1.0,
            loss_name: str | None = None,
            **kwargs: Unpack[LabelMapArguments]) -> None:
        super().__init__(
            class_weight,
            reduction=reduction,
            loss_weight=loss_weight,
            loss_name=loss_name,
            **kwargs)
        check_choice('loss_type', loss_type, ('multi_class', 'binary'))
        if classes not in ('all', 'present') and (
                not isinstance(classes, (list, tuple)) or not classes
                or not all(isinstance(x, int) and x >= 0 for x in classes)):
            raise ValueError("classes must be 'all', 'present' or a list of "
                             f'indices, got {classes!r}')
        self.loss_type, self.classes = loss_type, classes
        self.per_image = per_image

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        shape = super().element_shape(pred, target)
        channels = pred.shape[1]
        if channels < 2 and self.loss_type == 'multi_class':
            raise ValueError("pred must have two channels for 'multi_class', "
                             f"got {channels}: write loss_type='binary'")
        if channels > 1 and not isinstance(self.classes, str):
            if max(self.classes) >= channels:
                raise ValueError(f'classes must be below the {channels} '
                                 f'channels of pred, got {self.classes}')
        return shape

    def elementwise(self, pred: Tensor, target: Tensor, pixels: Tensor,
                    weights: Tensor) -> Tensor:
        hinge, classes = self.loss_type == 'binary', self.classes
        scores = pred if hinge else pred.softmax(dim=1)
        mask = class_masks(pred, target)
        if pred.shape[1] == 1:
            classes = 'all'
        elif not isinstance(classes, str):
            scores, mask, weights = [
                torch.stack([x.select(1, c) for c in classes], 1)
                for x in (scores, mask, weights)
            ]
        size = math.prod(pred.shape[2:])
        scores, mask = [x.reshape(*x.shape[:2], size) for x in (scores, mask)]
        pixels = pixels.reshape(len(pixels), size)
        present = classes == 'present'
        loss = weights * lovasz_extension(scores, mask, pixels, hinge,
                                          self.per_image, present)
        if present:
            there = (mask & (pixels > 0).unsqueeze(1)).any(dim=2)
            if not self.per_image:
                there = there.any(dim=0, keepdim=True)
            loss = loss.masked_fill(~there, 0).sum(dim=1)
            loss = loss / there.sum(dim=1).clamp(min=1)
        else:
            loss = loss.mean(dim=1)
        return loss.expand(len(pred))
