"""Cross entropy, label smoothing, and promises of all losses over classes."""
import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from cases import CASES
from cases.focal import certain_of_each
from cases.inputs import CLASS_WEIGHT, CLASSES, certain
from class_samples import (REDUCTIONS, assert_same_with_gradient, close,
                           scores, soft)
from helpers import needs_dynamo
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlosses.core.reduction import EPS
from mmlosses.losses import (BCELoss, CrossEntropyCustomLoss, CrossEntropyLoss,
                             FocalLoss, LabelSmoothLoss,
                             MultiPosCrossEntropyLoss)
from mmlosses.testing import CONTRACT


@pytest.fixture(autouse=True)
def torch_seed():
    torch.manual_seed(0)


NAN, INF = float('nan'), float('inf')

CASE = {case.loss.__name__: case for case in CASES}


def dense(case, kwargs, element_shape, perfect=None):
    """Label maps: axis 1 holds the classes."""

    def inputs(batch):
        return (torch.randn(batch, CLASSES, 2,
                            3), torch.randint(CLASSES, (batch, 2, 3)))

    return dataclasses.replace(
        case,
        kwargs=kwargs,
        inputs=inputs,
        element_shape=element_shape,
        perfect=perfect)


def per_sample(batch):
    return batch,


def per_class(batch):
    return batch, CLASSES


def per_pixel(batch):
    return batch, 2, 3


def per_pixel_and_class(batch):
    return batch, CLASSES, 2, 3


SIGMOID, SOFTMAX = dict(use_sigmoid=True), dict(use_sigmoid=False)

FORMS = dict(
    cross_entropy_sigmoid=dataclasses.replace(
        CASE['CrossEntropyLoss'],
        kwargs=SIGMOID,
        element_shape=per_class,
        perfect=certain_of_each),
    cross_entropy_dense=dense(CASE['CrossEntropyLoss'], {}, per_pixel),
    cross_entropy_dense_sigmoid=dense(CASE['CrossEntropyLoss'], SIGMOID,
                                      per_pixel_and_class),
    cross_entropy_soft=soft(CASE['CrossEntropyLoss'], {}, per_sample),
    cross_entropy_soft_sigmoid=soft(CASE['CrossEntropyLoss'], SIGMOID,
                                    per_class),
    cross_entropy_mask=dataclasses.replace(
        CASE['CrossEntropyLoss'],
        kwargs=dict(use_mask=True),
        inputs=lambda batch: (torch.randn(batch, 2, 3, 4),
                              (torch.rand(batch, 3, 4) > 0.5).float()),
        element_shape=lambda batch: (batch, 3, 4),
        perfect=None),
    label_smooth_sigmoid=dataclasses.replace(
        CASE['LabelSmoothLoss'],
        kwargs=SIGMOID,
        element_shape=per_class,
        perfect=certain_of_each),
    label_smooth_dense=dense(CASE['LabelSmoothLoss'], {}, per_pixel),
    focal_softmax=dataclasses.replace(
        CASE['FocalLoss'],
        kwargs=SOFTMAX,
        element_shape=per_sample,
        perfect=certain),
    focal_dense=dense(CASE['FocalLoss'], {}, per_pixel_and_class),
    focal_soft=soft(CASE['FocalLoss'], {}, per_class),
    focal_soft_softmax=soft(CASE['FocalLoss'], SOFTMAX, per_sample),
    gaussian_focal_logits=dataclasses.replace(
        CASE['GaussianFocalLoss'],
        kwargs=SIGMOID,
        inputs=lambda batch: (3 * torch.randn(batch, 2, 3, 4), CASE[
            'GaussianFocalLoss'].inputs(batch)[1]),
        perfect=None),
)

# Checks of the constructor run once.
CHECKS = {
    name: check
    for name, check in CONTRACT.items()
    if name not in ('no_dead_argument', 'stock_kwargs', 'constructor')
}


