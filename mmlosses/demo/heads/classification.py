"""Classification of digits."""
from __future__ import annotations
from typing import Any, Dict, List

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from .common import single


class ClassificationHead(nn.Module):
    """Predict the label of a scene's one digit from the mean feature.

    Args:
        loss (dict): Config of the loss, called with scores (N, C), labels
            (N,) and the ``avg_factor`` N. A loss with a number of scores and
            an activation of its own is asked for them, as in mmdet's heads.
        in_channels (int): Channels of the features.
        num_classes (int): Number C of classes. Default: 10.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 num_classes: int = 10) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.loss_module = MODELS.build(loss)
        self.custom = getattr(self.loss_module, 'custom_cls_channels', False)
        if self.custom:
            num_classes = self.loss_module.get_cls_channels(num_classes)
        self.scores = nn.Linear(in_channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Scores (N, C)."""
        return self.scores(features.mean(dim=(2, 3)))

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The classification loss."""
        labels = torch.cat([single(sample).labels for sample in data_samples])
        loss = self.loss_module(self(features), labels, avg_factor=len(labels))
        return dict(loss_cls=loss)

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """The label with the highest score."""
        scores = self(features)
        if self.custom:
            scores = self.loss_module.get_activation(scores)
        labels = scores[:, :self.num_classes].argmax(dim=1)
        for sample, label in zip(data_samples, labels):
            sample.pred_instances = InstanceData(labels=label[None])
        return data_samples
