"""Predict limb directions next to keypoint heatmaps."""
from __future__ import annotations
from typing import Any, Dict, Sequence, Tuple

import numpy as np
import torch
from mmengine.structures import PixelData
from mmpose.codecs import MSRAHeatmap
from mmpose.evaluation.functional import pose_pck_accuracy
from mmpose.models.heads import HeatmapHead
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.registry import MODELS
from mmpose.utils.tensor_utils import to_numpy
from torch import Tensor, nn


class LimbDirectionHeatmap(MSRAHeatmap):
    """mmpose's ``MSRAHeatmap`` codec with limb directions.

    A limb connects two keypoints. Its direction is the unit vector (cos, sin)
    from the first to the second, with x to the right and y down; its mask
    covers the pixels near the line between them. A limb needs two visible,
    distinct keypoints.

    Args:
        limbs (Sequence[tuple[int, int]]): First and second keypoint of each
            limb.
        limb_width (float): Greatest distance of its pixels from the line, in
            heatmap pixels. Default: 1.0.
        **kwargs: As for ``MSRAHeatmap``: ``input_size``, ``heatmap_size``,
            ``sigma``...

    Example:
        >>> codec = dict(
        ...     type='mmlosses.heads.direction.LimbDirectionHeatmap',
        ...     limbs=[(5, 7), (7, 9)],
        ...     input_size=(192, 256),
        ...     heatmap_size=(48, 64),
        ...     sigma=2)
    """

    label_mapping_table = dict(
        MSRAHeatmap.label_mapping_table, limb_directions='limb_directions')
    field_mapping_table = dict(
        MSRAHeatmap.field_mapping_table, limb_masks='limb_masks')

    def __init__(self,
                 limbs: Sequence[Tuple[int, int]],
                 limb_width: float = 1.0,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limbs = np.array(limbs)
        self.limb_width = limb_width

    def encode(self,
               keypoints: np.ndarray,
               keypoints_visible: np.ndarray | None = None) -> dict:
        """Encode the targets of one person.

        Args:
            keypoints (np.ndarray): Keypoints (1, K, 2) in the input.
            keypoints_visible (np.ndarray, optional): Their visibility (1, K).

        Returns:
            dict: The targets of ``MSRAHeatmap``, and

            - limb_directions (np.ndarray): Directions (1, L, 2).
            - limb_masks (np.ndarray): Pixels of each limb (L, H, W), 1 or 0.
        """
        encoded = super().encode(keypoints, keypoints_visible)
        directions, masks = self.draw_limbs(keypoints[0])
        if keypoints_visible is not None:
            both = (keypoints_visible[0, self.limbs] > 0.5).all(axis=-1)
            masks = masks * both[:, None, None]
        encoded['limb_directions'] = directions[None].astype(np.float32)
        encoded['limb_masks'] = masks.astype(np.float32)
        return encoded

    def draw_limbs(self,
                   keypoints: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Directions and masks of the limbs between keypoints.

        Args:
            keypoints (np.ndarray): Keypoints (K, 2) in the input.

        Returns:
            tuple[np.ndarray]: Directions (L, 2) and bool masks (L, H, W).
        """
        start, end = (keypoints / self.scale_factor)[self.limbs.T]
        length = np.linalg.norm(end - start, axis=-1)
        direction = (end - start) / np.maximum(length, 1e-6)[:, None]
        width, height = self.heatmap_size
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        offset = np.stack([x, y], axis=-1) - start[:, None, None]
        along = np.einsum('lhwd,ld->lhw', offset, direction)
        along = np.clip(along, 0, length[:, None, None])
        nearest = along[..., None] * direction[:, None, None]
        distance = np.linalg.norm(offset - nearest, axis=-1)
        mask = (distance <= self.limb_width) & (length > 0)[:, None, None]
        return direction, mask


class DirectionHead(HeatmapHead):
    """mmpose's ``HeatmapHead`` with maps of limb directions.

    A second output layer predicts a vector (cos, sin) for each limb and pixel;
    its loss covers the pixels of the limbs. The prediction of a person adds
    ``limb_angles`` (1, L) to keypoints and scores: the angle in radians, from
    x (right) towards y (down), of the mean direction on the line between the
    predicted keypoints. With ``output_heatmaps=True`` in ``test_cfg``, the
    maps are returned as ``pred_fields.limb_directions`` (2 * L, H, W). The
    flip test averages the heatmaps only.

    Args:
        in_channels (int | Sequence[int]): Number of channels of the input.
        out_channels (int): Number of keypoints K.
        loss_direction (dict): Config of the direction loss, called with
            predicted and target vectors (B, L, H, W, 2), the masks
            (B, L, H, W) and ``avg_factor``. Default: ``AngularLoss``.
        decoder (dict): Config of the :class:`LimbDirectionHeatmap` that
            encodes the targets in the pipeline.
        **kwargs: As for ``HeatmapHead``: ``loss``, ``deconv_out_channels``...

    Example:
        In a config that inherits one of mmpose's heatmap configs::

            codec = dict(
                type='mmlosses.heads.direction.LimbDirectionHeatmap',
                limbs=[(5, 7), (7, 9)])
            model = dict(
                head=dict(
                    type='mmlosses.heads.direction.DirectionHead',
                    loss_direction=dict(type='mmlosses.AngularLoss'),
                    decoder=codec))
            train_pipeline = _base_.train_pipeline
            train_pipeline[-2].encoder.update(codec)
            train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
    """

    def __init__(self,
                 in_channels: int | Sequence[int],
                 out_channels: int,
                 loss_direction: dict = dict(type='mmlosses.AngularLoss'),
                 decoder: dict | None = None,
                 **kwargs: Any) -> None:
        super().__init__(in_channels, out_channels, decoder=decoder, **kwargs)
        if not isinstance(self.decoder, LimbDirectionHeatmap):
            raise TypeError('decoder must be a LimbDirectionHeatmap, which '
                            f'knows the limbs, got {decoder}')
        self.loss_direction = MODELS.build(loss_direction)
        self.direction_layer = nn.Conv2d(self.final_layer.in_channels,
                                         2 * len(self.decoder.limbs), 1)

    def forward(self, feats: Tuple[Tensor, ...]) -> Tuple[Tensor, Tensor]:
        """Predict heatmaps and directions.

        Args:
            feats (tuple[Tensor]): Features; the last are used.

        Returns:
            tuple[Tensor]: Heatmaps (B, K, H, W) and directions
            (B, L, H, W, 2).
        """
        x = self.conv_layers(self.deconv_layers(feats[-1]))
        directions = self.direction_layer(x).unflatten(1, (-1, 2))
        return self.final_layer(x), directions.movedim(2, -1)

    def loss(self,
             feats: Tuple[Tensor, ...],
             batch_data_samples: list,
             train_cfg: dict = {}) -> Dict[str, Tensor]:
        """Compute the losses of heatmaps and directions.

        Args:
            feats (tuple[Tensor]): Features; the last are used.
            batch_data_samples (list[PoseDataSample]): The targets.
            train_cfg (dict): Has ``compute_acc``, True by default.

        Returns:
            dict[str, Tensor]: ``loss_kpt``, ``loss_direction`` and
            ``acc_pose``.
        """
        labels = [d.gt_instance_labels for d in batch_data_samples]
        fields = [d.gt_fields for d in batch_data_samples]
        weights = torch.cat([label.keypoint_weights for label in labels])
        vectors = torch.cat([label.limb_directions for label in labels])
        heatmaps = torch.stack([field.heatmaps for field in fields])
        masks = torch.stack([field.limb_masks for field in fields])

        pred_heatmaps, directions = self.forward(feats)
        losses = dict(
            loss_kpt=self.loss_module(pred_heatmaps, heatmaps, weights),
            loss_direction=self.loss_direction(
                directions,
                vectors[:, :, None, None].expand_as(directions),
                masks,
                avg_factor=masks.sum().clamp(min=1)))
        if train_cfg.get('compute_acc', True):
            _, accuracy, _ = pose_pck_accuracy(
                output=to_numpy(pred_heatmaps),
                target=to_numpy(heatmaps),
                mask=to_numpy(weights) > 0)
            losses['acc_pose'] = heatmaps.new_tensor(accuracy)
        return losses

    def predict(self,
                feats: Any,
                batch_data_samples: list,
                test_cfg: dict = {}) -> list | Tuple[list, list]:
        """Predict keypoints and limb angles.

        Args:
            feats (tuple[Tensor] | list[tuple[Tensor]]): Features; with
                ``flip_test`` also those of the flipped image.
            batch_data_samples (list[PoseDataSample]): The samples.
            test_cfg (dict): As for ``HeatmapHead``.

        Returns:
            list[InstanceData] | tuple: Keypoints, scores and angles; with
            ``output_heatmaps`` also the maps.
        """
        if test_cfg.get('flip_test', False):
            heatmaps, directions = self.forward(feats[0])
            flipped = flip_heatmaps(
                self.forward(feats[1])[0],
                flip_indices=batch_data_samples[0].flip_indices,
                flip_mode=test_cfg.get('flip_mode', 'heatmap'),
                shift_heatmap=test_cfg.get('shift_heatmap', False))
            heatmaps = (heatmaps + flipped) / 2
        else:
            heatmaps, directions = self.forward(feats)
        directions = nn.functional.normalize(directions, dim=-1)

        preds = self.decode(heatmaps)
        for pred, vectors in zip(preds, to_numpy(directions)):
            pred.limb_angles = self._angles(pred.keypoints[0], vectors)[None]
        if not test_cfg.get('output_heatmaps', False):
            return preds
        maps = directions.movedim(-1, 2).flatten(1, 2)
        return preds, [
            PixelData(heatmaps=heatmap, limb_directions=direction)
            for heatmap, direction in zip(heatmaps.detach(), maps.detach())
        ]

    def _angles(self, keypoints: np.ndarray,
                vectors: np.ndarray) -> np.ndarray:
        """Angle of the mean vector (L, H, W, 2) along each limb."""
        _, masks = self.decoder.draw_limbs(keypoints)
        cos, sin = np.einsum('lhwd,lhw->dl', vectors, masks)
        return np.arctan2(sin, cos)