@pytest.mark.slow
@pytest.mark.parametrize('check', CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize('case', FORMS.values(), ids=FORMS)
def test_contract_in_every_form(case, check):
    if case is FORMS['cross_entropy_mask'] and (check.__name__
                                                == 'target_weight'):
        return  # the weight is not the third argument
    if check.__name__ == 'compiles':
        needs_dynamo()
    check(case)


@pytest.mark.parametrize('class_weight', [None, CLASS_WEIGHT])
@pytest.mark.parametrize('shape', [(6, 4), (3, 4, 5), (2, 4, 3, 5)])
def test_softmax_matches_torch(shape, class_weight):
    pred = scores(*shape)
    labels = torch.randint(4, shape[:1] + shape[2:])
    labels[0] = -100
    soft = torch.rand(shape, dtype=torch.float64).softmax(1)
    weight = None if class_weight is None else torch.tensor(
        class_weight, dtype=torch.float64)
    loss = CrossEntropyLoss(class_weight=class_weight, reduction='none')
    for target in (labels, soft):
        expected = F.cross_entropy(
            pred, target, weight=weight, reduction='none')
        assert_same_with_gradient(loss(pred, target), expected, pred)
    # One-hot targets, also of integers, equal labels.
    valid = labels.clamp(min=0)
    hot = F.one_hot(valid, 4).movedim(-1, 1)
    for target in (hot, hot.double(), hot.bool(), valid.int()):
        assert_same_with_gradient(loss(pred, target), loss(pred, valid), pred)


def test_sigmoid_matches_loop():
    pred = scores(6, 3)
    labels = torch.tensor([0, 1, 2, 3, 255, 2])
    class_weight = [0.5, 2.0, 1.5]
    loss = CrossEntropyLoss(
        use_sigmoid=True,
        class_weight=class_weight,
        ignore_index=255,
        reduction='none')
    expected = torch.zeros(6, 3, dtype=torch.float64)
    for n, label in enumerate(labels.tolist()):
        for c in range(3):
            prob = 1 / (1 + math.exp(-float(pred[n, c].detach())))
            if label == 255:
                continue
            if c == label:
                expected[n, c] = -class_weight[c] * math.log(prob)
            else:
                expected[n, c] = -math.log(1 - prob)
    close(loss(pred, labels), expected)


@pytest.mark.parametrize('reduction', REDUCTIONS)
@pytest.mark.parametrize('weight', ['none', 'samples'])
@pytest.mark.parametrize('avg_factor', [None, 7, 2.5, torch.tensor(3)])
@pytest.mark.parametrize('kwargs', [
    {},
    dict(class_weight=[0.5, 1.0, 2.0, 3.0, 0.25]),
    dict(ignore_index=1),
    dict(ignore_index=1, avg_non_ignore=True),
    dict(use_sigmoid=True),
    dict(use_sigmoid=True, class_weight=[0.5, 1.0, 2.0, 3.0, 0.25]),
    dict(use_sigmoid=True, ignore_index=1, avg_non_ignore=True),
])
def test_cross_entropy_matches_mmdet(stock, kwargs, avg_factor, weight,
                                     reduction):
    """The calls of BBoxHead, DETRHead, RPNHead and PanopticFPNHead."""
    pred, labels = scores(8, 5), torch.arange(8) % 5
    if kwargs.get('use_sigmoid'):
        labels[3] = 5
    given = dict(avg_factor=avg_factor, reduction_override=reduction)
    given['weight'] = (None if weight == 'none' else torch.rand(
        8, dtype=torch.float64))
    ours, theirs = [
        loss(loss_weight=1.5, **kwargs)
        for loss in (CrossEntropyLoss, stock.CrossEntropyLoss)
    ]
    if reduction == 'sum' and avg_factor is not None:
        for loss in (ours, theirs):
            with pytest.raises(ValueError):
                loss(pred, labels, **given)
        return
    # mmdet converts weights and binary targets to float32.
    assert_same_with_gradient(
        ours(pred, labels, **given),
        theirs(pred, labels, **given).double(),
        pred,
        rtol=1e-6,
        atol=1e-7)


@pytest.mark.parametrize('reduction', REDUCTIONS)
def test_cross_entropy_matches_mmdet_in_other_calls(stock, reduction):
    """RPN, maps, centerness, YOLOv3, soft labels."""
    ignore = dict(ignore_index=255)
    maps = torch.randint(4, (2, 3, 5))
    maps[0, 0] = 255
    edge = torch.tensor([0, 1, 1, 0, -1])
    for kwargs, pred, target, weight in [
        ({}, scores(2, 4, 3, 5), maps, None),
        (SIGMOID, scores(5, 1), edge, torch.rand(5)),
        (SIGMOID, scores(5), torch.rand(5).double(), torch.rand(5)),
        (SIGMOID, scores(2, 3, 4), (torch.rand(2, 3, 4)
                                    > 0.5).double(), torch.rand(2, 3, 1)),
        (dict(class_weight=CLASS_WEIGHT,
              **SIGMOID), scores(2, 3, 4), (torch.rand(2, 3, 4)
                                            > 0.5).double(), None),
        ({}, scores(5, 4), torch.rand(5, 4).double().softmax(1), None),
    ]:
        # torch refuses an ignore_index with soft labels.
        if target.is_floating_point() and not kwargs:
            ignore = {}
        ours, theirs = [
            loss(**ignore, **kwargs)
            for loss in (CrossEntropyLoss, stock.CrossEntropyLoss)
        ]
        assert_same_with_gradient(
            ours(pred, target, weight, reduction_override=reduction),
            theirs(pred, target, weight,
                   reduction_override=reduction).double(),
            pred,
            rtol=1e-6,
            atol=1e-7)


def test_ignore_index_at_the_call(stock):
    pred, labels = scores(8, 5), torch.arange(8) % 5
    for kwargs in (dict(avg_non_ignore=True), {}, SIGMOID):
        ours, theirs = [
            loss(**kwargs)
            for loss in (CrossEntropyLoss, stock.CrossEntropyLoss)
        ]
        got = ours(pred, labels, ignore_index=2)
        close(
            got,
            theirs(pred, labels, ignore_index=2).double(),
            rtol=1e-6,
            atol=0)
        assert got != ours(pred, labels)


@pytest.mark.parametrize('shape', [(3, 5, 4, 6), (3, 5, 7), (3, 1, 4, 6)])
def test_masks_match_mmdet(stock, shape):
    pred, target = scores(*shape), torch.rand(shape[:1] + shape[2:]).double()
    labels = torch.randint(shape[1], (3, ))
    ours, theirs = [
        loss(use_mask=True, loss_weight=2.0, ignore_index=None)
        for loss in (CrossEntropyLoss, stock.CrossEntropyLoss)
    ]
    # mmdet's result has shape (1,).
    assert_same_with_gradient(
        ours(pred, target, labels),
        theirs(pred, target, labels).squeeze(), pred)
    # A loop covers the arguments that mmdet lacks.
    weight = torch.rand(3).double()
    class_weight = torch.rand(shape[1]).tolist()
    got = CrossEntropyLoss(
        use_mask=True, class_weight=class_weight)(
            pred, target, labels, avg_factor=9, target_weight=weight)
    expected = sum(
        weight[n] * class_weight[label] *
        F.binary_cross_entropy(pred[n, label].sigmoid(), target[n]) *
        target[n].numel() for n, label in enumerate(labels.tolist()))
    close(got, expected / 9, rtol=1e-6, atol=0)


def test_masks_ignore_labels_of_removed_rois():
    pred, target = scores(3, 5, 4, 6), torch.rand(3, 4, 6).double()
    labels = torch.tensor([0, 99, 2])
    loss = CrossEntropyLoss(use_mask=True, reduction='none')
    got = loss(pred, target, labels, target_weight=torch.tensor([1, 0, 1.]))
    assert (got[1] == 0).all() and (got[[0, 2]] > 0).all()
    with pytest.raises(ValueError, match='got 99'):
        loss(pred, target, labels)


@pytest.mark.parametrize('loss', [
    CrossEntropyLoss(ignore_index=255),
    CrossEntropyLoss(ignore_index=255, use_sigmoid=True),
    CrossEntropyLoss(ignore_index=255, class_weight=CLASS_WEIGHT),
    LabelSmoothLoss(ignore_index=255),
    LabelSmoothLoss(ignore_index=255, use_sigmoid=True),
    LabelSmoothLoss(ignore_index=255, class_weight=CLASS_WEIGHT),
    FocalLoss(ignore_index=255),
    FocalLoss(ignore_index=255, use_sigmoid=False, class_weight=CLASS_WEIGHT),
])
@pytest.mark.parametrize('shape', [(5, 4), (5, 4, 2, 3)])
def test_ignored_rows_have_no_loss_and_no_gradient(loss, shape):
    pred = torch.randn(shape)
    labels = torch.randint(4, shape[:1] + shape[2:])
    labels[1] = 255
    pred[1] = NAN
    pred.requires_grad_()
    elements = loss(pred, labels, reduction_override='none')
    assert (elements[1] == 0).all() and torch.isfinite(elements).all()
    elements.sum().backward()
    assert torch.isfinite(pred.grad).all() and (pred.grad[1] == 0).all()
    # The mean is over all samples, as in mmdet.
    close(loss(pred, labels), elements.mean())
    # All rows ignored: a connected 0.
    loss = copy.deepcopy(loss)
    for flag in (False, True):
        loss.avg_non_ignore = flag
        got = loss(pred, torch.full_like(labels, 255))
        assert got == 0
        grad, = torch.autograd.grad(got, pred)
        assert (grad == 0).all()


def test_avg_non_ignore_matches_torch_mean():
    pred, labels = scores(8, 5), torch.arange(8) % 5
    loss = CrossEntropyLoss(ignore_index=2, avg_non_ignore=True)
    close(
        loss(pred, labels),
        F.cross_entropy(pred, labels, ignore_index=2),
        rtol=1e-6,
        atol=0)
    # Soft labels ignore nothing: the mean is over samples.
    soft = torch.rand(8, 5).double().softmax(1)
    close(loss(pred, soft), F.cross_entropy(pred, soft))


@pytest.mark.parametrize('kwargs', [{}, SIGMOID, SOFTMAX])
@pytest.mark.parametrize('loss',
                         [CrossEntropyLoss, LabelSmoothLoss, FocalLoss])
@pytest.mark.parametrize('label', [99, -7])
def test_label_out_of_range(loss, kwargs, label):
    loss = loss(**kwargs)
    pred, labels = scores(3, 4), torch.tensor([1, label, 2])
    weight = torch.tensor([1.0, 0.0, 1.0])
    got = loss(pred, labels, weight)
    close(got, loss(pred, torch.tensor([1, 0, 2]), weight))
    if isinstance(loss, CrossEntropyLoss) and loss.use_sigmoid and label < 0:
        # mmdet ignores them.
        assert (loss(pred, labels, reduction_override='none')[1] == 0).all()
        return
    with pytest.raises(ValueError, match=f'got {label}'):
        loss(pred, labels)


@pytest.mark.parametrize('loss',
                         [CrossEntropyLoss, LabelSmoothLoss, FocalLoss])
def test_background_is_a_class_for_softmax_only(loss):
    pred, labels = scores(2, 4), torch.tensor([1, 4])
    with pytest.raises(ValueError, match='from 0 to 3, got 4'):
        loss(use_sigmoid=False)(pred, labels)
    loss(use_sigmoid=True)(pred, labels)


@pytest.mark.parametrize('loss',
                         [CrossEntropyLoss, LabelSmoothLoss, FocalLoss])
@pytest.mark.parametrize('use_sigmoid, given, hint', [
    (False, 3, ': a softmax head of mmdet needs one more for the background, '
     'the last'),
    (True, 5, ': with a sigmoid the background is no class, leave out the '
     'last'),
    (False, 5, ', num_classes + 1 for the softmax of a head of mmdet'),
    (True, 2, ', num_classes'),
])
def test_class_weight_length_mismatch(loss, use_sigmoid, given, hint):
    loss = loss(use_sigmoid=use_sigmoid, class_weight=[1.0] * given)
    with pytest.raises(ValueError) as caught:
        loss(scores(2, 4), torch.tensor([1, 2]))
    assert str(caught.value) == (
        f'class_weight has {given} numbers, but the prediction has 4 classes' +
        hint)


@pytest.mark.parametrize('loss',
                         [CrossEntropyLoss, LabelSmoothLoss, FocalLoss])
def test_class_weights_are_not_in_state_dict(loss):
    given = torch.tensor(CLASS_WEIGHT)
    built = loss(class_weight=given)
    assert built.class_weight is given
    assert not built.state_dict() and not list(built.parameters())
    pred, labels = scores(3, 4), torch.tensor([0, 1, 2])
    expected = loss(class_weight=CLASS_WEIGHT)(pred, labels)
    given[:] = 0
    close(built(pred, labels), expected)


@pytest.mark.parametrize('loss',
                         [CrossEntropyLoss, LabelSmoothLoss, FocalLoss])
@pytest.mark.parametrize('pred, target, error, words', [
    ((5, 4), torch.zeros(5), TypeError, ['integer', 'float32']),
    ((5, 4), torch.zeros(5, dtype=torch.bool), TypeError, ['bool']),
    ((5, 4), torch.zeros(4).long(), ValueError, ['(5,)', '(4,)']),
    ((5, 4), torch.zeros(5, 3), ValueError, ['(5, 4)', '(5, 3)']),
    ((5, 4, 2), torch.zeros(5, 3).long(), ValueError, ['(5, 2)', '(5, 3)']),
    ((5, 4), [0, 1, 2, 3, 0], TypeError, ['target', 'list']),
])
def test_error_messages(loss, pred, target, error, words):
    for flag in (False, True):
        with pytest.raises(error) as caught:
            loss(use_sigmoid=flag)(scores(*pred), target)
        for word in words:
            assert word in str(caught.value)


def test_wrong_arguments():
    for call, words in (
        (lambda: CrossEntropyLoss(use_sigmoid=True, use_mask=True),
         'use_mask=True'), (lambda: LabelSmoothLoss(smoothing=1.0),
                            'smoothing'),
        (lambda: LabelSmoothLoss(smoothing=-0.1),
         'got -0.1'), (lambda: LabelSmoothLoss(distribute='all'),
                       "'all'"), (lambda: FocalLoss(gamma=-1), 'gamma'),
        (lambda: FocalLoss(alpha=2.0),
         'alpha'), (lambda: CrossEntropyLoss()
                    (scores(4), torch.rand(4)), 'axis 1'),
        (lambda: CrossEntropyLoss(use_mask=True)
         (scores(2, 3, 4), torch.rand(2, 4), torch.tensor([0])), '(1,)')):
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value)
    for labels in (None, torch.rand(2)):
        with pytest.raises(TypeError, match='third argument'):
            CrossEntropyLoss(use_mask=True)(scores(2, 3, 4), torch.rand(2, 4),
                                            labels)


