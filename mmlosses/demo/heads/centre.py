"""Location and class of a digit as a heatmap peak."""
from __future__ import annotations
from typing import Any, Dict, List

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from .common import single


class CentreHead(nn.Module):
    """A heatmap for each class, with a peak at a digit's centre.

    This is the classification branch of CenterNet. The prediction is the
    class of the highest peak.

    Args:
        loss (dict): Config of the loss, called with logits and targets
            (N, C, H, W) and the number of peaks as ``avg_factor``.
        in_channels (int): Channels of the features.
        num_classes (int): Number C of classes. Default: 10.
        stride (int): Stride of the features in pixels. Default: 4.
        sigma (float): Standard deviation of a peak, in feature cells.
            Default: 1.0.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 num_classes: int = 10,
                 stride: int = 4,
                 sigma: float = 1.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stride = stride
        self.sigma = sigma
        # The receptive field of the backbone is smaller than a digit.
        self.context = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 5, padding=4, dilation=2),
            nn.ReLU(inplace=True))
        self.peaks = nn.Conv2d(in_channels, num_classes, 1)
        # CenterNet's prior: almost no peaks at first.
        nn.init.constant_(self.peaks.bias, -2.19)  # type: ignore[arg-type]
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, C, H, W)."""
        return self.peaks(self.context(features))

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The loss of the heatmaps."""
        scenes = [single(sample) for sample in data_samples]
        centres = torch.cat([scene.keypoints[:, 0] for scene in scenes])
        labels = torch.cat([scene.labels for scene in scenes])
        logits = self(features)
        target = self.encode(centres, labels, logits.shape[-1])
        loss = self.loss_module(logits, target, avg_factor=len(labels))
        return dict(loss_centre=loss)

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """The class of the highest peak."""
        labels = self(features).amax(dim=(2, 3)).argmax(dim=1)
        for sample, label in zip(data_samples, labels):
            sample.pred_instances = InstanceData(labels=label[None])
        return data_samples

    def encode(self, centres: Tensor, labels: Tensor, size: int) -> Tensor:
        """Heatmaps (N, C, size, size) with peak 1 at each centre (N, 2)."""
        cells = torch.arange(size, device=centres.device)
        # Rounded to a cell, so that the peak is exactly 1.
        centres = (centres / self.stride).floor().clamp(max=size - 1)
        x, y = [
            torch.exp(-(cells - centre[:, None])**2 / (2 * self.sigma**2))
            for centre in centres.unbind(1)
        ]
        classes = torch.arange(self.num_classes, device=labels.device)
        hot = (labels[:, None] == classes).to(x.dtype)
        return torch.einsum('nc,ny,nx->ncyx', hot, y, x)
