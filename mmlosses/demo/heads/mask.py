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
            a mask of that shape.
        in_channels (int): Channels of the features.
        stride (int): Stride of the features in pixels. Default: 4.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 stride: int = 4) -> None:
        super().__init__()
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
        return dict(loss_mask=self.loss_module(self(features), target))

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """One mask for each scene."""
        for sample, logits in zip(data_samples, self(features)):
            sample.pred_instances = InstanceData(masks=logits > 0)
        return data_samples