def test_impossible_classes():
    """Classes masked by -inf give no NaN if the label has no share there."""
    pred = torch.randn(3, 4)
    pred[:, 3] = -INF
    pred.requires_grad_()
    labels = torch.tensor([0, 1, 2])
    expected = F.cross_entropy(pred, labels)
    for loss, target in ((CrossEntropyLoss(), labels), (CrossEntropyLoss(),
                                                        F.one_hot(labels,
                                                                  4).float()),
                         (LabelSmoothLoss(smoothing=0.0), labels),
                         (LabelSmoothLoss(smoothing=0.0, distribute='uniform'),
                          labels), (LabelSmoothLoss(
                              smoothing=0.0, class_weight=[1.0] * 4), labels),
                         (FocalLoss(use_sigmoid=False, gamma=0.0,
                                    alpha=None), labels)):
        assert_same_with_gradient(loss(pred, target), expected, pred)
    # Soft labels in torch: 0 * -inf.
    assert F.cross_entropy(pred, F.one_hot(labels, 4).float()).isnan()


def tutorial_label_smooth(pred, labels, smoothing):
    """The tutorial's formula as a plain loop."""
    total = 0.0
    for row, label in zip(pred.tolist(), labels.tolist()):
        partition = math.log(sum(math.exp(x) for x in row))
        for c, x in enumerate(row):
            share = 1 - smoothing if c == label else (smoothing /
                                                      (len(row) - 1))
            total -= share * (x - partition)
    return total / len(labels)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.4])
