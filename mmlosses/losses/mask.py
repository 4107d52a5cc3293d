"""Dice loss: the overlap of masks."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_ignored, check_label_range,
                                  check_number, check_same_shape, is_nothing)
from mmlosses.core.classification import foreground_first, is_label
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.masking import zeroed
from mmlosses.core.label_maps import mark_labels
from mmlosses.core.tensors import pad_right
from mmlosses.registry import MODELS


def dice_loss(pred: Tensor,
              target: Tensor,
              naive_dice: bool = False,
              eps: float = 1e-3) -> Tensor:
    """One minus the Dice coefficient of each sample, see :class:`DiceLoss`."""
    sums = mask_sums(pred, target, naive_dice)
    return dice_of_sums(*sums, naive_dice, eps)


def mask_sums(pred: Tensor, target: Tensor,
              naive_dice: bool) -> Tuple[Tensor, Tensor, Tensor]:
    """Return the overlap and both sizes of the masks of each sample."""
    pred, target = pred.flatten(1), target.flatten(1)
    # First: the backward pass takes the opposite order, and less memory.
    overlap = (pred * target).sum(dim=1)
    size, target_size = [(x if naive_dice else x * x).sum(dim=1)
                         for x in (pred, target)]
    return overlap, size, target_size


def label_sums(prob: Tensor, labels: Tensor, kept: Tensor,
               classes: Tensor | None,
               naive_dice: bool) -> Tuple[Tensor, Tensor, Tensor]:
    r"""Return the same of labels (N, \*), without a mask of each class.

    Args:
        prob (Tensor): Probabilities (N, C, \*).
        labels (Tensor): Labels, C is the background.
        kept (Tensor): 1 for the pixels that count (N, \*), 0 for others.
        classes (Tensor, optional): The same for the classes (N, C, \*).
    """
    background = prob.shape[1]
    labels, kept = labels.unsqueeze(1), kept.unsqueeze(1)
    if classes is not None:
        prob = prob * classes
    own = prob.gather(1, labels.clamp(max=background - 1))
    objects = kept * (labels < background)
    size = (prob if naive_dice else prob * prob).sum(dim=1, keepdim=True)
    overlap, size, number = [
        x.flatten(1).sum(dim=1) for x in (own * objects, size * kept, objects)
    ]
    return overlap, size, number


def dice_of_sums(overlap: Tensor, size: Tensor, target_size: Tensor,
                 naive_dice: bool, eps: float) -> Tensor:
    """Return the Dice loss from its sums."""
    total = size + target_size
    if naive_dice:
        return 1 - (2 * overlap + eps) / (total + eps)
    # mmdet's has none in the numerator, which hides what an empty mask costs.
    empty = target_size == 0
    return 1 - (2 * overlap + 2 * eps * empty) / (total + 2 * eps)


@MODELS.register_module()
class DiceLoss(BaseLoss):
    r"""Dice loss of masks, one value for each sample.

    .. math::
        L = \frac{1}{N} \sum_n w_n \left(1 - \frac{2 \sum_i p_{ni} t_{ni}}
        {\sum_i p_{ni}^2 + \sum_i t_{ni}^2 + 2 \epsilon}\right)

    with the probabilities p of the pixels of a sample and its mask t. For an
    empty mask, :math:`2 \epsilon` is added to the numerator too.
    ``naive_dice`` takes :math:`(2 \sum_i p_i t_i + \epsilon) /
    (\sum_i p_i + \sum_i t_i + \epsilon)` as the fraction. Labels are a mask
    for each class; the sums run over all classes of a sample, as in mmseg.

    Args:
        use_sigmoid (bool): If False, the classes of labels compete in a
            softmax, and beside a mask pred holds probabilities. Default: True.
        activate (bool): If False, pred holds probabilities. Default: True.
        naive_dice (bool): If True, the denominator holds the probabilities
            instead of their squares. With a soft mask, the minimum is then at
            a hard prediction instead of the mask itself. Default: False.
        eps (float): Added to the denominator and, for empty masks and
            ``naive_dice``, to the numerator, so that two empty masks have loss
            0. Default: 1e-3.
        batch (bool): If True, the sums run over the whole batch, so that small
            and empty masks count by their size. Each sample whose weight is
            not 0 takes part, and has the loss of the batch. Default: False.
        ignore_index (int, optional): Label to ignore, as the ``ignore_index=``
            of a call: its pixels are in no sum, and neither is the class of
            that number. Only labels have one. Default: 255.

    Shape:
        - pred, target: (N, \*) with two axes or more; a target of any dtype,
          in [0, 1]. Or integer labels (N, \*) for a pred (N, C, \*), where C
          is the background; for a single channel, 1 is the foreground.
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - For an empty mask, mmdet's default form and DBNet's are 1 for any
          prediction, with gradient 0: false positives are not penalised. Here
          ``eps`` is in the numerator of empty masks too. All others have the
          value and gradient of mmdet.
        - Sums over large masks in half precision do not overflow.
        - mmseg counts the predictions of ignored pixels, takes negative labels
          for class 0, and with a single channel label 0 for the foreground.
          Its ``ignore_index`` drops a class, and ignores no pixel.
        - mmdet raises for ``use_sigmoid=False`` unless ``activate=False``.
        - ``avg_factor`` is the fourth argument, as in all other losses; mmdet
          has ``reduction_override`` there. Its heads pass both by name.
    """
    info = LossInfo(
        purpose='masks, also with a small foreground',
        slots='``loss_mask`` of SOLO, CondInst; ``loss_dice`` of Mask2Former; '
        "``loss_decode`` of mmseg's heads",
        expects='probabilities',
        paper=Paper(
            'Fausto Milletari, Nassir Navab, Seyed-Ahmad Ahmadi',
            'V-Net: Fully Convolutional Neural Networks for Volumetric '
            'Medical Image Segmentation', '3DV', 2016, '1606.04797'),
        source="DBNet's code uses ``naive_dice=True, batch=True, "
        'activate=False, eps=1e-6``.')

    def __init__(self,
                 use_sigmoid: bool = True,
                 activate: bool = True,
                 naive_dice: bool = False,
                 eps: float = 1e-3,
                 batch: bool = False,
                 ignore_index: int | None = 255,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('eps', eps, least=0)
        check_ignored('ignore_index', ignore_index)
        self.use_sigmoid, self.activate = use_sigmoid, activate
        self.naive_dice, self.eps = naive_dice, eps
        self.batch, self.ignore_index = batch, ignore_index

    @property
    def takes_probabilities(self) -> bool:
        return not (self.activate and self.use_sigmoid)

    def check_values(self, inputs: Inputs) -> None:
        if inputs.target.ndim < inputs.pred.ndim:
            check_label_range(inputs.target, inputs.pred.shape[1] + 1,
                              'target')
            if self.activate:
                return
        else:
            self.check_range('target', inputs.target, inputs, 0, 1)
        super().check_values(inputs)

    def activated(self, pred: Tensor, labelled: bool) -> Tensor:
        """Return the probabilities."""
        if not self.takes_probabilities:
            return pred.sigmoid()
        softmax = labelled and self.activate and pred.shape[1] > 1
        return pred.softmax(dim=1) if softmax else pred

    def elementwise(self,
                    pred: Tensor,
                    target: Tensor,
                    kept: Tensor | None = None,
                    classes: Tensor | None = None) -> Tensor:
        if target.ndim < pred.ndim:
            assert kept is not None
            sums = label_sums(
                self.activated(pred, True), target, kept, classes,
                self.naive_dice)
        else:
            prob, target = self.activated(pred, False), target.to(pred.dtype)
            if kept is not None:
                prob, target = prob * kept, target * kept
            sums = mask_sums(prob, target, self.naive_dice)
        if self.batch:
            overlap, size, target_size = [each.sum() for each in sums]
            sums = overlap, size, target_size
        loss = dice_of_sums(*sums, self.naive_dice, self.eps)
        return loss.expand(len(target))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if pred.ndim < 2:
            raise ValueError('pred must have the shape (N, *) with at least '
                             f'two axes, got {tuple(pred.shape)}')
        if not is_label(pred, target):
            check_same_shape(pred, target)
        return pred.shape[:1]

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                ignore_index: int | None = None) -> Inputs:
        """Mark what is kept: a masked logit is 0, no empty prediction."""
        inputs = super().prepare(pred, target, *args)
        if is_label(pred, target):
            self.ignore(inputs, ignore_index)
        elif self.batch:
            ones = pred.new_ones(pred.shape[:1])
            inputs.extras = (pad_right(ones, pred.ndim), )
        return inputs

    def ignore(self, inputs: Inputs, at_call: int | None) -> None:
        """Mark the pixels and classes that count, and zero the others."""
        pred, labels = inputs.pred, inputs.target.long()
        to_ignore, number = (self.ignore_index, at_call), pred.shape[1]
        ignored = mark_labels(labels, to_ignore)
        labels = foreground_first(pred, labels)
        if not is_nothing(ignored):
            labels = labels.masked_fill(ignored, 0)
            inputs.pred = zeroed(pred, ignored.unsqueeze(1))
        inputs.target = labels
        inputs.extras = ((~ignored).to(pred.dtype), )
        left_out = [x for x in to_ignore if x is not None and 0 <= x < number]
        if left_out and number > 1:
            classes = ~mark_labels(
                torch.arange(number, device=pred.device), left_out)
            inputs.extras += (pad_right(
                classes.to(pred.dtype).unsqueeze(0), pred.ndim), )
