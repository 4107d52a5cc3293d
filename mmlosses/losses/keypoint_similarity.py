"""Object keypoint similarity: distances relative to the size of an object."""
from __future__ import annotations
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Sequence

import torch
from mmengine.config import Config
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_choice, check_not_negative,
                                  check_number, check_same_shape, is_nothing)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.masking import zeroed
from mmlosses.core.reduction import align_weight
from mmlosses.core.tensors import upcast
from mmlosses.registry import MODELS

YOLO_POSE = Paper(
    'Debapriya Maji, Soyeb Nagori, Manu Mathew, Deepak Poddar',
    'YOLO-Pose: Enhancing YOLO for Multi Person Pose Estimation Using Object '
    'Keypoint Similarity Loss', 'CVPR Workshops', 2022, '2204.06806')

MODES = ('linear', 'square', 'log')

#: Those of the 17 keypoints of COCO: the deviation of annotators, relative to
#: the square root of the area.
COCO_SIGMAS = (0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
               0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)


def squared_distance(pred: Tensor,
                     target: Tensor,
                     areas: Tensor | None = None,
                     sigmas: Tensor | None = None,
                     eps: float = 1e-8) -> Tensor:
    r"""Return :math:`d^2 / 2 A (2 \sigma)^2` of keypoints: (\*, K).

    Args:
        pred, target (Tensor): Positions (\*, K, D).
        areas (Tensor, optional): Area of each object (\*). Default: 1.
        sigmas (Tensor, optional): Deviations (K,). Default: 1/2.
        eps (float): Least root of an area.
    """
    unit = pred.new_ones(())
    if areas is not None:
        unit = areas.clamp(min=0).sqrt().clamp(min=eps)[..., None, None]
    if sigmas is not None:
        unit = unit * (2 * sigmas[:, None])
    # Divided before it is squared, which may overflow.
    return 0.5 * ((pred - target) / unit).square().sum(dim=-1)


def oks_loss(pred: Tensor,
             target: Tensor,
             shares: Tensor,
             areas: Tensor | None = None,
             sigmas: Tensor | None = None,
             mode: str = 'linear',
             eps: float = 1e-8) -> Tensor:
    r"""Return the loss of each object: (\*), see :class:`OKSLoss`.

    Args:
        shares (Tensor): Factor of each keypoint in the similarity (\*, K).
        pred, target, areas, sigmas, eps: See :func:`squared_distance`.
        mode (str): See :class:`OKSLoss`.
    """
    square = squared_distance(pred, target, areas, sigmas, eps)
    if mode == 'log':
        # In log space, where a similarity of 0 is finite.
        nothing = (shares == 0).all(dim=-1, keepdim=True)
        logs = shares.masked_fill(nothing, 1).log()
        return -(logs - square).logsumexp(dim=-1)
    oks = (shares * (-square).exp()).sum(dim=-1)
    return 1 - (oks if mode == 'linear' else oks.square())


def normalised(visible: Tensor) -> Tensor:
    r"""The share (\*, K) of each keypoint; 0 for all if none is visible."""
    total = visible.sum(dim=-1, keepdim=True)
    return visible / total.masked_fill(total == 0, 1)


def load_sigmas(metainfo: str) -> Sequence[float] | None:
    """Read the sigmas of a dataset's file, which mmpose may have."""
    path = Path(metainfo)
    mmpose = find_spec('mmpose')
    if not path.is_file() and mmpose and mmpose.origin:
        path = Path(mmpose.origin).parent.joinpath('.mim', 'configs', '_base_',
                                                   'datasets', path.name)
    if not path.is_file():
        raise FileNotFoundError(f'metainfo {metainfo!r} is no file, neither '
                                f'here nor in mmpose, as {path}')
    sigmas = Config.fromfile(path).dataset_info.get('sigmas')
    return None if sigmas is None else list(sigmas)


def make_sigmas(sigmas: Sequence[float] | None) -> Tensor | None:
    """Return a tensor of positive numbers, or None."""
    if sigmas is None:
        return None
    if not isinstance(sigmas, (list, tuple)):
        raise TypeError('sigmas must be a list with a number for each '
                        f'keypoint, got {sigmas!r}')
    for sigma in sigmas:
        check_number('sigmas', sigma, above=0)
    return torch.tensor(sigmas)


