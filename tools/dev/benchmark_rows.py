"""What tools/benchmark.py measures: each loss beside its peers.

A row is a function whose arguments are sizes. It makes random inputs and says
which calls do the same work. Peers named "seed" or "plain" are the formula as
one writes it down, without any thought of speed: the former from the texts
that this project began with, the latter from the paper, for losses that
no package has.
"""
from __future__ import annotations
import functools
import importlib
import math
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn


class Call:
    """A function with its arguments, which returns one number.

    Args:
        function (Callable, optional): ``None`` where its package is missing.
        args: Its arguments.
        differs (str): Why its number is another than ours, if it is.
    """

    def __init__(self,
                 function: Callable[..., Any] | None,
                 *args: Any,
                 differs: str = '',
                 **kwargs: Any) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.differs = differs

    def __call__(self) -> Any:
        assert self.function is not None, 'its package is missing'
        loss = self.function(*self.args, **self.kwargs)
        if isinstance(loss, dict):
            loss = tuple(loss.values())
        return sum(loss) if isinstance(loss, tuple) else loss

    def compiled(self) -> Call:
        """The same, by inductor."""
        assert self.function is not None
        return Call(torch.compile(self.function), *self.args, **self.kwargs)

    def inputs(self) -> List[Tensor]:
        """The tensors that the caller and the module hold anyway."""
        found: List[Tensor] = []
        pending = [*self.args, *self.kwargs.values()]
        while pending:
            item = pending.pop()
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, (tuple, list)):
                pending += item
        if isinstance(self.function, nn.Module):
            found += [*self.function.parameters(), *self.function.buffers()]
        return found


@dataclass
class Contest:
    """Who is measured on the inputs of one row.

    Args:
        ours (Call): The loss of mmlosses.
        peers (dict): Calls that do the same.
        limit (Call, optional): The cheapest pass over the same numbers.
    """
    ours: Call
    peers: Dict[str, Call]
    limit: Call | None = None


@dataclass
class Row:
    """One line of the table.

    Args:
        loss (str): The name of our class.
        size (str): The sizes in words.
        make (Callable): Makes a :class:`Contest`; its defaults are the sizes.
        small (dict): Sizes that take no time.
        goal (float, optional): The ratio to the best peer that we aim at.
        limit (str): What the limit does.
        grows (dict): The argument of ``make`` to draw, and its values.
        name (str): What the line is called, if not as the class.
    """
    loss: str
    size: str
    make: Callable[..., Contest]
    small: Dict[str, int]
    goal: float | None = None
    limit: str = ''
    grows: Dict[str, Sequence[int]] = field(default_factory=dict)
    name: str = ''

    def __post_init__(self) -> None:
        self.name = self.name or self.loss


def ours(name: str, **kwargs: Any) -> Any:
    """Build a loss of mmlosses."""
    return MODELS.build(dict(type=f'mmlosses.{name}', **kwargs))


@functools.lru_cache(maxsize=None)
def package(name: str) -> Any:
    """Import a module, or return None if it, or what it needs, is missing."""
    try:
        return importlib.import_module(name)
    except (ImportError, AssertionError):  # mmdet asserts mmcv's version
        return None


def stock(name: str, **kwargs: Any) -> nn.Module | None:
    """Build a loss of mmdet or mmpose, if it is there."""
    scope, _, kind = name.partition('.')
    losses = package(f'{scope}.models.losses')
    return losses and getattr(losses, kind)(**kwargs)


def function(module: str, name: str) -> Any:
    """A function or class of a package, if it is there."""
    return getattr(package(module), name, None)


def leaf(tensor: Tensor) -> Tensor:
    """What the gradient is computed of."""
    return tensor.detach().requires_grad_()


# Regression


def numbers(loss: str, plain: Callable[..., Tensor],
            **kwargs: Any) -> Callable[..., Contest]:
    """A distance between heatmaps."""

    def make(images: int = 64,
             keypoints: int = 17,
             height: int = 64,
             width: int = 48) -> Contest:
        shape = images, keypoints, height, width
        pred, target = leaf(torch.randn(shape)), torch.randn(shape)
        peers = {'torch': Call(plain, pred, target)}
        if not kwargs:
            peers['mmdet'] = Call(stock(f'mmdet.{loss}'), pred, target)
        return Contest(Call(ours(loss, **kwargs), pred, target), peers)

    return make


def l1_and_mse(pred: Tensor, target: Tensor) -> Tensor:
    """Two losses of torch, added."""
    return F.l1_loss(pred, target) + F.mse_loss(pred, target)


def seed_angular(pred: Tensor, target: Tensor, delta: float = 0.2) -> Tensor:
    """Seed 003: the power of the arc cosine of a clipped product."""
    dot = (pred * target).sum(dim=-1).clamp(1e-6, 1 - 1e-6)
    return (torch.acos(dot)**(1 + delta)).mean()


