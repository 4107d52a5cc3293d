"""Binary cross entropy over the positives and the hardest negatives."""
from __future__ import annotations
import math
from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlosses.registry import MODELS
from .base import BaseLoss
from .labels import is_compiling
from .numeric import BITS
from .reduction import check_same_shape


def binary_cross_entropy(pred: Tensor,
                         target: Tensor,
                         use_sigmoid: bool = True) -> Tensor:
    r"""Binary cross entropy of each element.

    .. math::
        L = -t \log p - (1 - t) \log(1 - p)

    Args:
        pred (Tensor): Logits, or probabilities p without ``use_sigmoid``.
        target (Tensor): Labels t in [0, 1].
        use_sigmoid (bool): Whether p is the sigmoid of ``pred``. Otherwise
            ``pred`` is limited to [0, 1] and each logarithm to -100.

    Shape:
        - pred, target: (\*).
        - returns: (\*).

    Returns:
        Tensor: The loss of each element.
    """
    if use_sigmoid:
        return F.binary_cross_entropy_with_logits(
            pred, target, reduction='none')
    pred = pred.clamp(0, 1)
    loss = F.binary_cross_entropy(pred, target.detach(), reduction='none')
    if target.requires_grad:
        # torch's derivative of the target is infinite where p is 0 or 1.
        slope = log_from(-100, 1 - pred) - log_from(-100, pred)
        loss = loss + slope * (target - target.detach())
    return loss


def log_from(least: float, value: Tensor) -> Tensor:
    """The logarithm, or ``least`` where there is none that is finite."""
    tiny = torch.finfo(value.dtype).tiny
    log = value.clamp(min=tiny).log()
    return log.masked_fill(value < tiny, least)


# torch 2.0 cannot compile a look at the bits of a number.
COMPILES_BITS = hasattr(torch, 'compiler')


def sort_key(values: Tensor) -> Tensor:
    """Integers in the order of floating-point numbers, NaN the greatest.

    The bits of a positive number grow with it. Without its sign, -0 is 0 and
    one NaN is as great as the other.
    """
    if is_compiling() and not COMPILES_BITS:
        # Their ranks do too, without ties.
        order = values.sort(dim=1, stable=True, descending=True).indices
        ranks = torch.arange(values.shape[1], 0, -1, device=values.device)
        return torch.zeros_like(order).scatter(1, order,
                                               ranks.expand_as(order))
    size = values.abs().view(BITS[values.dtype])
    return torch.where(values < 0, -size, size)


