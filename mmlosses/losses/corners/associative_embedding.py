"""Pull and push of embeddings, which group the corners of an object."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from typing_extensions import Unpack

from mmlosses.core.base import CommonArguments
from mmlosses.core.checks import check_floating, check_index, check_numbers
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.terms import TermsLoss
from mmlosses.registry import MODELS

# For each image, for each object: ((top, left), (bottom, right)).
Match = Sequence[Sequence[Sequence[Sequence[int]]]]

# mmpose adds it to the numbers of people and of pairs.
EPS = 1e-6


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


def keypoint_embedding_loss(tags: Tensor,
                            visible: Tensor) -> Tuple[Tensor, Tensor]:
    r"""Return pull and push of the keypoints of each image, (B,) each.

    .. math::
        pull = \frac{1}{N} \sum_n \frac{1}{K_n L} \sum_k
        \|h_{nk} - m_n\|_2^2, \qquad
        push = \frac{1}{N (N - 1)} \sum_{n, n'} \sum_l
        e^{-(m_{nl} - m_{n'l})^2}

    with the tags h (B, N, K, L) of :math:`K_n` ``visible`` (B, N, K) keypoints
    of each person and their mean m. People without a visible keypoint do not
    count. Without a person the pull is 0, with fewer than two the push.
    """
    visible = visible.unsqueeze(-1)
    tags = tags.masked_fill(~visible, 0)
    number = visible.sum(dim=2).clamp(min=1).to(tags.dtype)
    mean = tags.sum(dim=2) / number
    spread = (tags - mean.unsqueeze(2)).masked_fill(~visible, 0).square()
    pull = (spread.sum(dim=2) / number).mean(dim=-1).sum(dim=1)

    there = visible.any(dim=2)
    pair = there.unsqueeze(1) & there.unsqueeze(2)
    near = (-(mean.unsqueeze(1) - mean.unsqueeze(2)).square()).exp()
    people = there.sum(dim=(1, 2)).to(tags.dtype)
    pairs = people * (people - 1)
    push = near.masked_fill(~pair, 0).sum(dim=(1, 2, 3)) / (pairs + EPS)
    return pull / (people + EPS), push.masked_fill(pairs == 0, 0)


def gather_keypoints(tags: Tensor, indices: Any) -> Tuple[Tensor, Tensor]:
    """Gather the tags of each keypoint from maps (B, L * K, H, W).

    ``indices`` are those of :class:`AssociativeEmbeddingLoss`. Returns tags
    (B, N, K, L) and a bool mask (B, N, K), False for padding, with N the
    largest number of people of an image.
    """
    if isinstance(indices, (list, tuple)) and len(indices) > 0:
        indices = pad_sequence(list(indices), batch_first=True)
    check_index(indices, 'keypoint_indices')
    if (indices.ndim != 4 or indices.shape[-1] != 2 or tags.ndim != 4
            or len(indices) != len(tags) or indices.shape[2] == 0
            or tags.shape[1] % indices.shape[2]):
        raise ValueError(
            'tags must have the shape (B, L * K, H, W) and keypoint_indices '
            f'(B, N, K, 2), got {tuple(tags.shape)} and '
            f'{tuple(indices.shape)}')
    keypoints = indices.shape[2]
    maps = tags.flatten(2).unflatten(1,
                                     (tags.shape[1] // keypoints, keypoints))
    images, kinds = [
        torch.arange(size, device=tags.device)
        for size in (len(tags), keypoints)
    ]
    place, visible = indices.unbind(-1)
    visible = visible != 0
    # What is not visible may have any place.
    place = place.masked_fill(~visible, 0).long()
    return maps[images[:, None, None], :, kinds, place], visible


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

    The losses of this name in mmdet and mmpose differ. The call selects the
    formula: that of corners above for two maps and a match, as from mmdet's
    CornerNet, and for one map with ``keypoint_indices``, as from mmpose's
    ``AssociativeEmbeddingHead``, that of keypoints in
    :func:`keypoint_embedding_loss`, without ``pull_weight``, ``push_weight``
    and ``margin``.

    Args:
        pull_weight (float): Factor :math:`\alpha`, in CornerNet's paper 0.1.
            Default: 0.25.
        push_weight (float): Factor :math:`\beta`, there 0.1. Default: 0.25.
        margin (float): Distance, in units of the tags, at which two objects no
            longer repel. The paper uses 1. Default: 1.0.
        push_loss_factor (float): Factor of the push of keypoints; of no effect
            for corners. Default: 0.5.

    Shape:
        - tag0, tag1: maps (B, E, H, W), or tags (B, N, E) of N objects.
        - match: for maps a list, one for each image, of
          ``[[y0, x0], [y1, x1]]`` for each object; for tags a mask (B, N),
          bool or integer, that is 0 for padding.
        - tags: maps (B, L * K, H, W), with L channels for each of K keypoints:
          channel l * K + k is of keypoint k.
        - keypoint_indices: integers (B, N, K, 2), or a list of (N_i, K, 2) for
          each image, of the place y * W + x of a keypoint and its visibility.
        - weight: (B,).
        - returns: weighted pull and push, each 0-dim, or (B,) for ``'none'``.

    Differs from upstream:
        - Tags of several channels are one vector each, compared by L1
          distance. mmdet treats each channel as an object of its own.
        - mmdet loops over images and objects, here Python only reads the list.
        - mmpose's push of keypoints also counts each person with itself, as
          the paper's does. That adds a constant, L / (N - 1), and no gradient;
          it is kept, so that values are those of mmpose.
        - mmpose loops over images, people and keypoints, and synchronises with
          the host for each keypoint. With one person or none, its push has no
          graph.
    """
    info = LossInfo(
        purpose='grouping corners by their embeddings',
        slots="``loss_embedding`` of mmdet's CornerNet; ``tag_loss`` of "
        "mmpose's ``AssociativeEmbeddingHead``",
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
                 push_loss_factor: float = 0.5,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_numbers(
            dict(
                pull_weight=pull_weight,
                push_weight=push_weight,
                margin=margin,
                push_loss_factor=push_loss_factor),
            least=0)
        self.pull_weight, self.push_weight = pull_weight, push_weight
        self.margin, self.push_loss_factor = margin, push_loss_factor

    def elementwise(self, pred: Tuple[Tensor, Tensor] | Tensor,
                    target: Tensor) -> Tensor:
        if isinstance(pred, Tensor):
            pull, push = keypoint_embedding_loss(pred, target.bool())
            return torch.stack([pull, self.push_loss_factor * push], dim=-1)
        pull, push = associative_embedding_loss(*pred, target.bool(),
                                                self.margin)
        return torch.stack([self.pull_weight * pull, self.push_weight * push],
                           dim=-1)

    def element_shape(self, pred: Tuple[Tensor, Tensor] | Tensor,
                      target: Tensor) -> Sequence[int]:
        if not isinstance(pred, Tensor):
            check_tags(*pred, target)
        return len(target), 2

    def forward(self,
                pred: Any = None,
                target: Any = None,
                match: Match | Tensor | None = None,
                *args: Any,
                tags: Tensor | None = None,
                keypoint_indices: Sequence[Tensor] | Tensor | None = None,
                **kwargs: Any) -> Tuple[Tensor, Tensor]:
        """Return pull and push of corners or, without match, of keypoints."""
        if tags is not None:
            pred, target = tags, keypoint_indices
        if match is None:
            check_floating('tags', pred)
            pred, match = gather_keypoints(pred, target)
        else:
            check_floating('tags', (pred, target))
            if not isinstance(match, Tensor):
                pred, target, match = gather_tags(pred, target, match)
            pred = pred, target
        pull, push = super().forward(pred, match, *args, **kwargs).unbind(-1)
        return pull, push
