"""Squared errors of keypoint heatmaps."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import Inputs
from mmlosses.core.checks import check_same_shape, check_size
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import (HeatmapLoss, KeypointArguments,
                                     KeypointLoss)
from mmlosses.core.numeric import mean_of_last
from mmlosses.core.tensors import pad_right
from mmlosses.losses.regression import mse_loss
from mmlosses.registry import MODELS


def hard_keypoint_mse_loss(pred: Tensor,
                           target: Tensor,
                           topk: int = 8) -> Tensor:
    """Return the mean squared error (N, K) of each map (N, K, ...).

    It is 0 for all but the ``topk`` worst keypoints of each sample.
    """
    loss = map_mse_loss(pred, target)
    return loss * worst_keypoints(loss, topk)


def map_mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error (N, K) of each map (N, K, ...)."""
    return mean_of_last(mse_loss(pred, target).flatten(2))


def worst_keypoints(loss: Tensor, topk: int) -> Tensor:
    """Return 1 for the ``topk`` greatest losses of each row, 0 for others."""
    index = loss.detach().topk(min(topk, loss.shape[1]), dim=1).indices
    return torch.zeros_like(loss).scatter(1, index, 1)


def combined_target_mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Return the loss of each pixel, see :class:`CombinedTargetMSELoss`."""
    shape = (target.shape[1] // 3, 3)
    heat, x, y = pred.unflatten(1, shape).unbind(dim=2)
    true_heat, true_x, true_y = target.unflatten(1, shape).unbind(dim=2)
    offset = mse_loss(x, true_x) + mse_loss(y, true_y)
    # Not by its square, which autograd would keep.
    return torch.addcmul(
        mse_loss(heat, true_heat), true_heat, true_heat * offset) / 2


@MODELS.register_module()
class KeypointMSELoss(HeatmapLoss):
    r"""Mean squared error of heatmaps.

    .. math::
        L = \frac{1}{N K H W} \sum_{n, k, h, w} w_{nkhw} \, m_{nkhw} \,
        (p_{nkhw} - t_{nkhw})^2

    with the weight :math:`w` of the keypoints and the mask :math:`m` of the
    call. The mean includes what they remove.

    Args:
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: None.
        skip_empty_channel (bool): If True, maps whose target is 0 everywhere,
            as those of keypoints that are not visible, are removed.
            Default: False.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, K, H, W), or with any axes after K.
        - weight: (N, K), or (N, K, H, W) for each pixel.
        - mask: (N, K, H, W) or (N, 1, H, W), by name or as fourth argument.
        - returns: 0-dim, or the shape of ``pred`` for ``'none'``.

    Differs from upstream:
        - mmpose stores ``use_target_weight`` and never reads it. Here False
          ignores the weight and True requires it. AE's head, which passes
          the weights of people, not of pictures, trains with False only.
        - mmpose returns NaN where a pixel of weight 0 holds NaN, and computes
          in half precision, where the square of 256 is infinite.
    """
    info = LossInfo(
        purpose='heatmaps of keypoints',
        slots="``loss`` of mmpose's heatmap heads, ``keypoint_loss`` of AE, "
        '``heatmap_loss`` of DEKR',
        expects='numbers',
        paper=Paper('Bin Xiao, Haiping Wu, Yichen Wei',
                    'Simple Baselines for Human Pose Estimation and Tracking',
                    'ECCV', 2018, '1804.06208'))
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            use_target_weight: bool | None = None,
            skip_empty_channel: bool = False,
            loss_weight: float = 1.0,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(
            use_target_weight=use_target_weight,
            loss_weight=loss_weight,
            **kwargs)
        self.skip_empty_channel = skip_empty_channel

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return mse_loss(pred, target)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_maps(pred, target)
        return pred.shape

    def prepare(self, *args: Any, **options: Any) -> Inputs:
        """Remove the empty channels if asked for."""
        inputs = super().prepare(*args, **options)
        if self.skip_empty_channel:
            empty = inputs.target == 0
            if inputs.removed is not None:
                empty = empty | inputs.removed
            empty = empty.flatten(2).all(dim=2)
            inputs.remove(pad_right(empty, inputs.target.ndim))
        return inputs


@MODELS.register_module()
class KeypointOHKMMSELoss(KeypointLoss):
    r"""Mean squared error of the worst keypoints of each person.

    .. math::
        L = \frac{1}{N M} \sum_n \sum_{k \in \mathrm{top}_M(L_n)}
        w_{nk} L_{nk}, \qquad
        L_{nk} = \frac{1}{H W} \sum_{h, w} (p_{nkhw} - t_{nkhw})^2

    with :math:`M` of ``topk``. Keypoints of weight 0 are never among the
    worst, and the weight does not change which are.

    Args:
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: None.
        topk (int): Number of keypoints that count, at most all. The paper and
            mmpose use 8 of 17. Default: 8.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, K, H, W), or with any axes after K.
        - weight: (N,), (N, K) or (N, K, 1).
        - returns: 0-dim, or (N, K) for ``'none'``, with 0 for keypoints that
          do not count. ``'mean'`` divides by N times M.

    Differs from upstream:
        - mmpose raises an error for fewer keypoints than ``topk``. Here all
          of them count.
        - mmpose multiplies prediction and target by the weight, which squares
          it, and returns NaN where a keypoint of weight 0 holds NaN.
        - mmpose needs a weight even where it ignores it.
        - mmpose loops over the keypoints and the samples.
    """
    info = LossInfo(
        purpose='heatmaps of keypoints, of which the hard ones count',
        slots="the last level of ``loss`` of mmpose's MSPN and RSN",
        expects='numbers',
        paper=Paper(
            'Yilun Chen, Zhicheng Wang, Yuxiang Peng, Zhiqiang Zhang, Gang '
            'Yu, Jian Sun',
            'Cascaded Pyramid Network for Multi-Person Pose Estimation',
            'CVPR', 2018, '1711.07319'),
        source='section 3.3, online hard keypoints mining.')
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            use_target_weight: bool | None = None,
            topk: int = 8,
            loss_weight: float = 1.0,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(
            use_target_weight=use_target_weight,
            loss_weight=loss_weight,
            **kwargs)
        check_size('topk', topk)
        self.topk = topk

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return map_mse_loss(pred, target)

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Leave the worst keypoints, none of which is removed."""
        seen = loss.detach()
        if inputs.removed is not None:
            seen = seen.masked_fill(inputs.removed, 0)
        return super().weigh(loss * worst_keypoints(seen, self.topk), inputs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_maps(pred, target)
        return pred.shape[:2]

    def prepare(self, *args: Any) -> Inputs:
        """Average over the keypoints that count."""
        inputs = super().prepare(*args)
        samples, keypoints = inputs.shape
        inputs.denominator = max(samples * min(self.topk, keypoints), 1)
        return inputs


@MODELS.register_module()
class CombinedTargetMSELoss(HeatmapLoss):
    r"""Squared error of heatmaps and of offsets near their peaks, as in UDP.

    .. math::
        L = \frac{1}{2 N K H W} \sum_{n, k, h, w} w_{nkhw} \left(
        (p - t)^2 + t^2 (p^x - t^x)^2 + t^2 (p^y - t^y)^2 \right)

    The three channels of a keypoint are the heatmap :math:`p` and the offsets
    :math:`p^x` and :math:`p^y` of the keypoint from a pixel.

    Args:
        use_target_weight (bool, optional): See :class:`BaseLoss`.
            Default: None.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, 3K, H, W): heatmap, x and y of the first keypoint,
          then those of the next one, as mmpose's ``UDPHeatmap`` encodes them.
        - weight: (N, K), or (N, K, H, W) for each pixel.
        - mask: (N, K, H, W) or (N, 1, H, W), by name or as fourth argument.
        - returns: 0-dim, or (N, K, H, W) for ``'none'``.

    Differs from upstream:
        - mmpose multiplies the heatmaps by the weight, which squares it, and
          returns NaN where a keypoint of weight 0 holds NaN.
        - mmpose needs a weight even where it ignores it.
        - mmpose takes a number of channels that 3 does not divide, and drops
          the rest.
        - For maps of one pixel, mmpose mixes the samples of a batch.
    """
    info = LossInfo(
        purpose='heatmaps with offsets of keypoints',
        slots="``loss`` of mmpose's ``HeatmapHead`` with a combined UDP codec",
        expects='numbers',
        paper=Paper(
            'Junjie Huang, Zheng Zhu, Feng Guo, Guan Huang',
            'The Devil is in the Details: Delving into Unbiased Data '
            'Processing for Human Pose Estimation', 'CVPR', 2020,
            '1911.07524'))
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            use_target_weight: bool | None = None,
            loss_weight: float = 1.0,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(
            use_target_weight=use_target_weight,
            loss_weight=loss_weight,
            **kwargs)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return combined_target_mse_loss(pred, target)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_maps(pred, target)
        if pred.shape[1] % 3:
            raise ValueError('pred must have 3 channels for each keypoint, '
                             f'got the shape {tuple(pred.shape)}')
        return (len(pred), pred.shape[1] // 3, *pred.shape[2:])

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        if elements.shape[1] == 1:  # one for all keypoints
            return elements
        return torch.stack([elements] * 3, dim=2).flatten(1, 2)


def check_maps(pred: Tensor, target: Tensor) -> None:
    """Raise a ``ValueError`` unless both are maps of keypoints, on axis 1."""
    check_same_shape(pred, target)
    if pred.ndim < 3:
        raise ValueError('pred must be maps of the shape (N, K, ...), got '
                         f'{tuple(pred.shape)}')
