"""Features and their classes."""
from __future__ import annotations
import math

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import ArcFaceClsHead
from pytorch_metric_learning import losses as pml
from torch import Tensor, nn
from upstream import Shown, formula_of, outcome, shows, slope

import mmlosses.losses as mmlosses


def with_vectors(loss: nn.Module, vectors: Tensor) -> nn.Module:
    """A loss of ours with these class vectors."""
    loss.weight.data = vectors
    return loss


@shows('ArcFaceLoss', ArcFaceClsHead, 'NaN for perfect features',
       'the logit of a label is 4 * cos(0 + 0.5), in float64')
def arcface_nan() -> Shown:
    """Rounding takes some cosines past 1, where the arccosine is NaN."""
    vectors, labels = torch.arange(3200.).sin().view(100,
                                                     32), torch.arange(100)
    head = ArcFaceClsHead(num_classes=100, in_channels=32, scale=4.0)
    head.norm_product.weight.data = vectors
    stock = F.cross_entropy(head((vectors, ), labels), labels)
    loss = mmlosses.ArcFaceLoss(100, 32, scale=4.0, margin=0.5)
    ours = with_vectors(loss, vectors)(vectors, labels)
    units = F.normalize(vectors.double())
    logits = 4 * (units @ units.T).fill_diagonal_(math.cos(0.5))
    right = F.cross_entropy(logits, labels)
    return stock, ours, right


@shows(
    'ArcFaceLoss', pml.ArcFaceLoss, 'margin in degrees, in silence',
    '45 degrees from both vectors, plus 0.5 radians from that of the label')
def arcface_degrees() -> Shown:
    """With the 0.5 of the paper there is next to no margin."""
    features, label = torch.tensor([[1., 1.]]), torch.tensor([0])
    loss = pml.ArcFaceLoss(2, 2, margin=0.5, scale=8)
    loss.W.data = torch.eye(2)
    stock = loss(features, label)
    loss = mmlosses.ArcFaceLoss(2, 2, margin=0.5, scale=8.0)
    ours = with_vectors(loss, torch.eye(2))(features, label)
    angle = math.pi / 4
    right = math.log(1 + math.exp(8 *
                                  (math.cos(angle) - math.cos(angle + 0.5))))
    return stock, ours, right


@formula_of('insightface')
def straight_through_logit(cosine: Tensor, margin: float = 0.5) -> Tensor:
    """The target's logit in insightface's arcface_torch, from its formula.

    The angle is moved in place, without a graph.
    """
    moved = torch.cos(torch.acos(cosine.detach()) + margin)
    return 32 * (cosine + (moved - cosine).detach())


@shows(
    'ArcFaceLoss', straight_through_logit, "gradient is not the loss's",
    '32 * sin(theta + 0.5) / sin(theta), the slope of 32 * cos(theta + 0.5)')
def arcface_gradient() -> Shown:
    """The margin is in the loss and not in its gradient."""
    cosine = torch.tensor([math.cos(0.3)], dtype=torch.float64)
    stock = slope(straight_through_logit, cosine)
    ours = slope(lambda x: 32 * mmlosses.angular_margin(x, 0.5), cosine)
    right = 32 * math.sin(0.3 + 0.5) / math.sin(0.3)
    return stock, ours, right


@formula_of('tutorials')
def unbounded_margin(cosine: Tensor, margin: float = 0.5) -> Tensor:
    """cos(theta + margin) of ``ArcMarginProduct`` in tutorials."""
    sine = (1 - cosine**2).clamp(min=1e-7).sqrt()
    return cosine * math.cos(margin) - sine * math.sin(margin)


@shows('ArcFaceLoss', unbounded_margin, 'a reward at large angles',
       'insightface: below -cos(0.5), the cosine minus 0.5 * sin(0.5)')
def arcface_boundary() -> Shown:
    """Beyond pi - margin the cosine rises again, above that of the angle."""
    cosine = torch.tensor([-1.0])
    stock = unbounded_margin(cosine)
    ours = mmlosses.angular_margin(cosine, 0.5)
    right = -1 - 0.5 * math.sin(0.5)
    return stock, ours, right