@MODELS.register_module()
class OKSLoss(BaseLoss):
    r"""1 - object keypoint similarity, the measure of COCO.

    .. math::
        L = \frac{1}{N} \sum_n 1 - OKS_n, \qquad
        OKS_n = \sum_k \frac{v_{nk}}{V_n} e^{-d_{nk}^2 / 2 A_n (2 \sigma_k)^2}

    with the distance d of a keypoint to its target, the area A of the object
    and the visibility v, by default 1. V is the number of keypoints, or their
    sum of v. Each element is one object.

    Args:
        metainfo (str, optional): File of the dataset, from which
            :math:`\sigma_k` are read; if it does not exist, the one of that
            name among mmpose's ``configs/_base_/datasets``. Default: None.
        mode (str): ``'linear'``, or ``'square'`` for 1 - OKS squared, or
            ``'log'`` for -log OKS. Default: ``'linear'``.
        eps (float): Least root of the area. Default: 1e-8.
        norm_target_weight (bool): If True, :math:`V_n = \sum_k v_{nk}`, as in
            the paper; if False, the number of keypoints. Default: False.
        sigmas (Sequence[float], optional): :math:`\sigma_k`, instead of a
            ``metainfo``, such as
            ``mmlosses.losses.keypoint_similarity.COCO_SIGMAS``. Without
            either, :math:`2 \sigma_k = 1`. Default: None.

    Shape:
        - pred, target: (N, K, D).
        - weight: the visibility (N, K) or (N, K, 1), or a factor of the loss
          of each object (N,) or (N, 1).
        - areas: (N,), in squared units of the positions. Default: 1.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - Without a weight, mmpose adds the similarities of the keypoints, so
          its loss falls to 1 - K. Here it is their mean.
        - An object without visible keypoints has loss 0. In mmpose it is 1,
          and in the mode ``'log'`` infinite.
        - mmpose returns NaN where a keypoint of weight 0 holds NaN, and in
          the mode ``'log'`` infinity and NaN gradients for far keypoints.
    """
    info = LossInfo(
        purpose='keypoints of objects of any size',
        slots="``loss_oks`` of mmpose's ``YOLOXPoseHead`` and ``RTMOHead``",
        expects='numbers',
        paper=YOLO_POSE)

    sigmas: Tensor | None

    def __init__(self,
                 metainfo: str | None = None,
                 mode: str = 'linear',
                 eps: float = 1e-8,
                 norm_target_weight: bool = False,
                 sigmas: Sequence[float] | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('mode', mode, MODES)
        check_number('eps', eps, above=0)
        if metainfo is not None:
            if sigmas is not None:
                raise ValueError('sigmas are those of metainfo, got both')
            sigmas = load_sigmas(metainfo)
        self.metainfo, self.mode, self.eps = metainfo, mode, eps
        self.norm_target_weight = norm_target_weight
        # In checkpoints, under mmpose's name.
        self.register_buffer('sigmas', make_sigmas(sigmas))

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                areas: Tensor | None = None,
                *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss; ``areas`` precedes the usual arguments."""
        kwargs['areas'] = areas
        return super().forward(pred, target, weight, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_same_shape(pred, target)
        given = None if self.sigmas is None else len(self.sigmas)
        if pred.ndim < 2 or given not in (None, pred.shape[-2]):
            raise ValueError(f'pred must have the shape (N, {given or "K"}, '
                             f'D), got {tuple(pred.shape)}')
        return pred.shape[:-2]

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                avg_factor: float | Tensor | None,
                *,
                areas: Tensor | None = None) -> Inputs:
        """Tell weights of keypoints from those of objects."""
        objects = self.element_shape(pred, target)
        shape, number = pred.shape[:-1], max(pred.shape[-2], 1)
        shares = None
        if (isinstance(weight, Tensor) and number > 1
                and weight.shape[len(objects):] in ((number, ), (number, 1))):
            visible = align_weight(weight, shape).to(pred.dtype).expand(shape)
            check_not_negative('weight', visible)
            missing = (visible == 0).unsqueeze(-1)
            weight = None
            if not is_nothing(missing):
                pred, target = [zeroed(x, missing) for x in (pred, target)]
                weight = (visible > 0).any(dim=-1)
            shares = (
                normalised(visible) if self.norm_target_weight else visible /
                number)
        inputs = super().prepare(pred, target, weight, avg_factor)
        if shares is None:
            shares = pred.new_full(shape, 1 / number)
        inputs.extras = (shares, )
        if areas is not None:
            if areas.shape != objects:
                raise ValueError('areas must have one number for each object, '
                                 f'the shape {tuple(objects)}, got '
                                 f'{tuple(areas.shape)}')
            inputs.extras += (areas.to(pred.dtype), )
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor, *extras:
                    Tensor) -> Tensor:
        shares, areas = (*extras, None)[:2]
        assert shares is not None  # prepare makes them
        sigmas = None if self.sigmas is None else self.sigmas.to(pred.dtype)
        return oks_loss(pred, target, shares, areas, sigmas, self.mode,
                        self.eps)


@MODELS.register_module()
class OksLoss(OKSLoss):
    r"""1 - object keypoint similarity, of mmyolo: boxes instead of areas.

    .. math::
        L = \frac{1}{N} \sum_n 1 - OKS_n, \qquad
        OKS_n = \sum_k \frac{v_{nk}}{V_n}
        e^{-d_{nk}^2 / 2 (w_n^2 + h_n^2) \sigma_k^2}

    with the width and height of the box of an object in the place of its area,
    and :math:`\sigma` in the place of :math:`2 \sigma`: the exponent of an
    object that fills a square box is twice that of COCO. Otherwise, it is
    :class:`OKSLoss` with ``norm_target_weight=True``.

    Args:
        norm_target_weight (bool): See :class:`OKSLoss`. Default: True.

    Shape:
        - pred, target: (N, K, 2).
        - weight: the visibility (N, K) or (N, K, 1), or a factor of the loss
          of each object (N,) or (N, 1).
        - bboxes: (N, 4), boxes (x1, y1, x2, y2) in units of the positions.
          Default: a diagonal of 1.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmyolo's returns the loss of each object, of which mmengine takes the
          mean. Here that is ``'none'``.
        - An object without visible keypoints has loss 0. In mmyolo it is 1,
          without a gradient, and the logged mean rises with their number.
        - mmyolo returns NaN where a keypoint of weight 0 holds NaN, and rounds
          to half precision.
        - mmyolo's needs mmpose, whose file of the dataset it reads.
    """
    info = LossInfo(
        purpose='keypoints of objects of any size, with their boxes',
        slots="``loss_pose`` of mmyolo's ``YOLOXPoseHead``",
        expects='numbers',
        paper=YOLO_POSE)

    def __init__(self,
                 metainfo: str | None = None,
                 loss_weight: float = 1.0,
                 norm_target_weight: bool = True,
                 **kwargs: Any) -> None:
        super().__init__(
            metainfo,
            norm_target_weight=norm_target_weight,
            loss_weight=loss_weight,
            **kwargs)

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                bboxes: Tensor | None = None,
                *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss; ``bboxes`` precede the usual arguments."""
        kwargs['bboxes'] = bboxes
        return super(OKSLoss, self).forward(pred, target, weight, *args,
                                            **kwargs)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                avg_factor: float | Tensor | None,
                *,
                bboxes: Tensor | None = None) -> Inputs:
        """Make areas of the boxes."""
        areas = self.areas_of(pred, bboxes)
        return super().prepare(pred, target, weight, avg_factor, areas=areas)

    def areas_of(self, pred: Tensor, bboxes: Tensor | None) -> Tensor:
        """Return the areas for which the formulas of both classes agree."""
        if bboxes is None:
            square = pred.new_ones(pred.shape[:-2])
        else:
            bboxes = upcast(bboxes)
            square = (bboxes[..., 2:4] - bboxes[..., :2]).square().sum(dim=-1)
        return square if self.sigmas is None else square / 4

    def compute_oks(self,
                    output: Tensor,
                    target: Tensor,
                    target_weights: Tensor,
                    bboxes: Tensor | None = None) -> Tensor:
        """Return the similarity of objects, which broadcast, to an assigner.

        mmyolo's ``PoseSimOTAAssigner`` calls it as its ``oks_calculator``.
        """
        output, target, visible = [
            upcast(x) for x in (output, target, target_weights)
        ]
        return 1 - oks_loss(output, target, normalised(visible),
                            self.areas_of(output, bboxes), self.sigmas,
                            'linear', self.eps)
