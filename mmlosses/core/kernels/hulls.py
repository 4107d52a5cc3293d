"""Areas of convex hulls, and GIoU of them, with derivatives.

They take 0.2 of autograd's time, for GIoU.
"""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor

from ..boxes import TINY, at_least
from ..numeric import coordinates_first
from ..polygons import (Points, anticlockwise, convex_hull, following,
                        kept_by_chains, overlap, points_of, sides_of,
                        signed_area)

# Of areas as denominators, relative to the squared mean of the target's sides.
EPS = 1e-6


def least_area(corners: Points) -> Tensor:
    """The lower bound of areas as denominators."""
    return EPS / 4 * sides_of(corners)[:2].sum(dim=0)**2 + TINY


def giou_of_points(pred: Tensor, target: Tensor) -> Tensor:
    r"""GIoU (\*) of points (\*, 2 M) and quadrilaterals (\*, 8)."""
    points, corners = points_of(pred, target)
    corners = anticlockwise(*corners)
    hull = convex_hull(*points)
    both = convex_hull(*[torch.cat(pair) for pair in zip(points, corners)])
    least, shared = least_area(corners), overlap(*hull, *corners)
    union = signed_area(*hull) + signed_area(*corners) - shared
    union = at_least(least, union)
    area = at_least(least, signed_area(*both))
    # Rounding must not make the hull smaller than its parts.
    return (shared / union).clamp(max=1) + (union / area).clamp(max=1) - 1


class Hull:
    r"""The edges (M, 2, \*), x and y, of a convex hull, from left to right.

    Each of M sorted points but the first ends one edge of the lower or the
    upper chain, the last one an edge of both. That of a point within the hull
    has length 0.

    Args:
        points (Tensor): x and y of M points, (M, 2, \*).
    """

    def __init__(self, points: Tensor) -> None:
        order = torch.argsort(points[:, 0], dim=0)
        self.order = order.unsqueeze(1).expand_as(points)
        points = points.gather(0, self.order)
        inner, last = points[1:-1], points[-1:]
        low, up = [
            each[1:-1].unsqueeze(1).to(points.dtype)
            for each in kept_by_chains(*points.unbind(1))
        ]
        up = up * (1 - low)  # of points on one line
        self.low, self.up = low, up
        starts = []
        for kept in (low, up):
            chain = [points[0]]  # the last vertex before each point
            for here, weight in zip(inner, kept):
                chain.append(torch.lerp(chain[-1], here, weight))
            starts.append(torch.stack(chain))
        start = torch.lerp(starts[1][:-1], starts[0][:-1], low)
        self.start = torch.cat([
            torch.lerp(inner, start, low + up), starts[0][-1:], starts[1][-1:]
        ])
        self.end = torch.cat([inner, last, last])
        self.step, self.rise = (self.end - self.start).unbind(1)
        one = torch.ones_like(low[:1, 0])
        # 1 on the upper chain, -1 on the lower one.
        self.sign = torch.cat([(up - low)[:, 0], -one, one])

    def area(self) -> Tensor:
        """The area of the hull."""
        height = self.start[:, 1] + self.end[:, 1]
        return (self.sign * self.step * height).sum(dim=0) / 2

    def gradient(self, at_start: Tensor, at_end: Tensor) -> Tensor:
        r"""The derivative (M, 2, \*) by the points of what the edges bound.

        It changes by how far edges move outwards, weighted by a number for
        each end of an edge, and by its length.
        """
        outwards = self.sign.unsqueeze(1) * torch.stack(
            [-self.rise, self.step], dim=1)
        pull = outwards * at_end.unsqueeze(1)
        back = outwards.mul_(at_start.unsqueeze(1))
        by_low, by_up = back[-2], back[-1]
        found = [pull[-2] + pull[-1]]
        for i in range(len(self.low) - 1, -1, -1):
            here = torch.addcmul(pull[i], by_low, self.low[i])
            found.append(here.addcmul_(by_up, self.up[i]))
            by_low = torch.lerp(by_low, back[i], self.low[i])
            by_up = torch.lerp(by_up, back[i], self.up[i])
        found.append(by_low + by_up)
        whole = torch.stack(found[::-1])
        return torch.empty_like(whole).scatter_(0, self.order, whole)


def area_of_hull(points: Tensor) -> Tensor:
    r"""The area (\*) of the convex hull of points (\*, 2 M), x, y, x, y."""
    x, y = coordinates_first(points).unflatten(0, (-1, 2)).unbind(1)
    return signed_area(*convex_hull(x, y))


