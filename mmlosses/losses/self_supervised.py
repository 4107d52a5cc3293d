"""Losses of images without labels: reconstruction, views and clusters."""
from __future__ import annotations
import math
from typing import Any, Dict, List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from mmlosses.core.base import BaseLoss, CommonArguments, Inputs
from mmlosses.core.checks import (check_choice, check_floating,
                                  check_label_range, check_not_negative,
                                  check_number, check_same_shape,
                                  check_sample_labels, check_size)
from mmlosses.core.info import LossInfo, Paper
from mmlosses.core.numeric import mean_of_last, unit_vectors
from mmlosses.core.reduction import EPS, align_weight
from mmlosses.core.statistics import in_backward
from mmlosses.core.tensors import is_compiling, upcast
from mmlosses.core.terms import TermsLoss
from mmlosses.registry import MODELS


class MaskedLoss(BaseLoss):
    """A loss with a mask of the elements that count, as its third argument.

    ``'mean'`` divides by the sum of the mask. The weight, which is the fourth
    argument, multiplies the loss and no divisor, as in all other losses.
    """
    channel: int | None = None

    def forward(self,
                pred: Tensor,
                target: Tensor,
                mask: Tensor | None = None,
                weight: Tensor | None = None,
                *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss; only elements of the mask count."""
        kwargs['mask'] = mask
        return super().forward(pred, target, weight, *args, **kwargs)

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                *args: Any,
                mask: Tensor | None = None) -> Inputs:
        """Multiply the weight by the mask, and count what it holds."""
        inputs = super().prepare(pred, target, *args)
        if mask is None:
            return inputs
        mask = align_weight(mask, inputs.shape, 'mask').to(inputs.pred.dtype)
        check_not_negative('mask', mask)
        inputs.denominator = (mask.sum() * (self.channel or 1)).clamp(min=EPS)
        weight = inputs.weight
        inputs.weight = mask if weight is None else weight * mask
        inputs.removed = inputs.weight == 0
        return inputs


@MODELS.register_module()
class PixelReconstructionLoss(MaskedLoss):
    r"""Distance of reconstructed pixels or features, of masked patches.

    .. math::
        L = \frac{1}{C \sum_i m_i} \sum_i m_i w_i d(x_i, t_i), \qquad
        d = |x - t| \quad \text{or} \quad (x - t)^2

    with the mask m, which is 1 for what was hidden. The distance of a patch
    (N, L, D) is the mean over its D numbers. Without a mask, the loss is the
    mean of all distances.

    Args:
        criterion (str): The distance: ``'L1'``, as in SimMIM, or ``'L2'``, the
            square, as in MAE and MaskFeat.
        channel (int, optional): Number C of channels of an image (N, C, H, W),
            for a mask (N, 1, H, W) that is the same for all of them.
            Default: None, for 1.

    Shape:
        - pred, target: patches (N, L, D), or any other shape.
        - mask: (N, L), for an image (N, 1, H, W): what broadcasts to the loss.
        - weight: as the mask, also without trailing axes.
        - returns: 0-dim; for ``'none'`` (N, L), or the shape of pred.

    Differs from upstream:
        - mmpretrain returns NaN where the mask is empty, and where the
          prediction outside of it is not finite.
        - In mmpretrain, squares overflow in half precision.
        - mmpretrain broadcasts predictions and targets of other shapes.
    """
    info = LossInfo(
        purpose='reconstruction of masked patches',
        slots="``loss`` of mmpretrain's MAE, SimMIM, MaskFeat, MixMIM and "
        'SparK',
        expects='numbers',
        paper=Paper(
            'Kaiming He, Xinlei Chen, Saining Xie, Yanghao Li, Piotr Dollár, '
            'Ross Girshick',
            'Masked Autoencoders Are Scalable Vision Learners', 'CVPR', 2022,
            '2111.06377'),
        source='L1: SimMIM, `arXiv:2111.09886 '
        '<https://arxiv.org/abs/2111.09886>`_. Features of HOG: MaskFeat, '
        '`arXiv:2112.09133 <https://arxiv.org/abs/2112.09133>`_.')

    def __init__(self,
                 criterion: str,
                 channel: int | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_choice('criterion', criterion, ('L1', 'L2'))
        if channel is not None:
            check_size('channel', channel)
        self.criterion, self.channel = criterion, channel

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Return the shape of the patches, or of the numbers of others."""
        shape = super().element_shape(pred, target)
        return shape[:2] if len(shape) == 3 else shape

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        distance = F.l1_loss if self.criterion == 'L1' else F.mse_loss
        loss = distance(pred, target, reduction='none')
        return mean_of_last(loss) if loss.ndim == 3 else loss


def cosine_similarity_loss(pred: Tensor,
                           target: Tensor,
                           shift_factor: float = 0.0,
                           scale_factor: float = 1.0) -> Tensor:
    """The shift minus the scaled cosine of vectors on the last axis."""
    cosine = (unit_vectors(pred) * unit_vectors(target)).sum(dim=-1)
    return shift_factor - scale_factor * cosine


@MODELS.register_module()
class CosineSimilarityLoss(MaskedLoss):
    r"""Negative cosine of the features of two views, or of a teacher.

    .. math::
        L = \frac{1}{\sum_i m_i} \sum_i m_i w_i \left(a - s
        \frac{x_i \cdot t_i}{\|x_i\| \|t_i\|}\right)

    with the mask m of patches; without a mask, the mean of all. The target
    gets a gradient too, unless the head detaches it.

    Args:
        shift_factor (float): The shift a, which makes the least loss 0 where
            it is ``scale_factor``. Default: 0.0.
        scale_factor (float): The factor s of the cosine. MILAN uses 2 for
            both, so that the loss is the squared distance of unit vectors.
            Default: 1.0.

    Shape:
        - pred, target: (\*, D), such as (N, D) or (N, L, D).
        - mask, weight: (\*), also without trailing axes.
        - returns: 0-dim, or (\*) for ``'none'``.

    Differs from upstream:
        - mmpretrain multiplies the gradient of a feature of zeros by 1e12,
          and returns NaN for one in half precision.
        - mmpretrain returns NaN where the mask is empty, and where the
          features outside of it are not finite.
        - mmpretrain broadcasts predictions and targets of other shapes.
    """
    info = LossInfo(
        purpose='features that agree between two views, or with a teacher',
        slots="``loss`` of mmpretrain's BYOL, SimSiam, EVA, MILAN and iTPN",
        expects='features',
        paper=Paper('Xinlei Chen, Kaiming He',
                    'Exploring Simple Siamese Representation Learning', 'CVPR',
                    2021, '2011.10566'),
        source='BYOL: `arXiv:2006.07733 '
        '<https://arxiv.org/abs/2006.07733>`_.')

    def __init__(self,
                 shift_factor: float = 0.0,
                 scale_factor: float = 1.0,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('shift_factor', shift_factor)
        check_number('scale_factor', scale_factor, least=0)
        self.shift_factor, self.scale_factor = shift_factor, scale_factor

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        """Return the shape without the features."""
        if pred.ndim == 0:
            raise ValueError('pred must have an axis of features, got ()')
        return super().element_shape(pred, target)[:-1]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return cosine_similarity_loss(pred, target, self.shift_factor,
                                      self.scale_factor)


@MODELS.register_module()
class CrossCorrelationLoss(BaseLoss):
    r"""Redundancy of features: distance of their correlation from identity.

    .. math::
        L = \sum_i (1 - c_{ii})^2 + \lambda \sum_{i \ne j} c_{ij}^2

    with the correlation c of feature i in one view and j in the other, over
    the batch. Each element is one entry of the matrix; ``'mean'`` adds them,
    unless a call has an ``avg_factor``.

    Args:
        lambd (float): Factor :math:`\lambda` of the entries beside the
            diagonal. Default: 0.0051.

    Shape:
        - cross_correlation_matrix (pred): (D, D), or several, (\*, D, D).
        - weight: as the matrix, also without trailing axes.
        - returns: 0-dim, or the shape of the matrix for ``'none'``.

    Differs from upstream:
        - mmpretrain writes to the matrix that it is given. That of a leaf of
          the graph raises, and a second call has another value.
        - In mmpretrain, the sum overflows in half precision.
    """
    info = LossInfo(
        purpose='features that agree between two views and are not redundant',
        slots="``loss`` of mmpretrain's Barlow Twins",
        expects='numbers',
        paper=Paper(
            'Jure Zbontar, Li Jing, Ishan Misra, Yann LeCun, Stéphane Deny',
            'Barlow Twins: Self-Supervised Learning via Redundancy Reduction',
            'ICML', 2021, '2103.03230'))
    pred_name = 'cross_correlation_matrix'

    def __init__(self,
                 lambd: float = 0.0051,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('lambd', lambd, least=0)
        self.lambd = lambd

    def forward(self, cross_correlation_matrix: Tensor, *args: Any,
                **kwargs: Any) -> Tensor:
        """Compute the loss of a matrix."""
        matrix = cross_correlation_matrix
        check_floating(self.pred_name, matrix)
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
            raise ValueError(f'{self.pred_name} must have the shape (D, D), '
                             f'got {tuple(matrix.shape)}')
        identity = torch.eye(matrix.shape[-1], device=matrix.device)
        return super().forward(matrix, identity.expand(matrix.shape), *args,
                               **kwargs)

    def prepare(self, *args: Any) -> Inputs:
        """Add the entries."""
        inputs = super().prepare(*args)
        inputs.denominator = 1
        return inputs

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        # Not times a matrix of factors, which autograd would keep.
        square = (pred - target).square()
        diagonal = square.diagonal(dim1=-2, dim2=-1)
        return torch.diagonal_scatter(
            self.lambd * square, diagonal, dim1=-2, dim2=-1)


@MODELS.register_module()
class CAELoss(TermsLoss):
    r"""Visual tokens and latent features of masked patches, two terms.

    .. math::
        L_{main} = -\frac{1}{M} \sum_m \log p_{m, y_m}, \qquad
        L_{align} = \frac{\lambda}{M D} \sum_m \|z_m - \bar{z}_m\|_2^2

    of the M masked patches of the batch, with the softmax p over the visual
    tokens, the token y of a patch, and its latent features z, which align
    with those of the teacher.

    Args:
        lambd (float): Factor :math:`\lambda` of the second term. The paper
            uses 2.

    Shape:
        - logits: (M, K) for K tokens.
        - target: (M,), the tokens.
        - latent_pred, latent_target: (\*, D) of M vectors, such as
          (N, M / N, D). Those of the teacher get no gradient.
        - weight: (M,).
        - returns: two tensors, 0-dim, or (M,) for ``'none'``.

    Differs from upstream:
        - mmpretrain returns NaN for no masked patch.
        - In mmpretrain, squares overflow in half precision.
    """
    info = LossInfo(
        purpose='tokens and latent features of masked patches',
        slots="``loss`` of mmpretrain's CAE",
        expects='any',
        paper=Paper(
            'Xiaokang Chen, Mingyu Ding, Xiaodi Wang, Ying Xin, Shentong Mo, '
            'Yunhao Wang, Shumin Han, Ping Luo, Gang Zeng, Jingdong Wang',
            'Context Autoencoder for Self-Supervised Representation Learning',
            'IJCV', 2024, '2202.03026'))

    def __init__(self, lambd: float,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_number('lambd', lambd, least=0)
        self.lambd = lambd

    def forward(self, logits: Tensor, target: Tensor, latent_pred: Tensor,
                latent_target: Tensor, *args: Any,
                **kwargs: Any) -> Tuple[Tensor, ...]:
        """Compute the main term and that of the alignment."""
        terms = super().forward((logits, latent_pred), (target, latent_target),
                                *args, **kwargs)
        return terms.unbind(-1)

    def element_shape(self, pred: Tuple[Tensor, Tensor],
                      target: Tuple[Tensor, Tensor]) -> Sequence[int]:
        (logits, latent), (labels, goal) = pred, target
        if logits.ndim != 2:
            raise ValueError('logits must have the shape (M, K), got '
                             f'{tuple(logits.shape)}')
        check_sample_labels(labels, len(logits))
        check_same_shape(latent, goal)
        if latent.ndim < 2 or math.prod(latent.shape[:-1]) != len(logits):
            raise ValueError(
                f'latent_pred must hold one vector for each of {len(logits)} '
                f'logits, got the shape {tuple(latent.shape)}')
        return len(logits), 2

    def prepare(self, pred: Tuple[Tensor, Tensor],
                target: Tuple[Tensor, Tensor], *args: Any) -> Inputs:
        """Count the patches, and list their features."""
        inputs = super().prepare(pred, target, *args)
        (logits, latent), (labels, goal) = inputs.pred, inputs.target
        inputs.pred = logits, latent.flatten(0, -2)
        inputs.target = labels.long(), goal.detach().flatten(0, -2)
        inputs.denominator = max(len(logits), 1)
        return inputs

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        return elements.squeeze(1) if tensor.ndim == 1 else elements

    def elementwise(self, pred: Tuple[Tensor, Tensor],
                    target: Tuple[Tensor, Tensor]) -> Tensor:
        (logits, latent), (labels, goal) = pred, target
        check_label_range(labels, logits.shape[1], 'target')
        main = F.cross_entropy(logits, labels, reduction='none')
        align = mean_of_last(F.mse_loss(latent, goal, reduction='none'))
        return torch.stack([main, self.lambd * align], dim=-1)


def sinkhorn_assignments(scores: Tensor,
                         kept: Tensor,
                         epsilon: float = 0.05,
                         iterations: int = 3) -> Tensor:
    r"""Assign samples to prototypes, of which each gets an equal share.

    .. math::
        Q = \mathrm{diag}(u) \exp(S / \epsilon) \mathrm{diag}(v)

    with scores S (N, K), of which ``kept`` (N,) takes part. Each row of the
    result (N, K) sums to 1, after the columns were made equal. In logarithms:
    nothing overflows, and no share is 0.
    """
    scores, out = scores / epsilon, ~kept.unsqueeze(1)
    nothing = torch.finfo(scores.dtype).min
    row = scores.new_zeros(len(scores), 1)
    for _ in range(iterations):
        column = -(scores + row).masked_fill(out, nothing).logsumexp(
            dim=0, keepdim=True)
        row = -(scores + column).logsumexp(dim=1, keepdim=True)
    return (scores + column + row).exp().masked_fill(out, 0)


class MultiPrototypes(nn.Module):
    """Several layers of prototypes, with the names of mmpretrain."""

    def __init__(self, feat_dim: int, numbers: Sequence[int]) -> None:
        super().__init__()
        for index, number in enumerate(numbers):
            self.add_module(f'prototypes{index}',
                            nn.Linear(feat_dim, number, bias=False))


@MODELS.register_module()
class SwAVLoss(BaseLoss):
    r"""Swapped prediction of the clusters of other views of an image.

    .. math::
        L = \frac{1}{N A (V - 1)} \sum_n w_n \sum_{a} \sum_{v \ne a}
        -\sum_k q_{nak} \log p_{nvk}, \qquad
        p_{nv} = \mathrm{softmax}(C z_{nv} / \tau)

    with the features z of the V views of an image, of unit length, and the
    prototypes C. :func:`sinkhorn_assignments` gives the assignments q of the
    A views a that are large, so that each prototype has an equal share of the
    samples and of the queue. The assignments get no gradient.

    ``SwAVHook`` of mmpretrain sets ``queue``, the features (A, length,
    feat_dim) of earlier batches: they take part once it is full, or if
    ``use_queue`` is True. In training, a call sets the length of the
    prototypes to 1 and moves the queue.

    Args:
        feat_dim (int): Size of the features.
        sinkhorn_iterations (int): Steps of the assignment. Default: 3.
        epsilon (float): Temperature of the assignment; a smaller one is
            harder. Default: 0.05.
        temperature (float): Temperature :math:`\tau`. Default: 0.1.
        crops_for_assign (list[int]): Indices of the views to assign.
            Default: ``[0, 1]``.
        num_crops (list[int]): Number of views of each size. Default: ``[2]``.
        num_prototypes (int | list[int]): Number of prototypes. A list makes
            several sets, and the loss is their mean. Default: 3000.
        init_cfg (dict, optional): How mmengine initialises the prototypes.
            Default: None.

    Shape:
        - x (pred): (V * N, feat_dim), all images of one view after another.
        - weight: (N,), one for each image. An image of weight 0 is in no
          assignment.
        - returns: 0-dim, or (N,) for ``'none'``.

    Differs from upstream:
        - mmpretrain overflows where a score is above 88 ``epsilon``, such as
          4.4.
        - mmpretrain's call communicates if a prototype has no share on one
          rank, which then waits for the others forever. As there, each rank
          assigns its own samples otherwise; no call communicates here.
        - mmpretrain synchronises with the host in each assignment.
        - A second call before the backward pass raises in mmpretrain, as the
          first one's prototypes have changed.
        - mmpretrain moves the queue in validation too.
        - mmpretrain takes a list as ``num_prototypes``, and fails in a call.
        - mmpretrain leaves out features, if their number is no multiple of
          that of the views.
    """
    info = LossInfo(
        purpose='clusters that agree between views of an image',
        slots="``loss`` of mmpretrain's SwAV",
        expects='features',
        paper=Paper(
            'Mathilde Caron, Ishan Misra, Julien Mairal, Priya Goyal, Piotr '
            'Bojanowski, Armand Joulin',
            'Unsupervised Learning of Visual Features by Contrasting Cluster '
            'Assignments', 'NeurIPS', 2020, '2006.09882'))
    pred_name = 'x'

    def __init__(self,
                 feat_dim: int,
                 sinkhorn_iterations: int = 3,
                 epsilon: float = 0.05,
                 temperature: float = 0.1,
                 crops_for_assign: Sequence[int] = (0, 1),
                 num_crops: Sequence[int] = (2, ),
                 num_prototypes: int | Sequence[int] = 3000,
                 init_cfg: Dict[str, Any] | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(**kwargs)
        check_size('feat_dim', feat_dim)
        check_size('sinkhorn_iterations', sinkhorn_iterations)
        check_number('epsilon', epsilon, above=0)
        check_number('temperature', temperature, above=0)
        check_integers('num_crops', num_crops, 1)
        self.views = sum(num_crops)
        if self.views < 2:
            raise ValueError('num_crops must add up to at least 2 views, got '
                             f'{num_crops!r}')
        check_integers('crops_for_assign', crops_for_assign, 0, self.views)
        if isinstance(num_prototypes, int):
            check_size('num_prototypes', num_prototypes)
        else:
            check_integers('num_prototypes', num_prototypes, 1)
        self.feat_dim, self.init_cfg = feat_dim, init_cfg
        self.sinkhorn_iterations = sinkhorn_iterations
        self.epsilon, self.temperature = epsilon, temperature
        self.crops_for_assign = crops_for_assign
        self.num_crops, self.num_prototypes = num_crops, num_prototypes
        self.queue: Tensor | None = None
        self.use_queue = False
        # The queue before the last call, which a checkpoint repeats.
        self._queue_before: Tensor | None = None
        self.prototypes: Any = (
            nn.Linear(feat_dim, num_prototypes, bias=False) if isinstance(
                num_prototypes, int) else MultiPrototypes(
                    feat_dim, num_prototypes))

    def init_weights(self) -> None:
        """Initialise the prototypes as ``init_cfg`` says."""
        if self.init_cfg:
            from mmengine.model import initialize  # slow to import
            initialize(self, self.init_cfg)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss of the features of all views."""
        check_floating('x', x)
        images = x.shape[0] // self.views if x.ndim else 0
        # Of an image that is removed, it becomes 0.
        return super().forward(x, x.new_ones(images), *args, **kwargs)

    def element_shape(self, pred: Tensor, target: Tensor) -> Sequence[int]:
        if (pred.ndim != 2 or pred.shape[1] != self.feat_dim
                or len(pred) % self.views):
            raise ValueError(
                'x must have the shape (V * N, feat_dim) with V = '
                f'{self.views} views and feat_dim={self.feat_dim}, got '
                f'{tuple(pred.shape)}')
        queue = self.queue
        if queue is not None and (queue.ndim != 3 or queue.shape[0] != len(
                self.crops_for_assign) or queue.shape[2] != self.feat_dim):
            raise ValueError(
                f'queue must have the shape ({len(self.crops_for_assign)}, '
                f'length, {self.feat_dim}), got {tuple(queue.shape)}')
        return target.shape

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """The images of all views are removed."""
        if tensor.ndim == 1:
            return elements
        return elements.expand(len(tensor) // self.views).repeat(
            self.views).unsqueeze(1)

    def unreduced(self, inputs: Inputs) -> Tensor:
        """Compute the loss and, in training, move prototypes and queue."""
        # A checkpoint repeats the call in the backward pass.
        again = not is_compiling() and in_backward()
        queue = self._queue_before if again else self.queue
        moving = self.training and not again
        if moving:
            with torch.no_grad():
                for layer in self.layers():
                    layer.weight.copy_(unit_vectors(upcast(layer.weight)))
        if queue is not None:
            inputs.extras = (queue.to(inputs.pred.dtype), )
        loss = super().unreduced(inputs)
        if moving and queue is not None:
            views = inputs.pred.detach().unflatten(0, (self.views, -1))
            new = torch.stack([views[view] for view in self.crops_for_assign])
            self._queue_before = queue
            self.queue = torch.cat([new.to(queue.dtype), queue],
                                   dim=1)[:, :queue.shape[1]]
        return loss

    def layers(self) -> List[Any]:
        """Return the sets of prototypes."""
        return list(self.prototypes.children()) or [self.prototypes]

    def elementwise(self,
                    pred: Tensor,
                    target: Tensor,
                    queue: Tensor | None = None) -> Tensor:
        kept, losses = target > 0, []
        for layer in self.layers():
            weight = layer.weight.to(pred.dtype)
            # The gradient is that of prototypes of length 1, as if each of
            # their numbers were free.
            prototypes = (
                unit_vectors(weight).detach() + (weight - weight.detach()))
            scores = F.linear(pred, prototypes)
            scores = scores.unflatten(0, (self.views, len(target)))
            log_prob = (scores / self.temperature).log_softmax(dim=-1)
            for index, view in enumerate(self.crops_for_assign):
                assigned = self.assignments(
                    scores[view].detach(), kept, prototypes.detach(),
                    None if queue is None else queue[index])
                entropy = -(assigned * log_prob).sum(dim=-1)
                others = torch.arange(self.views, device=pred.device) != view
                losses.append((others.unsqueeze(1) * entropy).sum(dim=0))
        return torch.stack(losses).mean(dim=0) / (self.views - 1)

    def assignments(self, scores: Tensor, kept: Tensor, prototypes: Tensor,
                    queue: Tensor | None) -> Tensor:
        """Assign the images of a view (N, K), together with its queue."""
        settings = self.epsilon, self.sinkhorn_iterations
        if queue is None:
            return sinkhorn_assignments(scores, kept, *settings)
        full = (queue[-1] != 0).any().expand(len(queue))
        if self.use_queue:
            full = torch.ones_like(full)
        scores = torch.cat([queue @ prototypes.T, scores])
        found = sinkhorn_assignments(scores, torch.cat([full, kept]),
                                     *settings)
        return found[len(queue):]

    def extra_repr(self) -> str:
        return f'feat_dim={self.feat_dim}, {super().extra_repr()}'


def check_integers(name: str,
                   values: Any,
                   least: int,
                   below: int | None = None) -> None:
    """Raise unless an argument is a list of integers within the bounds."""
    if (not isinstance(values, (list, tuple)) or not values or not all([
            isinstance(x, int) and x >= least and (below is None or x < below)
            for x in values
    ])):
        bound = '' if below is None else f' to {below - 1}'
        raise ValueError(f'{name} must be a list of integers from {least}'
                         f'{bound}, got {values!r}')
