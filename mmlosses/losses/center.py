"""The distance of features to the centre of their class."""
from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmlosses.registry import MODELS
from .buffers import set_buffer
from .class_entropy import fast_class_entropy
from .features import (FeatureLoss, check_features, check_softmax,
                       make_class_vectors)
from .labels import check_label_range
from .reduction import align_weight, autocast_off, upcast


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
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        alpha (float): Rate, from 0 to 1, of the centres. The paper uses 0.5.
            Default: 0.5.
        learn_centers (bool): Whether the centres are a parameter that starts
            at random and that the optimizer moves by the gradient of the
            loss instead; ``alpha`` then has no effect. Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - features (pred): (N, in_channels).
        - labels (target): (N,), integers from 0 to num_classes - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, a label on the CPU names no class,
            or an argument is out of range.
        TypeError: If features are not floating-point, or labels not integer.

    Use:
        - For: features near the centre of their class.
        - Slots: The slots of :class:`ArcFaceLoss`, beside a classifier.

    Source:
        Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao. A Discriminative
        Feature Learning Approach for Deep Face Recognition. ECCV 2016.

    Differs from upstream:
        - The paper sums over the batch; ``reduction='sum'`` gives its number.
          The authors' code divides by the batch, as the default here does.
        - A common version in PyTorch takes the unsquared distance of the
          whole batch at once. Its gradient does not grow with the distance.
        - Another one expands the square, which gives 0 for close points far
          from the origin, and adds 1e-12 for each wrong class.
        - Versions whose centres are parameters move them by the gradient,
          times the weight of the loss: ``learn_centers=True``.

    Example:
        In the ReID head of mmdet, beside the cross entropy:

        >>> loss = dict(
        ...     type='mmlosses.CenterLoss',
        ...     num_classes=380, in_channels=128, loss_weight=0.01)
        >>> head = dict(loss_triplet=dict(_delete_=True, **loss))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(loss)
        >>> features, labels = torch.ones(2, 128), torch.tensor([0, 1])
        >>> print('%.3f' % loss(features, labels).item())
        0.640

        The centres have come nearer:

        >>> print('%.3f' % loss(features, labels).item())
        0.360
    """
    centers: Tensor

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 alpha: float = 0.5,
                 learn_centers: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(num_classes, in_channels, reduction, loss_weight)
        if not 0 <= alpha <= 1:
            raise ValueError(f'alpha must be from 0 to 1, got {alpha}')
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
        centers = self.centers.to(pred.dtype).index_select(0, target.long())
        return center_loss(pred, centers)

    def forward(self,
                features: Tensor,
                labels: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                *,
                target_weight: Tensor | None = None) -> Tensor:
        """Compute the loss and, in training mode, move the centres.

        See :meth:`BaseLoss.forward` for the other arguments.
        """
        loss = super().forward(
            features,
            labels,
            weight,
            avg_factor,
            reduction_override,
            target_weight=target_weight)
        if self.training and not self.learn_centers:
            weight = self._given_weight(weight, target_weight)
            with torch.no_grad():
                self.move_centers(features, labels, weight)
        return loss

    def move_centers(self,
                     features: Tensor,
                     labels: Tensor,
                     weight: Tensor | None = None) -> None:
        """Move the centres towards the features of their class.

        Args:
            features (Tensor): Features (N, D).
            labels (Tensor): Labels (N,).
            weight (Tensor, optional): Weight (N,): a sample of weight 0 does
                not count.
        """
        features = upcast(features.detach())
        with autocast_off(features.device.type):
            # An overflow of mixed precision, whose step the gradient scaler
            # skips, would stay in the centres for ever.
            counted = features.isfinite().all(dim=1)
            if weight is not None:
                counted = counted & (align_weight(weight, labels.shape) != 0)
            labels = labels.long().masked_fill(~counted, 0)
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
        num_classes (int): Number C of classes.
        in_channels (int): Size D of the features.
        center_weight (float): Weight :math:`\lambda` of the centre loss.
            Default: 0.2.
        alpha (float): Rate of the centres, see :class:`CenterLoss`.
            Default: 0.5.
        learn_centers (bool): Whether the centres are a parameter, see
            :class:`CenterLoss`. Default: False.
        use_sigmoid (bool): Kept for heads that read it; only False.
            Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - features (pred): (N, in_channels).
        - labels (target): (N,), integers from 0 to num_classes - 1.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If shapes do not fit, a label on the CPU names no class,
            or an argument is out of range.
        TypeError: If features are not floating-point, or labels not integer.

    Use:
        - For: a linear classifier with :class:`CenterLoss` beside it.
        - Slots: The slots of :class:`ArcFaceLoss`.

    Source:
        Yandong Wen, Kaipeng Zhang, Zhifeng Li, Yu Qiao. A Discriminative
        Feature Learning Approach for Deep Face Recognition. ECCV 2016.

    Differs from upstream:
        - ``centerloss`` as published in tutorials returns the logits with the
          loss, and its centre term is the unsquared distance of the whole
          batch, divided by twice its size: the pull on all samples together
          is 1 / 2N, near or far. Here it is the paper's.
        - There the centres are a parameter: ``learn_centers=True``.

    Example:
        In the ReID head of mmdet, which calls it with features and labels:

        >>> loss = dict(
        ...     type='mmlosses.CenterSoftmaxLoss',
        ...     num_classes=380, in_channels=128, center_weight=0.01)
        >>> head = dict(loss_triplet=dict(_delete_=True, **loss))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(loss)
        >>> value = loss(torch.zeros(2, 128), torch.tensor([0, 379]))
        >>> print('%.4f' % value.item())
        5.9402
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 center_weight: float = 0.2,
                 alpha: float = 0.5,
                 learn_centers: bool = False,
                 use_sigmoid: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(num_classes, in_channels, alpha, learn_centers,
                         reduction, loss_weight)
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
        check_features(features, self.in_channels)
        features = upcast(features)
        with autocast_off(features.device.type):
            logits = features @ self.weight.to(features.dtype).T
        return logits

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Cross entropy and centre loss of each sample: (N,)."""
        center = super().elementwise(pred, target)
        entropy = fast_class_entropy(pred, self.weight.to(pred.dtype),
                                     target.long())
        return entropy + self.center_weight * center