def test_others_matches_tutorial_formula(smoothing):
    pred, labels = scores(6, 5), torch.tensor([0, 1, 2, 3, 4, 4])
    got = LabelSmoothLoss(smoothing=smoothing)(pred, labels)
    expected = tutorial_label_smooth(pred.detach(), labels, smoothing)
    assert got.item() == pytest.approx(expected, rel=1e-12)
    # Equal to torch's with a larger smoothing.
    close(got,
          F.cross_entropy(pred, labels, label_smoothing=smoothing * 5 / 4))


@pytest.mark.parametrize('class_weight', [None, [0.5, 2.0, 1.0, 3.0, 1.5]])
@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.4])
def test_uniform_matches_torch(smoothing, class_weight):
    weight = None if class_weight is None else torch.tensor(
        class_weight, dtype=torch.float64)
    loss = LabelSmoothLoss(
        smoothing=smoothing,
        distribute='uniform',
        class_weight=class_weight,
        reduction='none')
    for shape in ((6, 5), (2, 5, 3, 4)):
        pred = scores(*shape)
        labels = torch.randint(5, shape[:1] + shape[2:])
        labels[1] = -100
        soft = torch.rand(shape).double().softmax(1)
        for target in (labels, soft):
            expected = F.cross_entropy(
                pred,
                target,
                weight=weight,
                label_smoothing=smoothing,
                reduction='none')
            assert_same_with_gradient(
                loss(pred, target), expected, pred, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('distribute, low, high', [('others', 0.2, 0.8),
                                                   ('uniform', 0.1, 0.9)])
def test_sigmoid_smoothing_uses_two_classes(distribute, low, high):
    pred, labels = scores(4, 3), torch.tensor([0, 2, 3, 1])
    target = torch.full((4, 3), low, dtype=torch.float64)
    for n, label in enumerate(labels.tolist()):
        if label < 3:
            target[n, label] = high
    loss = LabelSmoothLoss(
        smoothing=0.2, distribute=distribute, use_sigmoid=True)
    close(loss(pred, labels), F.binary_cross_entropy_with_logits(pred, target))


def test_single_class_gives_zero_loss():
    for distribute in ('others', 'uniform'):
        loss = LabelSmoothLoss(distribute=distribute)
        assert loss(scores(3, 1), torch.zeros(3).long()) == 0


@settings(deadline=None)
@given(
    samples=st.integers(1, 4),
    classes=st.integers(2, 5),
    scale=st.floats(0, 100),
    data=st.integers(0, 2**16))
def test_properties(samples, classes, scale, data):
    generator = torch.Generator().manual_seed(data)
    pred = scale * torch.randn(samples, classes, generator=generator)
    labels = torch.randint(classes, (samples, ), generator=generator)
    order = torch.randperm(classes, generator=generator)
    renamed = torch.argsort(order)[labels]
    for loss in (CrossEntropyLoss(), CrossEntropyLoss(use_sigmoid=True),
                 LabelSmoothLoss(), LabelSmoothLoss(use_sigmoid=True),
                 FocalLoss(), FocalLoss(use_sigmoid=False)):
        got = loss(pred, labels)
        assert torch.isfinite(got) and got >= -1e-6
        # Classes are interchangeable.
        close(loss(pred[:, order], renamed), got, rtol=1e-4, atol=1e-5)
        if not loss.use_sigmoid:
            close(loss(pred + 3, labels), got, rtol=1e-3, atol=1e-3)


def test_class_weights_of_masks_by_hand():
    """The weight of a RoI's class times those of the RoI and its pixels."""
    pred = torch.tensor([[[0.3, -1.0], [2.0, 0.1]], [[-2.0, 1.0], [0.5,
                                                                   -0.2]]])
    masks = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([1, 0])
    weight = torch.tensor([[0.5, 2.0], [1.0, 0.0]])
    loss = CrossEntropyLoss(
        use_mask=True, class_weight=[3.0, 7.0], reduction='none')
    entropy = F.binary_cross_entropy_with_logits(
        pred[[0, 1], labels], masks, reduction='none')
    expected = entropy * torch.tensor([[7.0], [3.0]])
    close(loss(pred, masks, labels), expected)
    close(loss(pred, masks, labels, target_weight=weight), expected * weight)
    # The label of a RoI with weight 0 is not read.
    removed = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    got = loss(pred, masks, torch.tensor([1, 99]), target_weight=removed)
    close(got, expected * removed)


def test_class_of_infinite_logit_has_no_share():
    """Only classes with logit -inf are dropped, only from soft labels."""
    pred = torch.tensor([[1.0, -INF, 0.5]])
    loss = CrossEntropyLoss(reduction='none')
    target = torch.tensor([[0.25, 0.0, 0.75]])
    expected = F.log_softmax(pred[:, [0, 2]], dim=1)
    expected = -(expected * target[:, [0, 2]]).sum(dim=1)
    close(loss(pred, target), expected)
    target = torch.tensor([[0.25, 0.25, 0.5]])
    assert loss(pred, target) == INF


@pytest.mark.parametrize('loss', [
    FocalLoss(),
    CrossEntropyLoss(use_sigmoid=True),
    LabelSmoothLoss(use_sigmoid=True)
])
def test_background_is_the_highest_label(loss):
    """Label CLASSES is background; anything above is an error."""
    pred = torch.randn(2, CLASSES)
    assert loss(pred, torch.tensor([0, CLASSES])).isfinite()
    with pytest.raises(ValueError, match=f'from 0 to {CLASSES}, got'):
        loss(pred, torch.tensor([0, CLASSES + 1]))


@pytest.mark.parametrize('distribute', ['others', 'uniform'])
@pytest.mark.parametrize('classes', [2, 4])
@pytest.mark.parametrize('soft', [False, True])
def test_smooth_labels_of_maps_by_hand(distribute, classes, soft):
    pred = torch.randn(2, classes, 3, dtype=torch.float64)
    target = torch.randint(classes, (2, 3))
    share = F.one_hot(target, classes).movedim(-1, 1).double()
    if soft:
        share = target = torch.rand(2, classes, 3, dtype=torch.float64)
    got = LabelSmoothLoss(
        smoothing=0.3, distribute=distribute, reduction='none')(pred, target)
    for n in range(2):
        for i in range(3):
            column = pred[n, :, i]
            total = column.exp().sum().log()
            expected = 0.0
            for c in range(classes):
                own = share[n, c, i]
                smooth = 0.7 * own + (0.3 / classes if distribute == 'uniform'
                                      else 0.3 / (classes - 1) * (1 - own))
                expected -= smooth * (column[c] - total)
            close(got[n, i], expected)


def test_ignored_label_at_the_call():
    pred, target = torch.randn(3, 4), torch.tensor([0, 2, -100])
    loss = CrossEntropyLoss(reduction='none')
    plain = loss(pred, target)
    assert plain[2] == 0 and plain[:2].all()
    got = loss(pred, torch.tensor([0, 2, 1]), ignore_index=2)
    assert got[1] == 0 and got[0] == plain[0] and got[2] != 0
    # None means the default, -100.
    none = CrossEntropyLoss(ignore_index=None, reduction='none')
    close(none(pred, target), plain)
    binary = CrossEntropyLoss(
        ignore_index=None, use_sigmoid=True, reduction='none')
    assert not binary(pred, target)[2].any()


@pytest.mark.parametrize('shape', [(6, 4), (2, 4, 3, 5)])
def test_mean_by_class_weights_as_torch(shape):
    """Labels that are ignored do not count."""
    pred = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, shape[:1] + shape[2:])
    target[0] = 255
    weights = [0.5, 2.0, 1.0, 3.0]
    kwargs = dict(
        weight=torch.tensor(weights, dtype=torch.float64), ignore_index=255)
    loss = CrossEntropyLoss(
        class_weight=weights, ignore_index=255, avg_class_weight=True)
    got = loss(pred, target)
    expected = F.cross_entropy(pred, target, **kwargs)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=0)
    for one, other in zip(
            *[torch.autograd.grad(x, pred) for x in (got, expected)]):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(
        CrossEntropyLoss(class_weight=weights, avg_class_weight=True)(
            pred, target, ignore_index=255), got)
    # An explicit number wins.
    total = F.cross_entropy(pred, target, reduction='sum', **kwargs)
    torch.testing.assert_close(
        loss(pred, target, avg_factor=7), total / (7 + EPS))
    # A weight multiplies the loss, and changes no divisor.
    weight = torch.rand(target.shape)
    weight[-1] = 0
    elements = F.cross_entropy(pred, target, reduction='none', **kwargs)
    torch.testing.assert_close(
        loss(pred, target, weight),
        expected * (elements * weight).sum() / elements.sum(),
        rtol=1e-6,
        atol=0)


