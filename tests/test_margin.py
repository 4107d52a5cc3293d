"""Softmax over angles, with and without a margin."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from feature_samples import CHANNELS, CLASSES, SIZES, build, dot, length, rows
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModule
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS

from mmlosses.core.kernels import class_entropy
from mmlosses.losses import (ArcFaceLogitLoss, ArcFaceLoss, CenterLoss,
                             CenterSoftmaxLoss, ModifiedSoftmaxLoss,
                             NormFaceLoss, angular_margin, cosine_logits)

FEATURE_LOSSES = (ModifiedSoftmaxLoss, NormFaceLoss, ArcFaceLoss, CenterLoss,
                  CenterSoftmaxLoss)

BOUNDARIES = ('keep', 'continuous', 'easy', 'none')


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


@pytest.mark.slow
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


@pytest.mark.parametrize('loss', [ArcFaceLoss, CenterSoftmaxLoss])
def test_single_class_gives_zero_loss(loss):
    built = loss(1, 4).eval()
    assert built.use_sigmoid is False
    entropy = built(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long))
    assert entropy == 0
    with pytest.raises(ValueError, match='num_classes'):
        loss(0, 4)


def test_cosine_logits_by_hand():
    features, vectors = torch.randn(2, 3), torch.randn(4, 3)
    got = cosine_logits(features, vectors, scale=8.0)
    for n in range(2):
        for c in range(4):
            lengths = features[n].norm() * vectors[c].norm()
            torch.testing.assert_close(got[n, c],
                                       8 * features[n] @ vectors[c] / lengths)
    torch.testing.assert_close(cosine_logits(features, vectors), got / 8)
