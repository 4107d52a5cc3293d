"""CornerNetLoss for mmdet's corner head."""
from __future__ import annotations
from typing import Any, Dict, List

from mmdet.models.dense_heads import CornerHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmlosses.losses.corners.associative_embedding import gather_tags


class CornerNetHead(CornerHead):
    r"""Corner head with CornerNet's joint loss.

    It is mmdet's ``CornerHead`` with one loss instead of three, which changes
    some factors: the stock head halves heatmap and offset losses, normalises
    by top-left and bottom-right corners separately and sums over stacks, where
    :class:`mmlosses.losses.CornerNetLoss` takes the mean. Prediction is
    unchanged, so checkpoints of the stock head fit.

    Args:
        num_classes (int): Number C of classes.
        in_channels (int): Channels of the features.
        loss_corner (dict, optional): Config of the loss, called with six
            tensors for each stack and five targets. Default:
            ``dict(type='mmlosses.CornerNetLoss', pull_weight=0.1,
            push_weight=0.1)``, the paper's weights.
        kwargs: See ``CornerHead``. An inherited ``loss_heatmap``,
            ``loss_embedding`` or ``loss_offset`` is ignored.

    Raises:
        ValueError: If the head has no embeddings.

    Example:
        In a config that inherits mmdet's CornerNet:

        >>> bbox_head = dict(
        ...     type='mmlosses.heads.corner.CornerNetHead',
        ...     loss_corner=dict(
        ...         type='mmlosses.CornerNetLoss',
        ...         pull_weight=0.1, push_weight=0.1))

        >>> from mmdet.registry import MODELS
        >>> head = MODELS.build(
        ...     dict(num_classes=3, in_channels=8, **bbox_head))
        >>> head.loss_corner
        CornerNetLoss(reduction='mean', loss_weight=1.0)
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 loss_corner: Dict[str, Any] | None = None,
                 **kwargs: Any) -> None:
        kwargs.update(loss_heatmap=None, loss_embedding=None, loss_offset=None)
        super().__init__(num_classes, in_channels, **kwargs)
        if not self.with_corner_emb:
            raise ValueError('the loss of CornerNet needs embeddings, got '
                             'corner_emb_channels='
                             f'{self.corner_emb_channels}')
        if loss_corner is None:
            loss_corner = dict(
                type='mmlosses.CornerNetLoss',
                pull_weight=0.1,
                push_weight=0.1)
        self.loss_corner = MODELS.build(loss_corner)

    def loss_by_feat(
        self,
        tl_heats: List[Tensor],
        br_heats: List[Tensor],
        tl_embs: List[Tensor],
        br_embs: List[Tensor],
        tl_offs: List[Tensor],
        br_offs: List[Tensor],
        batch_gt_instances: List[InstanceData],
        batch_img_metas: List[Dict[str, Any]],
        batch_gt_instances_ignore: List[InstanceData] | None = None
    ) -> Dict[str, Tensor]:
        """Compute the four terms over all stacks.

        Args:
            tl_heats (list[Tensor]): Logits (B, C, H, W) of the top-left
                corners, one per stack.
            br_heats (list[Tensor]): The same for bottom-right corners.
            tl_embs (list[Tensor]): Embeddings (B, E, H, W).
            br_embs (list[Tensor]): The same for bottom-right corners.
            tl_offs (list[Tensor]): Offsets (B, 2, H, W).
            br_offs (list[Tensor]): The same for bottom-right corners.
            batch_gt_instances (list[InstanceData]): ``bboxes`` and
                ``labels`` of each image.
            batch_img_metas (list[dict]): Meta information of each image.
            batch_gt_instances_ignore (list[InstanceData], optional): Unused,
                as in the stock head.

        Returns:
            dict[str, Tensor]: ``focal_loss``, ``pull_loss``, ``push_loss`` and
            ``regr_loss``.
        """
        maps = self.get_targets(
            [instances.bboxes for instances in batch_gt_instances],
            [instances.labels for instances in batch_gt_instances],
            tl_heats[-1].shape,
            batch_img_metas[0]['batch_input_shape'],
            with_corner_emb=True)
        match = maps['corner_embedding']
        outs = []
        for tl_heat, br_heat, tl_emb, br_emb, tl_off, br_off in zip(
                tl_heats, br_heats, tl_embs, br_embs, tl_offs, br_offs):
            tags = gather_tags(tl_emb, br_emb, match)[:2]
            offsets = gather_tags(tl_off, br_off, match)[:2]
            outs += [tl_heat, br_heat, *tags, *offsets]
        tl_offset, br_offset, mask = gather_tags(maps['topleft_offset'],
                                                 maps['bottomright_offset'],
                                                 match)
        targets = [
            maps['topleft_heatmap'], maps['bottomright_heatmap'], mask,
            tl_offset, br_offset
        ]
        return self.loss_corner(outs, targets)