def test_mean_by_class_weights_of_soft_labels():
    """One-hot labels count as labels."""
    pred, labels = torch.randn(5, 4), torch.randint(4, (5, ))
    loss = CrossEntropyLoss(
        class_weight=[0.5, 2.0, 1.0, 3.0], avg_class_weight=True)
    one_hot = F.one_hot(labels, 4)
    torch.testing.assert_close(loss(pred, one_hot), loss(pred, labels))
    # A removed row may hold anything.
    weight = torch.tensor([0.0, 1, 1, 1, 1])
    soft = one_hot.float()
    soft[0], labels[0] = torch.nan, 77
    torch.testing.assert_close(
        loss(pred, soft, weight), loss(pred, labels, weight))
    ignored = torch.full((5, ), -100)
    assert loss(pred, ignored) == 0


@pytest.mark.parametrize('argument', ['use_sigmoid', 'use_mask'])
def test_mean_by_class_weights_needs_a_softmax(argument):
    with pytest.raises(ValueError, match=f'softmax.*{argument}=True'):
        CrossEntropyLoss(avg_class_weight=True, **{argument: True})


# --- heads that ask the loss about their classes ---


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_cross_entropy_custom_matches_mmdet(stock, use_sigmoid):
    """Loss, channels, scores and accuracy in the box heads for V3Det."""
    kwargs = dict(num_classes=4, use_sigmoid=use_sigmoid)
    ours, theirs = [
        cls(**kwargs)
        for cls in (CrossEntropyCustomLoss, stock.CrossEntropyCustomLoss)
    ]
    assert isinstance(ours, stock.CrossEntropyCustomLoss)
    channels = ours.get_cls_channels(4)
    assert channels == theirs.get_cls_channels(4) == 5 - use_sigmoid
    pred, labels = scores(8, channels), torch.arange(8) % 5
    for weight in (None, torch.rand(8).double()):
        assert_same_with_gradient(
            ours(pred, labels, weight, avg_factor=7),
            theirs(pred, labels, weight, avg_factor=7),
            pred,
            check_dtype=False)  # mmdet's sigmoid rounds to float32
    assert ours.custom_cls_channels and theirs.custom_cls_channels
    assert ours.custom_activation and theirs.custom_activation
    assert ours.custom_accuracy and theirs.custom_accuracy
    for logits in (pred, 5 + pred, pred - 5):
        got = ours.get_activation(logits)
        assert got.shape == (8, 5)
        close(got, theirs.get_activation(logits))
    for each in (labels, torch.full((8, ), 4), torch.zeros(8).long()):
        close(
            ours.get_accuracy(pred, each)['acc_classes'],
            theirs.get_accuracy(pred, each)['acc_classes'].squeeze(),
            check_dtype=False)


