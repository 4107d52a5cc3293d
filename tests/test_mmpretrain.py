"""Losses resolve by name in mmpretrain's classifiers."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope

pytestmark = pytest.mark.openmmlab
try:
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample
except (ImportError, AssertionError) as error:
    pytest.skip(f'needs mmpretrain: {error}', allow_module_level=True)


@pytest.mark.parametrize('loss, smoothing', [
    (dict(type='mmlosses.CrossEntropyLoss'), 0.0),
    (dict(
        type='mmlosses.LabelSmoothLoss', smoothing=0.1,
        distribute='uniform'), 0.1),
])
def test_classifier(loss, smoothing):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(
        Config(
            dict(
                type='ImageClassifier',
                backbone=dict(type='ResNet', depth=18),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead',
                    num_classes=5,
                    in_channels=512,
                    loss=loss))))
    model.eval()  # fixed statistics
    inputs, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 4, 2])
    samples = [DataSample().set_gt_label(label) for label in labels]
    got = model.loss(inputs, samples)['loss']
    scores = model.head(model.extract_feat(inputs))
    expected = F.cross_entropy(scores, labels, label_smoothing=smoothing)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert model.backbone.conv1.weight.grad.isfinite().all()


@pytest.mark.parametrize('use_sigmoid', [None, False, True])
@pytest.mark.parametrize('mode', ['original', 'classy_vision', 'multi_label'])
def test_label_smoothing_with_the_arguments_of_mmpretrain(mode, use_sigmoid):
    if mode == 'multi_label' and use_sigmoid is False:
        pytest.skip('stock warns of it, ours refuses it')
    settings = dict(
        label_smooth_val=0.2,
        num_classes=5,
        mode=mode,
        use_sigmoid=use_sigmoid,
        loss_weight=2.0)
    ours, stock = [
        MODELS.build(dict(settings, type=f'{scope}.LabelSmoothLoss'))
        for scope in ('mmlosses', 'mmpretrain')
    ]
    torch.manual_seed(0)
    labels = torch.tensor([0, 4, 2])
    targets = [F.one_hot(labels, 5).float(), torch.rand(3, 5)]
    # With a sigmoid stock needs dense targets, and in the mode for several
    # labels they are 0 or 1.
    if mode == 'multi_label':
        targets[1] = (targets[1] > 0.5).float()
    else:
        targets.append(labels)
    for target in targets:
        pred = torch.randn(3, 5, requires_grad=True)
        values = [loss(pred, target) for loss in (ours, stock)]
        torch.testing.assert_close(*values)
        torch.testing.assert_close(
            *[torch.autograd.grad(value, pred) for value in values])


@pytest.mark.parametrize('more, words', [
    (dict(smoothing=0.1), 'replaces smoothing'),
    (dict(mode='other'), "mode must be .*'other'"),
    (dict(mode='multi_label', use_sigmoid=False), 'use_sigmoid=True'),
    (dict(label_smooth_val=1.0), 'label_smooth_val must be .* 1'),
])
def test_label_smoothing_refuses(more, words):
    settings = dict(
        dict(type='mmlosses.LabelSmoothLoss', label_smooth_val=0.1), **more)
    with pytest.raises((TypeError, ValueError), match=words):
        MODELS.build(settings)


WEIGHTS = dict(class_weight=[0.5, 2.0, 1.0], pos_weight=[3.0, 0.2, 1.5])


@pytest.mark.parametrize('settings', [
    dict(use_soft=True),
    dict(use_soft=True, class_weight=[0.5, 2.0, 1.0]),
    dict(use_sigmoid=True, use_soft=False, class_weight=[0.5, 2.0, 1.0]),
    dict(use_sigmoid=True, pos_weight=[3.0, 0.2, 1.5]),
    dict(use_sigmoid=True, **WEIGHTS),
    dict(label_smooth_val=0.2, mode='multi_label', **WEIGHTS),
    dict(
        label_smooth_val=0.2, mode='multi_label', class_weight=[0.5, 2.0, 1.0
                                                                ]),
])
def test_weights_of_classes_with_the_arguments_of_mmpretrain(settings):
    """There, class_weight is of positives and negatives."""
    torch.manual_seed(0)
    pred = torch.randn(4, 3, requires_grad=True)
    target = torch.randint(2, (4, 3)).float()
    kind = 'LabelSmooth' if 'label_smooth_val' in settings else 'CrossEntropy'
    if kind == 'LabelSmooth':
        settings = dict(settings, num_classes=3)
    results = []
    for scope in ('mmlosses', 'mmpretrain'):
        loss = MODELS.build(dict(settings, type=f'{scope}.{kind}Loss'))
        value = loss(pred, target, avg_factor=4)
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)


def test_weights_of_positives_need_a_sigmoid():
    for kind in ('CrossEntropyLoss', 'LabelSmoothLoss'):
        with pytest.raises(ValueError, match='pos_weight needs use_sigmoid'):
            MODELS.build(dict(type=f'mmlosses.{kind}', pos_weight=[1.0]))
    with pytest.raises(ValueError, match='use_soft needs a softmax'):
        MODELS.build(
            dict(
                type='mmlosses.CrossEntropyLoss',
                use_soft=True,
                use_sigmoid=True))


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_one_class_weight_for_all(use_sigmoid):
    """As in mmyolo's configs, where stock takes it for a sigmoid only."""
    torch.manual_seed(0)
    pred, labels = torch.randn(4, 3), torch.arange(4) % 3
    one, several = [
        MODELS.build(
            dict(
                type='mmlosses.CrossEntropyLoss',
                use_sigmoid=use_sigmoid,
                class_weight=weight))(pred, labels)
        for weight in (0.5, [0.5, 0.5, 0.5])
    ]
    torch.testing.assert_close(one, several)


