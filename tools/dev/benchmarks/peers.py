"""Formulas of the peers that no package has.

The functions ``tutorial_*`` are published tutorial code, ``plain_*`` is the
formula of the paper as one writes it down in PyTorch.
"""
from __future__ import annotations
import math
from typing import Any, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def tutorial_angular(pred: Tensor,
                     target: Tensor,
                     delta: float = 0.2) -> Tensor:
    """The power of the arc cosine of a clipped product."""
    dot = (pred * target).sum(dim=-1).clamp(1e-6, 1 - 1e-6)
    return (torch.acos(dot)**(1 + delta)).mean()


def tutorial_propel(mean: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """PROPEL for one component; the target has the deviation 0.1."""
    variance, own, n = sigma**2, 0.1**2, mean.shape[-1]

    def g(distance: Any, total: Tensor) -> Tensor:
        power = torch.exp(-(distance**2 / (2 * total)).sum(dim=-1))
        return power / (2 * math.pi * total).prod(dim=-1).sqrt()

    both = g(mean - target, variance + own)
    alone = 1 / (2 * math.sqrt(math.pi * own))**n + g(
        torch.zeros_like(mean), 2 * variance)
    return -(torch.log(2 * both) - torch.log(alone)).mean()


def plain_axis_aligned_iou(pred: Tensor, target: Tensor) -> Tensor:
    """1 - IoU of boxes in 3D."""
    low = torch.maximum(pred[:, :3], target[:, :3])
    high = torch.minimum(pred[:, 3:], target[:, 3:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    volumes = [(x[:, 3:] - x[:, :3]).prod(dim=1) for x in (pred, target)]
    return (1 - shared / (volumes[0] + volumes[1] - shared)).mean()


def plain_uncertain_l1(pred: Tensor, target: Tensor, sigma: Tensor) -> Tensor:
    """L1, attenuated by a deviation."""
    return ((pred - target).abs() * (-sigma).exp() + sigma).mean()


def plain_uncertain_smooth_l1(pred: Tensor, target: Tensor,
                              sigma: Tensor) -> Tensor:
    """Smooth L1, attenuated by a deviation."""
    error = F.smooth_l1_loss(pred, target, reduction='none')
    return (error * (-sigma).exp() + sigma).mean()


def plain_oks(pred: Tensor, target: Tensor, weight: Tensor,
              boxes: Tensor) -> Tensor:
    """1 - OKS, with boxes for areas."""
    distance = (pred - target).norm(dim=-1)
    distance = distance / (boxes[:, 2:] - boxes[:, :2]).norm(dim=-1)[:, None]
    similarity = (-distance**2 / 2).exp() * weight
    return 1 - (similarity.sum(dim=-1) / weight.sum(dim=-1)).mean()


def plain_chamfer(source: Tensor, target: Tensor) -> Tensor:
    """Both terms, from all squared distances at once."""
    distance = (source.unsqueeze(2) - target.unsqueeze(1)).square().sum(dim=3)
    return distance.amin(dim=2).mean() + distance.amin(dim=1).mean()


def torch_label_smooth(pred: Tensor, labels: Tensor) -> Tensor:
    """Label smoothing of torch, which shares with the label itself."""
    share = 0.1 * pred.shape[1] / (pred.shape[1] - 1)
    return F.cross_entropy(pred, labels, label_smoothing=share)


def tutorial_modified_softmax(pred: Tensor, labels: Tensor,
                              vectors: Tensor) -> Tensor:
    """Modified softmax."""
    vectors = vectors.renorm(2, 0, 1e-5).mul(1e5)
    return F.cross_entropy(F.linear(pred, vectors), labels)


def tutorial_normface(pred: Tensor, labels: Tensor, vectors: Tensor) -> Tensor:
    """NormFace."""
    cosine = F.linear(F.normalize(pred), F.normalize(vectors))
    return F.cross_entropy(16 * cosine, labels)


def tutorial_arcface_logits(cosine: Tensor, labels: Tensor) -> Tensor:
    """ArcFace from cosines."""
    cosine = cosine.clamp(-1, 1)
    sine = (1 - cosine**2).clamp(min=1e-7).sqrt()
    phi = cosine * math.cos(0.5) - sine * math.sin(0.5)
    hot = torch.zeros_like(cosine).scatter_(1, labels.view(-1, 1), 1)
    return F.cross_entropy(32 * (hot * phi + (1 - hot) * cosine), labels)


def plain_center(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """All distances of features and centres, masked by the labels."""
    square = (
        features.pow(2).sum(dim=1, keepdim=True) + centers.pow(2).sum(dim=1) -
        2 * features @ centers.T)
    own = labels.unsqueeze(1) == torch.arange(len(centers))
    return (square * own).clamp(1e-12, 1e12).sum() / len(features) / 2


def tutorial_center_softmax(features: Tensor, labels: Tensor, centers: Tensor,
                            vectors: Tensor) -> Tensor:
    """Center loss with softmax; the distance is not squared."""
    own = centers.index_select(0, labels)
    term = features.dist(own) / 2 / len(features)
    return F.cross_entropy(F.linear(features, vectors), labels) + 0.2 * term


def plain_ccs(embeddings: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
    """The cosine of the paper, shifted."""
    cosine = F.cosine_similarity(embeddings, vectors.detach()[labels])
    return ((1 - cosine) / 2).mean()


def plain_pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """The IoU of all pairs."""
    low = torch.max(boxes[:, None, :2], others[None, :, :2])
    high = torch.min(boxes[:, None, 2:], others[None, :, 2:])
    sides = (high - low).clamp(min=0)
    both = sides[..., 0] * sides[..., 1]
    area, other = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1])
                   for x in (boxes, others)]
    return both / (area[:, None] + other - both)


def tutorial_ccs(anchors: Tensor, embeddings: Tensor, vectors: Tensor,
                 annotations: Tensor) -> Tensor:
    """CCS with its loop over the images."""
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


def tutorial_balanced_bce(logits: Tensor, target: Tensor) -> Tensor:
    """Balanced BCE, after the sigmoid that it expects."""
    positive = target.byte()
    negative = (1 - target).byte()
    positives = int(positive.float().sum())
    negatives = min(int(negative.float().sum()), int(positives * 3.0))
    loss = F.binary_cross_entropy(logits.sigmoid(), target, reduction='none')
    positive_loss = loss * positive.float()
    negative_loss, _ = (loss * negative.float()).view(-1).topk(negatives)
    return (positive_loss.sum() + negative_loss.sum()) / (
        positives + negatives + 1e-6)


def plain_kl(pred: Tensor, target: Tensor) -> Tensor:
    """The mean of the KL divergence over samples and classes."""
    loss = F.kl_div(pred.log_softmax(1), target.softmax(1), reduction='none')
    return loss.mean()


def plain_channel_kl(student: Tensor,
                     teacher: Tensor,
                     tau: float = 1.0) -> Tensor:
    """KL divergence over the pixels of each channel, as in mmrazor."""
    maps = [x.flatten(2) / tau for x in (student, teacher)]
    probabilities = maps[1].softmax(-1)
    loss = (
        probabilities * maps[1].log_softmax(-1) -
        probabilities * maps[0].log_softmax(-1))
    return tau**2 * loss.sum(-1).mean()


def plain_cl_dice(pred: Tensor, labels: Tensor) -> Tensor:
    """clDice of two classes, with the soft skeleton of the paper."""

    def erode(maps: Tensor) -> Tensor:
        return torch.min(-F.max_pool2d(-maps, (3, 1), 1, (1, 0)),
                         -F.max_pool2d(-maps, (1, 3), 1, (0, 1)))

    def thin(maps: Tensor) -> Tensor:
        return F.relu(maps - F.max_pool2d(erode(maps), 3, 1, 1))

    def skeleton(maps: Tensor) -> Tensor:
        found = thin(maps)
        for _ in range(10):
            maps = erode(maps)
            more = thin(maps)
            found = found + F.relu(more - found * more)
        return found

    prob, mask = pred.softmax(1)[:, 1:], (labels == 1).unsqueeze(1).float()
    shares = []
    for line, other in ((skeleton(prob), mask), (skeleton(mask), prob)):
        inside = (line * other).sum((1, 2, 3)) + 1
        shares.append(inside / (line.sum((1, 2, 3)) + 1))
    one, two = shares
    return (1 - 2 * one * two / (one + two)).mean()


def tutorial_neg_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The focal loss of a heatmap in CornerNet."""
    prob = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    positive, negative = target.eq(1), target.lt(1)
    weight = torch.pow(1 - target[negative], 4)
    peaks, rest = prob[positive], prob[negative]
    at_peaks = (torch.log(peaks) * torch.pow(1 - peaks, 2)).sum()
    beside = (torch.log(1 - rest) * torch.pow(rest, 2) * weight).sum()
    return -(at_peaks + beside) / positive.float().sum()


def tutorial_pull_push(tag0: Tensor, tag1: Tensor, mask: Tensor) -> Tensor:
    """The embedding loss of CornerNet."""
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


def tutorial_offset(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The offset loss of CornerNet."""
    chosen = mask.unsqueeze(2).expand_as(target)
    return F.smooth_l1_loss(
        pred[chosen], target[chosen], reduction='sum') / (
            mask.float().sum() + 1e-4)


def tutorial_cornernet(outs: Sequence[Tensor],
                       targets: Sequence[Tensor]) -> Tensor:
    """CornerNet with one stack."""
    mask = targets[2]
    return (tutorial_neg_loss(outs[0], targets[0]) +
            tutorial_neg_loss(outs[1], targets[1]) +
            tutorial_pull_push(outs[2], outs[3], mask) +
            tutorial_offset(outs[4], targets[3], mask) +
            tutorial_offset(outs[5], targets[4], mask))


def axes_cross_entropy(pred: Sequence[Tensor], target: Sequence[Tensor],
                       weight: Tensor) -> Any:
    """The cross entropy of the same axes, without weights."""
    return sum([
        F.cross_entropy(axis.flatten(0, 1), truth.flatten(0, 1))
        for axis, truth in zip(pred, target)
    ])


def centre_and_size(boxes: Tensor) -> Tuple[Tensor, ...]:
    """Centre and size, in columns."""
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
    """Width, height and squared diagonal of the enclosing box."""
    low = torch.min(pred[:, :2], target[:, :2])
    high = torch.max(pred[:, 2:], target[:, 2:])
    width, height = (high - low).unbind(-1)
    return width, height, width**2 + height**2 + 1e-7


def plain_eiou(pred: Tensor, target: Tensor) -> Tensor:
    """Efficient IoU."""
    x, y, w, h = centre_and_size(pred)
    tx, ty, tw, th = centre_and_size(target)
    width, height, diagonal = plain_enclosing(pred, target)
    return (1 - plain_iou(pred, target) + ((x - tx)**2 +
                                           (y - ty)**2) / diagonal +
            (w - tw)**2 / width**2 + (h - th)**2 / height**2).mean()


def plain_mpdiou(pred: Tensor, target: Tensor) -> Tensor:
    """Minimum point distance IoU."""
    _, _, diagonal = plain_enclosing(pred, target)
    low = ((pred[:, :2] - target[:, :2])**2).sum(dim=1)
    high = ((pred[:, 2:] - target[:, 2:])**2).sum(dim=1)
    return (1 - plain_iou(pred, target) + low / diagonal +
            high / diagonal).mean()


def plain_inner_iou(pred: Tensor, target: Tensor) -> Tensor:
    """IoU of boxes with 0.7 times the sides."""
    scaled = []
    for boxes in (pred, target):
        x, y, w, h = centre_and_size(boxes)
        w, h = 0.7 * w / 2, 0.7 * h / 2
        scaled.append(torch.stack([x - w, y - h, x + w, y + h], dim=-1))
    return (1 - plain_iou(*scaled)).mean()


def plain_shape_iou(pred: Tensor, target: Tensor) -> Tensor:
    """Shape IoU with scale 0, where both sides weigh 1."""
    x, y, w, h = centre_and_size(pred)
    tx, ty, tw, th = centre_and_size(target)
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
    x, y, w, h = centre_and_size(pred)
    tx, ty, tw, th = centre_and_size(target)
    square = (x - tx)**2 + (y - ty)**2 + ((w - tw)**2 + (h - th)**2) / 4
    return (1 - torch.exp(-(square + 1e-12).sqrt() / 12.8)).mean()


def plain_alpha_iou(pred: Tensor, target: Tensor) -> Tensor:
    """The third power of the IoU."""
    return (1 - plain_iou(pred, target)**3).mean()


def plain_wiou(pred: Tensor, target: Tensor) -> Tensor:
    """Wise IoU, version 3, with a running mean of 1."""
    x, y, _, _ = centre_and_size(pred)
    tx, ty, _, _ = centre_and_size(target)
    _, _, diagonal = plain_enclosing(pred, target)
    square = (x - tx)**2 + (y - ty)**2
    iou = plain_iou(pred, target)
    loss = torch.exp(square / diagonal.detach()) * (1 - iou)
    outlier = (1 - iou).detach()
    gain = outlier / (3 * torch.pow(1.9, outlier - 3))
    return (gain * loss).mean()
