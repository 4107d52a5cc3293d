"""Metric learning."""
from __future__ import annotations
import math

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import ArcFaceClsHead
from pytorch_metric_learning import losses as pml
from torch import Tensor, nn
from upstream import Shown, formula_of, gradient, outcome, shows

import mmlosses.losses as mmlosses


def with_vectors(loss: nn.Module, vectors: Tensor) -> nn.Module:
    """Set the class vectors of one of our losses."""
    loss.weight.data = vectors
    return loss


@shows('ArcFaceLoss', ArcFaceClsHead, 'NaN for perfect features',
       'the logit of a label is 4 * cos(0 + 0.5), in float64')
def arcface_nan() -> Shown:
    """Rounding makes some cosines exceed 1, where the arccosine is NaN."""
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


@shows('ArcFaceLoss', pml.ArcFaceLoss, 'expects the margin in degrees',
       '45 degrees from both vectors, plus 0.5 radians for the label')
def arcface_degrees() -> Shown:
    """With the 0.5 of the paper, there is almost no margin."""
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

    The margin is added in place, without a graph.
    """
    moved = torch.cos(torch.acos(cosine.detach()) + margin)
    return 32 * (cosine + (moved - cosine).detach())


@shows('ArcFaceLoss', straight_through_logit, 'gradient of a different loss',
       '32 * sin(theta + 0.5) / sin(theta), by the chain rule')
def arcface_gradient() -> Shown:
    """The margin changes the loss but not its gradient."""
    cosine = torch.tensor([math.cos(0.3)], dtype=torch.float64)
    stock = gradient(straight_through_logit, cosine)
    ours = gradient(lambda x: 32 * mmlosses.angular_margin(x, 0.5), cosine)
    right = 32 * math.sin(0.3 + 0.5) / math.sin(0.3)
    return stock, ours, right


@formula_of('tutorials')
def unbounded_margin(cosine: Tensor, margin: float = 0.5) -> Tensor:
    """cos(theta + margin) of ``ArcMarginProduct`` in tutorials."""
    sine = (1 - cosine**2).clamp(min=1e-7).sqrt()
    return cosine * math.cos(margin) - sine * math.sin(margin)


@shows('ArcFaceLoss', unbounded_margin, 'rises again at large angles',
       'insightface: below -cos(0.5), the cosine minus 0.5 * sin(0.5)')
def arcface_boundary() -> Shown:
    """Beyond pi - margin the cosine with the margin exceeds that without."""
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
       'the gradient of logits 16 * x, where both classes have 0.5')
def normface_zero() -> Shown:
    """The gradient of zeros, as after a dead ReLU, dwarfs all others."""
    features, labels = torch.zeros(1, 2), torch.tensor([0])
    stock = gradient(lambda x: normface(x, torch.eye(2), labels),
                     features).norm()
    loss = with_vectors(mmlosses.NormFaceLoss(2, 2), torch.eye(2))
    ours = gradient(lambda x: loss(x, labels), features).norm()
    right = 16 * math.hypot(0.5 - 1, 0.5)
    return stock, ours, right


@shows('NormFaceLoss', normface, 'NaN for zeros in float16',
       'the cosine to both classes is 0: log(2)')
def normface_float16() -> Shown:
    """The minimum length of 1e-12 is 0 in float16."""
    features, labels = torch.zeros(1, 2).half(), torch.tensor([0])
    stock = normface(features, torch.eye(2).half(), labels)
    loss = with_vectors(mmlosses.NormFaceLoss(2, 2), torch.eye(2))
    ours = loss(features, labels)
    right = math.log(2)
    return stock, ours, right


@formula_of('tutorials')
def renormed_softmax(features: Tensor, vectors: Tensor,
                     labels: Tensor) -> Tensor:
    """Modified softmax in tutorials: vectors are clipped, then scaled up."""
    vectors = vectors.renorm(2, 0, 1e-5).mul(1e5)
    return F.cross_entropy(F.linear(features, vectors), labels)


@shows('ModifiedSoftmaxLoss', renormed_softmax,
       'does not normalise short vectors',
       'both unit vectors: log(1 + exp(0 - 3))')
def short_vector() -> Shown:
    """A class vector shorter than 1e-5 stays as it is."""
    features, labels = torch.tensor([[3., 0.]]), torch.tensor([0])
    vectors = torch.tensor([[3e-6, 0.], [0., 1.]])
    stock = renormed_softmax(features, vectors, labels)
    ours = with_vectors(mmlosses.ModifiedSoftmaxLoss(2, 2), vectors)(features,
                                                                     labels)
    right = math.log(1 + math.exp(-3))
    return stock, ours, right


@formula_of('tutorials')
def unsquared_center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """Center loss in tutorials: one distance of the whole batch."""
    return features.dist(centers) / (2 * len(features))


@shows(
    'CenterLoss', unsquared_center_loss,
    'gradient independent of the distance',
    'equation 2 of the paper: the gradient is the distance, over the batch')
def center_pull() -> Shown:
    """Samples at distance 1 and 100 have the same gradient."""
    stock, ours, right = [], [], []
    for distance in (1.0, 100.0):
        features = torch.tensor([[distance, 0.]])
        loss = mmlosses.CenterLoss(1, 2)
        loss.centers.zero_()
        label = torch.tensor([0])
        stock.append(
            gradient(lambda x: unsquared_center_loss(x, torch.zeros(1, 2)),
                     features).norm())
        ours.append(gradient(lambda x: loss.eval()(x, label), features).norm())
        right.append(distance)
    return stock, ours, right


@formula_of('pytorch-center-loss')
def expanded_center_loss(features: Tensor, centers: Tensor) -> Tensor:
    """|x|**2 + |c|**2 - 2xc, as in KaiyangZhou/pytorch-center-loss."""
    squares = (features**2).sum(dim=1) + (centers**2).sum(dim=1)
    return (squares - 2 * (features * centers).sum(dim=1)).mean()


@shows('CenterLoss', expanded_center_loss, 'cancellation far from the origin',
       '0.0625 squared, over 2')
def center_cancels() -> Shown:
    """A small distance is the difference of large squares."""
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


@shows('CCSLoss', torchsight_ccs, 'a perfect embedding has the loss 0.25',
       'the cosine is 1, so the loss is 0')
def ccs_constant() -> Shown:
    """It multiplies by the IoU before the shift, which moves the minimum."""
    embeddings, iou = torch.tensor([[3., 0.]]), torch.tensor([0.5])
    stock = torchsight_ccs(embeddings, torch.tensor([[1., 0.]]), iou)
    ours = mmlosses.CCSLoss(soft=True)(embeddings, torch.eye(2),
                                       torch.tensor([0]), iou)
    right = 0.0
    return stock, ours, right


@shows('CCSLoss', torchsight_ccs, 'NaN for an embedding of zeros',
       'the cosine of zeros is 0: (1 - 0) / 2')
def ccs_zeros() -> Shown:
    """It divides by the length, 0."""
    embeddings, iou = torch.zeros(1, 2), torch.tensor([1.])
    stock = torchsight_ccs(embeddings, torch.tensor([[1., 0.]]), iou)
    ours = mmlosses.CCSLoss(soft=True)(embeddings, torch.eye(2),
                                       torch.tensor([0]), iou)
    right = 0.5
    return stock, ours, right


@shows('CCSLoss', torchsight_ccs, 'no gradient without objects',
       'an empty gradient, as DistributedDataParallel needs')
def ccs_empty() -> Shown:
    """Without objects, the loss is detached and backward fails."""
    empty, iou = torch.zeros(0, 2), torch.zeros(0)
    labels = torch.zeros(0, dtype=torch.long)
    stock = outcome(lambda: gradient(
        lambda x: torchsight_ccs(x, torch.zeros(0, 2), iou), empty).shape)
    ours = gradient(
        lambda x: mmlosses.CCSLoss(soft=True)(x, torch.eye(2), labels, iou),
        empty).shape
    right = (0, 2)
    return stock, ours, right
