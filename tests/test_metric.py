"""Losses over features and class vectors against independent derivations."""
import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from cases import CASES
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from ranks import needs_ranks, run_ranks

from mmlosses.core.kernels import class_entropy
from mmlosses.losses import (ArcFaceLogitLoss, ArcFaceLoss, CCSLoss,
                             CenterLoss, CenterSoftmaxLoss,
                             ModifiedSoftmaxLoss, NormFaceLoss, angular_margin,
                             ccs_loss, center_loss, cosine, cosine_logits)
from mmlosses.testing import CONTRACT

CLASSES, CHANNELS = 10, 6
SIZES = dict(num_classes=CLASSES, in_channels=CHANNELS)
FEATURE_LOSSES = (ModifiedSoftmaxLoss, NormFaceLoss, ArcFaceLoss, CenterLoss,
                  CenterSoftmaxLoss)
BOUNDARIES = ('keep', 'continuous', 'easy', 'none')


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, CHANNELS, generator=generator).double()
    labels = torch.randint(CLASSES, (8, ), generator=generator)
    return features, labels


def build(loss, **kwargs):
    torch.manual_seed(0)
    return loss(**{**SIZES, **kwargs}).double()


def length(vector):
    return math.sqrt(sum(x * x for x in vector))


def dot(one, other):
    return sum(x * y for x, y in zip(one, other))


def cross_entropy(logits, label):
    return math.log(sum(math.exp(z) for z in logits)) - logits[label]


def rows(loss, features, labels, logit):
    """Mean cross entropy of logits computed one by one."""
    vectors, total = loss.weight.tolist(), 0.0
    for x, label in zip(features.tolist(), labels.tolist()):
        logits = [logit(x, w, j == label) for j, w in enumerate(vectors)]
        total += cross_entropy(logits, label)
    return total / len(features)


def test_modified_softmax_matches_tutorial(sample):
    loss = build(ModifiedSoftmaxLoss)
    expected = rows(loss, *sample, lambda x, w, _: dot(x, w) / length(w))
    assert loss(*sample).item() == pytest.approx(expected, rel=1e-12)
    # The tutorial's normalisation, which holds for vectors of this length.
    renorm = loss.weight.T.renorm(2, 1, 1e-5).mul(1e5)
    tutorial = F.cross_entropy(sample[0].mm(renorm), sample[1])
    assert tutorial.item() == pytest.approx(expected, rel=1e-6)


def test_class_vector_length_is_ignored(sample):
    """The tutorial's renorm leaves short vectors unnormalised."""
    loss = build(ModifiedSoftmaxLoss)
    expected = loss(*sample)
    with torch.no_grad():
        loss.weight[0] *= 1e-6 / loss.weight[0].norm() * 1.1
    torch.testing.assert_close(loss(*sample), expected)
    renorm = loss.weight.detach().T.renorm(2, 1, 1e-5).mul(1e5)
    assert renorm[:, 0].norm() == pytest.approx(0.11, rel=1e-2)


def test_normface_matches_tutorial(sample):
    for scale in (1.0, 16.0, 64.0):
        loss = build(NormFaceLoss, scale=scale)
        expected = rows(
            loss, *sample, lambda x, w, _: scale * dot(x, w) /
            (length(x) * length(w)))
        assert loss(*sample).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('scale, bound', [(1, 1.37693490), (4, 0.10047198),
                                          (16, 1.7118e-7)])
def test_normface_bound_at_the_simplex(scale, bound):
    """Proposition 2 of the paper: a lower bound for any class vectors."""
    n = 10
    formula = math.log1p((n - 1) * math.exp(-n / (n - 1) * scale))
    assert formula == pytest.approx(bound, rel=1e-4)
    simplex = torch.eye(n, dtype=torch.float64) - 1 / n
    loss = NormFaceLoss(n, n, scale=scale).double()
    with torch.no_grad():
        loss.weight.copy_(3 * simplex)
    got = loss(5 * simplex, torch.arange(n))
    assert got.item() == pytest.approx(formula, rel=1e-9)
    other = build(NormFaceLoss, in_channels=n, scale=scale)
    features = torch.randn(n, n).double()
    assert other(features, torch.arange(n)) > formula


