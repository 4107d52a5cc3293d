"""The wing loss whose shape depends on the target of the pixel."""
from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.checks import check_number, check_numbers
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.kernels.piecewise import adaptive_wing_and_derivative
from mmlosses.core.keypoints import HeatmapLoss, KeypointArguments
from mmlosses.registry import MODELS


def adaptive_wing_loss(pred: Tensor,
                       target: Tensor,
                       alpha: float = 2.1,
                       omega: float = 14.0,
                       epsilon: float = 1.0,
                       theta: float = 0.5) -> Tensor:
    """Return the loss of each pixel, see :class:`AdaptiveWingLoss`."""
    error = (pred - target).abs()
    power = alpha - target
    # Beyond theta the power is not used, and must not overflow.
    curve = omega * (error.clamp(max=theta) / epsilon).pow(power).log1p()
    knot = (torch.ones_like(power) * (theta / epsilon)).pow(power)
    slope = omega * power * knot / (theta * (1 + knot))
    line = slope * (error - theta) + omega * knot.log1p()
    return torch.where(error < theta, curve, line)


@MODELS.register_module()
class AdaptiveWingLoss(HeatmapLoss):
    r"""Wing loss of heatmaps: steep near a peak, a square far from one.

    .. math::
        L = \frac{1}{N K H W} \sum_i w_i
        \begin{cases}
            \omega \log \left(1 + (d_i / \epsilon)^{\alpha - t_i}\right)
            & d_i < \theta \\
            A_i d_i - C_i & d_i \ge \theta
        \end{cases}, \qquad d_i = |p_i - t_i|

    with the :math:`A_i` and :math:`C_i` that make value and gradient
    continuous. At a peak (t = 1) small errors have a large gradient, in the
    background (t = 0) almost none.

    Args:
        alpha (float): Exponent in the background, at least 2, or the gradient
            would be infinite at a perfect peak. The paper uses 2.1.
            Default: 2.1.
        omega (float): Scale of the loss. The paper uses 14. Default: 14.
        epsilon (float): Error, in units of the heatmap, at which the logarithm
            flattens the loss. The paper uses 1. Default: 1.
        theta (float): Error from which the loss is linear. The paper uses 0.5.
            Default: 0.5.
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: None.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, K, H, W), or any shape; targets are in [0, 1].
        - weight: (N, K), or (N, K, H, W) for each pixel.
        - mask: (N, K, H, W) or (N, 1, H, W), by name or as fourth argument.
        - returns: 0-dim, or the shape of ``pred`` for ``'none'``.

    Differs from upstream:
        - mmpose multiplies prediction and target by the weight, which changes
          the exponent, and returns NaN where a weight of 0 meets NaN.
        - mmpose accepts targets beyond ``alpha``, such as those of 255 of
          MSPN, for which the loss of a perfect pixel is infinite.
    """
    info = LossInfo(
        purpose='heatmaps of keypoints, sharp at the peaks',
        slots="``loss`` of mmpose's heatmap heads, for faces",
        expects='numbers',
        search=dict(omega=(5.0, 30.0), theta=(0.2, 0.8)),
        paper=Paper(
            'Xinyao Wang, Liefeng Bo, Li Fuxin',
            'Adaptive Wing Loss for Robust Face Alignment via Heatmap '
            'Regression', 'ICCV', 2019, '1904.07399'),
        source='equation 3, without the weighted loss map.')
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            alpha: float = 2.1,
            omega: float = 14.0,
            epsilon: float = 1.0,
            theta: float = 0.5,
            use_target_weight: bool | None = None,
            loss_weight: float = 1.0,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(
            use_target_weight=use_target_weight,
            loss_weight=loss_weight,
            **kwargs)
        check_number('alpha', alpha, least=2)
        check_numbers(dict(omega=omega, epsilon=epsilon, theta=theta), above=0)
        self.alpha, self.omega = alpha, omega
        self.epsilon, self.theta = epsilon, theta

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return with_gradient(
            adaptive_wing_loss,
            adaptive_wing_and_derivative,
            pred,
            target.to(pred.dtype),
            alpha=self.alpha,
            omega=self.omega,
            epsilon=self.epsilon,
            theta=self.theta)
