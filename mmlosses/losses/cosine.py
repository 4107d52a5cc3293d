"""Cosine of embeddings to the weight vectors of a classifier."""
from __future__ import annotations
from typing import Any, Dict, Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (REDUCTIONS, check_choice, check_floating,
                                  check_label_range, check_sample_labels)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.numeric import coordinates_first, safe_length, unit_vectors
from mmlosses.core.reduction import reduce_loss
from mmlosses.core.tensors import autocast_off, is_transformed, upcast
from mmlosses.registry import MODELS


def ccs_loss(embeddings: Tensor, vectors: Tensor) -> Tensor:
    """Half of 1 minus the cosine of each embedding and its vector."""
    # Embeddings are not normalised: keeping their lengths saves memory.
    cosine = (embeddings * unit_vectors(vectors)).sum(dim=-1)
    return (1 - cosine / safe_length(embeddings).squeeze(-1)) / 2


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    r"""IoU of boxes (\*, A, 4), (\*, G, 4): (\*, A, G), 0 without an area."""
    one = coordinates_first(boxes).unsqueeze(-1)
    two = coordinates_first(others).unsqueeze(-2)
    # In place: with many pairs, memory traffic dominates.
    width, height = [
        torch.minimum(one[high],
                      two[high]).sub_(torch.maximum(one[low],
                                                    two[low])).clamp_(min=0)
        for low, high in ((0, 2), (1, 3))
    ]
    intersection = width.mul_(height)
    area, other = [(x[2] - x[0]).clamp(min=0) * (x[3] - x[1]).clamp(min=0)
                   for x in (one, two)]
    union = (area + other).sub_(intersection)
    return intersection.div_(union.masked_fill_(union <= 0, 1))


def shapes_may_depend_on(tensor: Tensor) -> bool:
    """Return True if counting causes no graph break and no host sync."""
    return (not is_transformed() and tensor.device.type == 'cpu'
            and type(tensor) is Tensor)