def test_background_of_sigmoid_scores_by_hand():
    loss = CrossEntropyCustomLoss(use_sigmoid=True, num_classes=2)
    prob = torch.tensor([[0.2, 0.3], [0.7, 0.6]])
    expected = torch.tensor([[0.2, 0.3, 0.5], [0.7, 0.6, 0.0]])
    close(loss.get_activation(prob.logit()), expected)
    accuracy = loss.get_accuracy(prob.logit(), torch.tensor([1, 1]))
    assert accuracy == dict(acc_classes=50)


def test_custom_classes_refuse_other_channels():
    loss = CrossEntropyCustomLoss(num_classes=3)
    with pytest.raises(ValueError, match='num_classes=3, its head 4'):
        loss.get_cls_channels(4)
    with pytest.raises(ValueError, match=r'4 channels .*\(2, 3\)'):
        loss(torch.zeros(2, 3), torch.zeros(2).long())
    with pytest.raises(TypeError, match='num_classes'):
        CrossEntropyCustomLoss()
    # Masks have one channel for each class, or any other number.
    masks = CrossEntropyCustomLoss(num_classes=3, use_mask=True)
    args = torch.randn(2, 3, 4, 4), torch.ones(2, 4, 4), torch.tensor([0, 2])
    close(masks(*args), CrossEntropyLoss(use_mask=True)(*args))


