"""The distance of features to the centre of their class."""
from __future__ import annotations
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmlosses.core.base import CommonArguments, Inputs
from mmlosses.core.buffers import set_buffer
from mmlosses.core.checks import (check_floating, check_label_range,
                                  check_number, check_softmax)
from mmlosses.core.features import (FeatureLoss, check_features,
                                    make_class_vectors)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.class_entropy import fast_class_entropy
from mmlosses.core.tensors import autocast_off, upcast
from mmlosses.registry import MODELS

if TYPE_CHECKING:
    from typing_extensions import Unpack


def center_loss(features: Tensor, centers: Tensor) -> Tensor:
    r"""Half the squared distance of each feature to its centre.

    .. math::
        \ell_n = \tfrac{1}{2} \|x_n - c_n\|^2

    Args:
        features (Tensor): Features.
        centers (Tensor): The centre of each feature's class.

    Shape:
        - features, centers: (\*, D).
        - returns: (\*).

    Returns:
        Tensor: The loss of each feature.
    """
    # Not expanded into squares, which would cancel far from the origin.
    return 0.5 * (features - centers).square().sum(dim=-1)


def center_step(centers: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    r"""The step of each centre towards the features of its class.

    .. math::
        \Delta c_j = \frac{\sum_n [y_n = j] (c_j - x_n)}
        {1 + \sum_n [y_n = j]}

    Args:
        centers (Tensor): The centres.
        sums (Tensor): Sum of the features of each class.
        counts (Tensor): Number of the features of each class.

    Shape:
        - centers, sums, returns: (C, D).
        - counts: (C,).

    Returns:
        Tensor: What, times a rate, is subtracted from the centres.
    """
    counts = counts.unsqueeze(1)
    return (counts * centers - sums) / (1 + counts)


@MODELS.register_module()
class CenterLoss(FeatureLoss):
    r"""Half the squared distance of features to the centre of their class.

    .. math::
        L = \frac{1}{N} \sum_n \tfrac{1}{2} \|x_n - c_{y_n}\|^2, \qquad
        c_j \leftarrow c_j - \alpha \frac{\sum_n [y_n = j] (c_j - x_n)}
        {1 + \sum_n [y_n = j]}

    It pulls the features of a class together and does not push classes apart:
    use it beside a classification loss, with a small ``loss_weight``.
    ``reduction='none'`` gives (N,).

    The centres ``centers`` (C, D) are a buffer that starts at 0 and moves
    after each call in training mode, by the samples whose weight is not 0 and
    whose feature is finite. Features and labels of all ranks count, so that
    the centres stay the same on each: every rank must call the loss equally
    often. In evaluation mode they stay.

    Args:
        alpha (float): Rate, from 0 to 1, of the centres. The paper uses 0.5.
            Default: 0.5.
        learn_centers (bool): Whether the centres are a parameter that starts
            at random and that the optimizer moves by the gradient of the
            loss instead; ``alpha`` then has no effect. Default: False.

    Differs from upstream:
        - The paper sums over the batch; ``reduction='sum'`` gives its number.
          The authors' code divides by the batch, as the default here does.
        - A common version in PyTorch takes the unsquared distance of the
          whole batch at once. Its gradient does not grow with the distance.
        - Another one expands the square, which gives 0 for close points far
          from the origin, and adds 1e-12 for each wrong class.
        - Versions whose centres are parameters move them by the gradient,
          times the weight of the loss: ``learn_centers=True``.
    """

    info = LossInfo(
        purpose='features near the centre of their class',
        slots='The slots of :class:`ArcFaceLoss`, beside a classifier',
        expects='features',
        paper=Paper(
            'Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao',
            'A Discriminative Feature Learning Approach for Deep Face '
            'Recognition',
            'ECCV', 2016))
    centers: Tensor

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 alpha: float = 0.5,
                 learn_centers: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        check_number('alpha', alpha, least=0, most=1)
        self.alpha = alpha
        self.learn_centers = learn_centers
        if learn_centers:
            self.centers = nn.Parameter(torch.randn(num_classes, in_channels))
        else:
            self.register_buffer('centers',
                                 torch.zeros(num_classes, in_channels))

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Half the squared distance of each sample: (N,)."""
        check_label_range(target, self.num_classes)
        centers = self.centers.to(pred.dtype).index_select(0, target)
        return center_loss(pred, centers)

    def unreduced(self, inputs: Inputs) -> Tensor:
        """Compute the loss and, in training mode, move the centres."""
        loss = super().unreduced(inputs)
        if self.training and not self.learn_centers:
            with torch.no_grad():
                self.move_centers(inputs.pred, inputs.target, inputs.removed)
        return loss

    def move_centers(self,
                     features: Tensor,
                     labels: Tensor,
                     removed: Tensor | None = None) -> None:
        """Move the centres towards the features of their class.

        Args:
            features (Tensor): Features (N, D).
            labels (Tensor): Labels (N,).
            removed (Tensor, optional): Mask of samples that do not count.
        """
        # An overflow of mixed precision, whose step the gradient scaler
        # skips, would stay in the centres for ever.
        counted = features.isfinite().all(dim=1)
        if removed is not None:
            counted = counted & ~removed
        labels = labels.masked_fill(~counted, 0)
        features = features.masked_fill(~counted.unsqueeze(1), 0)
        ones = counted.to(features.dtype).unsqueeze(1)
        # Sums and counts side by side: one message between the ranks.
        total = features.new_zeros(self.num_classes, self.in_channels + 1)
        total = total.index_add(0, labels, torch.cat([features, ones], 1))
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(total)
        centers = self.centers.to(total.dtype)
        step = center_step(centers, total[:, :-1], total[:, -1])
        set_buffer(self, 'centers', centers - self.alpha * step)


@MODELS.register_module(name=['CenterSoftmaxLoss', 'centerloss'])
class CenterSoftmaxLoss(CenterLoss):
    r"""Cross entropy of a linear classifier, with the centre loss beside it.

    .. math::
        L = \frac{1}{N} \sum_n \left(
        -\log \frac{e^{x_n \cdot w_{y_n}}}{\sum_j e^{x_n \cdot w_j}}
        + \frac{\lambda}{2} \|x_n - c_{y_n}\|^2 \right)

    The classifier, without a bias, is the parameter ``weight`` (C, D);
    :meth:`logits` gives its scores for inference. The centres ``centers``
    (C, D) are those of :class:`CenterLoss`. ``reduction='none'`` gives (N,).
    Also registered as ``centerloss``.

    Args:
        center_weight (float): Weight :math:`\lambda` of the centre loss.
            Default: 0.2.
        alpha (float): Rate of the centres, see :class:`CenterLoss`.
            Default: 0.5.
        learn_centers (bool): Whether the centres are a parameter, see
            :class:`CenterLoss`. Default: False.

    Differs from upstream:
        - ``centerloss`` as published in tutorials returns the logits with the
          loss, and its centre term is the unsquared distance of the whole
          batch, divided by twice its size: the pull on all samples together
          is 1 / 2N, near or far. Here it is the paper's.
        - There the centres are a parameter: ``learn_centers=True``.
    """

    info = LossInfo(
        purpose='a linear classifier with :class:`CenterLoss` beside it',
        slots='The slots of :class:`ArcFaceLoss`',
        expects='features',
        paper=Paper(
            'Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao',
            'A Discriminative Feature Learning Approach for Deep Face '
            'Recognition',
            'ECCV', 2016))

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 center_weight: float = 0.2,
                 alpha: float = 0.5,
                 learn_centers: bool = False,
                 use_sigmoid: bool = False,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(num_classes, in_channels, alpha, learn_centers,
                         **kwargs)
        check_softmax(use_sigmoid)
        self.center_weight = center_weight
        self.use_sigmoid = use_sigmoid
        self.weight = make_class_vectors(num_classes, in_channels)

    def logits(self, features: Tensor) -> Tensor:
        """The scores (N, C) of the classifier, in float32 or float64.

        Args:
            features (Tensor): Features (N, D).

        Returns:
            Tensor: One score for each class.
        """
        check_floating('features', features)
        check_features(features, self.in_channels)
        features = upcast(features)
        with autocast_off(features.device.type):
            logits = features @ self.weight.to(features.dtype).T
        return logits

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Cross entropy and centre loss of each sample: (N,)."""
        center = super().elementwise(pred, target)
        entropy = fast_class_entropy(pred, self.weight.to(pred.dtype),
                                     target)
        return entropy + self.center_weight * center
