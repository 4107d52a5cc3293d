"""Ink segmentation."""
from __future__ import annotations
from typing import Any, Dict, List

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn


class MaskHead(nn.Module):
    """One ink mask of a whole scene.

    Args:
        loss (dict): Config of the loss, called with logits (N, 1, H, W) and
            a mask of that shape, or labels (N, H, W) of a label map.
        in_channels (int): Channels of the features.
        stride (int): Stride of the features in pixels. Default: 4.
        label_map (bool): If True, the loss takes labels, 1 for ink.
            Default: False.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 stride: int = 4,
                 label_map: bool = False) -> None:
        super().__init__()
        self.label_map = label_map
        self.logits = nn.Sequential(
            nn.Conv2d(in_channels, stride**2, 3, padding=1),
            nn.PixelShuffle(stride))
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, 1, H, W) at image resolution."""
        return self.logits(features)

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The mask loss."""
        target = torch.stack([
            sample.gt_instances.masks.any(dim=0, keepdim=True)
            for sample in data_samples
        ])
        if self.label_map:
            target = target.squeeze(1).long()
        return dict(loss_mask=self.loss_module(self(features), target))

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """One mask for each scene."""
        for sample, logits in zip(data_samples, self(features)):
            sample.pred_instances = InstanceData(masks=logits > 0)
        return data_samples
