"""CCSLoss."""
import pytest
import torch
import torch.nn.functional as F
from feature_samples import CHANNELS, CLASSES, dot, length
from helpers import needs_dynamo

from mmlosses.losses import CCSLoss, ccs_loss, cosine


def ccs_by_hand(embedding, vector):
    return (1 - dot(embedding, vector) /
            (length(embedding) * length(vector))) / 2


def test_ccs_is_shifted_cosine(sample):
    features, labels = sample
    vectors = torch.randn(CLASSES, CHANNELS).double()
    iou = torch.rand(8).double()
    elements = torch.tensor([
        ccs_by_hand(x, vectors[y].tolist())
        for x, y in zip(features.tolist(), labels.tolist())
    ]).double()
    got = CCSLoss()(features, vectors, labels)
    torch.testing.assert_close(got, elements.mean())
    got = CCSLoss()(features, vectors, labels, iou)
    torch.testing.assert_close(got, (iou * elements).mean())
    cosine = F.cosine_similarity(features, vectors[labels])
    torch.testing.assert_close(
        ccs_loss(features, vectors[labels]), (1 - cosine) / 2)


def test_ccs_gradient_of_class_weights(sample):
    features, labels = sample
    for detach in (True, False):
        vectors = torch.randn(CLASSES, CHANNELS).double().requires_grad_()
        features = features.detach().requires_grad_()
        CCSLoss(detach_weight=detach)(features, vectors, labels).backward()
        assert features.grad.abs().min() > 0
        assert (vectors.grad is None) == detach


def test_ccs_is_finite_at_zero_vectors():
    """The tutorial gives 0 / 0, in value and gradient."""
    features = torch.zeros(2, 4, requires_grad=True)
    vectors = torch.eye(4)
    vectors[1] = 0
    loss = CCSLoss(detach_weight=False)
    got = loss(features, vectors.requires_grad_(), torch.tensor([0, 1]))
    got.backward()
    assert got == 0.5
    assert features.grad.abs().max() <= 1 and vectors.grad.isfinite().all()


def test_ccs_without_a_class_at_weight_zero(sample):
    features, _ = sample
    vectors = torch.randn(3, CHANNELS).double()
    labels = torch.tensor([0, 1, 2, -1, 3, 99, 0, 0])
    weight = torch.tensor([1., 1, 1, 0, 0, 0, 1, 1])
    got = CCSLoss()(features, vectors, labels, weight)
    expected = CCSLoss(reduction='sum')(features[weight > 0], vectors,
                                        labels[weight > 0]) / 8
    torch.testing.assert_close(got, expected)


def box_iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    inter = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return inter / (sum(areas) - inter)


def tutorial_ccs(anchors, embeddings, class_weights, annotations, soft,
                 corrected):
    """The tutorial's loop over images; fixed: IoU after the shift."""
    images = []
    for boxes, vectors, objects in zip(anchors.tolist(), embeddings.tolist(),
                                       annotations.tolist()):
        objects = [row for row in objects if row[4] != -1]
        losses = []
        for box, vector in zip(boxes, vectors):
            best = max([(box_iou(box, row), row) for row in objects],
                       default=(0, None),
                       key=lambda pair: pair[0])
            if best[0] <= 0.5:
                continue
            iou = best[0] if soft else 1.0
            loss = ccs_by_hand(vector, class_weights[int(best[1][4])].tolist())
            losses.append(iou * loss if corrected else (1 - iou *
                                                        (1 - 2 * loss)) / 2)
        images.append(sum(losses) / len(losses) if losses else 0.0)
    return sum(images) / len(images)