def arcface_logit(scale, margin, boundary):
    """The logit of a sample and a class, via the angle itself."""

    def logit(x, w, right):
        cosine = dot(x, w) / (length(x) * length(w))
        if not right:
            return scale * cosine
        theta = math.acos(cosine)
        if boundary == 'easy' and theta >= math.pi / 2:
            return scale * cosine
        if boundary in ('keep', 'continuous') and theta >= math.pi - margin:
            if boundary == 'keep':
                return scale * (cosine - margin * math.sin(margin))
            return scale * (-2 - math.cos(theta + margin))
        return scale * math.cos(theta + margin)

    return logit


@pytest.mark.parametrize('boundary', BOUNDARIES)
@pytest.mark.parametrize('scale, margin', [(32, 0.5), (8, 0.2), (4, 1.5)])
def test_arcface_matches_angle_formula(sample, scale, margin, boundary):
    features, labels = sample
    arguments = dict(scale=scale, margin=margin, boundary=boundary)
    loss = build(ArcFaceLoss, **arguments)
    # Every branch: parallel, orthogonal and opposite to the class vector.
    own = loss.weight.detach()[labels]
    features[:4] = own[:4] * torch.tensor([3, -3, -3, 0.1])[:, None]
    features[:4] += torch.tensor([0.01, 0.01, 0.1, 0.01
                                  ])[:, None] * torch.randn(4, CHANNELS)
    expected = rows(loss, features, labels, arcface_logit(**arguments))
    got = loss(features, labels)
    assert got.item() == pytest.approx(expected, rel=1e-9)
    # The logits without margin, for the loss of heads.
    head = ArcFaceLogitLoss(background=False, **arguments)
    torch.testing.assert_close(head(loss.logits(features), labels), got)


def test_arcface_without_boundary_matches_tutorial(sample):
    features, labels = sample
    loss = build(ArcFaceLoss, boundary='none')
    cosine = F.normalize(features).mm(F.normalize(loss.weight.T, dim=0))
    sine = torch.sqrt((1 - cosine.clamp(-1, 1)**2).clamp(min=1e-7))
    phi = cosine * math.cos(0.5) - sine * math.sin(0.5)
    one_hot = F.one_hot(labels, CLASSES)
    expected = F.cross_entropy(32 * (one_hot * phi + (1 - one_hot) * cosine),
                               labels)
    torch.testing.assert_close(loss(features, labels), expected)


def test_arcface_matches_pytorch_metric_learning(sample):
    """It takes degrees and corresponds to boundary='keep'."""
    reference = pytest.importorskip('pytorch_metric_learning.losses')
    features, labels = sample
    loss = build(ArcFaceLoss, scale=32, margin=0.5)
    reference = reference.ArcFaceLoss(
        CLASSES, CHANNELS, margin=math.degrees(0.5), scale=32).double()
    with torch.no_grad():
        reference.W.copy_(loss.weight.T)
        features[0] = 0.1 * features[0] - 5 * loss.weight[labels[0]]
    cosine = F.cosine_similarity(features, loss.weight[labels])
    assert cosine.min() < -math.cos(0.5)
    torch.testing.assert_close(
        loss(features, labels), reference(features, labels))


@pytest.mark.parametrize('boundary, end', [('none', -0.8776),
                                           ('keep', -1.2397),
                                           ('continuous', -1.1224),
                                           ('easy', -1.0)])
def test_margin_beyond_pi(boundary, end):
    theta = torch.tensor([3.0, math.pi], dtype=torch.float64)
    got = angular_margin(theta.cos(), 0.5, boundary)
    assert got[1].item() == pytest.approx(end, abs=1e-4)
    # Without a boundary the margin turns negative: the logit exceeds the one
    # without margin.
    assert (got > theta.cos()).all() == (boundary == 'none')
    if boundary == 'none':
        assert (got - theta.cos())[0].item() == pytest.approx(0.0535, abs=1e-4)