def area_of_hull_and_derivative(points: Tensor) -> Tuple[Tensor, Tensor]:
    """The same area, and its derivative."""
    hull = Hull(coordinates_first(points).unflatten(0, (-1, 2)))
    half = torch.full_like(hull.step, 0.5)
    derivative = hull.gradient(half, half)
    return hull.area(), derivative.flatten(0, 1).movedim(0, -1)


def overlap_and_shares(hull: Hull,
                       corners: Points) -> Tuple[Tensor, Tensor, Tensor]:
    r"""The area that a hull and a quadrilateral share, and what bounds it.

    The second and third results are the integrals over the part of each edge
    of the hull within the quadrilateral of 1 - t and of t, for t from 0 to 1
    along the edge. On an edge of the quadrilateral they count half.

    For d = y - y' of an edge of each, with the ends :math:`d_0, d_1` where
    both are, let :math:`A = |d_0| + |d_1|`: the mean of min(d, 0) is
    :math:`-(d_0 + d_1 - A)^2 / 8 A`. Added up with the signs of upper and
    lower edges, its integrals are the area.
    """
    (x, y), x1 = hull.start.unbind(1), hull.end[:, 0]
    step, rise = hull.step, hull.rise
    slope = rise / steep_or(step, rise)
    level = torch.addcmul(y, slope, x, value=-1)
    turned = rise * x - step * y
    left, top = corners
    across, down = following(left) - left, following(top) - top
    upper = across.sign()
    tilt = down * upper / steep_or(across.abs(), down)
    height, turned_back = top - tilt * left, down * left - across * top
    low = torch.minimum(left, following(left))
    high = torch.maximum(left, following(left))
    # Positive on the left of the line through an edge of the hull.
    sides = [
        torch.addcmul(turned, step, top[i]).addcmul_(rise, left[i], value=-1)
        for i in range(len(left))
    ]
    signs = [side.sign() for side in sides]
    area, length, moment = [torch.zeros_like(step) for _ in range(3)]
    for i in range(len(left)):
        start, end = torch.maximum(x, low[i]), torch.minimum(x1, high[i])
        difference, lift = slope - tilt[i], level - height[i]
        first = torch.addcmul(lift, difference, start)
        last = lift.addcmul_(difference, end)
        width = end.sub_(start).clamp_(min=0)
        whole = torch.add(first.abs(), last.abs())
        below = first.add_(last).sub_(whole).square_()
        area.addcmul_(below.div_(whole.add_(TINY)).mul_(width), upper[i])

        after = (i + 1) % len(left)
        share = torch.addcmul(turned_back[i], y, across[i]).addcmul_(
            x, down[i], value=-1)
        share.div_((sides[after] - sides[i]).add_(TINY)).clamp_(0, 1)
        cross = (signs[after] - signs[i]).mul_(share)
        length.add_(cross)
        moment.addcmul_(cross, share)
    turn = signed_area(left, top).sign()
    moment.mul_(turn / 4)
    length.mul_(turn / 2).sub_(moment)
    area = (hull.sign * area).sum(dim=0) / 8
    return (turn * area).clamp(min=0), length, moment


def steep_or(step: Tensor, rise: Tensor) -> Tensor:
    """A step >= 0, of which the slope is bounded by 1 / eps."""
    eps = torch.finfo(step.dtype).eps
    return torch.maximum(step, eps * rise.abs()) + TINY


def giou_and_derivative(pred: Tensor, target: Tensor) -> Tuple[Tensor, Tensor]:
    """The same GIoU, and its derivative by the points.

    An area changes by how far its edges move outwards.
    """
    points, corners = points_of(pred, target)
    hull = Hull(torch.stack(points, dim=1))
    both = Hull(
        torch.stack([torch.cat(pair) for pair in zip(points, corners)], dim=1))
    least = least_area(corners)
    shared, at_start, at_end = overlap_and_shares(hull, corners)
    free_union = hull.area() + signed_area(*corners).abs() - shared
    free_area = both.area()
    union, area = at_least(least, free_union), at_least(least, free_area)
    iou, filled = shared / union, union / area
    value = iou.clamp(max=1) + filled.clamp(max=1) - 1

    part, rest = (iou <= 1) / union, (filled <= 1) / area
    by_union = (rest - part * iou) * (free_union >= least)
    by_area = -rest * filled * (free_area >= least) / 2
    by_shared = (part - by_union) * (shared > 0)
    half = by_union / 2
    derivative = hull.gradient(by_shared * at_start + half,
                               by_shared * at_end + half)
    by_area = by_area.expand_as(both.step)
    derivative += both.gradient(by_area, by_area)[:len(derivative)]
    return value, derivative.flatten(0, 1).movedim(0, -1)
