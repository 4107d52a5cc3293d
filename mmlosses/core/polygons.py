r"""Areas of polygons, their overlap and their convex hull, differentiable.

Coordinates are tensors (M, \*), with the M vertices on axis 0. Overlaps are
integrals along the boundary of one polygon, clipped to the other: no vertex is
sorted or tested for being inside, so that the area is continuous, and so is
its gradient but for edges on top of each other.
"""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor

from .numeric import coordinates_first, safe_sqrt

Points = Tuple[Tensor, Tensor]

# Differences of coordinates below it have no direction.
TINY = 1e-24


def following(vertices: Tensor) -> Tensor:
    """Return the next vertex of each, and the first for the last."""
    return torch.cat([vertices[1:], vertices[:1]])


def clip(numbers: Tensor, low: Tensor | None, high: Tensor) -> Tensor:
    """Return the nearest number in a range.

    On a bound, the gradient is the mean of those of both sides, unlike that of
    ``clamp``: so it is 0 where the boxes are the same.
    """
    numbers = torch.minimum(numbers, high)
    return numbers if low is None else torch.maximum(numbers, low)


def ratio(numerator: Tensor, denominator: Tensor, scale: Tensor) -> Tensor:
    """Divide, with the value and gradient 0 for a denominator that is only
    rounding of the scale."""
    eps = torch.finfo(scale.dtype).eps
    small = denominator.abs() <= eps * scale.detach().abs() + TINY
    divisor = torch.where(small, torch.ones_like(denominator), denominator)
    return torch.where(small, torch.zeros_like(numerator), numerator) / divisor


def clipped_integral(x: Tensor, y: Tensor, low_x: Tensor, high_x: Tensor,
                     low_y: Tensor | None, high_y: Tensor) -> Tensor:
    r"""Integrate y dx along a closed polygon, both clipped to ranges.

    By Green's theorem, it is minus the area of the polygon, in anticlockwise
    order, within the ranges: what is clipped in y cancels. On an edge with
    the clipped ends :math:`c_0, c_1`, of which clipping took off
    :math:`e_0, e_1`, the mean of y is

    .. math::
        \frac{c_0 + c_1}{2} +
        \frac{(c_1 - c_0) (e_0 + e_1)}{2 (y_1 - y_0)}
    """
    inside = clip(x, low_x, high_x)
    outside = x - inside
    step, rise = following(x) - x, following(y) - y
    slope = ratio(rise, step, rise)  # of a vertical edge, nothing is left
    start = y - outside * slope
    end = following(y) - following(outside) * slope
    first, last = clip(start, low_y, high_y), clip(end, low_y, high_y)
    share = ratio(last - first, end - start, step)
    double = first + last + share * (start - first + end - last)
    return ((following(inside) - inside) * double / 2).sum(dim=0)


def overlap_with_rectangle(x: Tensor, y: Tensor, half: Tensor) -> Tensor:
    """The area of an anticlockwise polygon within a rectangle.

    Its sides are parallel to the axes, its centre is 0, and ``half`` holds the
    halves of width and height on axis 0.
    """
    width, height = half.unbind()
    area = -clipped_integral(x, y, -width, width, -height, height)
    return area.clamp(min=0)


def points_of(pred: Tensor, target: Tensor) -> Tuple[Points, Points]:
    """The points and corners, x and y (M, *), relative to the target."""
    points, corners = coordinates_first(pred), coordinates_first(target)
    x, y = points[0::2], points[1::2]
    left, top = corners[0::2], corners[1::2]
    x0, y0 = left.mean(dim=0), top.mean(dim=0)
    return (x - x0, y - y0), (left - x0, top - y0)


def sides_of(corners: Points) -> Tensor:
    """The lengths (4, *) of the sides of quadrilaterals."""
    x, y = [following(axis) - axis for axis in corners]
    return safe_sqrt(x * x + y * y)


def overlap(x: Tensor, y: Tensor, target_x: Tensor,
            target_y: Tensor) -> Tensor:
    """The area that two anticlockwise polygons, of any form, share.

    It adds up the parts of the first below each edge of the second, which it
    subtracts where the edge leads to the right.
    """
    step, rise = following(target_x) - target_x, following(target_y) - target_y
    low = torch.minimum(target_x, following(target_x))
    high = torch.maximum(target_x, following(target_x))
    x, y = x.unsqueeze(1), y.unsqueeze(1)
    # Relative to the line of the edge, to which y is clipped.
    above = y - target_y - ratio(rise, step, rise) * (x - target_x)
    below = clipped_integral(
        x.expand_as(above), above, low, high, None, torch.zeros_like(low))
    return (step.sign() * below).sum(dim=0).clamp(min=0)


def signed_area(x: Tensor, y: Tensor) -> Tensor:
    """The area of a polygon, below 0 in clockwise order."""
    return (x * following(y) - following(x) * y).sum(dim=0) / 2


def anticlockwise(x: Tensor, y: Tensor) -> Points:
    """Reverse the vertices of polygons in clockwise order."""
    turn = signed_area(x, y) < 0
    return (torch.where(turn, x.flip(0), x), torch.where(turn, y.flip(0), y))


def kept_by_chains(x: Tensor, y: Tensor) -> Points:
    """Which points, from left to right, are in the lower and upper chain.

    No slope to the left of one in the lower chain is above one to the right,
    and no slope to the left of one in the upper chain is below. In equal
    points at a vertex, one is kept at least.
    """
    infinite = torch.full_like(x[0], float('inf'))
    high, low = -infinite.expand_as(x), infinite.expand_as(x)  # to the left
    lower, upper = [], []
    for point in range(len(x)):
        step = (x[point + 1:] - x[point]).clamp(min=TINY)
        slope = (y[point + 1:] - y[point]).div_(step)
        last = point + 1 == len(x)
        lower.append(high[0] <= (infinite if last else slope.amin(dim=0)))
        upper.append(low[0] >= (-infinite if last else slope.amax(dim=0)))
        high, low = torch.maximum(high[1:],
                                  slope), torch.minimum(low[1:], slope)
    return torch.stack(lower), torch.stack(upper)


def convex_hull(x: Tensor, y: Tensor) -> Points:
    r"""The hull (2 M, \*) of M points, anticlockwise; some vertices repeat."""
    with torch.no_grad():
        order = torch.argsort(x, dim=0)
        along, up = x.gather(0, order), y.gather(0, order)
        index = torch.arange(len(x), device=x.device)
        index = index.reshape((-1, ) + (1, ) * (x.ndim - 1))
        # Between its vertices, a chain stays at the one before.
        lower, upper = [
            torch.where(each, index, torch.zeros_like(order)).cummax(dim=0)[0]
            for each in kept_by_chains(along, up)
        ]
        hull = order.gather(0, torch.cat([lower, upper.flip(0)]))
    return x.gather(0, hull), y.gather(0, hull)
