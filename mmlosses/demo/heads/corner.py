"""Boxes as pairs of corners."""
from __future__ import annotations
from typing import Any, Dict, List, Tuple

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

# Channels of a corner's heatmap, tag and offset.
PARTS = (1, 1, 2)


class CornerHead(nn.Module):
    """Boxes as pairs of corners that an embedding groups, as CornerNet does.

    It ignores the class of a digit. Dilated convolutions replace CornerNet's
    corner pooling: they let a corner see the digit.

    Args:
        loss (dict): Config of the loss, called as CornerNet calls it.
        in_channels (int): Channels of the features.
        stride (int): Stride of the features in pixels. Default: 4.
        sigma (float): Standard deviation, in feature cells, of the Gaussian
            around a corner. Default: 0.7.
        max_digits (int): Number of corners of each kind to keep. Default: 6.
        score_thr (float): Minimum score of a corner. Default: 0.3.
        tag_thr (float): Maximum distance between the tags of a pair.
            Default: 0.5.
    """

    def __init__(self,
                 loss: Dict[str, Any],
                 in_channels: int,
                 stride: int = 4,
                 sigma: float = 0.7,
                 max_digits: int = 6,
                 score_thr: float = 0.3,
                 tag_thr: float = 0.5) -> None:
        super().__init__()
        self.stride = stride
        self.sigma = sigma
        self.max_digits = max_digits
        self.score_thr = score_thr
        self.tag_thr = tag_thr
        layers: List[nn.Module] = []
        for dilation in (2, 4, 8):
            layers += [
                nn.Conv2d(
                    in_channels,
                    in_channels,
                    3,
                    padding=dilation,
                    dilation=dilation,
                    bias=False),
                nn.BatchNorm2d(in_channels),
                nn.ReLU(inplace=True)
            ]
        self.neck = nn.Sequential(*layers)
        self.maps = nn.Conv2d(in_channels, 2 * sum(PARTS), 1)
        # CenterNet's prior: almost no corners at first.
        bias = torch.zeros(2 * sum(PARTS))
        bias[::sum(PARTS)] = -2.19
        self.maps.bias = nn.Parameter(bias)
        self.loss_module = MODELS.build(loss)

    def forward(self, features: Tensor) -> List[Tuple[Tensor, ...]]:
        """Heatmap, tag and offset maps of top-left and bottom-right."""
        maps = self.maps(self.neck(features))
        return [half.split(PARTS, dim=1) for half in maps.chunk(2, dim=1)]

    def loss(self, features: Tensor,
             data_samples: List[BaseDataElement]) -> Dict[str, Tensor]:
        """The four terms of CornerNet's loss."""
        boxes = [sample.gt_instances.bboxes for sample in data_samples]
        mask = pad_sequence(
            [torch.ones_like(x[:, 0], dtype=torch.bool) for x in boxes],
            batch_first=True)
        padded = pad_sequence(boxes, batch_first=True) / self.stride
        heats, tags, offsets = [], [], []
        gt_heats, gt_offsets = [], []
        for (heat, tag,
             offset), corner in zip(self(features), padded.split(2, dim=-1)):
            height, width = heat.shape[2:]
            # A box may end on the image border, beyond the last cell.
            x = corner[..., 0].long().clamp(max=width - 1)
            y = corner[..., 1].long().clamp(max=height - 1)
            index = y * width + x
            heats.append(heat)
            tags.append(gather(tag, index))
            offsets.append(gather(offset, index))
            gt_heats.append(self.gaussians(x, y, mask, height, width))
            gt_offsets.append(corner - torch.stack([x, y], dim=-1))
        return self.loss_module([*heats, *tags, *offsets],
                                [*gt_heats, mask, *gt_offsets])

    def gaussians(self, x: Tensor, y: Tensor, mask: Tensor, height: int,
                  width: int) -> Tensor:
        """Heatmaps (B, 1, H, W) with 1 at each corner."""
        rows = torch.arange(height, device=x.device)[:, None]
        columns = torch.arange(width, device=x.device)
        distance = ((rows - y[..., None, None])**2 +
                    (columns - x[..., None, None])**2)
        heat = torch.exp(-distance / (2 * self.sigma**2))
        heat = heat * mask[..., None, None]
        return heat.amax(dim=1, keepdim=True)

    def predict(self, features: Tensor,
                data_samples: List[BaseDataElement]) -> List[BaseDataElement]:
        """Boxes of the pairs, by descending score."""
        tops, bottoms = [self.peaks(*maps) for maps in self(features)]
        for n, sample in enumerate(data_samples):
            boxes = self.pairs(*[x[n] for x in tops], *[x[n] for x in bottoms])
            sample.pred_instances = InstanceData(bboxes=boxes)
        return data_samples

    def peaks(self, heat: Tensor, tag: Tensor,
              offset: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Score (B, k), tag (B, k) and position (B, k, 2) of the corners."""
        heat = heat.sigmoid()
        peak = heat == F.max_pool2d(heat, 3, stride=1, padding=1)
        score, index = (heat * peak).flatten(1).topk(self.max_digits)
        width = heat.shape[3]
        place = torch.stack([index % width, index // width], dim=-1)
        place = (place + gather(offset, index)) * self.stride
        return score, gather(tag, index)[..., 0], place

    def pairs(self, top_score: Tensor, top_tag: Tensor, top: Tensor,
              bottom_score: Tensor, bottom_tag: Tensor,
              bottom: Tensor) -> Tensor:
        """Boxes (n, 4) of matching corners; each corner is used once."""
        score = top_score[:, None] + bottom_score
        fits = ((top_score[:, None] > self.score_thr) &
                (bottom_score > self.score_thr) &
                ((top_tag[:, None] - bottom_tag).abs() < self.tag_thr) &
                (top[:, None] < bottom).all(dim=-1))
        score = score * fits
        boxes = []
        for _ in range(len(score)):
            first, second = divmod(int(score.argmax()), score.shape[1])
            if score[first, second] <= 0:
                break
            boxes.append(torch.cat([top[first], bottom[second]]))
            score[first], score[:, second] = 0, 0
        return torch.stack(boxes) if boxes else top.new_zeros(0, 4)


def gather(maps: Tensor, index: Tensor) -> Tensor:
    """Values (B, N, C) of maps (B, C, H, W) at flat indices (B, N)."""
    index = index.unsqueeze(1).expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).transpose(1, 2)