@pytest.mark.parametrize('margin', [0.1, 0.5, 1.0])
def test_monotone_in_the_angle(margin):
    theta = torch.linspace(0, math.pi, 4001, dtype=torch.float64)
    for boundary in BOUNDARIES:
        step = angular_margin(theta.cos(), margin, boundary).diff()
        if boundary == 'continuous':
            assert step.abs().max() < 1e-3
        if boundary in ('keep', 'continuous'):
            assert (step < 0).all()
        else:
            assert (step > 0).any()
    # 'keep' jumps as insightface's does, from -1.
    edge = torch.tensor(-math.cos(margin) - 1e-12, dtype=torch.float64)
    assert angular_margin(
        edge, margin).item() == pytest.approx(-math.cos(margin) -
                                              margin * math.sin(margin))


@pytest.mark.parametrize('boundary', BOUNDARIES)
def test_parallel_and_opposite_features(boundary):
    """The tutorial's acos is NaN past 1, its gradient at 1 infinite."""
    torch.manual_seed(0)
    loss = ArcFaceLoss(100, 128, boundary=boundary, reduction='none')
    labels, own = torch.arange(100), loss.weight.detach()
    cosine = (F.normalize(own) * F.normalize(own)).sum(1)
    assert torch.acos(cosine).isnan().any()
    for sign in (1, -1):
        features = (sign * own).requires_grad_()
        got = loss(features, labels)
        got.sum().backward()
        assert got.isfinite().all()
        assert features.grad.isfinite().all()
        assert loss.weight.grad.isfinite().all()
        assert features.grad.abs().max() < 1e4
    # The parallel value is exact: cos(m).
    assert angular_margin(torch.ones(1), 0.5,
                          boundary).item() == pytest.approx(math.cos(0.5))


def test_margin_gradient():
    """insightface's gradient is s at any angle."""
    theta = torch.linspace(0.1, 2.5, 9, dtype=torch.float64)
    cosine = theta.cos().requires_grad_()
    angular_margin(cosine, 0.5).sum().backward()
    expected = torch.sin(theta + 0.5) / torch.sin(theta)
    torch.testing.assert_close(cosine.grad, expected)
    assert (expected - 1).abs().min() > 1e-2


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('loss', FEATURE_LOSSES)
def test_features_of_zeros(loss, dtype):
    """F.normalize has a gradient of 1e12 there, NaN in half precision."""
    torch.manual_seed(0)
    features = torch.zeros(3, CHANNELS, dtype=dtype, requires_grad=True)
    module = loss(**SIZES)
    got = module(features, torch.tensor([0, 1, 2]))
    got.backward()
    assert got.isfinite()
    assert features.grad.isfinite().all() and features.grad.abs().max() < 100
    for parameter in module.parameters():
        assert parameter.grad.isfinite().all()
    if loss is NormFaceLoss:
        upstream = torch.zeros(3, CHANNELS, requires_grad=True)
        logits = 16 * F.normalize(upstream) @ F.normalize(module.weight).T
        F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
        assert upstream.grad.abs().max() > 1e11


@pytest.mark.parametrize('loss', [NormFaceLoss, ArcFaceLoss])
def test_class_vector_of_zeros(loss, sample):
    module = build(loss)
    with torch.no_grad():
        module.weight[0] = 0
    module(sample[0], torch.zeros_like(sample[1])).backward()
    assert module.weight.grad.isfinite().all()
    assert module.weight.grad.abs().max() < 1e3