@MODELS.register_module()
class CCSLoss(BaseLoss):
    r"""Classification vector-centered cosine similarity.

    .. math::
        L = \frac{1}{N} \sum_n w_n \frac{1 - \cos(x_n, v_{y_n})}{2}

    with embeddings x and the weight vectors v of the classifier. It turns each
    embedding towards the vector of its class; combine it with the
    classification loss. :meth:`forward` takes embeddings with labels,
    :meth:`forward_anchors` assigns the labels of anchors itself. torchsight's
    call, ``loss(anchors, embeddings, weights, annotations)``, is the latter.

    Args:
        soft (bool): If True, :meth:`forward_anchors` weights anchors by their
            IoU; pass it to :meth:`forward` as ``weight``. Default: False.
        detach_weight (bool): If True, the classifier gets no gradient from
            this loss, as in the paper. Default: True.
        iou_thresholds (dict, optional): An anchor belongs to a box if its IoU
            exceeds ``'object'``. ``'background'`` has no effect; it is
            accepted so that an assigner's thresholds fit.
            Default: ``dict(background=0.4, object=0.5)``.

    Shape:
        - embeddings: (N, D).
        - class_weights: (C, D), as ``nn.Linear.weight``.
        - labels: (N,), integers from 0 to C - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``; (B,) from
          :meth:`forward_anchors`.

    Differs from upstream:
        - torchsight multiplies by the IoU before the shift:
          :math:`(1 - IoU \cos) / 2`. An embedding along its vector then has a
          loss of 0.25 at IoU 0.5, and the minimum depends on the IoU. Here it
          is 0. The gradients of the embeddings are the same.
        - torchsight stores the class weights transposed, as (D, C): so does
          its call here, where (C, D) also works unless C = D.
        - A zero embedding is NaN there, in value and gradient. Here its cosine
          is 0 and its gradient finite.
        - A batch without objects cannot be back-propagated there.
    """
    info = LossInfo(
        purpose='embeddings aligned with the vector of their class',
        slots='``mmlosses.heads.ccs.CCSBBoxHead`` in Faster, Mask and '
        'Cascade R-CNN; heads that call it with embeddings and class '
        'weights, or with anchors',
        expects='features',
        paper=Paper(
            'Yandong Guo, Lei Zhang',
            'One-shot Face Recognition by Promoting Underrepresented Classes',
            '', 2017, '1707.05574'),
        source='whose term is minus the cosine. The shift, the IoU and the '
        "anchors are torchsight's.")
    pred_name = 'embeddings'

    def __init__(self,
                 soft: bool = False,
                 detach_weight: bool = True,
                 iou_thresholds: Dict[str, float] | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        for name, value in (('soft', soft), ('detach_weight', detach_weight)):
            if not isinstance(value, bool):
                raise TypeError(f'{name} must be True or False, got {value!r}')
        given = {} if iou_thresholds is None else dict(iou_thresholds)
        thresholds = {'background': 0.4, 'object': 0.5, **given}
        low, high = thresholds['background'], thresholds['object']
        if len(thresholds) > 2 or not 0 <= low <= high <= 1:
            raise ValueError(
                'iou_thresholds must be dict(background=low, object=high) '
                f'with 0 <= low <= high <= 1, got {iou_thresholds}')
        self.soft, self.detach_weight = soft, detach_weight
        self.iou_thresholds = thresholds

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        return pred.shape[:1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return ccs_loss(pred, target)

    def forward(self, embeddings: Tensor, class_weights: Tensor,
                labels: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss of embeddings with labels, or torchsight's call."""
        if embeddings.ndim == 3:
            anchors, embeddings, weights = embeddings, class_weights, labels
            if len(weights) == embeddings.shape[-1]:
                weights = weights.T
            return self.forward_anchors(anchors, embeddings, weights, *args,
                                        **kwargs)
        check_floating('class_weights', class_weights)
        # Python 3.8 does not compile a keyword beside **kwargs.
        kwargs['class_weights'] = class_weights
        return super().forward(embeddings, labels, *args, **kwargs)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                class_weights: Tensor | None = None) -> Inputs:
        """Check the shapes and look up the class vector of each embedding."""
        assert class_weights is not None
        if (pred.ndim != 2 or class_weights.ndim != 2
                or pred.shape[1] != class_weights.shape[1]):
            raise ValueError(
                'embeddings and class_weights must have the shapes (N, D) and '
                f'(C, D), got {tuple(pred.shape)} and '
                f'{tuple(class_weights.shape)}')
        check_sample_labels(target, len(pred))
        inputs = super().prepare(pred, target, *args)
        labels = target.long()
        if inputs.removed is not None:
            # A removed sample may have any label.
            labels = labels.masked_fill(inputs.removed, 0)
        check_label_range(labels, len(class_weights))
        if self.detach_weight:
            class_weights = class_weights.detach()
        inputs.target = upcast(class_weights).index_select(0, labels)
        return inputs

    def forward_anchors(self,
                        anchors: Tensor,
                        embeddings: Tensor,
                        class_weights: Tensor,
                        annotations: Tensor,
                        reduction_override: str | None = None) -> Tensor:
        """Compute the loss of the anchors that belong to an annotated box.

        An anchor belongs to the box of the greatest IoU, if that exceeds
        ``iou_thresholds['object']``. The loss of an image is the mean over
        those anchors, 0 without any; ``reduction`` is over the images.

        Args:
            anchors (Tensor): Boxes (B, A, 4), xyxy.
            embeddings (Tensor): Embeddings (B, A, D) of the anchors.
            class_weights (Tensor): Weight vectors (C, D) of the classifier.
            annotations (Tensor): Boxes (B, G, 5), xyxy and label; -1 pads.
            reduction_override (str, optional): Overrides ``reduction``.
        """
        for name, tensor in (('anchors', anchors), ('embeddings', embeddings),
                             ('annotations', annotations)):
            check_floating(name, tensor)
            if tensor.ndim != 3:
                raise ValueError(f'{name} must have three axes, got the shape '
                                 f'{tuple(tensor.shape)}')
        reduction = reduction_override or self.reduction
        check_choice('reduction', reduction, REDUCTIONS)
        if (anchors.shape[2] != 4 or annotations.shape[2] != 5
                or anchors.shape[:2] != embeddings.shape[:2]
                or len(annotations) != len(anchors)):
            raise ValueError(
                'anchors, embeddings and annotations must have the shapes '
                '(B, A, 4), (B, A, D) and (B, G, 5), got '
                f'{tuple(anchors.shape)}, {tuple(embeddings.shape)} and '
                f'{tuple(annotations.shape)}')
        images, number = anchors.shape[:2]
        with torch.no_grad():
            iou, labels = self.assign(upcast(anchors), upcast(annotations))
        objects = iou > self.iou_thresholds['object']
        counts = objects.sum(dim=1)
        embeddings, labels = embeddings.flatten(0, 1), labels.flatten()
        if shapes_may_depend_on(objects):
            rows = objects.flatten().nonzero().squeeze(1)
            loss = self(
                embeddings.index_select(0, rows),
                class_weights,
                labels.index_select(0, rows),
                iou.flatten().index_select(0, rows) if self.soft else None,
                reduction_override='none')
            parts = [part.sum() for part in loss.split(counts.tolist())]
            loss = torch.stack(parts) if parts else loss
        else:
            weight = iou if self.soft else torch.ones_like(iou)
            loss = self(
                embeddings,
                class_weights,
                labels,
                weight.masked_fill(~objects, 0).flatten(),
                reduction_override='none')
            loss = loss.reshape(images, number).sum(dim=1)
        return reduce_loss(loss / counts.clamp(min=1), reduction,
                           max(images, 1))

    @staticmethod
    def assign(anchors: Tensor, annotations: Tensor) -> tuple[Tensor, Tensor]:
        """Return each anchor's greatest IoU (B, A) and that box's label."""
        # A dummy box, so that an image may have no boxes.
        nothing = annotations.new_full((len(annotations), 1, 5), -1)
        annotations = torch.cat([annotations, nothing], dim=1)
        with autocast_off(anchors.device.type):
            iou = pairwise_iou(annotations[..., :4], anchors)
        padding = annotations[..., 4:] == -1
        best, index = iou.masked_fill_(padding, -1).max(dim=1)
        return best, annotations[..., 4].long().gather(1, index)
