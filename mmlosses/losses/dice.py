"""Dice loss: the overlap of masks."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor

from mmlosses.registry import MODELS
from .base import BaseLoss
from .gradient import is_transformed
from .reduction import check_same_shape


def dice_loss(pred: Tensor,
              target: Tensor,
              naive_dice: bool = False,
              eps: float = 1e-3) -> Tensor:
    r"""One minus the Dice coefficient of each sample.

    .. math::
        L = 1 - \frac{2 \sum_i p_i t_i + 2 \epsilon}
        {\sum_i p_i^2 + \sum_i t_i^2 + 2 \epsilon}, \qquad
        L_{naive} = 1 - \frac{2 \sum_i p_i t_i + \epsilon}
        {\sum_i p_i + \sum_i t_i + \epsilon}

    Args:
        pred (Tensor): Probabilities p.
        target (Tensor): Masks t.
        naive_dice (bool): Whether the denominator holds the numbers
            themselves, and not their squares.
        eps (float): What makes the loss of two empty masks 0.

    Shape:
        - pred, target: (N, \*).
        - returns: (N,).

    Returns:
        Tensor: The loss of each sample.
    """
    pred, target = pred.flatten(1), target.flatten(1)
    if naive_dice:
        overlap = (pred * target).sum(dim=1)
        total = pred.sum(dim=1) + target.sum(dim=1)
    else:
        plain = target.requires_grad or is_transformed()
        add = overlap_and_square if plain else OverlapAndSquare.apply
        overlap, square = add(pred, target)
        total = square + (target * target).sum(dim=1)
        # mmdet adds eps to either sum of squares.
        eps = 2 * eps
    return 1 - (2 * overlap + eps) / (total + eps)


def overlap_and_square(pred: Tensor, target: Tensor) -> Tuple[Tensor, Tensor]:
    """The sums of p * t and of p * p, for each sample."""
    return (pred * target).sum(dim=1), (pred * pred).sum(dim=1)


class OverlapAndSquare(torch.autograd.Function):
    """Makes both gradients at once, which autograd makes in five passes."""

    @staticmethod
    def forward(ctx: Any, pred: Tensor,
                target: Tensor) -> Tuple[Tensor, Tensor]:
        """See :func:`overlap_and_square`."""
        ctx.save_for_backward(pred, target)
        return overlap_and_square(pred, target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Tensor, None]:
        """Multiply by target and twice the prediction."""
        pred, target = ctx.saved_tensors
        of_overlap, of_square = [grad.unsqueeze(1) for grad in grads]
        return (target * of_overlap).addcmul_(pred, 2 * of_square), None


@MODELS.register_module()
class DiceLoss(BaseLoss):
    r"""Dice loss of masks, one number for each sample.

    .. math::
        L = \frac{1}{N} \sum_n w_n \left(1 - \frac{2 \sum_i p_{ni} t_{ni} +
        2 \epsilon} {\sum_i p_{ni}^2 + \sum_i t_{ni}^2 + 2 \epsilon}\right)

    with the probabilities p of the pixels of a sample and its mask t. See
    :func:`dice_loss`, also for ``naive_dice``. One element is one sample:
    ``reduction='none'`` gives (N,).

    Args:
        use_sigmoid (bool): Whether a sigmoid makes the prediction a
            probability; ``False`` if it is one already. Default: True.
        activate (bool): ``False`` leaves out the sigmoid too, as in mmdet.
            Default: True.
        naive_dice (bool): Whether the denominator holds the probabilities
            themselves, and not their squares. With a soft mask the former is
            least at a hard prediction, the latter at the mask itself.
            Default: False.
        eps (float): Added above and below, so that two empty masks have the
            loss 0. Default: 1e-3.
        batch (bool): Whether the sums go over the whole batch, so that small
            and empty masks count by their size. Each sample that has not the
            weight 0 takes part, and then has the loss of the batch.
            Default: False.
        reduction (str): ``'mean'``, ``'sum'`` or ``'none'``.
            Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred, target: (N, \*), with any number of further axes, at least
          one; the target of any dtype.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If ``reduction`` is unknown, the shapes of prediction and
            target differ or have one axis, or the weight does not fit.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: masks, whose share of the picture may be small.
        - Slots: ``loss_mask`` of SOLO and CondInst, ``loss_dice`` of
          Mask2Former.

    Source:
        Fausto Milletari, Nassir Navab, Seyed-Ahmad Ahmadi. V-Net: Fully
        Convolutional Neural Networks for Volumetric Medical Image
        Segmentation. 3DV 2016, `arXiv:1606.04797
        <https://arxiv.org/abs/1606.04797>`_. ``naive_dice=True, batch=True,
        activate=False, eps=1e-6`` is the form that DBNet's code uses.

    Differs from upstream:
        - For an empty mask, mmdet's default form is 1 whatever the
          prediction, with gradient 0, and so is DBNet's: nobody is told of
          false positives. Here ``eps`` is above the fraction too, which
          changes other losses by less than ``2 * eps`` over the size of the
          masks.
        - Sums over large masks in half precision do not overflow.
        - mmdet raises ``NotImplementedError`` for ``use_sigmoid=False``
          unless ``activate=False``.
        - ``avg_factor`` is the fourth positional argument, as in all other
          losses; mmdet has ``reduction_override`` there. Its heads name both.

    Example:
        In a config that inherits one of mmdet's SOLO configs:

        >>> model = dict(mask_head=dict(loss_mask=dict(
        ...     type='mmlosses.DiceLoss', use_sigmoid=True, loss_weight=3.0)))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(model['mask_head']['loss_mask'])
        >>> logits = torch.zeros(2, 8, 8)
        >>> masks = torch.ones(2, 8, 8, dtype=torch.uint8)
        >>> print('%.3f' % loss(logits, masks))
        0.600
    """

    def __init__(self,
                 use_sigmoid: bool = True,
                 activate: bool = True,
                 naive_dice: bool = False,
                 eps: float = 1e-3,
                 batch: bool = False,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.use_sigmoid = use_sigmoid
        self.activate = activate
        self.naive_dice = naive_dice
        self.eps = eps
        self.batch = batch

    def elementwise(self, pred: Tensor, target: Tuple[Tensor,
                                                      Tensor]) -> Tensor:
        """The loss of each sample: (N,)."""
        masks, present = target
        masks = masks.to(pred.dtype)
        if self.activate and self.use_sigmoid:
            pred = pred.sigmoid()
        if not self.batch:
            return dice_loss(pred, masks, self.naive_dice, self.eps)
        # A removed sample has the logit 0, which is no empty prediction.
        pred = (pred.flatten(1) * present.unsqueeze(-1)).reshape(1, -1)
        loss = dice_loss(pred, masks.reshape(1, -1), self.naive_dice, self.eps)
        return loss.expand(len(masks))

    def element_shape(self, pred: Tensor,
                      target: Tuple[Tensor, Tensor]) -> Sequence[int]:
        """(N,), after checking that there are masks."""
        check_same_shape(pred, target[0])
        if pred.ndim < 2:
            raise ValueError('pred must have the shape (N, *) with at least '
                             f'two axes, got {tuple(pred.shape)}')
        return pred.shape[:1]

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                *,
                target_weight: Tensor | None = None) -> Tensor:
        """Compute the loss, see :meth:`BaseLoss.forward`."""
        # What is 1 for each sample, and becomes 0 for one that is removed.
        present = torch.ones(target.shape[:1], device=target.device)
        return super().forward(
            pred, (target, present),
            weight,
            avg_factor,
            reduction_override,
            target_weight=target_weight)