# --- binary cross entropy with mmpose's arguments ---


def binary_entropy(prob, target):
    return -target * math.log(prob) - (1 - target) * math.log(1 - prob)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_use_sigmoid_of_bce_means_that_the_head_applies_it(use_sigmoid):
    pred, target = scores(5, 3), torch.rand(5, 3).double()
    prob = pred.sigmoid()
    expected = [[binary_entropy(*x) for x in zip(*rows)]
                for rows in zip(prob.tolist(), target.tolist())]
    loss = BCELoss(use_sigmoid=use_sigmoid, reduction='none')
    expected = torch.tensor(expected, dtype=torch.float64)
    given = prob if use_sigmoid else pred
    close(loss(given, target), expected)
    assert loss.takes_probabilities is use_sigmoid
    weight = torch.rand(5).double()
    close(loss(given, target, weight), weight[:, None] * expected)


def test_bce_of_probabilities_of_0_and_1():
    pred = torch.tensor([[0.0, 1.0, 0.0, 1.0]], requires_grad=True)
    target = torch.tensor([[0, 1, 1, 0]])
    got = BCELoss(use_sigmoid=True, reduction='none')(pred, target)
    close(got, torch.tensor([[0.0, 0.0, 100.0, 100.0]]))
    got.sum().backward()
    assert (pred.grad == 0).all()


