"""Losses of distributions over coordinate bins, one for each axis."""
from __future__ import annotations
import math
from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.checks import (check_choice, check_floating, check_numbers,
                                  check_same_shape)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.divergence import (js_discret_and_derivative,
                                              js_discret_loss)
from mmlosses.core.kernels.gradient import with_gradient
from mmlosses.core.keypoints import KeypointArguments, KeypointLoss
from mmlosses.registry import MODELS

# mmpose adds it to a likelihood before the logarithm.
EPS_LIKELIHOOD = 1e-4


def kl_discret_loss(pred: Tensor,
                    target: Tensor,
                    beta: float = 1.0,
                    label_softmax: bool = False,
                    label_beta: float = 10.0,
                    normalize_target: bool = False,
                    bin_reduction: str = 'mean') -> Tensor:
    r"""KL divergence of the target from the softmax of scores over bins.

    .. math::
        D(t \,\|\, p) = \sum_b t_b (\log t_b - \log p_b), \qquad
        p = \mathrm{softmax}(\beta \cdot pred), \qquad 0 \log 0 = 0

    Args: see :class:`KLDiscretLoss`; ``pred`` and ``target`` are (\*, bins),
    the result (\*); ``bin_reduction='mean'`` divides it by the number of bins.
    """
    if label_softmax:
        target = F.softmax(label_beta * target, dim=-1)
    elif normalize_target:
        mass = target.sum(dim=-1, keepdim=True)
        target = target / torch.where(mass > 0, mass, torch.ones_like(mass))
    log_prob = F.log_softmax(pred if beta == 1 else beta * pred, dim=-1)
    # 0 log 0 = 0. The logarithm of a denormal number is many times slower.
    log_target = target.clamp(min=1e-30).log_()
    # Prediction minus target: negating would take one more pass.
    divergence = (target * (log_prob - log_target)).sum(dim=-1)
    if bin_reduction == 'sum':
        return -divergence
    return divergence / -pred.shape[-1]


def check_axes(pred: Any, target: Any) -> Sequence[int]:
    """Return (N, K) of axes (N, K, bins), or raise for other inputs."""
    for name, axes in (('pred', pred), ('target', target)):
        if not isinstance(axes, (tuple, list)):
            raise TypeError(f'{name} must be a tuple with a tensor for '
                            f'each axis, got {type(axes).__name__}')
    check_floating('target', target)
    if len(pred) == 0 or len(pred) != len(target):
        raise ValueError('pred and target must have the same axes, at '
                         f'least one, got {len(pred)} and {len(target)}')
    for axis_pred, axis_target in zip(pred, target):
        check_same_shape(axis_pred, axis_target)
        if axis_pred.ndim != 3 or axis_pred.shape[:2] != pred[0].shape[:2]:
            raise ValueError(
                'each axis must have the shape (N, K, bins) with one N '
                f'and K, got {[tuple(axis.shape) for axis in pred]}')
    return pred[0].shape[:2]


def mle_cc_loss(pred: Sequence[Tensor],
                target: Sequence[Tensor],
                mode: str = 'log') -> Tensor:
    """Return the loss (N, K) of each keypoint, see :class:`MLECCLoss`."""
    first, *others = [(p * t).sum(dim=-1) for p, t in zip(pred, target)]
    for other in others:  # the gradient of `prod` asks for zeros on the host
        first = first * other
    if mode == 'log':
        return -(first + EPS_LIKELIHOOD).log()
    return 1 - (first if mode == 'linear' else first.square())


