r"""Two Gaussians, and how far they are apart.

A covariance is given by a matrix L with :math:`\Sigma = L L^T`. Distances are
sums of squares of its elements, so rounding makes none negative, and thin
boxes lose no digits: no determinant is a difference.
"""
from __future__ import annotations
from typing import Tuple

import torch
from torch import Tensor

from .boxes import at_least
from .numeric import coordinates_first
from .rotated import turned_offset

#: The rows (a, b) and (c, d) of a matrix, one after the other.
Matrix = Tuple[Tensor, Tensor, Tensor, Tensor]

# The least half side, relative to the mean of both boxes, and absolute.
LEAST = 1e-6

# The greatest correlation of x and y.
MOST = 1 - 1e-7


def determinant(matrix: Matrix) -> Tensor:
    """The determinant of a matrix."""
    a, b, c, d = matrix
    return a * d - b * c


def squared_distance(offset: Tuple[Tensor, Tensor], root: Matrix,
                     det: Tensor) -> Tensor:
    r"""The squared length of :math:`L^{-1} \mu`: Mahalanobis' distance."""
    (x, y), (a, b, c, d) = offset, root
    return ((d * x - b * y) / det)**2 + ((a * y - c * x) / det)**2


class GaussianPair:
    r"""Predicted Gaussians and their targets, with the roots L of both.

    With :math:`M = L_p^{-1} L_t`, of the elements a, b, c and d, ``ratio`` is
    its determinant r and ``skew`` is :math:`q = (a - d)^2 + (b + c)^2`, which
    is 0 if M only turns and scales. So the trace of
    :math:`\Sigma_p^{-1} \Sigma_t` is q + 2 r.

    Args:
        offset (tuple[Tensor]): Means, prediction minus target.
        root (tuple[Tensor]): L of the predictions, with a determinant above 0.
        target_root (tuple[Tensor]): L of the targets.
    """

    def __init__(self, offset: Tuple[Tensor, Tensor], root: Matrix,
                 target_root: Matrix) -> None:
        self.offset, self.root, self.target_root = offset, root, target_root
        self.det, self.target_det = determinant(root), determinant(target_root)
        (a, b, c, d), (e, f, g, h) = root, target_root
        self.ratio = self.target_det / self.det
        self.skew = (((d * e - b * g - a * h + c * f) / self.det)**2 +
                     ((d * f - b * h + a * g - c * e) / self.det)**2)

    def swapped(self) -> GaussianPair:
        """Return the targets as predictions; the sign of offsets is lost."""
        return GaussianPair(self.offset, self.target_root, self.root)

    def size(self) -> Tensor:
        """Return the geometric mean of all sides, of boxes."""
        return 2 * (self.det * self.target_det)**0.25

    def divergence(self, alpha: float = 1.0) -> Tensor:
        r"""Return the KL divergence of the targets from the predictions.

        .. math::
            \frac{|L_p^{-1} \mu|^2}{2 \alpha^2} + \frac{q}{2}
            + r - 1 - \ln r
        """
        near = squared_distance(self.offset, self.root, self.det)
        return (near / (2 * alpha**2) + self.skew / 2 +
                (self.ratio - 1 - self.ratio.log()))

    def wasserstein(self, alpha: float = 1.0) -> Tensor:
        r"""Return the squared Wasserstein distance.

        .. math::
            |\mu|^2 + \alpha^2 \min_R \lVert L_p - L_t R \rVert^2

        over the rotations R: the two Gaussians have many roots.
        """
        (x, y), (a, b, c, d) = self.offset, self.root
        e, f, g, h = self.target_root
        cos, sin = a * e + c * g + b * f + d * h, a * f + c * h - b * e - d * g
        length = (cos * cos + sin * sin).sqrt()
        cos, sin = cos / length, sin / length
        shape = ((a - e * cos - f * sin)**2 + (b + e * sin - f * cos)**2 +
                 (c - g * cos - h * sin)**2 + (d + g * sin - h * cos)**2)
        return x * x + y * y + alpha**2 * shape

    def bhattacharyya(self, alpha: float = 1.0) -> Tensor:
        r"""Return Bhattacharyya's distance.

        .. math::
            \frac{|L_p^{-1} \mu|^2 + r^2 |L_t^{-1} \mu|^2}
            {4 \alpha^2 ((1 + r)^2 + q)}
            + \frac{1}{2} \ln \frac{(1 + r)^2 + q}{4 r}
        """
        r, common = self.ratio, self.common()
        near = squared_distance(self.offset, self.root, self.det) / common
        far = squared_distance(self.offset, self.target_root, self.target_det)
        near = near + r * r / common * far
        shape = torch.log1p(((1 - r)**2 + self.skew) / (4 * r)) / 2
        return near / (4 * alpha**2) + shape

    def common(self) -> Tensor:
        r"""Return :math:`|\Sigma_p + \Sigma_t| / |\Sigma_p|`."""
        return (1 + self.ratio)**2 + self.skew


def half_sides(pred: Tensor, target: Tensor) -> Tuple[Tensor, Tensor]:
    r"""Halve sides (2, \*), of which none is 0 beside the others."""
    pred, target = pred / 2, target / 2
    mean = (pred.clamp(min=0) + target.clamp(min=0)).detach().mean(dim=0)
    least = (LEAST * mean).clamp(min=LEAST)
    return at_least(least, pred), at_least(least, target)


def gaussians_of_boxes(pred: Tensor, target: Tensor) -> GaussianPair:
    r"""The Gaussians of boxes (\*, 5), in the frames of the targets.

    Their deviations are the halves of width and height.
    """
    offset, size, turn, target_size = turned_offset(pred, target)
    (a, b), (c, d) = [x.unbind() for x in half_sides(size, target_size)]
    cos, sin = turn.cos(), turn.sin()
    none = torch.zeros_like(c)
    return GaussianPair(offset, (a * cos, -b * sin, a * sin, b * cos),
                        (c, none, none, d))


def gaussians_of_correlations(pred: Tensor, target: Tensor) -> GaussianPair:
    r"""The Gaussians (\*, 5) of mean, deviation and correlation of x and y."""
    parts = [coordinates_first(x).split([2, 2, 1]) for x in (pred, target)]
    (mean, deviation, share), (target_mean, target_deviation, other) = parts
    x, y = (mean - target_mean).unbind()
    roots = []
    for (across, down), (part, ) in zip(
            half_sides(2 * deviation, 2 * target_deviation), (share, other)):
        part = part.clamp(min=-MOST, max=MOST)
        rest = ((1 - part) * (1 + part)).sqrt()
        roots.append(
            (across, torch.zeros_like(across), part * down, rest * down))
    return GaussianPair((x, y), *roots)
