"""Pull and push of embeddings, which group the corners of an object."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments
from mmlosses.core.checks import check_floating, check_numbers
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.terms import TermsLoss
from mmlosses.registry import MODELS

# For each image, for each object: ((top, left), (bottom, right)).
Match = Sequence[Sequence[Sequence[Sequence[int]]]]


def associative_embedding_loss(tag0: Tensor,
                               tag1: Tensor,
                               mask: Tensor,
                               margin: float = 1.0,
                               eps: float = 0.0) -> Tuple[Tensor, Tensor]:
    """Return pull and push of each image, (B,) each.

    Without an object the pull is 0, with fewer than two the push. The tags are
    (B, N, E), the bool ``mask`` (B, N); ``eps`` is added to N in the pull.
    """
    padding = ~mask.unsqueeze(-1)
    tag0, tag1 = tag0.masked_fill(padding, 0), tag1.masked_fill(padding, 0)
    number = mask.sum(dim=1).to(tag0.dtype)
    centre = (tag0 + tag1) / 2
    pull = ((tag0 - centre)**2 + (tag1 - centre)**2).sum(dim=(1, 2))
    pull = pull / (number.clamp(min=1) + eps)

    distance = (centre.unsqueeze(1) - centre.unsqueeze(2)).abs().sum(dim=-1)
    same = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    pair = mask.unsqueeze(1) & mask.unsqueeze(2) & ~same
    push = F.relu(margin - distance).masked_fill(~pair, 0).sum(dim=(1, 2))
    return pull, push / (number * (number - 1)).clamp(min=1)


def check_tags(tag0: Tensor, tag1: Tensor, mask: Tensor) -> None:
    """Raise unless tags and mask have the same objects."""
    if not isinstance(mask, Tensor):
        raise TypeError('mask must be a tensor, got ' + type(mask).__name__)
    if mask.is_floating_point():
        raise TypeError(
            f'mask must have a bool or integer dtype, got {mask.dtype}')
    if (tag0.ndim != 3 or tag0.shape != tag1.shape
            or tag0.shape[:2] != mask.shape):
        raise ValueError(
            'the tags must have the shape (B, N, E) both and the mask '
            f'(B, N), got {tuple(tag0.shape)}, {tuple(tag1.shape)} and '
            f'{tuple(mask.shape)}')


def gather_tags(tag0: Tensor, tag1: Tensor,
                match: Match) -> Tuple[Tensor, Tensor, Tensor]:
    """Gather the tags of each object from two maps (B, E, H, W).

    ``match`` is that of :class:`AssociativeEmbeddingLoss`. Returns tags
    (B, N, E) twice and a bool mask (B, N), False for padding, with N the
    largest number of objects of an image.
    """
    if tag0.ndim != 4 or tag0.shape != tag1.shape:
        raise ValueError(
            'maps of tags must have the same shape (B, E, H, W), got '
            f'{tuple(tag0.shape)} and {tuple(tag1.shape)}')
    if not isinstance(match, (list, tuple)):
        raise TypeError('match must be a list for each image, or a mask (B, '
                        f'N) of gathered tags, got {type(match).__name__}')
    if len(match) != len(tag0):
        raise ValueError(f'match must have one list for each of {len(tag0)} '
                         f'images, got {len(match)}')
    height, width = tag0.shape[2:]
    most = max([len(objects) for objects in match], default=0)
    positions, mask = [], []
    for objects in match:
        rows = [[[int(y), int(x)] for y, x in corners] for corners in objects]
        for corners in rows:
            inside = [0 <= y < height and 0 <= x < width for y, x in corners]
            if len(corners) != 2 or not all(inside):
                raise ValueError(
                    'match must hold [[y, x], [y, x]] on maps of '
                    f'{height} x {width} for each object, got {corners}')
        padding = most - len(rows)
        positions.append([[y0 * width + x0, y1 * width + x1]
                          for (y0, x0), (y1, x1) in rows] + [[0, 0]] * padding)
        mask.append([True] * len(rows) + [False] * padding)
    device, size = tag0.device, (len(tag0), most)
    index = torch.tensor(positions, dtype=torch.long, device=device)
    one, other = index.reshape(*size, 2).unbind(-1)
    images = torch.arange(len(tag0), device=device).unsqueeze(1)
    # Unlike gather, indexing does not keep the maps for the backward pass.
    return (tag0.flatten(2)[images, :, one], tag1.flatten(2)[images, :, other],
            torch.tensor(mask, dtype=torch.bool, device=device).reshape(size))


@MODELS.register_module()
class AssociativeEmbeddingLoss(TermsLoss):
    r"""Associative embedding of corners: a pull and a push.

    .. math::
        pull = \alpha \sum_{images} \frac{1}{N} \sum_k
        \|a_k - m_k\|_2^2 + \|b_k - m_k\|_2^2, \qquad
        push = \beta \sum_{images} \frac{1}{N (N - 1)} \sum_{j \neq k}
        \max(0, margin - \|m_j - m_k\|_1)

    with N objects in an image, the tags a and b of the corners of each and
    their mean m. Each element is one image.

    Args:
        pull_weight (float): Factor :math:`\alpha`, in CornerNet's paper 0.1.
            Default: 0.25.
        push_weight (float): Factor :math:`\beta`, there 0.1. Default: 0.25.
        margin (float): Distance, in units of the tags, at which two objects no
            longer repel. The paper uses 1. Default: 1.0.

    Shape:
        - tag0, tag1: maps (B, E, H, W), or tags (B, N, E) of N objects.
        - match: for maps a list, one for each image, of
          ``[[y0, x0], [y1, x1]]`` for each object; for tags a mask (B, N),
          bool or integer, that is 0 for padding.
        - weight: (B,).
        - returns: weighted pull and push, each 0-dim, or (B,) for ``'none'``.

    Differs from upstream:
        - Tags of several channels are one vector each, compared by L1
          distance. mmdet treats each channel as an object of its own.
        - mmdet loops over images and objects, here Python only reads the list.
        - mmpose has a different loss of this name, with another call and a
          push of :math:`\exp(-d^2)`. This one is mmdet's.
    """
    info = LossInfo(
        purpose='grouping corners by their embeddings',
        slots="``loss_embedding`` of mmdet's CornerNet",
        expects='tags',
        paper=Paper(
            'Alejandro Newell, Zhiao Huang, Jia Deng',
            'Associative Embedding: End-to-End Learning for Joint Detection '
            'and Grouping', 'NIPS', 2017, '1611.05424'),
        source='The form for corners: Hei Law, Jia Deng. CornerNet: '
        'Detecting Objects as Paired Keypoints. ECCV 2018, '
        '`arXiv:1808.01244 <https://arxiv.org/abs/1808.01244>`_, '
        'equations 4 and 5.')

    def __init__(self,
                 pull_weight: float = 0.25,
                 push_weight: float = 0.25,
                 margin: float = 1.0,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(
                pull_weight=pull_weight,
                push_weight=push_weight,
                margin=margin),
            least=0)
        self.pull_weight, self.push_weight = pull_weight, push_weight
        self.margin = margin

    def elementwise(self, pred: Tuple[Tensor, Tensor],
                    target: Tensor) -> Tensor:
        pull, push = associative_embedding_loss(*pred, target.bool(),
                                                self.margin)
        return torch.stack([self.pull_weight * pull, self.push_weight * push],
                           dim=-1)

    def element_shape(self, pred: Tuple[Tensor, Tensor],
                      target: Tensor) -> Sequence[int]:
        check_tags(*pred, target)
        return len(target), 2

    def forward(self, pred: Tensor, target: Tensor, match: Match | Tensor,
                *args: Any, **kwargs: Any) -> Tuple[Tensor, Tensor]:
        """Return pull and push of two tensors of tags, see Shape."""
        check_floating('tags', (pred, target))
        if not isinstance(match, Tensor):
            pred, target, match = gather_tags(pred, target, match)
        terms = super().forward((pred, target), match, *args, **kwargs)
        pull, push = terms.unbind(-1)
        return pull, push
