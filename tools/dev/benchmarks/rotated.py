"""Plain formulas of rotated boxes and sets of points, as peers.

Overlaps are those of the vertices that both share, sorted by angle, as the
operators of mmcv compute them; Gaussians are compared by ``torch.linalg``.
"""
from __future__ import annotations
import math
from typing import Callable, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def corners_of(boxes: Tensor) -> Tensor:
    """The corners (N, 4, 2) of boxes (N, 5)."""
    sign = boxes.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    x, y = (sign * boxes[:, None, 2:4]).unbind(-1)
    cos, sin = boxes[:, 4:].cos(), boxes[:, 4:].sin()
    turned = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
    return turned + boxes[:, None, :2]


def cross(one: Tensor, other: Tensor) -> Tensor:
    """The cross product of vectors on the last axis."""
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def within(points: Tensor, corners: Tensor) -> Tensor:
    """Which points (N, P, 2) are within quadrilaterals (N, 4, 2)."""
    side = corners.roll(-1, 1) - corners
    return (cross(side[:, None], points[:, :, None] - corners[:, None])
            >= 0).all(dim=2)


def crossings(one: Tensor, other: Tensor) -> Tuple[Tensor, Tensor]:
    """The points (N, E F, 2) where edges cross, and which of them exist."""
    a, c = one[:, :, None], other[:, None]
    b, d = one.roll(-1, 1)[:, :, None], other.roll(-1, 1)[:, None]
    slope = cross(b - a, d - c)
    slope = torch.where(slope == 0, torch.ones_like(slope), slope)
    t, u = cross(c - a, d - c) / slope, cross(c - a, b - a) / slope
    found = (t >= 0) & (t <= 1) & (u >= 0) & (u <= 1)
    return (a + t[..., None] * (b - a)).flatten(1, 2), found.flatten(1)


def area_around(points: Tensor, found: Tensor) -> Tensor:
    """The area of a convex polygon of those points that are found."""
    number = found.sum(dim=1, keepdim=True)
    mean = (points * found[..., None]).sum(dim=1) / number.clamp(min=1)
    offset = points - mean[:, None]
    angle = torch.atan2(offset[..., 1], offset[..., 0]).detach()
    order = angle.masked_fill(~found, 9).argsort(dim=1)
    place = torch.arange(points.shape[1], device=points.device)
    # The others are the first vertex.
    order = torch.where(place < number, order, order[:, :1])
    vertices = offset.gather(1, order[..., None].expand_as(offset))
    area = cross(vertices, vertices.roll(-1, 1)).sum(dim=1).abs() / 2
    return torch.where(number[:, 0] > 2, area, torch.zeros_like(area))


def shared_area(one: Tensor, other: Tensor) -> Tensor:
    """The area that boxes, given by corners (N, 4, 2), share."""
    points, found = crossings(one, other)
    points = torch.cat([points, one, other], dim=1)
    found = torch.cat([found, within(one, other), within(other, one)], dim=1)
    return area_around(points, found)


def rotated_iou(pred: Tensor, target: Tensor) -> Tensor:
    """The IoU of each pair of boxes."""
    shared = shared_area(corners_of(pred), corners_of(target))
    areas = pred[:, 2] * pred[:, 3] + target[:, 2] * target[:, 3]
    return shared / (areas - shared)


def plain_rotated_iou(pred: Tensor, target: Tensor) -> Tensor:
    """Minus the logarithm of the IoU."""
    return -rotated_iou(pred, target).clamp(min=1e-6).log().mean()


def hull_edges(points: Tensor) -> Tensor:
    """Which points (N, P, P) are joined: all the others are on the left."""
    step = points[:, None] - points[:, :, None]
    left = cross(step[:, :, :, None], step[:, :, None]) >= 0
    return left.all(dim=3) & ~torch.eye(
        points.shape[1], dtype=torch.bool, device=points.device)


def hull_area(points: Tensor) -> Tensor:
    """The area of the convex hull of points (N, P, 2)."""
    points = points - points.mean(dim=1, keepdim=True)
    pairs = cross(points[:, :, None], points[:, None])
    return (pairs * hull_edges(points)).sum(dim=(1, 2)) / 2


def plain_rotated_giou(pred: Tensor, target: Tensor) -> Tensor:
    """Generalized IoU."""
    iou = rotated_iou(pred, target)
    areas = pred[:, 2] * pred[:, 3] + target[:, 2] * target[:, 3]
    hull = hull_area(torch.cat([corners_of(pred), corners_of(target)], dim=1))
    return (2 - iou - areas / (1 + iou) / hull).mean()


