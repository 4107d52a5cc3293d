"""Rotated boxes."""
from __future__ import annotations

import torch
from mmcv.ops import diff_iou_rotated as mmcv
from upstream import Shown, shows

import mmlosses.losses as mmlosses
from mmlosses.core.polygons import convex_hull, signed_area


@shows(
    'RotatedIoULoss',
    mmcv.diff_iou_rotated_2d,
    'loses corners far from 0',
    'a box shares all of its four corners with itself',
    tests=[
        'test_rotated.py::test_mmcv_loses_corners_of_a_box_far_from_zero',
        'test_rotated.py::test_box_far_from_zero_has_the_iou_1_with_itself'
    ])
def rotated_iou_far() -> Shown:
    """At 1000 pixels, a box has the IoU 0.33 with itself, by rounding.

    This is the area of the vertices that mmcv finds and then sorts on a GPU.
    """
    box = torch.tensor([[1005., 1004., 4., 2., 0.3]])

    def area(vertices: torch.Tensor) -> float:
        x, y = convex_hull(*(vertices - vertices[0]).unbind(1))
        return float(signed_area(x, y))

    corners = mmcv.box2corners(box[None])
    vertices, found = mmcv.build_vertices(
        corners, corners, *mmcv.box_in_box(corners, corners),
        *mmcv.box_intersection(corners, corners))
    shared = area(vertices[found])
    stock = shared / (2 * 8 - shared)
    ours = mmlosses.rotated_iou(box, box)
    right = 1.0
    return stock, ours, right


@shows(
    'RotatedIoU3DLoss',
    mmcv.diff_iou_rotated_3d,
    'loses corners far from 0',
    'a box shares all of its volume with itself',
    tests=[
        'test_boxes_3d.py::test_mmcv_loses_corners_far_from_zero',
        'test_boxes_3d.py::test_box_far_from_zero_has_the_iou_1_with_itself'
    ])
def rotated_iou_3d_far() -> Shown:
    """At 1000 metres, a box has the IoU 0.33 with itself, by rounding.

    This is the area of the vertices that mmcv finds and then sorts on a GPU,
    times the height that both share, all of it.
    """
    box = torch.tensor([[1005., 1004., 3., 4., 2., 3., 0.3]])
    above = box[:, [0, 1, 3, 4, 6]]

    def area(vertices: torch.Tensor) -> float:
        x, y = convex_hull(*(vertices - vertices[0]).unbind(1))
        return float(signed_area(x, y))

    corners = mmcv.box2corners(above[None])
    vertices, found = mmcv.build_vertices(
        corners, corners, *mmcv.box_in_box(corners, corners),
        *mmcv.box_intersection(corners, corners))
    shared = area(vertices[found]) * 3
    stock = shared / (2 * 24 - shared)
    ours = mmlosses.rotated_iou_3d(box, box)
    right = 1.0
    return stock, ours, right
