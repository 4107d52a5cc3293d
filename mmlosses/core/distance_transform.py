"""The exact Euclidean distance transform of label maps, on any device."""
from __future__ import annotations

import torch
from torch import Tensor

from .checks import is_visible
from .tensors import is_compiling

# So many candidates are compared at a time on a device.
BLOCK = 2**24


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
    height, width = labels.shape[1:]
    if labels.numel() == 0:
        return labels.float()
    if width > height:  # the slower pass is along the shorter axis
        return distance_to_other(labels.transpose(1, 2)).transpose(1, 2)
    most = height**2 + width**2
    square = distance_in_columns(labels, most).square()
    across = across_by_steps if is_visible(labels) else across_at_once
    return across(square, labels).clamp(max=most).sqrt()


def across_at_once(square: Tensor, labels: Tensor) -> Tensor:
    """Compare all pixels of each row: squares of distances (N, H, W).

    A column of another label in this row is 0 rows away, and one of the same
    label as far as its own nearest change, with its ``square``.
    """
    width = labels.shape[2]
    place = torch.arange(width, device=labels.device, dtype=square.dtype)
    gap = (place[:, None] - place).square()
    rows, found = square.reshape(-1, width), []
    size = len(rows) if is_compiling() else max(BLOCK // width**2, 1)
    for row, label in zip(
            rows.split(size),
            labels.reshape(-1, width).split(size)):
        same = label.unsqueeze(2) == label.unsqueeze(1)
        total = torch.where(same, row.unsqueeze(1), 0) + gap
        found.append(total.amin(dim=2))
    return torch.cat(found).reshape(square.shape)


def across_by_steps(square: Tensor, labels: Tensor) -> Tensor:
    """The same, until no larger step can be shorter.

    It takes a tenth of the time, but has to look at the values.
    """
    square, labels = [
        x.transpose(1, 2).contiguous() for x in (square, labels.int())
    ]
    best = square.clone()
    for step in range(1, labels.shape[1]):
        if step**2 >= best.max():
            break
        same = labels[:, step:] == labels[:, :-step]
        for near, far in ((slice(None, -step), slice(step, None)),
                          (slice(step, None), slice(None, -step))):
            total = square[:, far] * same + step**2
            best[:, near] = torch.minimum(best[:, near], total)
    return best.transpose(1, 2)


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