@pytest.mark.parametrize('loss', [NormFaceLoss, ArcFaceLoss])
@settings(deadline=None, max_examples=25)
@given(size=st.floats(1e-3, 1e4), seed=st.integers(0, 2**16))
def test_scale_invariance(loss, size, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(5, CHANNELS, generator=generator).double()
    labels = torch.randint(CLASSES, (5, ), generator=generator)
    module = build(loss, reduction='none')
    got = module(features, labels)
    torch.testing.assert_close(module(features * size, labels), got)
    with torch.no_grad():
        module.weight *= size
    torch.testing.assert_close(module(features, labels), got)
    # The length of one class vector, or a NaN row, affects nothing else.
    features[0] = float('nan')
    torch.testing.assert_close(module(features, labels)[1:], got[1:])


def doubled(logits):
    """A margin function with a simple derivative."""
    return 2 * logits - 1


def awkward_queries(kind, classes):
    """Queries and class vectors with an extreme softmax."""
    queries, vectors = torch.randn(5, 3), torch.randn(classes, 3)
    if kind == 'zeros':
        queries[0], vectors[0] = 0, 0
    elif kind == 'tiny':
        queries, vectors = 1e-20 * queries, 1e-8 * vectors
    elif kind == 'large':
        queries, vectors = 1e3 * queries, 1e3 * vectors
    elif kind == 'equal':
        queries, vectors = torch.ones(5, 3), torch.ones(classes, 3)
    return queries.double(), vectors.double()


# A single class, and blocks that end with or beyond the classes.
@pytest.mark.parametrize('classes, block', [(1, 4), (7, 3), (8, 4), (9, 99)])
@pytest.mark.parametrize('kind', ['random', 'zeros', 'tiny', 'large', 'equal'])
@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize('move', [None, doubled])
def test_handwritten_entropy_matches_formula(classes, block, kind, normalize,
                                             move, monkeypatch):
    monkeypatch.setattr(class_entropy, 'BLOCK', block)
    torch.manual_seed(0)
    labels = torch.randint(classes, (5, ))
    inputs = [x.requires_grad_() for x in awkward_queries(kind, classes)]
    weight = torch.rand(5).double()
    fast = class_entropy.fast_class_entropy(*inputs, labels, normalize, move)
    plain = class_entropy.class_entropy(*inputs, labels, normalize, move)
    torch.testing.assert_close(fast, plain)
    assert (fast >= 0).all()
    expected = torch.autograd.grad(plain, inputs, weight)
    for _ in range(2):
        found = torch.autograd.grad(fast, inputs, weight, retain_graph=True)
        torch.testing.assert_close(found, expected)
    for i in range(2):  # the other one is frozen
        alone = [x if i == j else x.detach() for j, x in enumerate(inputs)]
        fast = class_entropy.fast_class_entropy(*alone, labels, normalize,
                                                move)
        found, = torch.autograd.grad(fast, inputs[i], weight)
        torch.testing.assert_close(found, expected[i])


def test_entropy_saves_one_number_per_logit():
    queries, vectors = torch.randn(50, 4), torch.randn(300, 4)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda x: kept.append(x.numel()), lambda x: x):
        class_entropy.fast_class_entropy(queries.requires_grad_(), vectors,
                                         torch.arange(50), True, doubled)
    assert sum(kept) == 50 * 300 + 300 + 50 + 50 + 50 * 4 + 300 * 4


@pytest.mark.parametrize('normalize', [False, True])
def test_entropy_derivatives(normalize):
    queries, vectors = [
        x.requires_grad_() for x in awkward_queries('random', 4)
    ]

    def value(queries, vectors):
        return class_entropy.fast_class_entropy(queries, vectors,
                                                torch.arange(5) % 4, normalize,
                                                doubled)

    assert torch.autograd.gradcheck(value, (queries, vectors))
    assert torch.autograd.gradgradcheck(value, (queries, vectors))


def test_margin_increases_loss(sample):
    plain = build(NormFaceLoss, scale=32, reduction='none')
    for boundary in ('keep', 'continuous', 'easy'):
        loss = build(ArcFaceLoss, boundary=boundary, reduction='none')
        assert (loss(*sample) >= plain(*sample)).all()
        torch.testing.assert_close(
            loss.logits(sample[0]), plain.logits(sample[0]))
    none = build(ArcFaceLoss, margin=0, boundary='none', reduction='none')
    torch.testing.assert_close(none(*sample), plain(*sample))


