"""Losses between a student and its teacher."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_choice, check_number, check_same_shape,
                                  check_size)
from mmlosses.core.classification import SampleLoss
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.keypoints import KeypointArguments, KeypointLoss
from mmlosses.core.tensors import map_tensors
from mmlosses.registry import MODELS
from .simcc import check_axes


def distillation_kl_loss(pred: Tensor,
                         soft_label: Tensor,
                         dim: int,
                         temperature: float = 1.0) -> Tensor:
    """KL divergence of the student's softmax from the teacher's, on one axis.

    The logits of both are divided by the ``temperature``. The teacher gets no
    gradient.
    """
    soft_label = soft_label.detach()
    if temperature != 1:
        pred, soft_label = pred / temperature, soft_label / temperature
    teacher = F.log_softmax(soft_label, dim)
    prob = teacher.exp()
    # A class that the teacher rules out has the logarithm -inf.
    teacher = teacher.clamp_(min=torch.finfo(teacher.dtype).min)
    # Student minus teacher: negating would take one more pass.
    return -(prob * (F.log_softmax(pred, dim) - teacher)).sum(dim)


@MODELS.register_module()
class KnowledgeDistillationKLDivLoss(SampleLoss):
    r"""KL divergence of a student's logits from its teacher's.

    .. math::
        L = \frac{T^2}{N C} \sum_{n, c} w_n \, t_{nc} (\log t_{nc}
        - \log p_{nc}), \qquad p = \mathrm{softmax}(s / T), \quad
        t = \mathrm{softmax}(z / T)

    with the logits s of the student and z of the teacher. The factor
    :math:`T^2` keeps the size of the gradient.

    Args:
        T (float): Temperature: a higher one shows more of the small
            probabilities. LD uses 10. Default: 10.
        bin_reduction (str): ``'mean'`` over the classes or bins, as in mmdet
            and LD, which shrinks the loss with their number, or ``'sum'``, the
            divergence itself, as in the paper. Default: ``'mean'``.

    Shape:
        - pred: logits (N, C, \*) of the student.
        - soft_label (target): logits (N, C, \*) of the teacher. They get no
          gradient.
        - weight: (N, \*).
        - returns: 0-dim, or (N, \*) for ``'none'``.

    Differs from upstream:
        - mmdet returns NaN where a sample of weight 0 holds NaN.
        - mmdet refuses temperatures below 1.
    """
    info = LossInfo(
        purpose='distillation of classes or of the bins of a box edge',
        slots="``loss_ld`` of mmdet's LD",
        expects='scores',
        paper=Paper('Geoffrey Hinton, Oriol Vinyals, Jeff Dean',
                    'Distilling the Knowledge in a Neural Network', 'arXiv',
                    2015, '1503.02531'),
        source='LD: Zhaohui Zheng, Rongguang Ye, Ping Wang, Dongwei Ren, '
        'Wangmeng Zuo, Qibin Hou, Ming-Ming Cheng. Localization Distillation '
        'for Dense Object Detection. CVPR 2022, `arXiv:2102.12252 '
        '<https://arxiv.org/abs/2102.12252>`_.')

    def __init__(  # type: ignore[misc]
            self,
            reduction: str = 'mean',
            loss_weight: float = 1.0,
            T: float = 10,
            bin_reduction: str = 'mean',
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(reduction, loss_weight, **kwargs)
        check_number('T', T, above=0)
        check_choice('bin_reduction', bin_reduction, ('mean', 'sum'))
        self.T, self.bin_reduction = T, bin_reduction

    def forward(self, pred: Tensor, soft_label: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of a student's and a teacher's logits."""
        return super().forward(pred, soft_label, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        samples = self.samples(pred)
        check_same_shape(pred, target)
        return samples

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        loss = distillation_kl_loss(pred, target, 1, self.T)
        bins = pred.shape[1] if self.bin_reduction == 'mean' else 1
        return self.T**2 / bins * loss


@MODELS.register_module()
class KLDivLoss(SampleLoss):
    r"""KL divergence of the softmax of two predictions, as in mmseg.

    .. math::
        L = \frac{T^2}{N C} \sum_{n, c} w_n \, t_{nc} (\log t_{nc}
        - \log p_{nc}), \qquad p = \mathrm{softmax}(x / T), \quad
        t = \mathrm{softmax}(z / T)

    with the logits x of the input and z of the target: the loss of
    :class:`KnowledgeDistillationKLDivLoss` with the arguments of mmseg.

    Args:
        temperature (float): A higher one shows more of the small
            probabilities. Default: 1.0.

    Shape:
        - input (pred): logits (N, C, \*).
        - target: logits (N, C, \*). They get no gradient.
        - weight: (N, \*).
        - returns: 0-dim, or (N, \*) for ``'none'``.

    Differs from upstream:
        - mmseg does not register its loss unless you import its file.
        - mmseg gives ``F.kl_div`` probabilities where it takes their
          logarithms: its loss is negative, and not least for equal inputs.
        - mmseg reduces ``'mean'`` and ``'sum'`` within each sample only, and
          returns (N, C, \*) for ``'none'``.
        - mmseg takes no ``weight``, ``avg_factor`` or ``loss_weight``.
    """
    info = LossInfo(
        purpose='distillation of the classes of pixels or samples',
        slots='none of stock; beside a teacher of mmseg',
        expects='scores',
        paper=KnowledgeDistillationKLDivLoss.info.paper)
    pred_name = 'input'

    def __init__(  # type: ignore[misc]
            self,
            temperature: float = 1.0,
            reduction: str = 'mean',
            loss_name: str | None = None,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(reduction, loss_name=loss_name, **kwargs)
        check_number('temperature', temperature, above=0)
        self.temperature = temperature

    def forward(self, input: Tensor, target: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of two predictions."""
        return super().forward(input, target, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        samples = self.samples(pred)
        check_same_shape(pred, target)
        return samples

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        T = self.temperature
        loss = distillation_kl_loss(pred, target, 1, T)
        return T**2 / pred.shape[1] * loss


@MODELS.register_module()
class KDLoss(KeypointLoss):
    r"""Distillation of a SimCC head, as in DWPose.

    .. math::
        L = \frac{1}{N K} \sum_{n, k} w_{nk} \sum_{axis} \sum_b t_b
        (\log t_b - \log p_b), \qquad p = \mathrm{softmax}(\beta s), \quad
        t = \mathrm{softmax}(\beta z)

    with the scores s of the student and z of the teacher for the bins b of an
    axis. Each element is one keypoint.

    Args:
        name (str): The name by which DWPose's distiller finds the loss.
            Default: ``'loss_logit'``.
        use_this (bool): Read by the distiller, which otherwise builds no loss.
            Default: True.
        loss_weight (float): See :class:`BaseLoss`; ``weight`` in mmpose, where
            DWPose uses 0.1 and, in its second stage, 1. Default: 1.0.
        use_target_weight (bool, optional): See :class:`BaseLoss`. By default
            the weight is ignored, as in DWPose: the teacher has a useful
            guess for keypoints that nobody can see. Default: False.

    Shape:
        - pred, pred_t (target): tuples (x, y), or any number of axes, of
          tensors (N, K, bins). Those of the teacher get no gradient.
        - beta: a number, the inverse temperature. Default: 1.0.
        - target_weight: (N,), (N, K) or (N, K, 1).
        - returns: 0-dim, or (N, K) for ``'none'``.

    Differs from upstream:
        - mmpose fails for an empty batch, and accepts two axes only.
        - mmpose cannot apply the weight that it takes.
    """
    info = LossInfo(
        purpose='distillation of keypoints as classification over bins',
        slots="``loss_logit`` of mmpose's DWPose",
        expects='bins',
        paper=Paper(
            'Zhendong Yang, Ailing Zeng, Chun Yuan, Yu Li',
            'Effective Whole-body Pose Estimation with Two-stages '
            'Distillation', 'ICCV Workshops', 2023, '2307.15880'))
    synonyms = dict(weight='loss_weight')
    masks_after_formula = True

    def __init__(  # type: ignore[misc]
            self,
            name: str = 'loss_logit',
            use_this: bool = True,
            loss_weight: float = 1.0,
            use_target_weight: bool | None = False,
            **kwargs: Unpack[KeypointArguments]) -> None:
        super().__init__(
            loss_weight=loss_weight,
            use_target_weight=use_target_weight,
            **kwargs)
        self.name, self.use_this = name, use_this

    def forward(self,
                pred: Tuple[Tensor, ...],
                pred_t: Tuple[Tensor, ...],
                beta: float | Tensor = 1.0,
                *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss; the fourth argument is the weight."""
        kwargs['beta'] = beta
        return super().forward(pred, pred_t, *args, **kwargs)

    def element_shape(self, pred: Tuple[Tensor, ...],
                      target: Tuple[Tensor, ...]) -> Sequence[int]:
        return check_axes(pred, target)

    def prepare(self, pred: Any, target: Any, *args: Any,
                beta: float | Tensor) -> Inputs:
        """Scale the scores, once they are in float32."""
        inputs = super().prepare(pred, target, *args)
        inputs.pred, inputs.target = [
            map_tensors(lambda x: x * beta, scores)
            for scores in (inputs.pred, inputs.target)
        ]
        return inputs

    def elementwise(self, pred: Tuple[Tensor, ...],
                    target: Tuple[Tensor, ...]) -> Tensor:
        return torch.stack([
            distillation_kl_loss(student, teacher, -1)
            for student, teacher in zip(pred, target)
        ]).sum(dim=0)


@MODELS.register_module()
class FeaLoss(BaseLoss):
    r"""Squared distance of a student's feature maps to its teacher's.

    .. math::
        L = \frac{\alpha}{N} \sum_n w_n \|f(s_n) - t_n\|_2^2

    with the maps s of the student and t of the teacher. The convolution f, the
    layer ``align``, gives the student the channels of the teacher; without a
    difference it is the identity. Each element is one image.

    Args:
        name (str): The name by which DWPose's distiller finds the loss, there
            ``'loss_fea'``.
        use_this (bool): Read by the distiller, which otherwise builds no loss.
        student_channels (int): Channels of the student's maps.
        teacher_channels (int): Channels of the teacher's maps.
        alpha_fea (float): Factor :math:`\alpha` of the sum over channels and
            pixels. DWPose uses 0.00007. Default: 0.00007.

    Shape:
        - preds_S (pred): (N, student_channels, H, W).
        - preds_T (target): (N, teacher_channels, H, W).
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmpose overflows in half precision: it sums squares over the batch.
        - mmpose broadcasts maps of different sizes, and returns NaN for an
          empty batch.
    """
    info = LossInfo(
        purpose='distillation of feature maps',
        slots="``loss_fea`` of mmpose's DWPose",
        expects='features',
        paper=KDLoss.info.paper,
        source='the feature-based loss of its first stage.')
    pred_name = 'preds_S'

    def __init__(self,
                 name: str,
                 use_this: bool,
                 student_channels: int,
                 teacher_channels: int,
                 alpha_fea: float = 0.00007,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_size('student_channels', student_channels)
        check_size('teacher_channels', teacher_channels)
        check_number('alpha_fea', alpha_fea, least=0)
        self.name, self.use_this, self.alpha_fea = name, use_this, alpha_fea
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.align = None if student_channels == teacher_channels else (
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1))

    def forward(self, preds_S: Tensor, preds_T: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of a student's and a teacher's maps."""
        return super().forward(preds_S, preds_T, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        size = pred.shape[:1] + pred.shape[2:]
        student, teacher = [
            size[:1] + (channels, ) + size[1:]
            for channels in (self.student_channels, self.teacher_channels)
        ]
        if pred.ndim != 4 or (pred.shape, target.shape) != (student, teacher):
            raise ValueError(
                'preds_S and preds_T must have the shapes (N, C, H, W) with '
                f'{self.student_channels} and {self.teacher_channels} '
                f'channels, got {tuple(pred.shape)} and '
                f'{tuple(target.shape)}')
        return pred.shape[:1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        if self.align is not None:
            weight, bias = [x.to(pred.dtype) for x in self.align.parameters()]
            pred = F.conv2d(pred, weight, bias)
        square = F.mse_loss(pred, target, reduction='none')
        return self.alpha_fea * square.sum(dim=(1, 2, 3))


@MODELS.register_module()
class ChannelWiseDivergence(BaseLoss):
    r"""KL divergence of where the channels of feature maps are active.

    .. math::
        L = \frac{\tau^2}{N C} \sum_{n, c} w_{nc} \sum_i t_{nci}
        (\log t_{nci} - \log p_{nci})

    with the softmax over the pixels i of a channel,
    :math:`p = \mathrm{softmax}_i(s / \tau)` of the student and
    :math:`t = \mathrm{softmax}_i(z / \tau)` of the teacher. Each element is
    one channel.

    Args:
        tau (float): Temperature: a higher one looks at more pixels. The paper
            uses 4 for feature maps. Default: 1.0.

    Shape:
        - preds_S (pred): maps (N, C, H, W) of the student.
        - preds_T (target): maps (N, C, H, W) of the teacher. They get no
          gradient.
        - weight: (N,) or (N, C).
        - returns: 0-dim, or (N, C) for ``'none'``.

    Differs from upstream:
        - mmrazor returns NaN where the teacher's map holds -inf, and for an
          empty batch.
        - mmrazor pairs the channels of maps with different numbers of them
          by chance, if their products with the batch size are equal.
        - mmrazor gives the teacher a gradient.
    """
    info = LossInfo(
        purpose='distillation of feature maps, or of maps of classes',
        slots="the losses of mmrazor's distillers, as in mmyolo's configs",
        expects='features',
        paper=Paper(
            'Changyong Shu, Yifan Liu, Jianfei Gao, Zheng Yan, Chunhua Shen',
            'Channel-wise Knowledge Distillation for Dense Prediction', 'ICCV',
            2021, '2011.13256'))
    pred_name = 'preds_S'

    def __init__(  # type: ignore[misc]
            self,
            tau: float = 1.0,
            loss_weight: float = 1.0,
            **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        check_number('tau', tau, above=0)
        self.tau = tau

    def forward(self, preds_S: Tensor, preds_T: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of a student's and a teacher's maps."""
        return super().forward(preds_S, preds_T, *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if pred.ndim < 3:
            raise ValueError('preds_S must have the shape (N, C, H, W), got '
                             f'{tuple(pred.shape)}')
        check_same_shape(pred, target)
        return pred.shape[:2]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        loss = distillation_kl_loss(
            pred.flatten(2), target.flatten(2), -1, self.tau)
        return self.tau**2 * loss
