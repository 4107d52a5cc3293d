"""Classification of digits by embeddings."""
from __future__ import annotations
from typing import Any, Dict, List

import torch
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from .common import single


class EmbeddingHead(nn.Module):
    """Embeddings for a loss that owns the class vectors.

    For scenes with one digit. The label is the class with the highest logit
    of the loss.

    Args:
        loss (dict): Config of the loss, called with embeddings (N, D) and
            labels (N,). It has ``logits(embeddings)``.
        in_channels (int): Channels of the features.
        loss_ccs (dict, optional): Config of a second loss, called with
            embeddings, the class vectors ``weight`` (C, D) of the first loss
            and labels, as :class:`mmlosses.losses.CCSLoss` is.
            Default: None.
        embedding_size (int): Size D of the embedding. Default: 16.
        feature_size (int): Side of the features. Default: 16.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 loss_ccs: Dict[str, Any] | None = None,
                 embedding_size: int = 16,
                 feature_size: int = 16) -> None:
        super().__init__()
        layers: List[nn.Module] = []
        for _ in range(2):
            layers += [
                nn.Conv2d(
                    in_channels, in_channels, 3, 2, padding=1, bias=False),
                nn.BatchNorm2d(in_channels),
                nn.ReLU(inplace=True)
            ]
        flat = in_channels * (feature_size // 4)**2
        self.layers = nn.Sequential(*layers, nn.Flatten(),
                                    nn.Linear(flat, embedding_size))
        self.loss_module = MODELS.build(loss)
        self.loss_ccs = None if loss_ccs is None else MODELS.build(loss_ccs)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings (N, D)."""
        return self.layers(features)

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The losses of the embeddings."""
        labels = torch.cat([single(sample).labels for sample in data_samples])
        embeddings = self(features)
        losses = dict(loss_embedding=self.loss_module(embeddings, labels))
        if self.loss_ccs is not None:
            losses['loss_ccs'] = self.loss_ccs(embeddings,
                                               self.loss_module.weight, labels)
        return losses

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """The label of each scene's digit."""
        labels = self.loss_module.logits(self(features)).argmax(dim=1)
        for sample, label in zip(data_samples, labels):
            sample.pred_instances = InstanceData(labels=label[None])
        return data_samples
