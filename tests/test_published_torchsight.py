"""The call of torchsight's documentation, against plain loops."""
import math

import pytest
import torch

from mmlosses.losses import CCSLoss


def iou(box, other):
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    overlap = max(width, 0) * max(height, 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (box, other)]
    return overlap / (sum(areas) - overlap)


def loss_by_loops(anchors, embeddings, weights, annotations, soft=False):
    """The documented steps; a weight multiplies after the shift."""
    images = []
    for b in range(len(anchors)):
        boxes = [box for box in annotations[b].tolist() if box[4] != -1]
        terms = []
        for anchor, x in zip(anchors[b].tolist(), embeddings[b].tolist()):
            best = max(boxes, key=lambda box: iou(anchor, box), default=None)
            if best is None or iou(anchor, best) <= 0.5:
                continue
            w = weights[:, int(best[4])].tolist()
            cosine = sum([p * q for p, q in zip(x, w)])
            cosine /= math.hypot(*x) * math.hypot(*w)
            terms.append((1 - cosine) / 2)
            if soft:
                terms[-1] *= iou(anchor, best)
        images.append(sum(terms) / len(terms) if terms else 0.0)
    return sum(images) / len(images)


def arguments(classes=3, dim=4):
    """Two images, one of them without an object, and the weights (D, C)."""
    generator = torch.Generator().manual_seed(0)
    corner = 100 * torch.rand(2, 30, 2, generator=generator)
    size = 20 + 20 * torch.rand(2, 30, 2, generator=generator)
    anchors = torch.cat([corner, corner + size], dim=-1).double()
    labels = torch.arange(5).remainder(classes).double().unsqueeze(1)
    objects = torch.cat([anchors[0, :5] + 2, labels], dim=1)
    annotations = torch.full((2, 5, 5), -1.0, dtype=torch.float64)
    annotations[0] = objects
    embeddings = torch.randn(2, 30, dim, generator=generator).double()
    weights = torch.randn(dim, classes, generator=generator).double()
    return anchors, embeddings, weights, annotations


@pytest.mark.parametrize('soft', (False, True))
@pytest.mark.parametrize('classes', (3, 4))
def test_call(soft, classes):
    """With the weights (D, C), also where (C, D) is the same shape."""
    given = arguments(classes)
    loss = CCSLoss(
        iou_thresholds={
            'background': 0.4,
            'object': 0.5
        }, soft=soft)
    got = loss(*given)
    assert math.isclose(got, loss_by_loops(*given, soft), rel_tol=1e-12)
    anchors, embeddings, weights, annotations = given
    assert got == loss.forward_anchors(anchors, embeddings, weights.T,
                                       annotations)
    if classes != 4:
        assert got == loss(anchors, embeddings, weights.T, annotations)
    elements = loss(*given, reduction_override='none')
    assert elements.shape == (2, ) and elements[1] == 0


def test_gradient():
    """Of the embeddings, not of the weights, also without any object."""
    anchors, embeddings, weights, annotations = arguments()
    for given in (annotations, torch.full_like(annotations, -1)):
        embeddings.requires_grad_().grad = None
        weights.requires_grad_()
        CCSLoss()(anchors, embeddings, weights, given).backward()
        assert weights.grad is None
        assert (embeddings.grad != 0).any() == (given is annotations)


def test_thresholds_by_position():
    with pytest.raises(TypeError, match='soft must be True or False'):
        CCSLoss({'background': 0.4, 'object': 0.5})