def test_bce_beside_nan_of_weight_0():
    for use_sigmoid in (False, True):
        pred = torch.tensor([[NAN, 0.5]], requires_grad=True)
        loss = BCELoss(use_sigmoid=use_sigmoid)(pred, torch.ones(1, 2),
                                                torch.tensor([[0.0, 1.0]]))
        loss.backward()
        prob = 0.5 if use_sigmoid else 1 / (1 + math.exp(-0.5))
        assert loss.item() == pytest.approx(-math.log(prob) / 2)
        assert pred.grad[0, 0] == 0 and pred.grad[0, 1] < 0


# --- several positives ---


def multi_positive(row, target):
    """The sum over all pairs, in plain Python."""
    total = 1.0
    for score, positive in zip(row, target):
        for other, negative in zip(row, target):
            if positive >= 1 and negative == 0:
                total += math.exp(other - score)
    return math.log(total)


def test_multi_positive_matches_loop():
    """With all, some and no positives, and pairs that are excluded."""
    pred = scores(5, 6)
    target = torch.tensor([[1, 0, 0, 1, 0, 0], [1] * 6, [0] * 6,
                           [1, -1, 0, -1, 1, 0], [-1, 1, 1, -1, -1, -1]])
    expected = [
        multi_positive(*rows) for rows in zip(pred.tolist(), target.tolist())
    ]
    expected = torch.tensor(expected, dtype=torch.float64)
    loss = MultiPosCrossEntropyLoss(reduction='none')
    got = loss(pred, target)
    close(got, expected)
    grad, = torch.autograd.grad(got.sum(), pred)
    assert grad.isfinite().all()
    assert (grad[target < 0] == 0).all() and (grad[[1, 2, 4]] == 0).all()
    maps = pred.reshape(5, 6, 1).expand(5, 6, 2)
    found = loss(maps, target.unsqueeze(-1).expand(5, 6, 2))
    close(found, expected.unsqueeze(-1).expand(5, 2))


def test_one_positive_is_cross_entropy():
    pred, labels = scores(5, 6), torch.arange(5)
    target = F.one_hot(labels, 6)
    for each in (target, target.bool(), target.double()):
        assert_same_with_gradient(MultiPosCrossEntropyLoss()(pred, each),
                                  F.cross_entropy(pred, labels), pred)


@pytest.mark.parametrize('scale', [1e2, 1e3, 1e6])
def test_multi_positive_of_certain_scores(scale):
    pred = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 0.0]]) * scale
    pred.requires_grad_()
    loss = MultiPosCrossEntropyLoss(reduction='none')
    got = loss(pred, torch.tensor([[1, 0, 1], [1, 0, 0]]))
    close(got[1], torch.tensor(2.0 * scale), rtol=1e-6, atol=0)
    got.sum().backward()
    assert pred.grad.isfinite().all()
    for batch, others in ((0, 3), (2, 0)):
        empty = torch.zeros(batch, others, requires_grad=True)
        got = MultiPosCrossEntropyLoss()(empty, empty.long())
        got.backward()
        assert got == 0