def angular(images: int = 16, height: int = 128, width: int = 128) -> Contest:
    """Unit vectors, at most 80 degrees apart: there the seed is right."""
    angle = 2 * math.pi * torch.rand(images, height, width)
    error = torch.empty_like(angle).uniform_(0.1, 1.4)
    pred, target = [
        torch.stack([x.cos(), x.sin()], dim=-1) for x in (angle + error, angle)
    ]
    pred = leaf(pred)
    return Contest(
        Call(ours('AngularLoss'), pred, target),
        {'seed': Call(seed_angular, pred, target)})


def propel(samples: int = 4096,
           gaussians: int = 10,
           dimensions: int = 3) -> Contest:
    """Mixtures near their target, so that torchpropel does not overflow."""
    target = 0.1 * torch.randn(samples, dimensions)
    mean = target.unsqueeze(1) + 0.1 * torch.randn(samples, gaussians,
                                                   dimensions)
    pred = leaf(torch.cat([mean, 0.1 + 0.1 * torch.rand_like(mean)], dim=-1))
    peer = function('torchpropel', 'PROPEL')
    return Contest(
        Call(ours('PROPELLoss', compat='torchpropel'), pred, target),
        {'torchpropel': Call(peer and peer(), pred, target)})


def seed_propel(mean: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Seed 000 for one component; the target's deviation is 0.1."""
    variance, own, n = sigma**2, 0.1**2, mean.shape[-1]

    def g(distance: Any, total: Tensor) -> Tensor:
        power = torch.exp(-(distance**2 / (2 * total)).sum(dim=-1))
        return power / (2 * math.pi * total).prod(dim=-1).sqrt()

    both = g(mean - target, variance + own)
    alone = 1 / (2 * math.sqrt(math.pi * own))**n + g(
        torch.zeros_like(mean), 2 * variance)
    return -(torch.log(2 * both) - torch.log(alone)).mean()


def keypoint_propel(images: int = 1024, keypoints: int = 17) -> Contest:
    """Keypoints with a deviation."""
    target = torch.rand(images, keypoints, 2)
    mean = leaf(target + 0.1 * torch.randn_like(target))
    sigma = leaf(0.1 + 0.1 * torch.rand_like(target))
    return Contest(
        Call(ours('KeypointPROPELLoss'), mean, sigma, target),
        {'seed': Call(seed_propel, mean, sigma, target)})


# Classification


def scores(samples: int, classes: int) -> Tuple[Tensor, Tensor]:
    """Scores and labels."""
    return leaf(torch.randn(samples,
                            classes)), torch.randint(classes, (samples, ))


def cross_entropy(samples: int = 4096, classes: int = 1000) -> Contest:
    """Scores and labels."""
    pred, labels = scores(samples, classes)
    return Contest(
        Call(ours('CrossEntropyLoss'), pred, labels), {
            'torch': Call(F.cross_entropy, pred, labels),
            'mmdet': Call(stock('mmdet.CrossEntropyLoss'), pred, labels),
        })


def seed_label_smooth(pred: Tensor, labels: Tensor) -> Tensor:
    """Seed 002, 9."""
    weight = torch.full_like(pred, 0.1 / (pred.shape[1] - 1))
    weight = weight.scatter(1, labels.unsqueeze(1), 0.9)
    return (-weight * F.log_softmax(pred, dim=-1)).sum(dim=-1).mean()


def label_smooth(samples: int = 4096, classes: int = 1000) -> Contest:
    """Scores and labels."""
    pred, labels = scores(samples, classes)
    # torch gives the label itself a part of the share.
    share = 0.1 * classes / (classes - 1)
    return Contest(
        Call(ours('LabelSmoothLoss'), pred, labels), {
            'torch': Call(
                F.cross_entropy, pred, labels, label_smoothing=share),
            'seed': Call(seed_label_smooth, pred, labels),
        }, Call(F.cross_entropy, pred, labels))


def torchvision_focal(pred: Tensor, labels: Tensor) -> Tensor:
    """torchvision's, which takes no labels."""
    target = F.one_hot(labels, pred.shape[1] + 1)[:, :-1].to(pred.dtype)
    return function('torchvision.ops', 'sigmoid_focal_loss')(
        pred, target, reduction='mean')


def focal(boxes: int = 20_000, classes: int = 80) -> Contest:
    """Labels, of which one in fifty is no background."""
    pred, labels = scores(boxes, classes)
    labels[torch.rand(boxes) > 0.02] = classes
    target = F.one_hot(labels, classes + 1)[:, :-1].float()
    peer = package('torchvision.ops') and torchvision_focal
    return Contest(
        Call(ours('FocalLoss'), pred, labels), {
            'mmdet': Call(stock('mmdet.FocalLoss'), pred, labels),
            'torchvision': Call(peer, pred, labels),
        }, Call(F.binary_cross_entropy_with_logits, pred, target))


# Features and class vectors


def seed_modified_softmax(pred: Tensor, labels: Tensor,
                          vectors: Tensor) -> Tensor:
    """Seed 002, 5."""
    vectors = vectors.renorm(2, 1, 1e-5).mul(1e5)
    return F.cross_entropy(pred.mm(vectors), labels)


def seed_normface(pred: Tensor, labels: Tensor, vectors: Tensor) -> Tensor:
    """Seed 002, 6."""
    cosine = F.normalize(pred).mm(F.normalize(vectors, dim=0))
    return F.cross_entropy(16 * cosine, labels)


def seed_arcface_logits(cosine: Tensor, labels: Tensor) -> Tensor:
    """Seed 002, 7, after the cosine."""
    cosine = cosine.clamp(-1, 1)
    sine = (1 - cosine**2).clamp(min=1e-7).sqrt()
    phi = cosine * math.cos(0.5) - sine * math.sin(0.5)
    hot = torch.zeros_like(cosine).scatter_(1, labels.view(-1, 1), 1)
    return F.cross_entropy(32 * (hot * phi + (1 - hot) * cosine), labels)


def seed_arcface(pred: Tensor, labels: Tensor, vectors: Tensor) -> Tensor:
    """Seed 002, 7."""
    cosine = F.normalize(pred).mm(F.normalize(vectors, dim=0))
    return seed_arcface_logits(cosine, labels)


def metric(loss: str,
           seed: Callable[..., Tensor],
           peer: str = '',
           classes: int = 10_000,
           **peer_kwargs: float) -> Callable[..., Contest]:
    """Features and labels; the same class vectors for all."""

    def make(samples: int = 256,
             channels: int = 512,
             classes: int = classes) -> Contest:
        features, labels = scores(samples, channels)[0], torch.randint(
            classes, (samples, ))
        ours_loss = ours(loss, num_classes=classes, in_channels=channels)
        vectors = leaf(ours_loss.weight.T.contiguous())
        peers = {'seed': Call(seed, features, labels, vectors)}
        if peer:
            build = function('pytorch_metric_learning.losses', peer)
            other = build and build(
                num_classes=classes, embedding_size=channels, **peer_kwargs)
            if other is not None:
                other.W.data.copy_(vectors.detach())
            peers['pytorch-metric-learning'] = Call(other, features, labels)
        return Contest(Call(ours_loss, features, labels), peers)

    return make


def arcface_logit(samples: int = 512, classes: int = 1231) -> Contest:
    """Cosines of a head that owns the vectors, with a background."""
    cosine = leaf(torch.empty(samples, classes).uniform_(-0.5, 0.8))
    labels = torch.randint(classes - 1, (samples, ))

    def scaled(loss: nn.Module, cosine: Tensor, labels: Tensor) -> Tensor:
        return loss(32 * cosine, labels)

    return Contest(
        Call(scaled, ours('ArcFaceLogitLoss'), cosine, labels),
        {'seed': Call(seed_arcface_logits, cosine, labels)})


def plain_center(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """The distance of each feature to each centre, and a mask of the own."""
    square = (
        features.pow(2).sum(dim=1, keepdim=True) + centers.pow(2).sum(dim=1) -
        2 * features @ centers.T)
    own = labels.unsqueeze(1) == torch.arange(len(centers))
    return (square * own).clamp(1e-12, 1e12).sum() / len(features) / 2


def center(samples: int = 512,
           channels: int = 512,
           classes: int = 10_000) -> Contest:
    """Features, and centres that learn by the gradient, as the peer's do."""
    features, labels = scores(samples, channels)[0], torch.randint(
        classes, (samples, ))
    loss = ours(
        'CenterLoss',
        num_classes=classes,
        in_channels=channels,
        learn_centers=True)
    centers = leaf(loss.centers)
    return Contest(
        Call(loss, features, labels),
        {'plain, B x C': Call(plain_center, features, labels, centers)})


def seed_center_softmax(features: Tensor, labels: Tensor, centers: Tensor,
                        vectors: Tensor) -> Tensor:
    """Seed 002, 8."""
    own = centers.index_select(0, labels)
    term = features.dist(own) / 2 / len(features)
    return F.cross_entropy(features.mm(vectors), labels) + 0.2 * term


def center_softmax(samples: int = 512,
                   channels: int = 512,
                   classes: int = 10_000) -> Contest:
    """Features, with centres that learn by the gradient."""
    features, labels = scores(samples, channels)[0], torch.randint(
        classes, (samples, ))
    loss = ours(
        'CenterSoftmaxLoss',
        num_classes=classes,
        in_channels=channels,
        learn_centers=True)
    centers, vectors = leaf(loss.centers), leaf(loss.weight.T.contiguous())
    return Contest(
        Call(loss, features, labels), {
            'seed':
            Call(
                seed_center_softmax,
                features,
                labels,
                centers,
                vectors,
                differs='the distance is not squared')
        })


def plain_ccs(embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
    """The paper's cosine, shifted."""
    cosine = F.cosine_similarity(embeddings, vectors.detach()[labels])
    return ((1 - cosine) / 2).mean()


def ccs(samples: int = 20_000,
        channels: int = 256,
        classes: int = 80) -> Contest:
    """Embeddings of positives."""
    embeddings = scores(samples, channels)[0]
    vectors = leaf(torch.randn(classes, channels))
    labels = torch.randint(classes, (samples, ))
    return Contest(
        Call(ours('CCSLoss'), embeddings, vectors, labels),
        {'torch': Call(plain_ccs, embeddings, vectors, labels)})


def plain_pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of each box with each other."""
    low = torch.max(boxes[:, None, :2], others[None, :, :2])
    high = torch.min(boxes[:, None, 2:], others[None, :, 2:])
    sides = (high - low).clamp(min=0)
    both = sides[..., 0] * sides[..., 1]
    area, other = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1])
                   for x in (boxes, others)]
    return both / (area[:, None] + other - both)


def seed_ccs(anchors: Tensor, embeddings: Tensor, vectors: Tensor,
             annotations: Tensor) -> Tensor:
    """Seed 001, with its loop over the images."""
    losses = []
    for boxes, features, objects in zip(anchors, embeddings, annotations):
        weights = vectors.detach().T.clone()
        objects = objects[objects[:, -1] != -1]
        if len(objects) == 0:
            losses.append(features.new_zeros(1).mean())
            continue
        iou, index = plain_pairwise_iou(boxes, objects[:, :4]).max(dim=1)
        chosen = iou > 0.5
        if chosen.sum() == 0:
            losses.append(features.new_zeros(1).mean())
            continue
        assigned = objects[index]
        features = features[chosen].unsqueeze(1)
        weights = weights[:, assigned[chosen, -1].long()].T.unsqueeze(2)
        loss = -1 * torch.matmul(features, weights).view(-1)
        loss = loss / features.squeeze(1).norm(dim=1)
        loss = loss / weights.squeeze(2).norm(dim=1)
        losses.append(((loss + 1) / 2).mean())
    return torch.stack(losses).mean()


def ccs_anchors(images: int = 8,
                anchors: int = 20_000,
                channels: int = 256,
                objects: int = 20,
                classes: int = 80) -> Contest:
    """Anchors, of which a few in a hundred belong to an object."""
    low = 480 * torch.rand(images, objects, 2)
    boxes = torch.cat([low, low + 32 + 96 * torch.rand_like(low)], dim=-1)
    labels = torch.randint(classes, (images, objects, 1))
    annotations = torch.cat([boxes, labels.float()], dim=-1)
    index = torch.randint(objects, (images, anchors, 1)).expand(-1, -1, 4)
    noise = torch.randn(images, anchors, 4)
    grid = boxes.gather(1, index) + 40 * noise
    grid = torch.cat([
        torch.minimum(grid[..., :2], grid[..., 2:]),
        torch.maximum(grid[..., :2], grid[..., 2:])
    ],
                     dim=-1)
    embeddings = leaf(torch.randn(images, anchors, channels))
    vectors = leaf(torch.randn(classes, channels))
    args = grid, embeddings, vectors, annotations
    return Contest(
        Call(ours('CCSLoss').forward_anchors, *args),
        {'seed': Call(seed_ccs, *args)})


# Dense


def blobs(*shape: int) -> Tensor:
    """Logits of smooth maps, as of a network, and not of pure noise."""
    noise = torch.randn(shape)
    smooth = F.avg_pool2d(noise.reshape(-1, 1, *shape[-2:]), 9, 1, 4)
    return smooth.reshape(shape) / smooth.std() + 0.3 * noise


def seed_balanced_bce(logits: Tensor, target: Tensor) -> Tensor:
    """Seed 002, 10, after the sigmoid that it expects."""
    positive = target.byte()
    negative = (1 - target).byte()
    positives = int(positive.float().sum())
    negatives = min(int(negative.float().sum()), int(positives * 3.0))
    loss = F.binary_cross_entropy(logits.sigmoid(), target, reduction='none')
    positive_loss = loss * positive.float()
    negative_loss, _ = (loss * negative.float()).view(-1).topk(negatives)
    return (positive_loss.sum() + negative_loss.sum()) / (
        positives + negatives + 1e-6)


def balanced_bce(images: int = 16, side: int = 640) -> Contest:
    """Maps of which one pixel in twenty is a positive."""
    target = (blobs(images, 1, side, side) > 1.7).float()
    pred = leaf(2 * blobs(images, 1, side, side) + 3 * target - 3)
    return Contest(
        Call(ours('BalancedBCELoss'), pred, target),
        {'seed': Call(seed_balanced_bce, pred, target)},
        Call(F.binary_cross_entropy_with_logits, pred, target))


def seed_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Seed 002, Dice, of each sample and with squares, as mmdet has it."""
    pred = logits.sigmoid().flatten(1)
    target = target.flatten(1)
    both = (pred * target).sum(dim=1)
    total = (pred * pred).sum(dim=1) + (target * target).sum(dim=1) + 2e-3
    return (1 - 2 * both / total).mean()


def dice(objects: int = 64, side: int = 112) -> Contest:
    """Masks of RoIs."""
    target = (blobs(objects, side, side) > 0).float()
    pred = leaf(blobs(objects, side, side))
    return Contest(
        Call(ours('DiceLoss'), pred, target), {
            'mmdet': Call(stock('mmdet.DiceLoss'), pred, target),
            'seed': Call(seed_dice, pred, target),
        }, Call(F.binary_cross_entropy_with_logits, pred, target))


def heatmaps(images: int, classes: int, side: int) -> Tuple[Tensor, Tensor]:
    """Logits, and Gaussians with a peak of 1 in one class of ten."""
    pred = torch.randn(images, classes, side, side) - 2
    place = torch.arange(side).float()
    target = torch.zeros(images, classes, side, side)
    for image in range(images):
        for index in range(0, classes, 10):
            x, y = torch.randint(side, (2, )).tolist()
            lines = [torch.exp(-(place - centre)**2 / 18) for centre in (y, x)]
            target[image, index] = lines[0][:, None] * lines[1]
    return leaf(pred), target


def mmdet_gaussian_focal(loss: nn.Module, logits: Tensor,
                         target: Tensor) -> Tensor:
    """As mmdet's heads call it."""
    return loss(logits.sigmoid().clamp(1e-4, 1 - 1e-4), target)


def gaussian_focal(images: int = 4,
                   classes: int = 80,
                   side: int = 128) -> Contest:
    """Heatmaps."""
    pred, target = heatmaps(images, classes, side)
    loss = stock('mmdet.GaussianFocalLoss')
    peer = None if loss is None else mmdet_gaussian_focal
    return Contest(
        Call(ours('GaussianFocalLoss', use_sigmoid=True), pred, target),
        {'mmdet': Call(peer, loss, pred, target)},
        Call(F.binary_cross_entropy_with_logits, pred, target))


def embedding(images: int = 8, objects: int = 30, side: int = 128) -> Contest:
    """Maps of tags, and where in them the corners are."""
    maps = [leaf(torch.randn(images, 1, side, side)) for _ in range(2)]
    match = torch.randint(side, (images, objects, 2, 2)).tolist()
    return Contest(
        Call(ours('AssociativeEmbeddingLoss'), *maps, match),
        {'mmdet': Call(stock('mmdet.AssociativeEmbeddingLoss'), *maps, match)})


def seed_neg_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Seed 004: the focal loss of a heatmap."""
    prob = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive, negative = target.eq(1), target.lt(1)
    weight = torch.pow(1 - target[negative], 4)
    peaks, rest = prob[positive], prob[negative]
    at_peaks = (torch.log(peaks) * torch.pow(1 - peaks, 2)).sum()
    beside = (torch.log(1 - rest) * torch.pow(rest, 2) * weight).sum()
    return -(at_peaks + beside) / positive.float().sum()


def seed_pull_push(tag0: Tensor, tag1: Tensor, mask: Tensor) -> Tensor:
    """Seed 004: embeddings."""
    number = mask.sum(dim=1, keepdim=True).float()
    tag0, tag1 = tag0.squeeze(-1), tag1.squeeze(-1)
    mean = (tag0 + tag1) / 2
    pull = sum([((tag - mean)**2 / (number + 1e-4))[mask].sum()
                for tag in (tag0, tag1)])
    pairs = mask.unsqueeze(1) & mask.unsqueeze(2)
    number = number.unsqueeze(2)
    distance = F.relu(1 - (mean.unsqueeze(1) - mean.unsqueeze(2)).abs())
    distance = (distance - 1 /
                (number + 1e-4)) / ((number - 1) * number + 1e-4)
    return pull + distance[pairs].sum()


def seed_offset(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Seed 004: offsets."""
    chosen = mask.unsqueeze(2).expand_as(target)
    return F.smooth_l1_loss(
        pred[chosen], target[chosen], reduction='sum') / (
            mask.float().sum() + 1e-4)


def seed_cornernet(outs: Sequence[Tensor],
                   targets: Sequence[Tensor]) -> Tensor:
    """Seed 004, one stack."""
    mask = targets[2]
    return (seed_neg_loss(outs[0], targets[0]) +
            seed_neg_loss(outs[1], targets[1]) +
            seed_pull_push(outs[2], outs[3], mask) +
            seed_offset(outs[4], targets[3], mask) +
            seed_offset(outs[5], targets[4], mask))


def cornernet(images: int = 2,
              classes: int = 80,
              side: int = 128,
              objects: int = 30) -> Contest:
    """One stack, with room for 128 objects."""
    heat0, target0 = heatmaps(images, classes, side)
    heat1, target1 = heatmaps(images, classes, side)
    tags = [leaf(torch.randn(images, 128, 1)) for _ in range(2)]
    offsets = [leaf(torch.randn(images, 128, 2)) for _ in range(2)]
    mask = (torch.arange(128) < objects).expand(images, -1).contiguous()
    regr = [torch.rand(images, 128, 2) for _ in range(2)]
    args = [heat0, heat1, *tags, *offsets], [target0, target1, mask, *regr]
    return Contest(
        Call(ours('CornerNetLoss'), *args),
        {'seed': Call(seed_cornernet, *args)})


def seed_kl_discret(pred: Sequence[Tensor], target: Sequence[Tensor],
                    weight: Tensor) -> Tensor:
    """Seed 002, SimCC, with its loop over the keypoints."""
    loss = pred[0].new_zeros(())
    for k in range(weight.shape[1]):
        for axis, truth in zip(pred, target):
            score = F.log_softmax(axis[:, k], dim=1)
            each = F.kl_div(score, truth[:, k], reduction='none').mean(dim=1)
            loss = loss + each.mul(weight[:, k]).mean()
    return loss / weight.shape[1] * len(weight)  # as mmpose, over the batch


def probabilities_cross_entropy(pred: Sequence[Tensor],
                                target: Sequence[Tensor]) -> Any:
    """The cross entropy of the same axes."""
    return sum([
        F.cross_entropy(axis.flatten(0, 1), truth.flatten(0, 1))
        for axis, truth in zip(pred, target)
    ])


def kl_discret(images: int = 64,
               keypoints: int = 17,
               bins: int = 384) -> Contest:
    """Gaussians over the bins of two axes, of which y has a third more."""
    pred, target = [], []
    for size in (bins, bins * 4 // 3):
        centre = size * torch.rand(images, keypoints, 1)
        density = -(torch.arange(size) - centre)**2 / 72
        pred.append(leaf(torch.randn(images, keypoints, size)))
        target.append(density.exp() / math.sqrt(72 * math.pi))
    weight = (torch.rand(images, keypoints) > 0.2).float()
    args = tuple(pred), tuple(target), weight
    return Contest(
        Call(ours('KLDiscretLoss', size_average=False), *args), {
            'mmpose': Call(stock('mmpose.KLDiscretLoss'), *args),
            'seed': Call(seed_kl_discret, *args),
        }, Call(probabilities_cross_entropy, *args[:2]))


# Boxes


def columns(boxes: Tensor) -> Tuple[Tensor, ...]:
    """Centres and sides."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def plain_iou(pred: Tensor, target: Tensor) -> Tensor:
    """The IoU of each pair."""
    low = torch.max(pred[:, :2], target[:, :2])
    high = torch.min(pred[:, 2:], target[:, 2:])
    sides = (high - low).clamp(min=0)
    both = sides[:, 0] * sides[:, 1]
    area, other = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1])
                   for x in (pred, target)]
    return both / (area + other - both + 1e-7)


def plain_enclosing(pred: Tensor, target: Tensor) -> Tuple[Tensor, ...]:
    """Width, height and squared diagonal of the box around both."""
    low = torch.min(pred[:, :2], target[:, :2])
    high = torch.max(pred[:, 2:], target[:, 2:])
    width, height = (high - low).unbind(-1)
    return width, height, width**2 + height**2 + 1e-7


def plain_eiou(pred: Tensor, target: Tensor) -> Tensor:
    """Efficient IoU."""
    x, y, w, h = columns(pred)
    tx, ty, tw, th = columns(target)
    width, height, diagonal = plain_enclosing(pred, target)
    return (1 - plain_iou(pred, target) + ((x - tx)**2 +
                                           (y - ty)**2) / diagonal +
            (w - tw)**2 / width**2 + (h - th)**2 / height**2).mean()


def plain_mpdiou(pred: Tensor, target: Tensor) -> Tensor:
    """Minimum point distance."""
    _, _, diagonal = plain_enclosing(pred, target)
    low = ((pred[:, :2] - target[:, :2])**2).sum(dim=1)
    high = ((pred[:, 2:] - target[:, 2:])**2).sum(dim=1)
    return (1 - plain_iou(pred, target) + low / diagonal +
            high / diagonal).mean()


def plain_inner_iou(pred: Tensor, target: Tensor) -> Tensor:
    """IoU of boxes with 0.7 times the sides."""
    scaled = []
    for boxes in (pred, target):
        x, y, w, h = columns(boxes)
        w, h = 0.7 * w / 2, 0.7 * h / 2
        scaled.append(torch.stack([x - w, y - h, x + w, y + h], dim=-1))
    return (1 - plain_iou(*scaled)).mean()


def plain_shape_iou(pred: Tensor, target: Tensor) -> Tensor:
    """Shape IoU with scale 0, where both sides weigh 1."""
    x, y, w, h = columns(pred)
    tx, ty, tw, th = columns(target)
    _, _, diagonal = plain_enclosing(pred, target)
    across, down = 2 * tw**0.0 / (tw**0.0 + th**0.0), 2 * th**0.0 / (
        tw**0.0 + th**0.0)
    distance = (down * (x - tx)**2 + across * (y - ty)**2) / diagonal
    shape = sum([
        (1 - torch.exp(-factor *
                       (one - other).abs() / torch.max(one, other)))**4
        for factor, one, other in ((down, w, tw), (across, h, th))
    ])
    return (1 - plain_iou(pred, target) + distance + 0.5 * shape).mean()


def plain_nwd(pred: Tensor, target: Tensor) -> Tensor:
    """Normalized Wasserstein distance."""
    x, y, w, h = columns(pred)
    tx, ty, tw, th = columns(target)
    square = (x - tx)**2 + (y - ty)**2 + ((w - tw)**2 + (h - th)**2) / 4
    return (1 - torch.exp(-(square + 1e-12).sqrt() / 12.8)).mean()


def plain_alpha_iou(pred: Tensor, target: Tensor) -> Tensor:
    """The third power of the IoU."""
    return (1 - plain_iou(pred, target)**3).mean()


def plain_wiou(pred: Tensor, target: Tensor) -> Tensor:
    """Wise IoU, version 3, with a running mean of 1."""
    x, y, _, _ = columns(pred)
    tx, ty, _, _ = columns(target)
    _, _, diagonal = plain_enclosing(pred, target)
    square = (x - tx)**2 + (y - ty)**2
    iou = plain_iou(pred, target)
    loss = torch.exp(square / diagonal.detach()) * (1 - iou)
    outlier = (1 - iou).detach()
    gain = outlier / (3 * torch.pow(1.9, outlier - 3))
    return (gain * loss).mean()


def box_loss(loss: str,
             plain: Callable[..., Tensor] | None = None,
             torchvision: str = '',
             **stock_kwargs: Any) -> Callable[..., Contest]:
    """Boxes that overlap their target."""

    def make(boxes: int = 20_000) -> Contest:
        low = 400 * torch.rand(boxes, 2)
        target = torch.cat([low, low + 40 + 80 * torch.rand(boxes, 2)], -1)
        pred = leaf(target + 6 * torch.randn(boxes, 4))
        peers = {}
        if plain is None:
            peers['mmdet'] = Call(
                stock(f'mmdet.{loss}', **stock_kwargs), pred, target)
        else:
            peers['plain'] = Call(plain, pred, target)
        if torchvision:
            peers['torchvision'] = Call(
                function('torchvision.ops', torchvision),
                pred,
                target,
                reduction='mean')
        # Fixed means, as in evaluation: the plain form has none that moves.
        return Contest(Call(ours(loss).eval(), pred, target), peers)

    return make


BOXES = {
    'IoULoss': box_loss('IoULoss'),
    'GIoULoss': box_loss('GIoULoss', None, 'generalized_box_iou_loss'),
    'DIoULoss': box_loss('DIoULoss', None, 'distance_box_iou_loss'),
    'CIoULoss': box_loss('CIoULoss', None, 'complete_box_iou_loss'),
    'SIoULoss': box_loss('SIoULoss', neg_gamma=True),
    'EIoULoss': box_loss('EIoULoss', plain_eiou),
    'AlphaIoULoss': box_loss('AlphaIoULoss', plain_alpha_iou),
    'InnerIoULoss': box_loss('InnerIoULoss', plain_inner_iou),
    'MPDIoULoss': box_loss('MPDIoULoss', plain_mpdiou),
    'NWDLoss': box_loss('NWDLoss', plain_nwd),
    'ShapeIoULoss': box_loss('ShapeIoULoss', plain_shape_iou),
    'WIoULoss': box_loss('WIoULoss', plain_wiou),
}
FEW = dict(samples=8, channels=4, classes=5)
HEATMAPS = '64 x 17 x 64 x 48'
BCE = 'BCE with logits'

ROWS = [
    Row('KLDiscretLoss',
        '64 x 17 x (384 + 512)',
        kl_discret,
        dict(images=2, keypoints=3, bins=12),
        0.5,
        'cross entropy with probabilities',
        grows=dict(keypoints=(4, 17, 68, 133, 266))),
    Row('FocalLoss',
        '20,000 x 80, labels',
        focal,
        dict(boxes=9, classes=4),
        0.5,
        BCE,
        grows=dict(classes=(10, 40, 160, 640, 1280))),
    Row('GaussianFocalLoss', '4 x 80 x 128 x 128, logits', gaussian_focal,
        dict(images=2, classes=3, side=12), 0.5, BCE),
    Row('AssociativeEmbeddingLoss',
        '8 images, 30 objects',
        embedding,
        dict(images=2, objects=3, side=8),
        0.1,
        grows=dict(objects=(4, 15, 60, 120, 240))),
    *[
        Row(loss,
            '20,000 boxes',
            make,
            dict(boxes=7),
            0.8,
            grows=dict(boxes=(500, 2_000, 20_000, 80_000,
                              200_000)) if loss == 'GIoULoss' else {})
        for loss, make in BOXES.items()
    ],
    Row('DiceLoss', '64 x 112 x 112', dice, dict(objects=3, side=12), 0.9,
        BCE),
    Row('LabelSmoothLoss', '4096 x 1000', label_smooth,
        dict(samples=8, classes=5), 1.2, 'cross entropy'),
    Row('L1Loss', HEATMAPS, numbers('L1Loss', F.l1_loss),
        dict(images=2, height=3), 1.3),
    Row('MSELoss', HEATMAPS, numbers('MSELoss', F.mse_loss),
        dict(images=2, height=3), 1.3),
    Row('SmoothL1Loss', HEATMAPS, numbers('SmoothL1Loss', F.smooth_l1_loss),
        dict(images=2, height=3), 1.3),
    Row(
        'SumLoss', f'{HEATMAPS}, L1 and MSE',
        numbers(
            'SumLoss',
            l1_and_mse,
            losses=[
                dict(type='mmlosses.L1Loss'),
                dict(type='mmlosses.MSELoss')
            ]), dict(images=2, height=3)),
    Row('BalancedBCELoss', '16 x 1 x 640 x 640', balanced_bce,
        dict(images=2, side=24), 0.5, BCE),
    Row('PROPELLoss',
        '4096 x 10 x 6',
        propel,
        dict(samples=5, gaussians=3),
        0.5,
        grows=dict(gaussians=(2, 5, 10, 20, 40))),
    Row('CCSLoss',
        '8 x 20,000 x 256, anchors',
        ccs_anchors,
        dict(images=2, anchors=40, channels=4, objects=3, classes=5),
        1.0,
        name='CCSLoss.forward_anchors'),
    Row('CenterLoss', '512 x 512, 10,000 classes', center, FEW, 0.1),
    Row('ArcFaceLoss',
        '256 x 512, 100,000 classes',
        metric(
            'ArcFaceLoss',
            seed_arcface,
            'ArcFaceLoss',
            classes=100_000,
            scale=32,
            margin=math.degrees(0.5)),
        FEW,
        0.7,
        grows=dict(classes=(100, 1_000, 5_000, 20_000))),
    Row('CrossEntropyLoss', '4096 x 1000', cross_entropy,
        dict(samples=8, classes=5)),
    Row(
        'NormFaceLoss', '256 x 512, 10,000 classes',
        metric(
            'NormFaceLoss',
            seed_normface,
            'NormalizedSoftmaxLoss',
            temperature=1 / 16), FEW),
    Row('ModifiedSoftmaxLoss', '256 x 512, 10,000 classes',
        metric('ModifiedSoftmaxLoss', seed_modified_softmax), FEW),
    Row('ArcFaceLogitLoss', '512 x 1231', arcface_logit,
        dict(samples=8, classes=5)),
    Row('CenterSoftmaxLoss', '512 x 512, 10,000 classes', center_softmax, FEW),
    Row('CCSLoss', '20,000 x 256', ccs, FEW),
    Row('AngularLoss', '16 x 128 x 128 x 2', angular,
        dict(images=2, height=3, width=4)),
    Row('KeypointPROPELLoss', '1024 x 17 x 2', keypoint_propel,
        dict(images=2)),
    Row('CornerNetLoss', '2 x 80 x 128 x 128, 30 objects', cornernet,
        dict(images=2, classes=3, side=12, objects=4)),
]
