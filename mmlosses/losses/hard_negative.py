"""Binary cross entropy over the positives and the hardest negatives."""
from __future__ import annotations
import math
from typing import Any, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_label_range, check_number,
                                  check_same_shape, is_between)
from mmlosses.core.classification import foreground_first, is_label
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.kernels.top_k import hardest
from mmlosses.core.numeric import bounded_probability
from mmlosses.core.tensors import autocast_off, one_hot, upcast
from mmlosses.registry import MODELS


def binary_cross_entropy(pred: Tensor,
                         target: Tensor,
                         use_sigmoid: bool = True) -> Tensor:
    r"""Binary cross entropy :math:`-t \log p - (1 - t) \log(1 - p)`.

    With ``use_sigmoid``, p is the sigmoid of ``pred``; without, ``pred`` is
    clamped to [0, 1], with no gradient there and beyond, and each logarithm to
    -100. Targets t are in [0, 1].
    """
    if use_sigmoid:
        return F.binary_cross_entropy_with_logits(
            pred, target, reduction='none')
    if is_between(pred, 0, 1) and not target.requires_grad:
        return F.binary_cross_entropy(pred, target, reduction='none')
    # At 0 and 1 torch's gradient is 1e12, infinite in half precision.
    pred = bounded_probability(pred)
    # torch raises for NaN, on a GPU by an assertion that ends the process.
    loss = 0 * pred.detach() + F.binary_cross_entropy(
        pred.nan_to_num(), target.detach(), reduction='none')
    if target.requires_grad:
        # torch's gradient of the target is infinite where p is 0 or 1.
        slope = log_from(-100, 1 - pred) - log_from(-100, pred)
        loss = loss + slope * (target - target.detach())
    return loss


def log_from(least: float, value: Tensor) -> Tensor:
    """Return the logarithm, or ``least`` where it is not finite."""
    tiny = torch.finfo(value.dtype).tiny
    return value.clamp(min=tiny).log().masked_fill(value < tiny, least)