@formula_of('tutorials')
def normface(features: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
    """NormFace by ``F.normalize``, as in tutorials."""
    cosine = F.linear(F.normalize(features), F.normalize(vectors))
    return F.cross_entropy(16 * cosine, labels)


@shows('NormFaceLoss', normface, 'gradient of 1e13 for zeros',
       'the slope of logits 16 * x, where both classes have 0.5')
def normface_zero() -> Shown:
    """A dead ReLU emits zeros, whose gradient drowns all others."""
    features, labels = torch.zeros(1, 2), torch.tensor([0])
    stock = slope(lambda x: normface(x, torch.eye(2), labels), features).norm()
    loss = with_vectors(mmlosses.NormFaceLoss(2, 2), torch.eye(2))
    ours = slope(lambda x: loss(x, labels), features).norm()
    right = 16 * math.hypot(0.5 - 1, 0.5)
    return stock, ours, right


@shows('NormFaceLoss', normface, 'NaN for zeros in float16',
       'no cosine to either of two classes: log(2)')
def normface_float16() -> Shown:
    """The smallest length allowed, 1e-12, is 0 in float16."""
    features, labels = torch.zeros(1, 2).half(), torch.tensor([0])
    stock = normface(features, torch.eye(2).half(), labels)
    loss = with_vectors(mmlosses.NormFaceLoss(2, 2), torch.eye(2))
    ours = loss(features, labels)
    right = math.log(2)
    return stock, ours, right


@formula_of('tutorials')
def renormed_softmax(features: Tensor, vectors: Tensor,
                     labels: Tensor) -> Tensor:
    """Modified softmax of tutorials, which shrinks and blows up again."""
    vectors = vectors.renorm(2, 0, 1e-5).mul(1e5)
    return F.cross_entropy(F.linear(features, vectors), labels)


@shows('ModifiedSoftmaxLoss', renormed_softmax, 'short vectors stay short',
       'both unit vectors: log(1 + exp(0 - 3))')
def short_vector() -> Shown:
    """A class vector below 1e-5 is not normalised."""
    features, labels = torch.tensor([[3., 0.]]), torch.tensor([0])
    vectors = torch.tensor([[3e-6, 0.], [0., 1.]])
    stock = renormed_softmax(features, vectors, labels)
    ours = with_vectors(mmlosses.ModifiedSoftmaxLoss(2, 2), vectors)(features,
                                                                     labels)
    right = math.log(1 + math.exp(-3))
    return stock, ours, right


@formula_of('tutorials')
def unsquared_center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """Center loss of tutorials: the distance of the whole batch at once."""
    return features.dist(centers) / (2 * len(features))


@shows(
    'CenterLoss', unsquared_center_loss, 'the pull does not grow',
    'equation 2 of the paper: the gradient is the distance, over the batch')
def center_pull() -> Shown:
    """Samples 1 and 100 away are pulled alike."""
    stock, ours, right = [], [], []
    for distance in (1.0, 100.0):
        features = torch.tensor([[distance, 0.]])
        loss = mmlosses.CenterLoss(1, 2)
        loss.centers.zero_()
        label = torch.tensor([0])
        stock.append(
            slope(lambda x: unsquared_center_loss(x, torch.zeros(1, 2)),
                  features).norm())
        ours.append(slope(lambda x: loss.eval()(x, label), features).norm())
        right.append(distance)
    return stock, ours, right


@formula_of('pytorch-center-loss')
def expanded_center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """|x|**2 + |c|**2 - 2xc, as KaiyangZhou/pytorch-center-loss has it."""
    squares = (features**2).sum(dim=1) + (centers**2).sum(dim=1)
    return (squares - 2 * (features * centers).sum(dim=1)).mean()


@shows('CenterLoss', expanded_center_loss, 'cancels far from the origin',
       '0.0625 squared, and halved in the paper')
def center_cancels() -> Shown:
    """The square of a small distance is lost between large numbers."""
    features, center = torch.tensor([[3000.0625,
                                      0.]]), torch.tensor([[3000., 0.]])
    stock = 0.5 * expanded_center_loss(features, center)
    loss = mmlosses.CenterLoss(1, 2)
    loss.centers.copy_(center)
    ours = loss(features, torch.tensor([0]))
    right = 0.5 * 0.0625**2
    return stock, ours, right


@formula_of('torchsight')
def torchsight_ccs(embeddings: Tensor, vectors: Tensor, iou: Tensor) -> Tensor:
    """The soft loss of one image in SetaSouto/torchsight, from its formula."""
    if len(embeddings) == 0:
        return embeddings.new_zeros(1).mean()
    lengths = embeddings.norm(dim=1) * vectors.norm(dim=1)
    cosine = (embeddings * vectors).sum(dim=1) / lengths
    return ((1 - iou * cosine) / 2).mean()


@shows('CCSLoss', torchsight_ccs, 'a perfect embedding costs 0.25',
       'the cosine is 1, so nothing is left to learn')
def ccs_constant() -> Shown:
    """The IoU is multiplied before the shift, so the minimum depends on it."""
    embeddings, iou = torch.tensor([[3., 0.]]), torch.tensor([0.5])
    stock = torchsight_ccs(embeddings, torch.tensor([[1., 0.]]), iou)
    ours = mmlosses.CCSLoss(soft=True)(embeddings, torch.eye(2),
                                       torch.tensor([0]), iou)
    right = 0.0
    return stock, ours, right


@shows('CCSLoss', torchsight_ccs, 'NaN for an embedding of zeros',
       'zeros have the cosine 0 to all: (1 - 0) / 2')
def ccs_zeros() -> Shown:
    """It divides by the length."""
    embeddings, iou = torch.zeros(1, 2), torch.tensor([1.])
    stock = torchsight_ccs(embeddings, torch.tensor([[1., 0.]]), iou)
    ours = mmlosses.CCSLoss(soft=True)(embeddings, torch.eye(2),
                                       torch.tensor([0]), iou)
    right = 0.5
    return stock, ours, right


@shows('CCSLoss', torchsight_ccs, 'no gradient without objects',
       'an empty gradient, so that DistributedDataParallel goes on')
def ccs_empty() -> Shown:
    """A batch without objects cannot be back-propagated."""
    empty, iou = torch.zeros(0, 2), torch.zeros(0)
    labels = torch.zeros(0, dtype=torch.long)
    stock = outcome(lambda: slope(
        lambda x: torchsight_ccs(x, torch.zeros(0, 2), iou), empty).shape)
    ours = slope(
        lambda x: mmlosses.CCSLoss(soft=True)(x, torch.eye(2), labels, iou),
        empty).shape
    right = (0, 2)
    return stock, ours, right