@pytest.fixture
def scene():
    """Three images: several objects, none near an anchor, none at all."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.rand(3, 60, 2, generator=generator).double() * 20
    anchors = torch.cat([centers - 6, centers + 6], dim=2)
    annotations = torch.full((3, 4, 5), -1).double()
    annotations[0] = torch.tensor([[0, 0, 12, 12, 1], [4, 3, 16, 18, 0],
                                   [8, 8, 19, 20, 2], [-1, -1, -1, -1, -1]])
    annotations[1, 0] = torch.tensor([90, 90, 99, 99, 1])
    embeddings = torch.randn(3, 60, 4, generator=generator).double()
    class_weights = torch.randn(3, 4, generator=generator).double()
    return anchors, embeddings, class_weights, annotations


@pytest.mark.parametrize('soft', [False, True])
def test_anchors_match_tutorial(scene, soft):
    loss = CCSLoss(soft=soft)
    got = loss.forward_anchors(*scene)
    corrected = tutorial_ccs(*scene, soft, True)
    assert got.item() == pytest.approx(corrected, rel=1e-9)
    assert got > 0
    # The tutorial's soft loss has a constant that no embedding removes.
    tutorial = tutorial_ccs(*scene, soft, False)
    assert (tutorial == pytest.approx(corrected)) != soft
    per_image = CCSLoss(soft=soft, reduction='none').forward_anchors(*scene)
    assert per_image.shape == (3, ) and per_image[1:].tolist() == [0, 0]
    torch.testing.assert_close(per_image.mean(), got)
    got = loss.forward_anchors(*scene, reduction_override='sum')
    torch.testing.assert_close(per_image.sum(), got)
    weighted = CCSLoss(soft=soft, loss_weight=3.0).forward_anchors(*scene)
    torch.testing.assert_close(weighted, per_image.mean() * 3)


def test_soft_loss_along_the_class_vector_is_zero():
    """The tutorial gives 0.25 parallel and 0.75 opposite, at IoU 0.5."""
    arguments = (torch.tensor([[[0., 0., 10., 6.]]]), torch.ones(1, 1, 4),
                 torch.ones(1, 4), torch.tensor([[[0., 0., 10., 10., 0.]]]))
    loss = CCSLoss(soft=True)
    anchors, embeddings, vectors, annotations = arguments
    along = loss.forward_anchors(*arguments)
    against = loss.forward_anchors(anchors, -embeddings, vectors, annotations)
    assert along.item() == pytest.approx(0, abs=1e-7)
    assert against.item() == pytest.approx(0.6)
    doubles = [x.double() for x in arguments]
    assert tutorial_ccs(*doubles, True, False) == pytest.approx((1 - 0.6) / 2)


@pytest.mark.parametrize('empty', ['annotations', 'anchors', 'images'])
def test_anchors_without_objects_stay_in_the_graph(scene, empty):
    """In the tutorial, a batch without objects has no gradient."""
    anchors, embeddings, class_weights, annotations = scene
    if empty == 'annotations':
        annotations = annotations[:, :0]
    elif empty == 'anchors':
        anchors, embeddings = anchors[:, :0], embeddings[:, :0]
    else:
        anchors, embeddings, annotations = [
            x[:0] for x in (anchors, embeddings, annotations)
        ]
    embeddings = embeddings.clone().requires_grad_()
    got = CCSLoss().forward_anchors(anchors, embeddings, class_weights,
                                    annotations)
    got.backward()
    assert got == 0 and (embeddings.grad == 0).all()


def test_ignored_anchors_may_hold_nan(scene):
    anchors, embeddings, class_weights, annotations = scene
    expected = CCSLoss().forward_anchors(*scene)
    spoilt = embeddings.clone()
    spoilt[1:] = float('nan')
    spoilt.requires_grad_()
    got = CCSLoss().forward_anchors(anchors, spoilt, class_weights,
                                    annotations)
    got.backward()
    torch.testing.assert_close(got, expected)
    assert spoilt.grad.isfinite().all()


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('detach_weight', [False, True])
def test_row_selection_equals_mask(scene, soft, detach_weight, monkeypatch):
    anchors, embeddings, class_weights, annotations = scene
    annotations[2, 0] = annotations[0, 0]
    embeddings[0, 0] = 0
    loss = CCSLoss(soft, detach_weight, loss_weight=3.0, reduction='none')
    results = []
    for _ in range(2):
        leaves = [
            x.clone().requires_grad_() for x in (embeddings, class_weights)
        ]
        got = loss.forward_anchors(anchors, *leaves, annotations)
        got.square().sum().backward()
        gradients = [
            torch.zeros_like(x) if x.grad is None else x.grad for x in leaves
        ]
        results.append([got, *gradients])
        monkeypatch.setattr(cosine, 'shapes_may_depend_on', lambda _: False)
    for rows, mask in zip(*results):
        torch.testing.assert_close(rows, mask)
    assert (results[0][0] > 0).tolist() == [True, False, True]


def test_anchors_compile_to_one_graph(scene):
    needs_dynamo()
    loss = CCSLoss(soft=True)
    torch._dynamo.reset()
    compiled = torch.compile(
        loss.forward_anchors, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(*scene), loss.forward_anchors(*scene))


@pytest.mark.parametrize('thresholds', [
    dict(background=0.6),
    dict(object=1.5),
    dict(foreground=0.5),
])
def test_wrong_thresholds(thresholds):
    with pytest.raises(ValueError, match='iou_thresholds'):
        CCSLoss(iou_thresholds=thresholds)


def test_wrong_shapes_of_ccs(scene):
    anchors, embeddings, class_weights, annotations = scene
    loss = CCSLoss()
    with pytest.raises(ValueError, match=r'\(60, 4\) and \(4, 3\)'):
        loss(embeddings[0], class_weights[:, :].T, torch.zeros(60).long())
    with pytest.raises(ValueError, match=r'\(3, 59, 4\)'):
        loss.forward_anchors(anchors, embeddings[:, 1:], class_weights,
                             annotations)
    with pytest.raises(ValueError, match=r'\(3, 4, 4\)'):
        loss.forward_anchors(anchors, embeddings, class_weights,
                             annotations[..., :4])
    with pytest.raises(ValueError, match='three axes'):
        loss.forward_anchors(anchors[0], embeddings, class_weights,
                             annotations)
    with pytest.raises(ValueError, match='reduction'):
        loss.forward_anchors(*scene, reduction_override='average')


def test_overlap_of_boxes_below_one_pixel():
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.25, 0.5],
                          [0.3, 0.3, 0.3, 0.3]])
    got = cosine.pairwise_iou(boxes, boxes)
    expected = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0, 0]])
    torch.testing.assert_close(got, expected)


def test_thresholds_of_anchors():
    """An IoU equal to the threshold does not count."""
    anchors = torch.tensor([[[0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 6.0]]])
    embeddings = torch.randn(1, 2, 3)
    vectors = torch.randn(2, 3)
    annotations = torch.tensor([[[0.0, 0.0, 10.0, 10.0, 1.0]]])
    got = CCSLoss().forward_anchors(anchors, embeddings, vectors, annotations)
    expected = ccs_loss(embeddings[0, 1:], vectors[1:])
    torch.testing.assert_close(got, expected.mean())
    for wrong in (dict(object=1.1), dict(background=-0.1),
                  dict(background=0.6), dict(Object=0.5)):
        with pytest.raises(ValueError):
            CCSLoss(iou_thresholds=wrong)
    CCSLoss(iou_thresholds=dict(background=0, object=1))
    CCSLoss(iou_thresholds=dict(background=0.5, object=0.5))


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_anchors_without_host_sync(reduction, monkeypatch):
    """The device path equals the CPU path."""
    torch.manual_seed(0)
    low = 10 * torch.rand(2, 6, 2)
    anchors = torch.cat([low, low + 8], dim=-1)
    labels = torch.tensor([0., 2.]).expand(2, 2).unsqueeze(-1)
    annotations = torch.cat([anchors[:, :2] + 1, labels], dim=-1)
    embeddings, vectors = torch.randn(2, 6, 4), torch.randn(3, 4)
    args = anchors, embeddings, vectors, annotations
    for soft in (False, True):
        loss = CCSLoss(soft=soft, reduction=reduction)
        expected = loss.forward_anchors(*args)
        with monkeypatch.context() as patch:
            patch.setattr(cosine, 'shapes_may_depend_on', lambda tensor: False)
            got = loss.forward_anchors(*args)
        torch.testing.assert_close(got, expected)
        assert got.shape == ((2, ) if reduction == 'none' else ())
        assert got.sum() > 0