@MODELS.register_module(name=['BalancedBCELoss', 'BalanceCrossEntropyLoss'])
class BalancedBCELoss(BaseLoss):
    r"""Binary cross entropy with online hard negative mining.

    .. math::
        L = \frac{1}{|P| + |H|} \sum_{i \in P \cup H} w_i
        \left(-t_i \log p_i - (1 - t_i) \log(1 - p_i)\right),
        \qquad |H| = \min(|N|, \lfloor ratio \cdot |P| \rfloor)

    with the positives P, the negatives N and H, those of them of highest loss.
    ``reduction='none'`` gives 0 for negatives outside H.

    Args:
        use_sigmoid (bool): If False, pred holds probabilities. Default: True.
        negative_ratio (float): Maximum number of negatives per positive; DBNet
            uses 3. Default: 3.0.
        fallback (str | int): Negatives to keep where there is no positive:
            ``'all'``, ``'none'``, or that many of the hardest.
            Default: ``'all'``.
        per_image (bool): If True, each sample of the first axis mines by the
            number of its own positives. Default: False.
        pos_threshold (float): A target above is a positive, any other a
            negative. Default: 0.5.
        eps (float): Added to the number of kept elements, as DBNet's
            ``BalanceCrossEntropyLoss(negative_ratio=3.0, eps=1e-6)`` does.
            That takes probabilities: above 0, ``use_sigmoid`` is False unless
            it is given. Default: 0.0.

    Shape:
        - pred: (\*), e.g. (N, 1, H, W).
        - target: the same, of any dtype, in [0, 1]; or integer labels (N, \*)
          for a prediction (N, C, \*), where C is the background. With one
          class, 0 is the foreground of a matrix (N, 1), as in mmdet's RPN, and
          1 that of a map, as in mmseg. ``ignore_index=`` of a call is a label
          that is neither mined nor counted.
        - weight: as pred, or without trailing axes. An element of weight 0 is
          neither mined nor counted; other weights do not change the mining.
        - returns: 0-dim, or the shape of pred for ``'none'``; with
          ``return_origin=True`` in the call, as DBNet's, also the loss of each
          element before the mining.

    Differs from upstream:
        - In DBNet's code a target between 0 and 1 is neither positive nor
          negative; with only such targets it divides by 1e-6: for 0.5
          everywhere its loss is 1.4e8.
        - It takes probabilities, so that a saturated sigmoid has no gradient.
        - It counts on the host, which synchronises twice.
        - Without a positive its loss is 0, as with ``fallback='none'``.
    """
    info = LossInfo(
        purpose='masks and proposals, with hard negative mining',
        slots="``loss_cls`` of mmdet's RPN; mmpose's YOLOX-Pose",
        expects='probabilities',
        search=dict(negative_ratio=(1.0, 10.0)),
        paper=Paper(
            'Minghui Liao, Zhaoyi Wan, Cong Yao, Kai Chen, Xiang Bai',
            'Real-time Scene Text Detection with Differentiable Binarization',
            'AAAI', 2020, '1911.08947'),
        source='The mining: Abhinav Shrivastava, Abhinav Gupta, Ross '
        'Girshick. Training Region-based Object Detectors with Online '
        'Hard Example Mining. CVPR 2016, `arXiv:1604.03540 '
        '<https://arxiv.org/abs/1604.03540>`_.')
    published = {'eps': 'probabilities: ``use_sigmoid=False``'}

    def __init__(self,
                 use_sigmoid: bool = True,
                 negative_ratio: float = 3.0,
                 fallback: str | int = 'all',
                 per_image: bool = False,
                 pos_threshold: float = 0.5,
                 eps: float = 0.0,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('negative_ratio', negative_ratio, least=0)
        check_number('pos_threshold', pos_threshold)
        check_number('eps', eps, least=0)
        if isinstance(fallback, int):
            most = float(fallback)
        else:
            most = {'all': math.inf, 'none': 0.0}.get(fallback, -1.0)
        if most < 0:
            raise ValueError("fallback must be 'all', 'none' or a number of "
                             f'negatives from 0, got {fallback!r}')
        self.use_sigmoid, self.negative_ratio = use_sigmoid, negative_ratio
        self.fallback = fallback
        self.most_without_positive = most
        self.per_image, self.pos_threshold = per_image, pos_threshold
        self.eps = eps

    @classmethod
    def own_arguments(cls, args: Any, kwargs: Any) -> Any:
        """With ``eps``, which only DBNet's code has, take probabilities."""
        if kwargs.get('eps') and not args:
            kwargs.setdefault('use_sigmoid', False)
        return super().own_arguments(args, kwargs)

    def forward(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                return_origin: bool = False,
                **kwargs: Any) -> Any:
        """Compute the loss; ``return_origin`` adds it for each element."""
        loss = super().forward(pred, target, *args, **kwargs)
        if not return_origin:
            return loss
        with autocast_off(pred.device.type):
            return loss, self.elementwise(upcast(pred), target)

    @property
    def takes_probabilities(self) -> bool:
        return not self.use_sigmoid

    def check_values(self, inputs: Inputs) -> None:
        super().check_values(inputs)
        pred, target = inputs.pred, inputs.target
        if target.ndim < pred.ndim:
            check_label_range(target, pred.shape[1] + 1, 'target')
        else:
            self.check_range('target', target, inputs, 0, 1)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy(pred, dense_target(target, pred),
                                    self.use_sigmoid)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if not is_label(pred, target):
            if is_index(pred, target):
                raise ValueError(
                    'pred and labels must be of the same number of samples, '
                    f'got {len(pred)} and {len(target)}')
            check_same_shape(pred, target)
        if self.per_image and pred.ndim < 2:
            raise ValueError('per_image needs a pred with at least two axes, '
                             f'got {tuple(pred.shape)}')
        return pred.shape

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                *args: Any,
                ignore_index: int | None = None) -> Inputs:
        """Also remove the elements of ``ignore_index``."""
        labelled = is_label(pred, target)
        if (labelled and isinstance(weight, Tensor) and pred.ndim > 2
                and weight.shape == target.shape):
            weight = weight.unsqueeze(1)
        inputs = super().prepare(pred, target, weight, *args)
        if labelled:
            inputs.target = foreground_first(pred, target.long())
        if ignore_index is not None:
            ignored = target == ignore_index
            inputs.remove(
                (ignored.unsqueeze(1) if labelled else ignored).expand(
                    pred.shape))
        return inputs

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """A label is removed if all elements of its sample are."""
        return elements.all(dim=1) if elements.ndim > tensor.ndim else elements

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Drop the easy negatives; the mean is over the kept elements."""
        kept = self.mine(loss.detach(), inputs.removed,
                         dense_target(inputs.target, loss))
        # In int64, the default, the sum takes twenty times as long.
        number = kept.sum(dtype=torch.int32).clamp(min=1)
        if self.eps:
            number = number.to(loss.dtype) + self.eps
        inputs.denominator = number
        return super().weigh(loss, inputs).masked_fill(~kept, 0)

    def mine(self, loss: Tensor, removed: Tensor | None,
             target: Tensor) -> Tensor:
        """Return a mask of the positives and the hardest negatives."""
        positive = target > self.pos_threshold
        negative = ~positive
        if removed is not None:
            positive, negative = positive & ~removed, negative & ~removed
        loss, pos, neg = [
            x.flatten(1) if self.per_image else x.reshape(1, -1)
            for x in (loss, positive, negative)
        ]
        number = pos.sum(dim=1, keepdim=True, dtype=torch.int32)
        # In double precision, as Python counts.
        most = torch.floor(self.negative_ratio * number.double())
        most = most.masked_fill(number == 0, self.most_without_positive)
        return positive | hardest(loss, neg, most).reshape(positive.shape)


BalanceCrossEntropyLoss = BalancedBCELoss


def is_index(pred: Tensor, target: Tensor) -> bool:
    """Return True if a target holds one label for each row of ``pred``."""
    return (pred.ndim == 2 and target.ndim == 1
            and not target.is_floating_point() and target.dtype != torch.bool)


def dense_target(target: Tensor, pred: Tensor) -> Tensor:
    """Return a target for each element: labels become one-hot."""
    if target.ndim < pred.ndim:
        target = one_hot(target, pred.shape[1])
    return target.to(pred.dtype)
