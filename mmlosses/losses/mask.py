"""Dice loss: the overlap of masks."""
from __future__ import annotations
from typing import Any, Sequence

from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import check_number, check_same_shape
from mmlosses.core.info import LossInfo, Paper
from mmlosses.registry import MODELS


def dice_loss(pred: Tensor,
              target: Tensor,
              naive_dice: bool = False,
              eps: float = 1e-3) -> Tensor:
    """One minus the Dice coefficient of each sample, see :class:`DiceLoss`."""
    pred, target = pred.flatten(1), target.flatten(1)
    overlap = (pred * target).sum(dim=1)
    if naive_dice:
        total = pred.sum(dim=1) + target.sum(dim=1)
        return 1 - (2 * overlap + eps) / (total + eps)
    size = (target * target).sum(dim=1)
    total = (pred * pred).sum(dim=1) + size + 2 * eps
    # mmdet's has none in the numerator, which hides what an empty mask costs.
    return 1 - (2 * overlap + 2 * eps * (size == 0)) / total


@MODELS.register_module()
class DiceLoss(BaseLoss):
    r"""Dice loss of masks, one value for each sample.

    .. math::
        L = \frac{1}{N} \sum_n w_n \left(1 - \frac{2 \sum_i p_{ni} t_{ni}}
        {\sum_i p_{ni}^2 + \sum_i t_{ni}^2 + 2 \epsilon}\right)

    with the probabilities p of the pixels of a sample and its mask t. For an
    empty mask, :math:`2 \epsilon` is added to the numerator too.
    ``naive_dice`` takes :math:`(2 \sum_i p_i t_i + \epsilon) /
    (\sum_i p_i + \sum_i t_i + \epsilon)` as the fraction.

    Args:
        use_sigmoid (bool): If False, pred holds probabilities. Default: True.
        activate (bool): If False, there is no sigmoid either. Default: True.
        naive_dice (bool): If True, the denominator holds the probabilities
            instead of their squares. With a soft mask, the minimum is then at
            a hard prediction instead of the mask itself. Default: False.
        eps (float): Added to the denominator and, for empty masks and
            ``naive_dice``, to the numerator, so that two empty masks have loss
            0. Default: 1e-3.
        batch (bool): If True, the sums run over the whole batch, so that small
            and empty masks count by their size. Each sample whose weight is
            not 0 takes part, and has the loss of the batch. Default: False.

    Shape:
        - pred, target: (N, \*) with two axes or more; a target of any dtype,
          in [0, 1].
        - weight: (N,).
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - For an empty mask, mmdet's default form and DBNet's are 1 for any
          prediction, with gradient 0: false positives are not penalised. Here
          ``eps`` is in the numerator of empty masks too. All others have the
          value and gradient of mmdet.
        - Sums over large masks in half precision do not overflow.
        - mmdet raises for ``use_sigmoid=False`` unless ``activate=False``.
        - ``avg_factor`` is the fourth argument, as in all other losses; mmdet
          has ``reduction_override`` there. Its heads pass both by name.
    """
    info = LossInfo(
        purpose='masks, also with a small foreground',
        slots='``loss_mask`` of SOLO, CondInst; ``loss_dice`` of Mask2Former',
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
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('eps', eps, least=0)
        self.use_sigmoid, self.activate = use_sigmoid, activate
        self.naive_dice, self.eps = naive_dice, eps
        self.batch = batch

    @property
    def takes_probabilities(self) -> bool:
        return not (self.activate and self.use_sigmoid)

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        self.check_range('target', inputs.target, inputs, 0, 1)

    def elementwise(self,
                    pred: Tensor,
                    target: Tensor,
                    kept: Tensor | None = None) -> Tensor:
        target = target.to(pred.dtype)
        if not self.takes_probabilities:
            pred = pred.sigmoid()
        settings = self.naive_dice, self.eps
        if kept is None:
            return dice_loss(pred, target, *settings)
        pred = (pred.flatten(1) * kept.unsqueeze(-1)).reshape(1, -1)
        return dice_loss(pred, target.reshape(1, -1),
                         *settings).expand(len(target))

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        check_same_shape(pred, target)
        if pred.ndim < 2:
            raise ValueError('pred must have the shape (N, *) with at least '
                             f'two axes, got {tuple(pred.shape)}')
        return pred.shape[:1]

    def prepare(self, pred: Tensor, *args: Any) -> Inputs:
        """Mark the kept samples: a masked logit is 0, no empty prediction."""
        inputs = super().prepare(pred, *args)
        if self.batch:
            inputs.extras = (pred.new_ones(pred.shape[:1]), )
        return inputs