def test_logits_are_float32_under_autocast(sample):
    features = sample[0].float()
    for loss in (ModifiedSoftmaxLoss, NormFaceLoss, ArcFaceLoss,
                 CenterSoftmaxLoss):
        module = loss(**SIZES)
        expected = module.logits(features)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            got = module.logits(features)
        assert got.dtype == torch.float32 and torch.equal(got, expected)
        assert module.logits(features.half()).dtype == torch.float32
        assert module.half().logits(features.half()).dtype == torch.float32


def test_background_gets_no_margin(sample):
    """mmdet's head: C classes first, background in the last column."""
    scores = 30 * torch.rand(6, 5).double()
    labels = torch.tensor([0, 1, 2, 3, 4, 4])
    loss = ArcFaceLogitLoss(scale=30, reduction='none')
    plain = F.cross_entropy(scores, labels, reduction='none')
    torch.testing.assert_close(loss(scores, labels)[4:], plain[4:])
    assert (loss(scores, labels)[:4] > plain[:4]).all()
    # For a head without a background column.
    loss = ArcFaceLogitLoss(scale=30, background=False, reduction='none')
    assert (loss(scores, labels) > plain).all()


def test_logit_loss_in_the_call_of_a_box_head():
    head = pytest.importorskip('mmdet.models').BBoxHead(
        in_channels=8,
        roi_feat_size=1,
        num_classes=4,
        cls_predictor_cfg=dict(type='Linear', bias=False),
        loss_cls=dict(
            type='mmlosses.ArcFaceLogitLoss',
            use_sigmoid=False,
            scale=30.0,
            loss_weight=2.0))
    scores = (30 * torch.rand(6, 5)).requires_grad_()
    labels, weights = torch.tensor([0, 1, 2, 3, 4, 4]), torch.ones(6)
    rois = torch.rand(6, 5)
    losses = head.loss(scores, torch.zeros(6, 16, requires_grad=True), rois,
                       labels, weights, torch.zeros(6, 4), torch.zeros(6, 4))
    expected = 2 * ArcFaceLogitLoss(scale=30)(scores, labels)
    torch.testing.assert_close(losses['loss_cls'], expected)


def test_center_loss_by_hand():
    loss = CenterLoss(3, 2)
    loss.centers.copy_(torch.tensor([[0., 0.], [1., 1.], [5., 5.]]))
    features = torch.tensor([[3., 4.], [1., 3.], [1., 1.]])
    labels = torch.tensor([0, 1, 0])
    # Half of 25, 4 and 2.
    got = loss(features, labels, reduction_override='none')
    assert got.tolist() == [12.5, 2, 1]
    # Class 0: c - 0.5 * ((0 - 3) + (0 - 1)) / (1 + 2), and so on.
    torch.testing.assert_close(
        loss.centers, torch.tensor([[4 / 6, 5 / 6], [1.0, 1.5], [5.0, 5.0]]))


def equation_four(centers, features, labels, alpha):
    """Equation 4 of the paper as a loop over classes and samples."""
    moved = []
    for j, center in enumerate(centers.tolist()):
        mine = [
            x for x, y in zip(features.tolist(), labels.tolist()) if y == j
        ]
        moved.append([
            c - alpha * sum(c - x[d] for x in mine) / (1 + len(mine))
            for d, c in enumerate(center)
        ])
    return torch.tensor(moved, dtype=centers.dtype)


@pytest.mark.parametrize('loss', [CenterLoss, CenterSoftmaxLoss])
def test_center_update_matches_paper(sample, loss):
    for alpha in (0.5, 0.1, 0.0, 1.0):
        module = build(loss, alpha=alpha)
        for _ in range(3):
            expected = equation_four(module.centers, *sample, alpha)
            module(*sample)
            torch.testing.assert_close(module.centers, expected)
    assert not module.centers.requires_grad
    assert 'centers' in module.state_dict()
    assert 'centers' not in dict(module.named_parameters())


@pytest.mark.parametrize('loss', [CenterLoss, CenterSoftmaxLoss])
def test_centers_stay_in_evaluation(sample, loss):
    module = build(loss)
    module(*sample)
    before = module.centers.clone()
    module.eval()(*sample)
    assert torch.equal(module.centers, before)


