"""The calls of a tutorial on losses, against its formulas as plain loops."""
import math

import pytest
import torch

from mmlosses.losses import (ArcFaceLoss, ArcMarginProduct,
                             BalanceCrossEntropyLoss, BalancedBCELoss,
                             CenterSoftmaxLoss, CrossEntropyLoss, DiceLoss,
                             KLDiscretLoss, LabelSmoothLoss, Modified,
                             ModifiedSoftmaxLoss, NormFace, NormFaceLoss,
                             centerloss, smooth_l1_loss)
from mmlosses.registry import MODELS

LABEL = torch.tensor([1, 2, 3, 1])


def cross_entropy(logits, label):
    return math.log(sum([math.exp(z) for z in logits])) - logits[label]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def dot(x, y):
    return sum([a * b for a, b in zip(x, y)])


def cosines(x, vectors):
    return [dot(x, w) / math.hypot(*x) / math.hypot(*w) for w in vectors]


@pytest.fixture
def feature():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 2, generator=generator).double()


def test_simcc_debug():
    """The document's ``debug()``, as it stands."""
    loss = KLDiscretLoss()
    target_x = torch.rand((32, 17, 192 * 2))
    target_y = torch.rand((32, 17, 256 * 2))
    output_x = torch.rand((32, 17, 192 * 2))
    output_y = torch.rand((32, 17, 256 * 2))
    target_weight = torch.ones((32, 17, 1))
    cost = loss(output_x, output_y, target_x, target_y, target_weight)
    assert cost.shape == ()
    assert cost == loss((output_x, output_y), (target_x, target_y),
                        target_weight)


def test_simcc():
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 6), (2, 3, 8), (2, 3, 6), (2, 3, 8), (2, 3, 1)
    drawn = [torch.rand(s, generator=generator).double() for s in shapes]
    total = 0.0
    for joint in range(3):
        for pred, target in ((drawn[0], drawn[2]), (drawn[1], drawn[3])):
            rows = []
            for b in range(2):
                p, t = pred[b, joint].tolist(), target[b, joint].tolist()
                kl = mean([
                    t[i] * (math.log(t[i]) + cross_entropy(p, i))
                    for i in range(len(t))
                ])
                rows.append(kl * float(drawn[4][b, joint]))
            total += mean(rows)
    assert math.isclose(KLDiscretLoss()(*drawn), total / 3, rel_tol=1e-12)
    named = KLDiscretLoss()(*drawn[:4], target_weight=drawn[4])
    assert math.isclose(named, total / 3, rel_tol=1e-12)
    with pytest.raises(TypeError, match='pred must be a tuple'):
        KLDiscretLoss()(*drawn[:2], drawn[4])
    with pytest.raises(ValueError, match='weight'):
        KLDiscretLoss()(*drawn[:4])


def balanced_by_loops(pred, gt, ratio, eps):
    entropy = [
        -math.log(p) if t else -math.log(1 - p) for p, t in zip(pred, gt)
    ]
    positive = [x for x, t in zip(entropy, gt) if t]
    negative = sorted([x for x, t in zip(entropy, gt) if not t])[::-1]
    if not positive:
        return sum(negative) / (len(negative) + eps)
    hard = negative[:int(len(positive) * ratio)]
    return (sum(positive) + sum(hard)) / (len(positive) + len(hard) + eps)


@pytest.mark.parametrize('share', (0.0, 0.1, 0.6))
@pytest.mark.parametrize('eps', (1e-6, 0.5))
def test_balance_cross_entropy(share, eps):
    """Of probabilities, as the document's ``m(input)``."""
    assert BalanceCrossEntropyLoss is BalancedBCELoss
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(2, 1, 5, 6, generator=generator).double()
    gt = (torch.rand(2, 1, 5, 6, generator=generator) < share).double()
    loss = BalanceCrossEntropyLoss(negative_ratio=3.0, eps=eps)
    assert not loss.use_sigmoid
    got = loss(pred, gt)
    expected = balanced_by_loops(pred.flatten().tolist(),
                                 gt.flatten().tolist(), 3.0, eps)
    assert math.isclose(got, expected, rel_tol=1e-12)
    balanced, origin = loss(pred, gt, return_origin=True)
    assert balanced == got and origin.shape == pred.shape
    torch.testing.assert_close(
        origin,
        torch.nn.functional.binary_cross_entropy(pred, gt, reduction='none'))
    logits = BalancedBCELoss(eps=eps, use_sigmoid=True)
    torch.testing.assert_close(logits(pred.logit(), gt), got)
    assert BalanceCrossEntropyLoss(negative_ratio=3.0).use_sigmoid


def test_modified(feature):
    criterion = Modified(num_classes=10, in_channels=2).double()
    assert Modified is ModifiedSoftmaxLoss is MODELS.get('Modified')
    expected = mean([
        cross_entropy(
            [dot(x, w) / math.hypot(*w) for w in criterion.weight.tolist()], y)
        for x, y in zip(feature.tolist(), LABEL)
    ])
    assert math.isclose(criterion(feature, LABEL), expected, rel_tol=1e-9)