def distance_term(pred: Tensor, target: Tensor) -> Tensor:
    """The squared distance of centres, by that of the box around both."""
    offset = torch.cat([pred[:, :2] - target[:, :2], pred[:, 2:]], dim=1)
    cos, sin = target[:, 4].cos(), target[:, 4].sin()
    x, y = offset[:, 0] * cos + offset[:, 1] * sin, (
        offset[:, 1] * cos - offset[:, 0] * sin)
    turned = torch.stack(
        [x, y, pred[:, 2], pred[:, 3], pred[:, 4] - target[:, 4]], dim=1)
    half = target[:, None, 2:4] / 2
    points = torch.cat([corners_of(turned), half, -half], dim=1)
    sides = points.amax(dim=1) - points.amin(dim=1)
    return (x**2 + y**2) / (sides**2).sum(dim=1)


def plain_rotated_diou(pred: Tensor, target: Tensor) -> Tensor:
    """Distance IoU."""
    return (1 - rotated_iou(pred, target) + distance_term(pred, target)).mean()


def plain_rotated_ciou(pred: Tensor, target: Tensor) -> Tensor:
    """Complete IoU."""
    iou = rotated_iou(pred, target)
    goal = torch.atan(target[:, 2] / target[:, 3])
    errors = [
        goal - torch.atan(one / other)
        for one, other in ((pred[:, 2], pred[:, 3]), (pred[:, 3], pred[:, 2]))
    ]
    turn = pred[:, 4] - target[:, 4]
    v = 4 / math.pi**2 * (
        turn.cos()**2 * errors[0]**2 + turn.sin()**2 * errors[1]**2)
    with torch.no_grad():
        alpha = (iou > 0.5) * v / (1 - iou + v)
    return (1 - iou + distance_term(pred, target) + alpha * v).mean()


Gaussians = Tuple[Tensor, Tensor, Tensor]


def gaussians(pred: Tensor, target: Tensor, share: float = 1) -> Gaussians:
    """The offset (N, 2, 1) and both covariances (N, 2, 2) of boxes."""
    found = []
    for boxes in (pred, target):
        cos, sin = boxes[:, 4].cos(), boxes[:, 4].sin()
        turn = torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2)
        square = torch.diag_embed(share * boxes[:, 2:4]**2 / 4)
        found.append(turn @ square @ turn.transpose(1, 2))
    return (pred[:, :2] - target[:, :2])[..., None], found[0], found[1]


def trace(matrices: Tensor) -> Tensor:
    """The sum of the diagonal."""
    return matrices.diagonal(dim1=1, dim2=2).sum(dim=1)


def mahalanobis(offset: Tensor, covariance: Tensor) -> Tensor:
    """The squared distance of the means."""
    found = offset.transpose(1, 2) @ torch.linalg.solve(covariance, offset)
    return found.flatten()


def plain_gwd(pred: Tensor, target: Tensor) -> Tensor:
    """The Wasserstein distance, by a root of a matrix."""
    offset, one, other = gaussians(pred, target)
    values, vectors = torch.linalg.eigh(other)
    root = vectors @ torch.diag_embed(values.sqrt()) @ vectors.transpose(1, 2)
    both = torch.linalg.eigvalsh(root @ one @ root).sqrt().sum(dim=1)
    square = (offset**2).sum(dim=(1, 2)) + trace(one) + trace(other) - 2 * both
    size = 2 * (torch.linalg.det(one) * torch.linalg.det(other))**0.125
    return torch.log1p(square.clamp(min=1e-7).sqrt() / size).mean()


def plain_kld(pred: Tensor, target: Tensor) -> Tensor:
    """The KL divergence of the targets from the predictions."""
    offset, one, other = gaussians(pred, target)
    value = trace(torch.linalg.solve(one, other)) + mahalanobis(offset, one)
    value = (value - 2 + one.logdet() - other.logdet()) / 2
    return torch.log1p(value.clamp(min=1e-7).sqrt()).mean()


def bhattacharyya(pred: Tensor, target: Tensor, share: float = 1) -> Tensor:
    """Bhattacharyya's distance."""
    offset, one, other = gaussians(pred, target, share)
    both = (one + other) / 2
    logs = both.logdet() - (one.logdet() + other.logdet()) / 2
    return mahalanobis(offset, both) / 8 + logs / 2


def plain_bcd(pred: Tensor, target: Tensor) -> Tensor:
    """The first form of the loss of Bhattacharyya's distance."""
    value = bhattacharyya(pred, target).clamp(min=1e-7).sqrt()
    return (1 - 1 / (1 + value)).mean()


def plain_prob_iou(pred: Tensor, target: Tensor) -> Tensor:
    """The Hellinger distance."""
    value = 1 - torch.exp(-bhattacharyya(pred, target, 1 / 3))
    return value.clamp(min=1e-7).sqrt().mean()


def plain_kf(deltas: Tensor, goals: Tensor, weight: None, avg_factor: None,
             pred: Tensor, target: Tensor) -> Tensor:
    """KFIoU, with the smooth L1 of the deltas."""
    _, one, other = gaussians(pred, target)
    gain = one @ torch.linalg.inv(one + other)
    areas = [
        4 * torch.linalg.det(x).sqrt() for x in (one, other, one - gain @ one)
    ]
    iou = areas[2] / (areas[0] + areas[1] - areas[2])
    near = F.smooth_l1_loss(
        deltas[:, :2], goals[:, :2], reduction='none', beta=1 / 9)
    return (near.sum(dim=1) + 1 - iou).mean()