def test_loss_uses_centers_before_update(sample):
    loss = build(CenterLoss, reduction='none')
    features, labels = sample
    got = loss(features, labels)
    torch.testing.assert_close(got, features.square().sum(1) / 2)
    expected = center_loss(features, loss.centers[labels])
    torch.testing.assert_close(loss(features, labels), expected)


def test_weight_zero_moves_no_center(sample):
    features, labels = sample
    weight = torch.tensor([1, 0, 0.3, 1, 0, 1, 1, 0])
    kept = weight > 0
    for bad in (0.0, float('nan'), float('inf')):
        features = torch.where(kept[:, None], features, bad)
        # The label of an ignored sample may be out of range.
        labels = torch.where(kept, labels, torch.tensor(-1))
        for shape in ((8, ), (8, 1)):
            one, other = build(CenterLoss), build(CenterLoss)
            one(features, labels, weight.reshape(shape))
            other(features[kept], labels[kept])
            torch.testing.assert_close(one.centers, other.centers)
    one(features, labels, torch.zeros(1))
    torch.testing.assert_close(one.centers, other.centers)


def test_overflow_does_not_reach_centers(sample):
    """The gradient scaler skips the optimizer step, not the centres."""
    features, labels = sample
    loss, other = build(CenterLoss), build(CenterLoss)
    features = features.clone()
    features[0, 0] = float('inf')
    assert loss(features, labels).isinf()
    other(features[1:], labels[1:])
    torch.testing.assert_close(loss.centers, other.centers)


def test_half_features_move_float32_centers(sample):
    features, labels = sample[0].half(), sample[1]
    loss, other = CenterLoss(**SIZES), CenterLoss(**SIZES)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss(features, labels)
    other(features.float(), labels)
    assert loss.centers.dtype == torch.float32
    assert torch.equal(loss.centers, other.centers)


def test_center_loss_differs_from_tutorial(sample):
    """The tutorial takes the distance of the batch, without the square."""
    features, labels = sample
    loss = build(CenterLoss).eval()
    for factor in (1, 2, 10):
        far = (factor * features).requires_grad_()
        got = loss(far, labels)
        got.backward()
        expected = sum(dot(x, x) for x in far.tolist()) / 2 / len(far)
        assert got.item() == pytest.approx(expected)
        # The gradient grows with the distance ...
        torch.testing.assert_close(far.grad, far.detach() / len(far))
        tutorial = far.detach().requires_grad_()
        (tutorial.dist(loss.centers[labels]) / 2 / len(far)).backward()
        # ... unlike the tutorial's.
        assert tutorial.grad.norm().item() == pytest.approx(1 / 16)


def test_no_cancellation_far_from_the_origin():
    """The tutorial's x^2 + c^2 - 2xc gives 0 for distinct points."""
    center = torch.full((1, 4), 1000.0)
    feature = center + 0.01
    got = center_loss(feature, center)
    expected = 2 * (feature - center)[0, 0].item()**2
    assert got.item() == pytest.approx(expected, rel=1e-6)
    squares = (feature**2).sum() + (center**2).sum()
    expanded = squares - 2 * (feature @ center.T).sum()
    assert abs(expanded.item() / 2 - expected) > 0.1 * expected


# The case covers the checks excluded here.
LEARNED = [
    name for name in CONTRACT if name not in ('no_dead_argument', 'optimum')
]


@pytest.mark.parametrize('loss', [CenterLoss, CenterSoftmaxLoss])
@pytest.mark.parametrize('name', LEARNED)
def test_contract_of_learned_centers(loss, name):
    if name == 'compiles':
        needs_dynamo()
    case, = [case for case in CASES if case.loss is loss]
    CONTRACT[name](
        dataclasses.replace(
            case,
            kwargs=dict(case.kwargs, learn_centers=True),
            parameters=['centers', *case.parameters],
            non_negative=False,
            training=True))


def test_learned_centers_get_the_gradient(sample):
    features, labels = sample
    loss = build(CenterLoss, learn_centers=True)
    before = loss.centers.detach().clone()
    loss(features, labels).backward()
    assert torch.equal(loss.centers, before)
    expected = torch.zeros_like(before)
    for x, y in zip(features, labels):
        expected[y] += (before[y] - x) / len(features)
    torch.testing.assert_close(loss.centers.grad, expected)


