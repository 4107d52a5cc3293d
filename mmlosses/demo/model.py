"""A small convolutional model with a configurable head."""
from __future__ import annotations
from typing import Any, Dict, List, Sequence

from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn


class DigitNet(BaseModel):
    """Convolutions with stride 4, then a head.

    Args:
        head (dict): Config of the head, built with ``in_channels`` set. It
            has ``forward(features)``, ``loss(features, data_samples)`` and
            ``predict(features, data_samples)``.
        channels (Sequence[int]): Channels of the stages. The first two halve
            the resolution, the others keep it.
        data_preprocessor (dict, optional): Config of the preprocessor.
    """

    def __init__(self,
                 head: Dict[str, Any],
                 channels: Sequence[int] = (24, 48, 64, 64),
                 data_preprocessor: Dict[str, Any] | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        stages, previous = [], 1
        for index, width in enumerate(channels):
            stride = 2 if index < 2 else 1
            stages += [
                nn.Conv2d(previous, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True)
            ]
            previous = width
        self.backbone = nn.Sequential(*stages)
        self.head = MODELS.build(dict(head, in_channels=previous))

    def forward(self,
                inputs: Tensor,
                data_samples: List[BaseDataElement] | None = None,
                mode: str = 'tensor') -> Any:
        """See :class:`mmengine.model.BaseModel`."""
        features = self.backbone(inputs)
        if mode == 'loss':
            return self.head.loss(features, data_samples)
        if mode == 'predict':
            return self.head.predict(features, data_samples)
        return self.head(features)