def multi_label_step(scope, gt, **loss):
    """What a head for several labels logs, and the gradient of its layer."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type='MultiLabelLinearClsHead',
            num_classes=6,
            in_channels=8,
            loss=dict(loss, type=f"{scope}.{loss['type']}")))
    samples = []
    for each in gt:
        sample = DataSample()
        samples.append(
            sample.set_gt_score(each) if each.is_floating_point() else sample.
            set_gt_label(each))
    logged = head.loss((torch.randn(len(gt), 8), ), samples)
    logged['loss'].backward()
    return logged['loss'], head.fc.weight.grad


@pytest.mark.parametrize('loss', [
    dict(type='AsymmetricLoss'),
    dict(
        type='AsymmetricLoss',
        gamma_pos=1.0,
        gamma_neg=2.0,
        clip=0.1,
        loss_weight=2.0),
    dict(type='AsymmetricLoss', use_sigmoid=False, clip=None),
    dict(type='FocalLoss'),
    dict(type='FocalLoss', gamma=1.0, alpha=0.6, loss_weight=2.0),
    dict(type='CrossEntropyLoss', use_sigmoid=True),
])
def test_a_head_for_several_labels_trains_as_with_stock(loss):
    """From lists of labels, and from scores of all classes."""
    labels = [torch.tensor([0, 5]), torch.tensor([3]), torch.tensor([1, 2, 4])]
    for gt in (labels, torch.rand(3, 6)):
        ours, stock = [
            multi_label_step(scope, gt, **loss)
            for scope in ('mmlosses', 'mmpretrain')
        ]
        torch.testing.assert_close(ours, stock)
        assert ours[1].any()


@pytest.mark.parametrize('kind', ['FocalLoss', 'AsymmetricLoss'])
def test_labels_and_weights_of_mmpretrain(kind):
    """Labels (N,) or (N, 1), weights of samples."""
    torch.manual_seed(0)
    pred = torch.randn(5, 4, requires_grad=True)
    labels = torch.tensor([0, 3, 1, 2, 2])
    losses = [
        MODELS.build(dict(type=f'{scope}.{kind}', loss_weight=2.0))
        for scope in ('mmlosses', 'mmpretrain')
    ]
    for target in (labels, labels.unsqueeze(1), torch.rand(5, 4)):
        for call in (dict(), dict(avg_factor=5), dict(weight=torch.rand(5)),
                     dict(reduction_override='none')):
            values = [loss(pred, target, **call) for loss in losses]
            torch.testing.assert_close(*values)
            torch.testing.assert_close(
                *[torch.autograd.grad(value.sum(), pred) for value in values])