def test_center_softmax_is_the_sum_of_both(sample):
    features, labels = sample
    for center_weight in (0.2, 0.0, 3.0):
        joint = build(CenterSoftmaxLoss, center_weight=center_weight)
        center = build(CenterLoss)
        for _ in range(2):
            entropy = rows(joint, features, labels, lambda x, w, _: dot(x, w))
            expected = entropy + center_weight * center(features, labels)
            got = joint(features, labels)
            assert got.item() == pytest.approx(expected.item(), rel=1e-12)
            assert torch.equal(joint.centers, center.centers)


@pytest.mark.parametrize('loss', FEATURE_LOSSES)
def test_training_mode_compiles(loss, sample):
    needs_dynamo()
    module = build(loss)
    twin = copy.deepcopy(module)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend='aot_eager')
    for _ in range(2):
        torch.testing.assert_close(compiled(*sample), twin(*sample))
    for one, other in zip(module.buffers(), twin.buffers()):
        torch.testing.assert_close(one, other)


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


@pytest.mark.parametrize('loss', FEATURE_LOSSES)
@pytest.mark.parametrize('change, error, words', [
    (dict(features=lambda x: x[:, :3]), ValueError,
     ['in_channels=6', '(8, 3)']),
    (dict(features=lambda x: x[0]), ValueError, ['(N, in_channels)', '(6,)']),
    (dict(features=lambda x: x.tolist()), TypeError, ['features', 'list']),
    (dict(labels=lambda x: x.float()), TypeError, ['labels', 'float32']),
    (dict(labels=lambda x: x > 0), TypeError, ['labels', 'bool']),
    (dict(labels=lambda x: x.tolist()), TypeError, ['labels', 'list']),
    (dict(labels=lambda x: x[:, None]), ValueError, ['(8,)', '(8, 1)']),
    (dict(labels=lambda x: x[:3]), ValueError, ['(8,)', '(3,)']),
    (dict(labels=lambda x: x + 10), ValueError, ['from 0 to 9']),
    (dict(labels=lambda x: x - 10), ValueError, ['from 0 to 9']),
])
def test_error_messages(sample, loss, change, error, words):
    arguments = dict(zip(('features', 'labels'), sample))
    for name, function in change.items():
        arguments[name] = function(arguments[name])
    module = build(loss)
    with pytest.raises(error) as caught:
        module(**arguments)
    for word in words:
        assert word in str(caught.value)
    # A failed call moves nothing.
    assert all((buffer == 0).all() for buffer in module.buffers())


@pytest.mark.parametrize('loss, arguments, words', [
    (ArcFaceLoss, dict(margin=-0.1), 'margin'),
    (ArcFaceLoss, dict(margin=28.6), 'radians'),
    (ArcFaceLoss, dict(boundary='hard'), "'keep'.*'hard'"),
    (ArcFaceLoss, dict(scale=0), 'scale must be positive, got 0'),
    (NormFaceLoss, dict(scale=-1), 'scale'),
    (NormFaceLoss, dict(use_sigmoid=True), 'use_sigmoid'),
    (CenterLoss, dict(alpha=1.5),
     'alpha must be at least 0 and at most 1, got 1.5'),
    (CenterLoss, dict(num_classes=0), 'num_classes'),
    (CenterSoftmaxLoss, dict(in_channels=2.5), 'in_channels'),
])
def test_wrong_arguments(loss, arguments, words):
    with pytest.raises(ValueError, match=words):
        loss(**{**SIZES, **arguments})


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


def test_integer_labels_of_any_size(sample):
    features, labels = sample
    loss = build(ArcFaceLoss)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert torch.equal(
            loss(features, labels.to(dtype)), loss(features, labels))