def radix_select(keys: Sequence[Tensor],
                 number: Tensor) -> Tuple[Tensor, Tensor]:
    """Find the key at a place in descending order, without sorting.

    A histogram of the first digit of all keys tells the first digit of the
    one at that place. One of the second digit, of the keys that begin like
    it, tells the second, and so on.

    Args:
        keys (Sequence[Tensor]): The keys of each row, in blocks of columns.
        number (Tensor): How many of each row are selected, from 0 to all.

    Shape:
        - keys: (R, C) each, int32 or int64.
        - number: (R, 1), int64.
        - returns: (R, 1) each.

    Returns:
        tuple[Tensor, Tensor]: The smallest selected key of each row, and how
        many of those equal to it are selected.
    """
    columns = sum([key.shape[1] for key in keys])
    # No more bins than keys, so that a histogram is never what is large.
    digit = 16 if columns >= 2**16 else 8
    bins = 2**digit
    ones = number.new_ones((), dtype=torch.int32)
    # The keys with the digits found so far are from `low`, which is aligned.
    low = torch.full_like(number, -bins // 2)
    for shift in range(torch.iinfo(keys[0].dtype).bits - digit, -1, -digit):
        low = low.to(keys[0].dtype)
        count = number.new_zeros((len(number), bins + 2), dtype=torch.int32)
        for key in keys:
            # Others fall into a bin at either end, also where this overflows.
            place = ((key >> shift) - low).clamp(-1, bins) + 1
            count.scatter_add_(1, place.long(), ones.expand_as(place))
        count = count[:, 1:-1]
        from_here = count.flip(1).cumsum(1).flip(1)
        place = (from_here >= number).sum(dim=1, keepdim=True) - 1
        place = place.clamp(min=0)
        number = number + (count - from_here).gather(1, place)
        found = low + place.to(low.dtype)
        low = found << digit
    return found, number


# Keys of a block, and what is computed of them, stay in a processor's cache.
BLOCK = 2**17


def hardest(loss: Tensor, candidate: Tensor, number: Tensor) -> Tensor:
    """Choose in each row the candidates with the greatest losses.

    Among equal losses the first ones are chosen, so that there are never more
    than asked for.

    Args:
        loss (Tensor): How hard each element is.
        candidate (Tensor): Which elements can be chosen.
        number (Tensor): How many of each row are, at most.

    Shape:
        - loss, candidate: (R, C).
        - number: (R, 1).
        - returns: (R, C), bool.

    Returns:
        Tensor: Which elements are chosen.
    """
    rows, columns = loss.shape
    width = max(BLOCK // max(rows, 1), 1)
    if is_compiling() or loss.device.type != 'cpu':
        width = max(columns, 1)
    keys = []
    for values, within in zip(loss.split(width, 1), candidate.split(width, 1)):
        key = sort_key(values)
        # Smaller than any loss.
        keys.append(torch.where(within, key, torch.iinfo(key.dtype).min))
    smallest, left = radix_select(keys, number.clamp(max=columns).long())
    chosen = []
    for key in keys:
        tie = key == smallest
        rank = tie.cumsum(dim=1, dtype=torch.int32)
        chosen.append((key > smallest) | (tie & (rank <= left)))
        left = left - rank[:, -1:]
    return torch.cat(chosen, dim=1) & candidate


@MODELS.register_module(name=['BalancedBCELoss', 'BalanceCrossEntropyLoss'])
class BalancedBCELoss(BaseLoss):
    r"""Binary cross entropy with online hard negative mining.

    .. math::
        L = \frac{1}{|P| + |H|} \sum_{i \in P \cup H} w_i
        \left(-t_i \log p_i - (1 - t_i) \log(1 - p_i)\right),
        \qquad |H| = \min(|N|, \lfloor ratio \cdot |P| \rfloor)

    with the positives P, the negatives N and those of them with the greatest
    loss, H. One element is one number of the prediction: ``reduction='none'``
    gives its shape, with 0 for negatives that are not in H.

    Args:
        use_sigmoid (bool): Whether the predictions are logits; ``False`` if
            they are probabilities. Default: True.
        negative_ratio (float): Most negatives for each positive. DBNet uses
            3. Default: 3.0.
        fallback (str | int): What is kept where there is no positive:
            ``'all'`` negatives, ``'none'`` of them, or that many of the
            hardest. Default: ``'all'``.
        per_image (bool): Whether each sample of the first axis mines among
            its own negatives, with the number of its own positives, and not
            the whole batch. Default: False.
        pos_threshold (float): A target above is a positive, any other a
            negative. Default: 0.5.
        reduction (str): ``'mean'`` over the kept elements, ``'sum'`` of them
            or ``'none'``. Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.

    Shape:
        - pred: (\*), e.g. (N, 1, H, W).
        - target: the same, of any dtype, in [0, 1]; or labels (N,) of an
          integer dtype for a prediction (N, C), where C is the background.
          With one class, as in mmdet's RPN, 0 is the foreground.
        - weight: broadcast to the prediction after padding on the right. An
          element of weight 0 is never mined and not counted; another weight
          does not change what is hard.
        - returns: 0-dim, or the shape of the prediction for ``'none'``.

    Returns:
        Tensor: The loss, see :meth:`BaseLoss.forward`.

    Raises:
        ValueError: If an argument is out of range, or the shapes of
            prediction, target and weight do not fit.
        TypeError: If the prediction is not a floating-point tensor.

    Use:
        - For: masks and proposals, with hard negative mining.
        - Slots: ``loss_cls`` of mmdet's RPN; ``loss_obj`` of mmpose's
          YOLOX-Pose.

    Source:
        Minghui Liao, Zhaoyi Wan, Cong Yao, Kai Chen, Xiang Bai. Real-time
        Scene Text Detection with Differentiable Binarization. AAAI 2020,
        `arXiv:1911.08947 <https://arxiv.org/abs/1911.08947>`_. The mining:
        Abhinav Shrivastava, Abhinav Gupta, Ross Girshick. Training
        Region-based Object Detectors with Online Hard Example Mining. CVPR
        2016, `arXiv:1604.03540 <https://arxiv.org/abs/1604.03540>`_.

    Differs from upstream:
        - DBNet's code takes a target between 0 and 1 for neither positive nor
          negative, and divides by 1e-6 where there are only such: for 0.5
          everywhere its loss is 1.4e8.
        - It takes probabilities, so that a saturated sigmoid has no gradient.
        - It counts on the host, which waits for the device twice.
        - Without a positive its loss is 0, so that the image is ignored.
          ``fallback='none'`` does the same.

    Example:
        In a config that inherits mmdet's RPN, whose own sampler would leave
        nothing to mine:

        >>> model = dict(
        ...     rpn_head=dict(loss_cls=dict(
        ...         type='mmlosses.BalancedBCELoss', use_sigmoid=True)),
        ...     train_cfg=dict(rpn=dict(
        ...         sampler=dict(_delete_=True, type='PseudoSampler'))))

        >>> import torch
        >>> from mmengine.registry import MODELS
        >>> loss = MODELS.build(model['rpn_head']['loss_cls'])
        >>> logits = torch.tensor([[0.], [2.], [1.], [-1.], [-2.]])
        >>> labels = torch.tensor([0, 1, 1, 1, 1])
        >>> print('%.4f' % loss(logits, labels))
        1.1116
    """

    def __init__(self,
                 use_sigmoid: bool = True,
                 negative_ratio: float = 3.0,
                 fallback: str | int = 'all',
                 per_image: bool = False,
                 pos_threshold: float = 0.5,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if not 0 <= negative_ratio < math.inf:
            raise ValueError('negative_ratio must be a number from 0, got '
                             f'{negative_ratio!r}')
        if isinstance(fallback, int):
            most = float(fallback)
        else:
            most = {'all': math.inf, 'none': 0.0}.get(fallback, -1.0)
        if most < 0:
            raise ValueError("fallback must be 'all', 'none' or a number of "
                             f'negatives from 0, got {fallback!r}')
        self.use_sigmoid = use_sigmoid
        self.negative_ratio = negative_ratio
        self.fallback = fallback
        self.most_without_positive = most
        self.per_image = per_image
        self.pos_threshold = pos_threshold

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The cross entropy of each element, before the mining."""
        return binary_cross_entropy(pred, dense_target(target, pred),
                                    self.use_sigmoid)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """The shape of the prediction, after checking the target's."""
        if is_index(pred, target):
            if len(pred) != len(target):
                raise ValueError('pred and labels must be of the same number '
                                 f'of samples, got {len(pred)} and '
                                 f'{len(target)}')
        else:
            check_same_shape(pred, target)
        if self.per_image and pred.ndim < 2:
            raise ValueError('per_image needs a pred with at least two axes, '
                             f'got {tuple(pred.shape)}')
        return pred.shape

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """A sample's label is removed where all its elements are."""
        if elements.ndim > tensor.ndim:
            return elements.all(dim=1)
        return elements

    def weigh(self, loss: Tensor, weight: Tensor | None,
              target: Any) -> Tuple[Tensor, float | Tensor]:
        """Drop the easy negatives; the mean is over what is kept."""
        kept = self.mine(loss.detach(), weight, dense_target(target, loss))
        if weight is not None:
            loss = loss * weight
        loss = loss.masked_fill(~kept, 0)
        # In int64, which is the default, it takes twenty times as long.
        return loss, kept.sum(dtype=torch.int32).clamp(min=1)

    def mine(self, loss: Tensor, weight: Tensor | None,
             target: Tensor) -> Tensor:
        """Choose the positives and the hardest negatives."""
        positive = target > self.pos_threshold
        negative = ~positive
        if weight is not None:
            positive = positive & (weight != 0)
            negative = negative & (weight != 0)
        loss, pos, neg = [
            x.flatten(1) if self.per_image else x.reshape(1, -1)
            for x in (loss, positive, negative)
        ]
        number = pos.sum(dim=1, keepdim=True, dtype=torch.int32)
        # In double precision, as Python counts.
        most = torch.floor(self.negative_ratio * number.double())
        most = most.masked_fill(number == 0, self.most_without_positive)
        return positive | hardest(loss, neg, most).reshape(positive.shape)


def is_index(pred: Tensor, target: Tensor) -> bool:
    """Whether a target holds labels, one for each row of a prediction."""
    return (pred.ndim == 2 and target.ndim == 1
            and not target.is_floating_point() and target.dtype != torch.bool)


def dense_target(target: Tensor, pred: Tensor) -> Tensor:
    """The target of each element; a label has 1 in its column."""
    if is_index(pred, target):
        columns = torch.arange(pred.shape[1], device=target.device)
        target = target.unsqueeze(1) == columns
    return target.to(pred.dtype)
