"""The exact Euclidean distance transform of label maps, on any device."""
from __future__ import annotations

import torch
from torch import Tensor

from .tensors import is_compiling

# The candidates of a block of rows, in the cache of a CPU or on a device.
BLOCK = dict(cpu=2**18)
DEVICE_BLOCK = 2**24


def distance_to_other(labels: Tensor) -> Tensor:
    """Return the distance of each pixel to the nearest of another label.

    In pixels, between their centres. Where a map has one label only, it is
    the diagonal of the map. In a mask, that is the distance to the background
    inside, and to the foreground outside.

    Args:
        labels (Tensor): Integer labels (N, H, W).

    Returns:
        Tensor: float32 (N, H, W).
    """
    number, height, width = labels.shape
    if labels.numel() == 0:
        return labels.float()
    if width > height:  # the quadratic pass is along the last axis
        return distance_to_other(labels.transpose(1, 2)).transpose(1, 2)
    most = height**2 + width**2
    vertical = distance_in_columns(labels, most).square()
    rows, labels = vertical.reshape(-1, width), labels.reshape(-1, width)
    place = torch.arange(width, device=labels.device, dtype=torch.float32)
    horizontal = (place[:, None] - place).square()
    block = BLOCK.get(labels.device.type, DEVICE_BLOCK) // width**2
    block = len(rows) if is_compiling() else max(block, 1)
    nearest = []
    for row, label in zip(rows.split(block), labels.split(block)):
        # A column of another label in this row is 0 rows away, and one of the
        # same label as far as its own nearest change.
        same = label.unsqueeze(2) == label.unsqueeze(1)
        square = torch.where(same, row.unsqueeze(1), 0) + horizontal
        nearest.append(square.amin(dim=2))
    square = torch.cat(nearest).clamp(max=most)
    return square.sqrt().reshape(number, height, width)


def distance_in_columns(labels: Tensor, most: float) -> Tensor:
    """Return the distance to another label in the same column, or ``most``."""
    height = labels.shape[1]
    place = torch.arange(height, device=labels.device, dtype=torch.float32)
    place = place[:, None].expand(labels.shape)
    change = labels[:, 1:] != labels[:, :-1]
    edge = torch.ones_like(labels[:, :1], dtype=torch.bool)
    # The first row, and the last, of the pixels of one label in a row.
    first = torch.where(torch.cat([edge, change], dim=1), place, -1)
    last = torch.where(torch.cat([change, edge], dim=1), place, height)
    first = first.cummax(dim=1).values
    last = last.flip(1).cummin(dim=1).values.flip(1)
    above = torch.where(first > 0, place - first + 1, most)
    below = torch.where(last < height - 1, last - place + 1, most)
    return torch.minimum(above, below)