def test_norm_face(feature):
    criterion = NormFace(num_classes=10, in_channels=2, s=16).double()
    assert NormFace is NormFaceLoss is MODELS.get('NormFace')
    expected = mean([
        cross_entropy([16 * c
                       for c in cosines(x, criterion.weight.tolist())], y)
        for x, y in zip(feature.tolist(), LABEL)
    ])
    assert math.isclose(criterion(feature, LABEL), expected, rel_tol=1e-9)


def arc_by_loops(x, vectors, label, s, m, boundary):
    """Cosine and margin; the document leaves out the boundary."""
    logits = cosines(x, vectors)
    theta = math.acos(logits[label])
    moved = math.cos(theta + m)
    if boundary == 'easy' and theta >= math.pi / 2:
        moved = math.cos(theta)
    elif boundary == 'keep' and theta > math.pi - m:
        moved = math.cos(theta) - m * math.sin(m)
    logits[label] = moved
    return cross_entropy([s * z for z in logits], label)


@pytest.mark.parametrize('kwargs, boundary',
                         ((dict(boundary='none'), 'none'),
                          (dict(easy_margin=True), 'easy'),
                          (dict(easy_margin=False), 'keep')))
@pytest.mark.parametrize('by_position', (True, False))
def test_arc_margin_product(feature, kwargs, boundary, by_position):
    assert ArcMarginProduct is ArcFaceLoss
    sizes = (2, 10) if by_position else ()
    names = {} if by_position else dict(in_feature=2, out_feature=10)
    criterion = ArcMarginProduct(*sizes, **names, s=32, m=0.5, **kwargs)
    criterion = criterion.double()
    assert criterion.weight.shape == (10, 2)
    assert criterion.boundary == boundary
    # One class vector behind each feature: beyond every boundary.
    criterion.weight.data[1] = torch.tensor([-0.9, -1.1])
    expected = mean([
        arc_by_loops(x, criterion.weight.tolist(), y, 32, 0.5, boundary)
        for x, y in zip(feature.tolist(), LABEL.tolist())
    ])
    assert math.isclose(criterion(feature, LABEL), expected, rel_tol=1e-6)


def test_center_loss(feature):
    """With the squared distance, where the document takes no square."""
    assert centerloss is CenterSoftmaxLoss
    criterion = centerloss(
        num_classes=10, in_channels=2, lamda=0.2, learn_centers=True).double()
    assert criterion.center_weight == 0.2
    expected = mean([
        cross_entropy([dot(x, w) for w in criterion.weight.tolist()], y) +
        0.2 / 2 * sum([(a - c)**2
                       for a, c in zip(x, criterion.centers[y].tolist())])
        for x, y in zip(feature.tolist(), LABEL)
    ])
    assert math.isclose(criterion(feature, LABEL), expected, rel_tol=1e-9)


def test_label_smooth():
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand(4, 10, generator=generator).double()
    for smoothing in (0.0, 0.1):
        criterion = LabelSmoothLoss(smoothing=smoothing)
        rows = []
        for row, y in zip(logits.tolist(), LABEL):
            rows.append(
                sum([(1 - smoothing if j == y else smoothing / 9) *
                     cross_entropy(row, j) for j in range(10)]))
        assert math.isclose(criterion(logits, LABEL), mean(rows))
    plain = CrossEntropyLoss()(logits, LABEL)
    assert math.isclose(plain, LabelSmoothLoss(smoothing=0.0)(logits, LABEL))


def test_smooth_l1():
    """The target comes first there; the loss is symmetric."""
    y_true, y_pred = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.5, 2, 1])
    expected = torch.tensor([0.125, 1.5, 1.5])
    torch.testing.assert_close(smooth_l1_loss(y_true, y_pred), expected)


def test_dice():
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(3, 1, 4, 5, generator=generator).double()
    gt = (torch.rand(3, 1, 4, 5, generator=generator) < 0.3).double()
    criterion = DiceLoss(naive_dice=True, batch=True, activate=False, eps=1e-6)
    p, t = pred.flatten().tolist(), gt.flatten().tolist()
    expected = 1 - (2 * dot(p, t) + 1e-6) / (sum(p) + sum(t) + 1e-6)
    assert math.isclose(criterion(pred, gt), expected, rel_tol=1e-12)


@pytest.mark.parametrize('cls, name, other',
                         ((NormFaceLoss, 'scale', 's'),
                          (ArcFaceLoss, 'margin', 'm'),
                          (CenterSoftmaxLoss, 'center_weight', 'lamda')))
def test_both_names_of_an_argument(cls, name, other):
    with pytest.raises(TypeError, match=f'{name} and {other} are two names'):
        cls(num_classes=3, in_channels=2, **{name: 0.1, other: 0.1})