def kept(start: Tensor, step: Tensor, from_: Tensor, along: Tensor,
         used: Tensor) -> Tensor:
    """Twice the area below what is left of lines of each edge.

    Of edges (N, E, 2) and lines (N, L, 2), of which some are used.
    """
    offset = cross(along[:, None], start[:, :, None] - from_[:, None])
    slope = cross(along[:, None], step[:, :, None])
    slope = torch.where(slope == 0, torch.full_like(slope, 1e-12), slope)
    place = -offset / slope
    none, whole = torch.zeros_like(place), torch.ones_like(place)
    enters, leaves = used[:, None] & (slope > 0), used[:, None] & (slope < 0)
    first = torch.where(enters, place, none).amax(dim=2).clamp(min=0)
    last = torch.where(leaves, place, whole).amin(dim=2).clamp(max=1)
    length = (last - first).clamp(min=0)
    return cross(start, step) * length


def convex_parts(pred: Tensor, target: Tensor) -> Tuple[Tensor, ...]:
    """The IoU of hulls and quadrilaterals, their union and hull."""
    points, corners = [x.reshape(len(x), -1, 2) for x in (pred, target)]
    origin = corners.mean(dim=1, keepdim=True)
    points, corners = points - origin, corners - origin
    edges = hull_edges(points).flatten(1)
    step = (points[:, None] - points[:, :, None]).flatten(1, 2)
    start = points[:, :, None].expand(-1, -1, points.shape[1], -1)
    start = start.flatten(1, 2)
    side = corners.roll(-1, 1) - corners
    every = torch.ones_like(corners[..., 0], dtype=torch.bool)
    shared = ((kept(start, step, corners, side, every) * edges).sum(dim=1) +
              kept(corners, side, start, step, edges).sum(dim=1)) / 2
    target_area = cross(corners, corners.roll(-1, 1)).sum(dim=1) / 2
    union = hull_area(points) + target_area - shared
    hull = hull_area(torch.cat([points, corners], dim=1))
    return shared / union, union / hull, points, corners


def plain_convex_giou(pred: Tensor, target: Tensor) -> Tensor:
    """Generalized IoU of the hull of points and a quadrilateral."""
    iou, filled, *_ = convex_parts(pred, target)
    return (2 - iou - filled).mean()


def plain_bc_convex_giou(pred: Tensor, target: Tensor) -> Tensor:
    """The same, with the distances of the centre and outermost points."""
    iou, filled, points, corners = convex_parts(pred, target)
    both = []
    for given in (points, corners):
        rows = torch.arange(len(given))
        found = [given.mean(dim=1)]
        for axis in (0, 1):
            found += [
                given[rows, given[..., axis].argmin(dim=1)],
                given[rows, given[..., axis].argmax(dim=1)]
            ]
        both.append(torch.stack(found, dim=1))
    near = F.smooth_l1_loss(both[0], both[1], reduction='none')
    near = near.sum(dim=(1, 2))
    sides = (corners[:, 1:3] - corners[:, :2]).norm(dim=2)
    share = torch.exp(-sides.amax(dim=1) / sides.amin(dim=1) / 4)
    return (share * near + 1 - (1 - 2 * share) * (iou + filled - 1)).mean()


def plain_spatial_border(pred: Tensor, target: Tensor) -> Tensor:
    """The mean distance of the points outside from the centre."""
    points, corners = [x.reshape(len(x), -1, 2) for x in (pred, target)]
    outside = ~within(points, corners)
    centre = (corners[:, :1] + corners[:, 2:3]) / 2
    distance = (points - centre).norm(dim=2) * outside
    return (0.2 * distance.sum(dim=1) / outside.sum(dim=1).clamp(min=1)).mean()


def plain_smooth_focal(pred: Tensor, target: Tensor) -> Tensor:
    """Focal loss of soft labels."""
    chance = pred.sigmoid()
    wrong = (1 - chance) * target + chance * (1 - target)
    weight = (0.25 * target + 0.75 * (1 - target)) * wrong**2
    return (
        F.binary_cross_entropy_with_logits(pred, target, reduction='none') *
        weight).mean()


def consistency(iou: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """H2RBox' loss, by the IoU of upright boxes."""

    def plain_h2rbox(pred: Tensor, target: Tensor) -> Tensor:
        turn = pred[:, 4] - target[:, 4]
        size, goal = pred[:, 2:4], target[:, 2:4]
        goal = torch.cat([-goal, goal], dim=1)
        forms = []
        for sides, angle in ((size, turn.sin()), (size.flip(1), turn.cos())):
            box = torch.cat([-sides, sides], dim=1)
            forms.append(-iou(box, goal).log() + angle.abs())
        return torch.minimum(*forms).mean()

    return plain_h2rbox
