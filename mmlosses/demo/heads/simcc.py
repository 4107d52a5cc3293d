"""SimCC: keypoints as one classification per axis."""
from __future__ import annotations
import math
from typing import Any, Dict, List, Tuple

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from .common import single


class SimCCHead(nn.Module):
    """Keypoints as one classification per axis, as SimCC does.

    For scenes with one digit. The bins of an axis are ``1 / split_ratio``
    pixels apart; the target of a coordinate is a Gaussian density over them.

    Args:
        loss (dict): Config of the loss, called with tuples (x, y) of
            (N, K, bins) and a weight (N, K).
        in_channels (int): Channels of the features.
        num_keypoints (int): Number K of keypoints. Default: 5.
        canvas (int): Side of the picture in pixels. Default: 64.
        feature_size (int): Side of the features. Default: 16.
        split_ratio (float): Bins per pixel. Default: 2.0.
        sigma (float): Standard deviation of the target in bins.
            Default: 2.0.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 num_keypoints: int = 5,
                 canvas: int = 64,
                 feature_size: int = 16,
                 split_ratio: float = 2.0,
                 sigma: float = 2.0) -> None:
        super().__init__()
        self.split_ratio = split_ratio
        self.sigma = sigma
        self.bins = int(canvas * split_ratio)
        self.maps = nn.Conv2d(in_channels, num_keypoints, 1)
        self.x_bins = nn.Linear(feature_size**2, self.bins)
        self.y_bins = nn.Linear(feature_size**2, self.bins)
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> Tuple[Tensor, Tensor]:
        """Scores (N, K, bins) of each axis."""
        maps = self.maps(features).flatten(2)
        return self.x_bins(maps), self.y_bins(maps)

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The keypoint loss."""
        keypoints = torch.stack(
            [single(sample).keypoints[0] for sample in data_samples])
        target = self.encode(keypoints)
        weight = torch.ones_like(keypoints[..., 0])
        return dict(loss_kpt=self.loss_module(self(features), target, weight))

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """Keypoints, and the box that the four corners span."""
        axes = [
            scores.argmax(-1) / self.split_ratio for scores in self(features)
        ]
        keypoints = torch.stack(axes, dim=-1)
        boxes = corner_boxes(keypoints[:, 1:])
        for sample, points, box in zip(data_samples, keypoints, boxes):
            sample.pred_instances = InstanceData(
                keypoints=points[None], bboxes=box[None])
        return data_samples

    def encode(self, keypoints: Tensor) -> Tuple[Tensor, Tensor]:
        """Gaussian densities (N, K, bins) of each axis."""
        bins = torch.arange(self.bins, device=keypoints.device)
        x, y = [
            torch.exp(-(bins - centre[..., None])**2 / (2 * self.sigma**2)) /
            (self.sigma * math.sqrt(2 * math.pi))
            for centre in (keypoints * self.split_ratio).unbind(-1)
        ]
        return x, y


def corner_boxes(corners: Tensor) -> Tensor:
    """Boxes xyxy from corners; each side is the mean of two of them."""
    top_left, top_right, bottom_right, bottom_left = corners.unbind(1)
    return torch.stack([
        (top_left + bottom_left)[:, 0],
        (top_left + top_right)[:, 1],
        (top_right + bottom_right)[:, 0],
        (bottom_right + bottom_left)[:, 1],
    ],
                       dim=-1) / 2
