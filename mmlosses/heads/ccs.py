"""CCSLoss for the box head of mmdet's two-stage detectors."""
from __future__ import annotations
from typing import Any, Dict, List, Tuple

import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from torch import Tensor, nn


class CCSBBoxHead(Shared2FCBBoxHead):
    """Box head with a cosine loss between embeddings and class vectors.

    It is mmdet's ``Shared2FCBBoxHead`` with a third loss, ``loss_ccs``, on the
    foreground RoIs. Their embeddings are the inputs of the classifier
    ``fc_cls``; the class vectors are the rows of its weight without the
    background. With ``soft=True`` in the loss config, the weight of a RoI is
    its IoU with the ground truth. Prediction is unchanged, so checkpoints of
    the stock head fit.

    The RoI head must call ``loss_and_target``, as those of Faster, Mask and
    Cascade R-CNN do. PISA's calls ``loss`` and gets no ``loss_ccs``.

    Args:
        loss_ccs (dict, optional): Config of the loss, called with embeddings
            (P, D), class vectors (C, D), labels (P,) and weight (P,) or None.
            Default: ``dict(type='mmlosses.CCSLoss', soft=True)``.
        args: See ``Shared2FCBBoxHead``.
        kwargs: See ``Shared2FCBBoxHead``.

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

        # Registered per call: a permanent hook would stay bound to this head
        # in its copies, such as the averaged model of EMAHook.
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
            bbox_pred (Tensor): Box deltas.
            rois (Tensor): RoIs (N, 5), foreground first for each image.
            sampling_results (list[SamplingResult]): The samples of each image.
            args: See ``BBoxHead.loss_and_target``.
            kwargs: See ``BBoxHead.loss_and_target``.

        Returns:
            dict: ``loss_bbox``, a dict of the losses, and ``bbox_targets``.
        """
        results = super().loss_and_target(cls_score, bbox_pred, rois,
                                          sampling_results, *args, **kwargs)
        # deepcopy of the head fails on a tensor with a graph.
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