@pytest.mark.parametrize('name', [
    'ModifiedSoftmaxLoss', 'NormFaceLoss', 'ArcFaceLoss', 'ArcMarginProduct',
    'CenterSoftmaxLoss', 'centerloss'
])
def test_mmengine_optimizer_updates_class_vectors(sample, name):
    """One optimizer is enough; the head's initialisation leaves them alone."""
    features, labels = sample
    loss = MODELS.build(dict(type=f'mmlosses.{name}', **SIZES))

    class Head(BaseModule):

        def __init__(self):
            super().__init__(
                dict(type='Normal', layer=['Linear', 'Conv2d'], std=0.01))
            self.loss_triplet = loss

    head = Head()
    before = loss.weight.detach().clone()
    head.init_weights()
    assert torch.equal(loss.weight, before)
    wrapper = build_optim_wrapper(
        head,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.1),
            paramwise_cfg=dict(
                custom_keys={'loss_triplet.weight': dict(lr_mult=10.0)})))
    group, = wrapper.param_groups
    assert group['params'] == [loss.weight] and group['lr'] == 1.0
    wrapper.update_params(loss(features.float(), labels))
    assert not torch.equal(loss.weight, before)


def move_centers(rank, halves, folder):
    """One of two processes, with its share of the batch."""
    loss = CenterLoss(3, 4)
    for features, labels, weight in halves[rank]:
        loss(features, labels, weight)
    torch.save(loss.centers, folder / f'{rank}.pt')


@needs_ranks
def test_centers_are_the_same_on_every_rank(tmp_path):
    """As in one process with the whole batch; a rank may be empty."""
    torch.manual_seed(0)
    halves, whole = ([], []), CenterLoss(3, 4)
    for split, labels in ((3, [0, 0, 1, 1, 2]), (0, [2, 2, 1]), (2, [0, 1])):
        features = torch.randn(len(labels), 4)
        labels = torch.tensor(labels)
        weight = torch.arange(len(labels)).clamp(max=1).float()
        for half, part in zip(halves, (slice(split), slice(split, None))):
            # Copies: Python 3.8 cannot send two views of one storage.
            half.append([x[part].clone() for x in (features, labels, weight)])
        whole(features, labels, weight)
    run_ranks(move_centers, halves, tmp_path)
    first, second = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, whole.centers)


def test_center_softmax_of_each_sample(sample):
    """Cross entropy and distance belong to the same sample."""
    features, labels = sample
    loss = CenterSoftmaxLoss(
        CLASSES, CHANNELS, center_weight=0.3, reduction='none').double()
    loss.centers += torch.randn_like(loss.centers)
    loss.eval()
    entropy = F.cross_entropy(
        features @ loss.weight.T, labels, reduction='none')
    distance = 0.5 * ((features - loss.centers[labels])**2).sum(dim=1)
    torch.testing.assert_close(
        loss(features, labels), entropy + 0.3 * distance)


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


def test_target_weight_zero_moves_no_center():
    """For either keyword of the weight."""
    features, labels = torch.ones(2, 4), torch.tensor([0, 1])
    weight = torch.tensor([1.0, 0.0])
    one, other = CenterLoss(3, 4), CenterLoss(3, 4)
    one(features, labels, weight)
    other(features, labels, target_weight=weight)
    torch.testing.assert_close(one.centers, other.centers)
    assert one.centers[0].any() and not one.centers[1].any()


@pytest.mark.parametrize('loss', [ArcFaceLoss, CenterSoftmaxLoss])
def test_single_class_gives_zero_loss(loss):
    built = loss(1, 4).eval()
    assert built.use_sigmoid is False
    entropy = built(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long))
    assert entropy == 0
    with pytest.raises(ValueError, match='num_classes'):
        loss(0, 4)


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


def test_cosine_logits_by_hand():
    features, vectors = torch.randn(2, 3), torch.randn(4, 3)
    got = cosine_logits(features, vectors, scale=8.0)
    for n in range(2):
        for c in range(4):
            lengths = features[n].norm() * vectors[c].norm()
            torch.testing.assert_close(got[n, c],
                                       8 * features[n] @ vectors[c] / lengths)
    torch.testing.assert_close(cosine_logits(features, vectors), got / 8)