@MODELS.register_module()
class KLDiscretLoss(KeypointLoss):
    r"""Discrete KL divergence of SimCC: one classification per axis.

    .. math::
        L = \frac{1}{N K} \sum_{n, k} w_{nk} \sum_{axis \in \{x, y\}}
        \frac{1}{B_{axis}} D(t^{axis}_{nk} \,\|\, p^{axis}_{nk})

    with N samples, K keypoints, :math:`B` bins along an axis and :math:`D` of
    :func:`kl_discret_loss`. Each element is one keypoint.

    Args:
        beta (float): Inverse temperature of the softmax of the prediction.
            SimCC uses 1, RTMPose 10. Default: 1.0.
        label_softmax (bool): If True, the target is
            ``softmax(label_beta * target)``, as in RTMPose, whose targets have
            peak 1. For the normalised densities of SimCC it is nearly flat.
            Default: False.
        label_beta (float): Inverse temperature of that softmax, as RTMPose.
            Default: 10.0.
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: True.
        mask (list[int], optional): Indices of keypoints whose loss is
            multiplied by ``mask_weight``. Default: None.
        mask_weight (float): Weight of the keypoints in ``mask``. Default: 1.0.
        size_average (bool): If True, ``'mean'`` averages over the batch, as in
            SimCC. If False, it sums over the batch and averages over
            keypoints, as in mmpose 1.x. Default: True.
        bin_reduction (str): ``'mean'`` over the bins, as in SimCC and mmpose,
            which down-weights an axis with more bins, or ``'sum'``, the
            divergence itself. Default: ``'mean'``.
        normalize_target (bool): If True, each target is divided by its sum. A
            Gaussian truncated at the image border sums to less than 1, which
            makes the divergence negative. A target of zeros is unchanged. No
            effect with ``label_softmax``. Default: False.

    Shape:
        - pred, target: tuples (x, y) or (x, y, z), or any number of axes, of
          tensors (N, K, bins); the number of bins may differ between axes.
        - weight: (N,), (N, K) or (N, K, 1).
        - returns: 0-dim, or (N, K) for ``'none'``.

        The call of SimCC's first code, ``loss(output_x, output_y, target_x,
        target_y, target_weight)``, works too.

    Differs from upstream:
        - mmpose sums over the batch, so that loss and gradient grow with the
          batch size. ``size_average=False`` gives its value.
        - mmpose has neither ``loss_weight`` nor ``reduction``, and fails on
          weights of shape (N,), which its documentation allows.
        - mmpose returns NaN where a keypoint of weight 0 holds NaN.
    """
    info = LossInfo(
        purpose='keypoints as classification over bins',
        slots="``loss`` of mmpose's SimCC and RTMPose heads",
        expects='bins',
        search=dict(beta=(0.5, 20.0)),
        paper=Paper(
            'Yanjie Li, Sen Yang, Peidong Liu, Shoukui Zhang, Yunxiao Wang, '
            'Zhicheng Wang, Wankou Yang, Shu-Tao Xia',
            'SimCC: a Simple Coordinate Classification Perspective for Human '
            'Pose Estimation', 'ECCV', 2022, '2107.03332'))
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            beta: float = 1.0,
            label_softmax: bool = False,
            label_beta: float = 10.0,
            use_target_weight: bool | None = True,
            mask: Sequence[int] | None = None,
            mask_weight: float = 1.0,
            size_average: bool = True,
            bin_reduction: str = 'mean',
            normalize_target: bool = False,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(use_target_weight=use_target_weight, **kwargs)
        check_choice('bin_reduction', bin_reduction, ('mean', 'sum'))
        check_numbers(dict(beta=beta, label_beta=label_beta), above=0)
        self.set_mask(mask, mask_weight)
        self.beta = beta
        self.label_softmax, self.label_beta = label_softmax, label_beta
        self.size_average, self.bin_reduction = size_average, bin_reduction
        self.normalize_target = normalize_target

    def forward(self, pred: Tuple[Tensor, ...], target: Tuple[Tensor, ...],
                *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss of tuples, or of four tensors, see Shape."""
        axes = [isinstance(x, Tensor) and x.ndim == 3 for x in args[:2]]
        if isinstance(pred, Tensor) and axes == [True, True]:
            (pred, target), args = ((pred, target), args[:2]), args[2:]
        return super().forward(pred, target, *args, **kwargs)

    def check_values(self, inputs: Inputs) -> None:
        if not self.label_softmax:
            self.check_range('target', inputs.target, inputs, 0, math.inf)

    def elementwise(self, pred: Tuple[Tensor, ...],
                    target: Tuple[Tensor, ...]) -> Tensor:
        settings: Any = (self.beta, self.label_softmax, self.label_beta,
                         self.normalize_target, self.bin_reduction)
        return torch.stack([
            kl_discret_loss(*axis, *settings) for axis in zip(pred, target)
        ]).sum(dim=0)

    def element_shape(self, pred: Tuple[Tensor, ...],
                      target: Tuple[Tensor, ...]) -> Sequence[int]:
        return check_axes(pred, target)

    def prepare(self, *args: Any) -> Inputs:
        """Average over N * K, or over K as in mmpose 1.x."""
        inputs = super().prepare(*args)
        if not self.size_average:
            inputs.denominator = max(inputs.shape[1], 1)
        return inputs


@MODELS.register_module()
class MLECCLoss(KeypointLoss):
    r"""Likelihood of a keypoint under a distribution over bins, as in RTMO.

    .. math::
        L = \frac{1}{N K} \sum_{n, k} w_{nk} \, f\Big(
        \prod_{axis \in \{x, y\}}
        \sum_b t^{axis}_{nkb} \, p^{axis}_{nkb} \Big), \qquad
        f(q) = \begin{cases}
            -\log(q + 10^{-4}) & \text{log} \\ 1 - q & \text{linear}
            \\ 1 - q^2 & \text{square}
        \end{cases}

    The target is the likelihood of the annotation for each bin. RTMO learns
    its spread too, so that the target has a gradient and may exceed 1, where
    the loss is negative.

    Args:
        reduction (str): ``'mean'`` over all keypoints, ``'sum'`` or
            ``'none'``. Default: ``'mean'``.
        mode (str): The function f of the likelihood, ``'log'``, ``'linear'``
            or ``'square'``. Default: ``'log'``.
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: None.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: tuples (x, y), or any number of axes, of tensors
          (N, K, bins), predictions after a softmax over the bins, targets at
          least 0; the number of bins may differ between axes.
        - weight: (N,), (N, K) or (N, K, 1).
        - returns: 0-dim, or (N, K) for ``'none'``.

    Differs from upstream:
        - mmpose returns one number for each sample, of which mmengine takes
          the mean: the same for ``'mean'``, and 1 / N of ``'sum'`` here.
        - mmpose sets NaN to 0, which hides a diverged model, whose gradient
          remains NaN.
        - mmpose returns NaN where a keypoint of weight 0 is infinite.
    """
    info = LossInfo(
        purpose='keypoints as distributions over bins',
        slots="``loss_mle`` of mmpose's RTMO",
        expects='probabilities',
        paper=Paper(
            'Peng Lu, Tao Jiang, Yining Li, Xiangtai Li, Kai Chen, Wenming '
            'Yang',
            'RTMO: Towards High-Performance One-Stage Real-Time Multi-Person '
            'Pose Estimation', 'CVPR', 2024, '2312.07526'))
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            reduction: str = 'mean',
            mode: str = 'log',
            use_target_weight: bool | None = None,
            loss_weight: float = 1.0,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(reduction, loss_weight, use_target_weight, **kwargs)
        check_choice('mode', mode, ('log', 'linear', 'square'))
        self.mode = mode

    @property
    def takes_probabilities(self) -> bool:
        return True

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, math.inf)

    def elementwise(self, pred: Tuple[Tensor, ...],
                    target: Tuple[Tensor, ...]) -> Tensor:
        return mle_cc_loss(pred, target, self.mode)

    def element_shape(self, pred: Tuple[Tensor, ...],
                      target: Tuple[Tensor, ...]) -> Sequence[int]:
        return check_axes(pred, target)


@MODELS.register_module()
class JSDiscretLoss(KeypointLoss):
    r"""Jensen-Shannon divergence of heatmaps that sum to 1, as in DSNT.

    .. math::
        L = \frac{1}{N} \sum_{n, k} w_{nk} \tfrac{1}{2} \left(
        D(p_{nk} \,\|\, m_{nk}) + D(t_{nk} \,\|\, m_{nk}) \right),
        \qquad m = \frac{p + t}{2}

    with N samples, keypoints k and the divergence D. It is at most log 2 for
    each keypoint. Each element is one keypoint.

    Args:
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: None.
        size_average (bool): If True, ``'mean'`` averages over the batch and
            sums over the keypoints, as in mmpose. If False, it sums over
            both. Default: True.

    Shape:
        - pred_hm (pred), gt_hm (target): probabilities, heatmaps (N, K, H, W)
          or (N, K, bins), each of sum 1.
        - target_weight (weight): (N,), (N, K) or (N, K, 1).
        - returns: 0-dim, or (N, K) for ``'none'``.

    Differs from upstream:
        - mmpose's gradient is NaN where the prediction is 0, as a softmax far
          from its peak is, and at weight 0.
        - mmpose returns NaN where a keypoint of weight 0 holds NaN.
        - mmpose adds 1e-24, which is 0 in half precision: the loss is NaN.
    """
    info = LossInfo(
        purpose='heatmaps as distributions, beside their mean coordinates',
        slots="``loss`` of mmpose's ``DSNTHead``, in its wrapper",
        expects='probabilities',
        paper=Paper(
            'Aiden Nibali, Zhen He, Stuart Morgan, Luke Prendergast',
            'Numerical Coordinate Regression with Convolutional Neural '
            'Networks', 'arXiv', 2018, '1801.07372'),
        source='the regularisation by the Jensen-Shannon divergence.')
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            use_target_weight: bool | None = None,
            size_average: bool = True,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(use_target_weight=use_target_weight, **kwargs)
        self.size_average = size_average

    def forward(self, pred_hm: Tensor, gt_hm: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of predicted and true heatmaps."""
        return super().forward(pred_hm, gt_hm, *args, **kwargs)

    @property
    def takes_probabilities(self) -> bool:
        return True

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('gt_hm', inputs.target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return with_gradient(js_discret_loss, js_discret_and_derivative, pred,
                             target.to(pred.dtype))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_same_shape(pred, target)
        if pred.ndim < 3:
            raise ValueError(
                'pred_hm must have the shape (N, K, *) with the '
                f'pixels on the last axes, got {tuple(pred.shape)}')
        return pred.shape[:2]

    def prepare(self, *args: Any) -> Inputs:
        """Average over N or, without ``size_average``, over nothing."""
        inputs = super().prepare(*args)
        inputs.denominator = max(inputs.shape[0],
                                 1) if self.size_average else 1
        return inputs
