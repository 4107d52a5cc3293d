"""Regression of keypoints, boxes and orientations."""
from __future__ import annotations
from typing import Any, Dict, List

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from .common import single
from .simcc import corner_boxes


def numbers(in_channels: int, feature_size: int, out_features: int,
            width: int) -> nn.Sequential:
    """Fully connected layers over all positions."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, 1), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(16 * feature_size**2, width), nn.ReLU(inplace=True),
        nn.Linear(width, out_features))


class KeypointHead(nn.Module):
    """Keypoints as coordinates, as in mmpose's ``RegressionHead``.

    For scenes with one digit.

    Args:
        loss (dict): Config of the loss, called with coordinates in [0, 1],
            prediction and target (N, K, 2), and a weight (N, K, 1).
        in_channels (int): Channels of the features.
        num_keypoints (int): Number K of keypoints. Default: 5.
        canvas (int): Side of the image in pixels. Default: 64.
        feature_size (int): Side of the features. Default: 16.
        width (int): Width of the hidden layer. Default: 256.
    """

    # Outputs per keypoint.
    outputs = 2

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 num_keypoints: int = 5,
                 canvas: int = 64,
                 feature_size: int = 16,
                 width: int = 256) -> None:
        super().__init__()
        self.num_keypoints = num_keypoints
        self.canvas = canvas
        self.layers = numbers(in_channels, feature_size,
                              num_keypoints * self.outputs, width)
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (N, K, outputs), of which the first two are (x, y)."""
        return self.layers(features).unflatten(1, (self.num_keypoints, -1))

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The keypoint loss."""
        keypoints = torch.stack(
            [single(sample).keypoints[0] for sample in data_samples])
        weight = torch.ones_like(keypoints[..., :1])
        loss = self.call_loss(self(features), keypoints / self.canvas, weight)
        return dict(loss_kpt=loss)

    def call_loss(self, output: Tensor, target: Tensor,
                  weight: Tensor) -> Tensor:
        """Call the loss with the output of the layers."""
        return self.loss_module(output, target, weight)

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """Keypoints, and the box that the four corners span."""
        keypoints = self(features)[..., :2] * self.canvas
        boxes = corner_boxes(keypoints[:, 1:])
        for sample, points, box in zip(data_samples, keypoints, boxes):
            sample.pred_instances = InstanceData(
                keypoints=points[None], bboxes=box[None])
        return data_samples


class GaussianKeypointHead(KeypointHead):
    """Keypoints with standard deviations, as in mmpose's ``RLEHead``.

    The loss is called with means and scales, target, and weight.
    """
    outputs = 4

    def call_loss(self, output: Tensor, target: Tensor,
                  weight: Tensor) -> Tensor:
        """Call the loss with means and scales."""
        return self.loss_module(output[..., :2], output[..., 2:], target,
                                weight)


class BoxHead(nn.Module):
    """The box of a digit, decoded as in mmdet's heads.

    For scenes with one digit.

    Args:
        loss (dict): Config of the loss, called as mmdet's ``BBoxHead`` does:
            with boxes (N, 4) in pixels, a weight (N, 4) and ``avg_factor``.
        in_channels (int): Channels of the features.
        canvas (int): Side of the image in pixels. Default: 64.
        size (int): Side of the anchor box in pixels. Default: 32.
        feature_size (int): Side of the features. Default: 16.
        width (int): Width of the hidden layer. Default: 256.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 canvas: int = 64,
                 size: int = 32,
                 feature_size: int = 16,
                 width: int = 256) -> None:
        super().__init__()
        self.canvas = canvas
        self.size = size
        self.layers = numbers(in_channels, feature_size, 4, width)
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> Tensor:
        """Boxes (N, 4), xyxy, in pixels."""
        shift, scale = self.layers(features).chunk(2, dim=-1)
        centre = self.canvas / 2 + shift * self.size
        half = scale.exp() * self.size / 2
        return torch.cat([centre - half, centre + half], dim=-1)

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The box loss."""
        target = torch.cat([single(sample).bboxes for sample in data_samples])
        loss = self.loss_module(
            self(features),
            target,
            torch.ones_like(target),
            avg_factor=len(target))
        return dict(loss_bbox=loss)

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """One box for each scene."""
        for sample, box in zip(data_samples, self(features)):
            sample.pred_instances = InstanceData(bboxes=box[None])
        return data_samples


class OrientationHead(nn.Module):
    """The rotation of a digit as a vector (cos, sin), of any length.

    For scenes with one digit.

    Args:
        loss (dict): Config of the loss, called with vectors (N, 2).
        in_channels (int): Channels of the features.
        feature_size (int): Side of the features. Default: 16.
        width (int): Width of the hidden layer. Default: 256.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 feature_size: int = 16,
                 width: int = 256) -> None:
        super().__init__()
        self.layers = numbers(in_channels, feature_size, 2, width)
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> Tensor:
        """Vectors (N, 2)."""
        return self.layers(features)

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The orientation loss."""
        angles = torch.cat([single(sample).angles for sample in data_samples])
        target = torch.stack([angles.cos(), angles.sin()], dim=-1)
        return dict(loss_angle=self.loss_module(self(features), target))

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """Rotations in radians."""
        cos, sin = self(features).unbind(-1)
        for sample, angle in zip(data_samples, torch.atan2(sin, cos)):
            sample.pred_instances = InstanceData(angles=angle[None])
        return data_samples
