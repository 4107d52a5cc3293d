"""CCSLoss in the box head of two-stage detectors of mmdet."""
from __future__ import annotations
from typing import Any, Dict, List, Tuple

import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from torch import Tensor, nn


class CCSBBoxHead(Shared2FCBBoxHead):
    """Box head that also turns each embedding towards its class vector.

    It differs from mmdet's ``Shared2FCBBoxHead`` by a third loss,
    ``loss_ccs``, of the RoIs that are objects. Their embeddings are what the
    classifier ``fc_cls`` sees, the class vectors are the rows of its weight
    but for the background. With ``soft=True`` in the config of the loss, the
    weight of a RoI is its IoU with the object. Boxes are predicted as they
    are by the stock head, so its checkpoints fit.

    The RoI head must call ``loss_and_target``, as those of Faster, Mask and
    Cascade R-CNN do. That of PISA calls ``loss`` and gets no ``loss_ccs``.

    Args:
        loss_ccs (dict, optional): Config of the loss, called with embeddings
            (P, D), class vectors (C, D), labels (P,) and weight (P,) or None.
            Default: ``dict(type='mmlosses.CCSLoss', soft=True)``.
        args: See ``Shared2FCBBoxHead``.
        kwargs: See there.

    Example:
        In a config that inherits one of mmdet's Faster R-CNN configs:

        >>> bbox_head = dict(
        ...     type='mmlosses.heads.ccs.CCSBBoxHead',
        ...     loss_ccs=dict(type='mmlosses.CCSLoss', soft=True))

        >>> from mmdet.registry import MODELS
        >>> head = MODELS.build(
        ...     dict(in_channels=8, fc_out_channels=4, **bbox_head))
        >>> head.loss_ccs
        CCSLoss(reduction='mean', loss_weight=1.0)
    """

    _embeddings: Tensor

    def __init__(self,
                 *args: Any,
                 loss_ccs: Dict[str, Any] | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if loss_ccs is None:
            loss_ccs = dict(type='mmlosses.CCSLoss', soft=True)
        self.loss_ccs = MODELS.build(loss_ccs)

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Predict scores and boxes; keep the embeddings for the loss."""

        def keep(module: nn.Module, inputs: Tuple[Tensor]) -> None:
            self._embeddings = inputs[0]

        # Not once and for all: a hook would stay bound to this head in a copy
        # of it, such as that of an averaged model.
        handle = self.fc_cls.register_forward_pre_hook(keep)
        try:
            return super().forward(x)
        finally:
            handle.remove()

    def loss_and_target(self, cls_score: Tensor, bbox_pred: Tensor,
                        rois: Tensor, sampling_results: List[SamplingResult],
                        *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Compute the losses of the stock head, and ``loss_ccs``.

        Args:
            cls_score (Tensor): Scores (N, C + 1) of the last forward.
            bbox_pred (Tensor): Deltas of the boxes.
            rois (Tensor): RoIs (N, 5), of each image its objects first.
            sampling_results (list[SamplingResult]): What was sampled in each
                image.
            args: See ``BBoxHead.loss_and_target``.
            kwargs: See there.

        Returns:
            dict: ``loss_bbox``, a dict of the losses, and ``bbox_targets``.
        """
        results = super().loss_and_target(cls_score, bbox_pred, rois,
                                          sampling_results, *args, **kwargs)
        # A tensor with a graph could not be copied along with the head.
        embeddings = self._embeddings
        del self._embeddings
        labels = results['bbox_targets'][0]
        objects = labels < self.num_classes
        weight = None
        if self.loss_ccs.soft:
            boxes = [get_box_tensor(r.pos_gt_bboxes) for r in sampling_results]
            weight = bbox_overlaps(
                rois[objects, 1:], torch.cat(boxes), is_aligned=True)
        results['loss_bbox']['loss_ccs'] = self.loss_ccs(
            embeddings[objects], self.fc_cls.weight[:self.num_classes],
            labels[objects], weight)
        return results
