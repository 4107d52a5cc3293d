"""Rotated boxes as Gaussians, compared by their divergence or overlap."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments
from mmlosses.core.checks import (check_choice, check_floating, check_number,
                                  check_same_shape)
from mmlosses.core.gaussians import (GaussianPair, gaussians_of_boxes,
                                     gaussians_of_correlations)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.rotated import RotatedLoss, shape_of_boxes
from mmlosses.registry import MODELS
from ..regression import smooth_l1_loss

REPRESENTATIONS = {
    'xy_wh_r': gaussians_of_boxes,
    'xy_stddev_pearson': gaussians_of_correlations
}
DIVERGENCES = ('kld', 'jd', 'kld_symmax', 'kld_symmin')

# Below it, a root is linear: its slope stays finite.
LINEAR = 1e-7


def soft_root(square: Tensor) -> Tensor:
    """The square root, and near 0 a line, with the gradient 0 of a square."""
    return square / square.clamp(min=LINEAR).sqrt()


def divergence(pair: GaussianPair, kind: str, alpha: float = 1.0) -> Tensor:
    """One of the :data:`DIVERGENCES` of predictions and targets."""
    one = pair.divergence(alpha)
    if kind == 'kld':
        return one
    other = pair.swapped().divergence(alpha)
    if kind == 'jd':
        return (one + other) / 2
    choose = torch.maximum if kind == 'kld_symmax' else torch.minimum
    return choose(one, other)


def gaussian_distance_loss(pred: Tensor,
                           target: Tensor,
                           loss_type: str,
                           representation: str = 'xy_wh_r',
                           fun: str = 'log1p',
                           tau: float = 0.0,
                           alpha: float = 1.0,
                           sqrt: bool = True,
                           normalize: bool = True) -> Tensor:
    r"""The loss (\*) of :class:`GDLoss`, see there."""
    pair = REPRESENTATIONS[representation](pred, target)
    if loss_type == 'gwd':
        size = pair.size()
        distance = soft_root(pair.wasserstein(alpha) / size / size)
        distance = distance if normalize else distance * size
    else:
        distance = (
            pair.bhattacharyya(alpha) if loss_type == 'bcd' else divergence(
                pair, loss_type, alpha))
        distance = soft_root(distance) if sqrt else distance
    if fun != 'none':
        function = torch.log1p if fun == 'log1p' else soft_root
        distance = function(distance)
    return distance if tau < 1 else 1 - 1 / (tau + distance)


@MODELS.register_module()
class GDLoss(RotatedLoss):
    r"""Distance of Gaussians: of boxes, or of what a head predicts.

    .. math::
        L = f(D) \quad \text{or, for } \tau \ge 1, \quad
        L = 1 - \frac{1}{\tau + f(D)}

    with a distance D of Gaussians, whose mean is the centre of the box and
    whose deviations along its sides are half of them:

    .. math::
        \mathrm{KL} &= \frac{\mu^T \Sigma_p^{-1} \mu}{2 \alpha^2} + \frac{1}{2}
        \Big(\mathrm{tr}\, \Sigma_p^{-1} \Sigma_t - 2
        - \ln \frac{|\Sigma_t|}{|\Sigma_p|}\Big) \\
        W^2 &= |\mu|^2 + \alpha^2 \, \mathrm{tr} \big(\Sigma_p + \Sigma_t
        - 2 (\Sigma_p^{1/2} \Sigma_t \Sigma_p^{1/2})^{1/2}\big) \\
        B &= \frac{\mu^T (\Sigma_p + \Sigma_t)^{-1} \mu}{4 \alpha^2}
        + \frac{1}{2} \ln
        \frac{|\Sigma_p + \Sigma_t|}{4 \sqrt{|\Sigma_p| |\Sigma_t|}}

    and the offset :math:`\mu` of the centres. D is :math:`\sqrt{KL}`,
    :math:`\sqrt B`, or W relative to the geometric mean of the four sides.

    Args:
        loss_type (str): ``'gwd'``, W; ``'kld'``, KL of the targets from the
            predictions; ``'jd'``, ``'kld_symmax'`` or ``'kld_symmin'``, the
            mean, maximum or minimum of KL both ways; ``'bcd'``, B.
        representation (str): ``'xy_wh_r'``, boxes; or
            ``'xy_stddev_pearson'``, the means, deviations and correlation of
            x and y. Default: ``'xy_wh_r'``.
        fun (str): f: ``'log1p'``, ``'sqrt'`` or ``'none'``.
            Default: ``'log1p'``.
        tau (float): :math:`\tau`; below 1, there is none. Default: 0.0.
        alpha (float): :math:`\alpha`: how much the shape of W counts, and how
            little the offset of the others. Default: 1.0.
        sqrt (bool): If False, D is KL or B, without the root. Default: True.
        normalize (bool): If False, W has the unit of the boxes.
            Default: True.

    Shape:
        - pred, target: (N, 5), centre x and y, width, height and angle in
          radians, in any convention; or see ``representation``.
        - weight: (N,), or (N, 5), which is averaged.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmrotate's determinants are differences of products: for a box of
          1000 x 1 at 40 degrees, the loss of the truth is -0.008, with a
          gradient of 0.06. KL and its gradient are NaN for a prediction with
          a side of 0, as the ReLU of FCOS gives it.
        - At the truth, mmrotate's root of KL is 0.0003, and near it there is
          no gradient. Here it is 0, and the gradient fades smoothly.
        - mmrotate's bounds products of areas by 1e-7: for boxes in units of
          the image, such as 0.02 x 0.01, W is 0.001 instead of 0.3, without a
          gradient.
        - mmrotate's raises an error in half precision.
        - mmrotate's multiplies elements of weight 0 by 0, so NaN stays.
        - mmrotate's synchronises with the host to look for a positive weight.
        - mmrotate's fails in the first call for ``sqrt`` with ``'gwd'`` and
          for ``normalize`` with any other; here they have no effect.
        - mmrotate's has ``'bcd'`` in ``GDLoss_v1`` only.
    """
    info = LossInfo(
        purpose='regression of rotated boxes as Gaussians, also from far away',
        slots='``loss_bbox`` of Rotated RetinaNet, R3Det and S2ANet with '
        '``reg_decoded_bbox=True``, and of Rotated FCOS, Rotated ATSS and '
        'Rotated RTMDet',
        expects='rotated boxes',
        paper=Paper(
            'Xue Yang, Xiaojiang Yang, Jirui Yang, Qi Ming, Wentao Wang, Qi '
            'Tian, Junchi Yan',
            'Learning High-Precision Bounding Box for Rotated Object '
            'Detection via Kullback-Leibler Divergence', 'NeurIPS', 2021,
            '2106.01883'),
        source="``'gwd'`` is of Yang et al., Rethinking Rotated Object "
        'Detection with Gaussian Wasserstein Distance Loss, ICML 2021, '
        '`arXiv:2101.11952 <https://arxiv.org/abs/2101.11952>`_.')

    def __init__(self,
                 loss_type: str,
                 representation: str = 'xy_wh_r',
                 fun: str = 'log1p',
                 tau: float = 0.0,
                 alpha: float = 1.0,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 sqrt: bool = True,
                 normalize: bool = True,
                 **kwargs: Any) -> None:
        super().__init__(
            reduction=reduction, loss_weight=loss_weight, **kwargs)
        check_choice('loss_type', loss_type, ('gwd', *DIVERGENCES, 'bcd'))
        check_choice('representation', representation, tuple(REPRESENTATIONS))
        check_choice('fun', fun, ('log1p', 'sqrt', 'none'))
        check_number('tau', tau, least=0)
        check_number('alpha', alpha, above=0)
        self.loss_type, self.representation = loss_type, representation
        self.fun, self.tau, self.alpha = fun, tau, alpha
        self.sqrt, self.normalize = sqrt, normalize

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return gaussian_distance_loss(pred, target, self.loss_type,
                                      self.representation, self.fun, self.tau,
                                      self.alpha, self.sqrt, self.normalize)


def gaussian_distance_loss_v1(pred: Tensor,
                              target: Tensor,
                              loss_type: str,
                              fun: str = 'sqrt',
                              tau: float = 1.0) -> Tensor:
    r"""The loss (\*) of :class:`GDLoss_v1`, see there."""
    pair = gaussians_of_boxes(pred, target)
    if loss_type == 'gwd':
        size, distance = pair.size(), pair.wasserstein()
        relative = soft_root(distance / size / size)
        if fun == '':
            return torch.log1p(relative)
        root = relative * size
    else:
        distance = (
            pair.bhattacharyya() if loss_type == 'bcd' else 2 *
            pair.swapped().divergence())
        root = soft_root(distance)
    if fun == 'sqrt':
        distance = root
    elif fun == 'log1p' or loss_type == 'kld':
        distance = torch.log1p(distance)
    return 1 - 1 / (tau + distance)


@MODELS.register_module()
class GDLoss_v1(RotatedLoss):
    r"""Distance of Gaussians in its first form, always bounded by 1.

    .. math::
        L = 1 - \frac{1}{\tau + f(D)}

    with D as :math:`W^2`, B or 2 KL of :class:`GDLoss`, KL being that of the
    predictions from the targets, the other way than there.

    Args:
        loss_type (str): ``'gwd'``, ``'kld'`` or ``'bcd'``.
        fun (str): f: ``'sqrt'``, ``'log1p'``, or ``''``: for ``'bcd'`` none,
            for ``'kld'`` the same as ``'log1p'``, and for ``'gwd'`` L is
            :math:`\ln(1 + W / s)` with the geometric mean s of the four
            sides, without ``tau``. Default: ``'sqrt'``.
        tau (float): :math:`\tau`. Default: 1.0.

    Differs from upstream:
        - mmrotate's ignores ``reduction`` and ``avg_factor``, and of a weight
          takes only whether it is positive. The mean over the positives of
          each level is added up; here the sum is divided by their number, as
          in all other losses. To keep the balance of a stock RetinaNet,
          multiply ``loss_weight`` by the usual number of levels with
          positives, such as 3.
        - mmrotate's returns (N, 1) for ``'kld'`` and ``'bcd'``.
        - At the truth, mmrotate's roots are 0.001, without a gradient.
        - mmrotate's ``'kld'`` is NaN in a step of its own config of Rotated
          FCOS: see :class:`GDLoss`. Its ``'bcd'`` is 1, with a NaN gradient,
          for the truth of a box of 1000 x 1 at 40 degrees.
        - mmrotate's selects by a mask, which synchronises with the host.
        - All that is said of :class:`GDLoss`.
    """
    info = LossInfo(
        purpose='regression of rotated boxes as Gaussians, bounded',
        slots='``loss_bbox`` of Rotated FCOS, and of Rotated RetinaNet and '
        'R3Det with ``reg_decoded_bbox=True``',
        expects='rotated boxes',
        paper=Paper(
            'Xue Yang, Junchi Yan, Qi Ming, Wentao Wang, Xiaopeng Zhang, Qi '
            'Tian', 'Rethinking Rotated Object Detection with Gaussian '
            'Wasserstein Distance Loss', 'ICML', 2021, '2101.11952'))

    def __init__(self,
                 loss_type: str,
                 fun: str = 'sqrt',
                 tau: float = 1.0,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 **kwargs: Any) -> None:
        super().__init__(
            reduction=reduction, loss_weight=loss_weight, **kwargs)
        check_choice('loss_type', loss_type, ('gwd', 'kld', 'bcd'))
        check_choice('fun', fun, ('sqrt', 'log1p', ''))
        check_number('tau', tau, above=0)
        self.loss_type, self.fun, self.tau = loss_type, fun, tau

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return gaussian_distance_loss_v1(pred, target, self.loss_type,
                                         self.fun, self.tau)


def kf_iou(pred: Tensor, target: Tensor) -> Tensor:
    r"""KFIoU (\*), at most 1/3, of rotated boxes (\*, 5).

    The product of the two Gaussians, as a Kalman filter takes it, has the
    volume :math:`V = V_t / \sqrt{|\Sigma_p + \Sigma_t| / |\Sigma_p|}`.
    """
    pair = gaussians_of_boxes(pred, target)
    shared = pair.ratio / pair.common().sqrt()
    return shared / (1 + pair.ratio - shared)


def kf_loss(pred: Tensor,
            target: Tensor,
            pred_decode: Tensor,
            targets_decode: Tensor,
            fun: str = 'none',
            beta: float = 1 / 9,
            eps: float = 1e-6) -> Tensor:
    r"""The loss (\*) of :class:`KFLoss`, see there."""
    near = smooth_l1_loss(pred[..., :2], target[..., :2], beta).sum(dim=-1)
    iou = kf_iou(pred_decode, targets_decode)
    if fun == 'ln':
        return near - (iou + eps).log()
    return near + (1 - iou if fun == 'none' else torch.expm1(1 - iou))


@MODELS.register_module()
class KFLoss(RotatedLoss):
    r"""Overlap of Gaussians by a Kalman filter, and distance of centres.

    .. math::
        L = \sum_{i \in x, y} \mathrm{SmoothL1}_\beta(d_i - d_i^{gt})
        + f(KFIoU), \qquad
        KFIoU = \frac{V}{V_p + V_t - V}, \qquad
        V = 4 \sqrt{|(\Sigma_p^{-1} + \Sigma_t^{-1})^{-1}|}

    with the deltas d of the centres and the areas V of the Gaussians of the
    decoded boxes, as if they had one centre. KFIoU is at most 1/3, so L is at
    least 2/3, ln 3 or 0.95 for the three ``fun``.

    Args:
        fun (str): f: ``'none'``, 1 - KFIoU; ``'ln'``,
            :math:`-\ln(KFIoU + eps)`; ``'exp'``, :math:`e^{1 - KFIoU} - 1`.
            Default: ``'none'``.
        beta (float): Where the L1 of deltas begins. Default: 1/9.
        eps (float): Added to KFIoU in a logarithm. Default: 1e-6.

    Shape:
        - pred, target: (N, C), deltas, of which dx and dy are the first.
        - pred_decode, targets_decode: (N, 5), the boxes: centre x and y,
          width, height and angle in radians, in any convention.
        - weight: (N,), or (N, 5), which is averaged.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmrotate's takes areas below 0.004 for 0.004: for boxes in units of
          the image, such as 0.02 x 0.01, the loss of a good prediction is 2.1
          instead of 0.67.
        - mmrotate's inverts a sum of matrices: for a box of 1000 x 1 at 40
          degrees, the gradient is 300 at the truth, where it is 0. NaN of V
          counts as 0, but not that of the areas, nor that of a gradient.
        - mmrotate's raises an error in half precision.
        - mmrotate's multiplies elements of weight 0 by 0, so NaN stays.
        - mmrotate's swallows ``beta``, ``eps`` and any other argument of the
          constructor.
        - mmrotate's synchronises with the host to look for a positive weight.
    """
    info = LossInfo(
        purpose='regression of rotated boxes by deltas and overlap',
        slots='``loss_bbox`` of Rotated RetinaNet, R3Det, S2ANet and RoI '
        "Transformer with ``loss_bbox_type='kfiou'``",
        expects='numbers',
        paper=Paper(
            'Xue Yang, Yue Zhou, Gefan Zhang, Jirui Yang, Wentao Wang, Junchi '
            'Yan, Xiaopeng Zhang, Qi Tian',
            'The KFIoU Loss for Rotated Object Detection', 'ICLR', 2023,
            '2201.12558'))

    def __init__(self,
                 fun: str = 'none',
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 beta: float = 1 / 9,
                 eps: float = 1e-6,
                 **kwargs: Any) -> None:
        super().__init__(
            reduction=reduction, loss_weight=loss_weight, **kwargs)
        check_choice('fun', fun, ('none', 'ln', 'exp'))
        check_number('beta', beta, least=0)
        check_number('eps', eps, above=0)
        self.fun, self.beta, self.eps = fun, beta, eps

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                pred_decode: Tensor | None = None,
                targets_decode: Tensor | None = None,
                reduction_override: str | None = None,
                **kwargs: Any) -> Any:
        """Compute the loss of deltas and of the boxes that they stand for."""
        if pred_decode is None or targets_decode is None:
            raise ValueError(
                'KFLoss needs pred_decode and targets_decode beside the '
                "deltas: write loss_bbox_type='kfiou' into the head")
        return super().forward((pred, pred_decode), (target, targets_decode),
                               weight, avg_factor, reduction_override,
                               **kwargs)

    def element_shape(self, pred: Any, target: Any) -> Sequence[int]:
        """Check deltas and boxes and return their shape without the last."""
        (deltas, boxes), (targets, target_boxes) = pred, target
        check_floating('target', target)
        check_same_shape(deltas, targets)
        shape = shape_of_boxes(boxes, target_boxes)
        if deltas.shape[:-1] != shape or deltas.shape[-1] < 2:
            raise ValueError(
                'pred must hold at least dx and dy for each box, got the '
                f'shapes {tuple(deltas.shape)} and {tuple(boxes.shape)}')
        return shape

    def elementwise(self, pred: Any, target: Any) -> Tensor:
        return kf_loss(pred[0], target[0], pred[1], target[1], self.fun,
                       self.beta, self.eps)


def prob_iou_loss(pred: Tensor, target: Tensor, mode: str = 'l1') -> Tensor:
    r"""The loss (\*) of :class:`ProbIoULoss`, see there."""
    # The variance of a uniform density is a third of the half side's square.
    distance = gaussians_of_boxes(pred, target).bhattacharyya(3**-0.5)
    if mode == 'l2':
        return distance
    return soft_root(-torch.expm1(-distance))


@MODELS.register_module()
class ProbIoULoss(RotatedLoss):
    r"""Hellinger distance of Gaussians: 1 - ProbIoU.

    .. math::
        L_1 = \sqrt{1 - e^{-B}}, \qquad L_2 = B = -\ln(1 - L_1^2)

    with Bhattacharyya's distance B of the Gaussians of the boxes, which have
    the covariance of a uniform density: its variances are the squares of the
    sides by 12. :math:`L_1` is a metric, at most 1, and has a gradient near 0
    for boxes far apart; :math:`L_2` then grows with the squared distance.

    Args:
        mode (str): ``'l1'`` or ``'l2'``. The paper starts with the second.
            Default: ``'l1'``.

    Differs from upstream:
        - No OpenMMLab project has it. Ultralytics' ``probiou`` is 1 -
          :math:`L_1`.
    """
    info = LossInfo(
        purpose='regression of rotated boxes as Gaussians, by one metric',
        slots='``loss_bbox`` of Rotated FCOS, Rotated ATSS and Rotated RTMDet',
        expects='rotated boxes',
        paper=Paper(
            'Jeffri M. Llerena, Luis Felipe Zeni, Lucas N. Kristen, Claudio '
            'Jung', 'Gaussian Bounding Boxes and Probabilistic '
            'Intersection-over-Union for Object Detection', '', 2021,
            '2106.06072'))

    def __init__(self,
                 mode: str = 'l1',
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('mode', mode, ('l1', 'l2'))
        self.mode = mode

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return prob_iou_loss(pred, target, self.mode)
