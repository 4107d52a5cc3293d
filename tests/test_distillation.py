"""The losses between student and teacher, against loops and stock."""
import math

import pytest
import torch
from helpers import ROOT
from torch import nn

from mmlosses.losses import (ChannelWiseDivergence, FeaLoss, KDLoss,
                             KLDiscretLoss, KLDivLoss,
                             KnowledgeDistillationKLDivLoss)


def random(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


def softmax(scores, factor):
    powers = [math.exp(factor * x) for x in scores]
    return [x / sum(powers) for x in powers]


def divergence(student, teacher, factor):
    """KL divergence of two lists of scores, in plain numbers."""
    return sum([
        t * math.log(t / p)
        for p, t in zip(softmax(student, factor), softmax(teacher, factor))
    ])


# --- KnowledgeDistillationKLDivLoss ---


@pytest.mark.parametrize('T', [0.5, 1, 10])
@pytest.mark.parametrize('bin_reduction', ['mean', 'sum'])
def test_classes_match_loops(T, bin_reduction):
    student, teacher = random(6, 17), random(6, 17, seed=1)
    loss = KnowledgeDistillationKLDivLoss(
        'none', T=T, bin_reduction=bin_reduction)
    expected = torch.tensor([
        T**2 * divergence(*pair, 1 / T)
        for pair in zip(student.tolist(), teacher.tolist())
    ]).double()
    if bin_reduction == 'mean':
        expected = expected / 17
    torch.testing.assert_close(loss(student, teacher), expected)


def test_sum_over_bins_does_not_shrink_with_them():
    """LD#74: with twice the bins, all of them unlikely, it is the same."""
    student, teacher = random(5, 8), random(5, 8, seed=1)
    more = [
        torch.cat([x, torch.full_like(x, -1e4)], 1) for x in (student, teacher)
    ]
    loss = KnowledgeDistillationKLDivLoss(bin_reduction='sum', T=1)
    torch.testing.assert_close(loss(*more), loss(student, teacher))
    loss = KnowledgeDistillationKLDivLoss(T=1)
    torch.testing.assert_close(2 * loss(*more), loss(student, teacher))


def test_temperature_keeps_the_size_of_the_gradient():
    """Hinton: at high temperatures it is (s - z) / C, of centred logits."""
    student, teacher = random(1, 9), random(1, 9, seed=1)
    student, teacher = [x - x.mean() for x in (student, teacher)]
    student.requires_grad_()
    loss = KnowledgeDistillationKLDivLoss(T=1e4, bin_reduction='sum')
    grad, = torch.autograd.grad(loss(student, teacher), student)
    torch.testing.assert_close(
        grad, ((student - teacher) / 9).detach(), rtol=1e-3, atol=1e-4)


def test_maps_have_classes_on_axis_one():
    student, teacher = random(2, 5, 3, 4), random(2, 5, 3, 4, seed=1)
    weight = torch.rand(2, 3, 4, dtype=torch.float64)
    loss = KnowledgeDistillationKLDivLoss('none')
    rows = [x.movedim(1, -1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(
        loss(student, teacher, weight),
        loss(*rows, weight.flatten()).reshape(2, 3, 4))


def test_teacher_may_rule_out_a_class():
    student = random(2, 3).requires_grad_()
    teacher = torch.tensor([[0, -math.inf, 0], [1, 2, 3.0]]).double()
    loss = KnowledgeDistillationKLDivLoss(T=1, bin_reduction='sum')
    got = loss(student, soft_label=teacher)
    grad, = torch.autograd.grad(got, student)
    assert got.isfinite() and grad.isfinite().all()


def test_teacher_has_no_gradient():
    student, teacher = random(2, 3), random(2, 3, seed=1).requires_grad_()
    assert not KnowledgeDistillationKLDivLoss()(student, teacher).requires_grad


@pytest.mark.parametrize('T', [1.0, 3])
def test_kl_div_loss_matches_loops(T):
    """mmseg's is not 0 for equal inputs, and may be negative."""
    student, teacher = random(4, 3), random(4, 3, seed=1)
    got = KLDivLoss(T)(student, teacher)
    expected = sum([
        divergence(*pair, 1 / T)
        for pair in zip(student.tolist(), teacher.tolist())
    ])
    assert got.item() == pytest.approx(T**2 * expected / 12, rel=1e-9)
    torch.testing.assert_close(
        KLDivLoss(T)(input=student, target=teacher),
        KnowledgeDistillationKLDivLoss(T=T)(student, teacher))
    assert KLDivLoss(T)(student, student).abs() < 1e-9


@pytest.mark.openmmlab
def test_ld_head():
    """The call and the number of mmdet's LD, with anchors of both kinds."""
    heads = pytest.importorskip('mmdet.models.dense_heads')
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData
    register_all_modules()
    generator = torch.Generator().manual_seed(0)
    size, results = [(8, 8), (4, 4)], []
    x = [torch.randn(1, 8, *s, generator=generator) for s in size]
    teacher = ([torch.randn(1, 3, *s, generator=generator) for s in size],
               [torch.randn(1, 68, *s, generator=generator) for s in size])
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(64, 64), pad_shape=(64, 64), scale_factor=1.0))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[4., 4, 40, 40], [20, 20, 60, 50]]),
        labels=torch.tensor([0, 2]))
    for prefix in ('', 'mmlosses.'):
        torch.manual_seed(0)
        head = heads.LDHead(
            num_classes=3,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            anchor_generator=dict(
                type='AnchorGenerator',
                ratios=[1.0],
                octave_base_scale=4,
                scales_per_octave=1,
                strides=[8, 16]),
            loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
            loss_ld=dict(
                type=prefix + 'KnowledgeDistillationKLDivLoss',
                loss_weight=0.25,
                T=10),
            train_cfg=ConfigDict(
                assigner=dict(type='ATSSAssigner', topk=9),
                allowed_border=-1,
                pos_weight=-1,
                debug=False))
        head.init_weights()
        losses = head.loss(x, teacher, [sample])['loss_ld']
        grads = torch.autograd.grad(sum(losses), head.gfl_reg.weight)
        results.append((*losses, *grads))
    assert sum(results[0][:2]) > 0
    torch.testing.assert_close(*results)


# --- KDLoss ---


@pytest.mark.parametrize('beta', [1.0, 10.0])
@pytest.mark.parametrize('axes', [(5, 7), (5, 7, 6)])
def test_keypoints_match_loops(beta, axes):
    student = tuple([random(2, 3, bins) for bins in axes])
    teacher = tuple([random(2, 3, bins, seed=1) for bins in axes])
    expected = torch.zeros(2, 3).double()
    for n in range(2):
        for k in range(3):
            expected[n, k] = sum([
                divergence(s[n, k].tolist(), t[n, k].tolist(), beta)
                for s, t in zip(student, teacher)
            ])
    torch.testing.assert_close(
        KDLoss(reduction='none')(student, teacher, beta), expected)
    got = KDLoss('loss_logit', True, 0.1)(student, teacher, beta)
    torch.testing.assert_close(got, 0.1 * expected.mean())


def test_target_weight_is_ignored_unless_asked_for():
    student = tuple([random(2, 3, bins) for bins in (5, 7)])
    teacher = tuple([random(2, 3, bins, seed=1) for bins in (5, 7)])
    weight = torch.tensor([[1.0, 0, 0.5], [0, 0, 1]])
    elements = KDLoss(reduction='none')(student, teacher, 2.0)
    loss = KDLoss(name='loss_logit', use_this=True, weight=1.0)
    torch.testing.assert_close(
        loss(student, teacher, 2.0, weight), elements.mean())
    loss = KDLoss(use_target_weight=True)
    torch.testing.assert_close(
        loss(student, teacher, beta=2.0, target_weight=weight),
        (elements * weight).mean())


def test_same_as_simcc_with_a_softmax_of_the_target():
    student = tuple([random(2, 3, bins) for bins in (5, 7)])
    teacher = tuple([random(2, 3, bins, seed=1) for bins in (5, 7)])
    simcc = KLDiscretLoss(
        3.0, True, 3.0, use_target_weight=None, bin_reduction='sum')
    torch.testing.assert_close(KDLoss()(student, teacher, 3.0),
                               simcc(student, teacher))


@pytest.mark.parametrize('call', [
    lambda loss, x: loss(x[0], x[0], 1.0, None),
    lambda loss, x: loss(x, x[:1], 1.0, None),
    lambda loss, x: loss([x[0], x[1][:1]], [x[0], x[1]], 1.0, None),
])
def test_wrong_axes(call):
    with pytest.raises((ValueError, TypeError), match='pred'):
        call(KDLoss(), (torch.zeros(2, 3, 5), torch.zeros(2, 3, 7)))


# --- FeaLoss ---


@pytest.mark.parametrize('channels', [(3, 4), (4, 4)])
def test_maps_match_loops(channels):
    student = random(2, channels[0], 2, 3)
    teacher = random(2, channels[1], 2, 3, seed=1)
    loss = FeaLoss('loss_fea', True, *channels, 0.01, reduction='none')
    loss = loss.double()
    expected = torch.zeros(2).double()
    for n in range(2):
        for y in range(2):
            for x in range(3):
                s = student[n, :, y, x]
                if loss.align is not None:
                    matrix = loss.align.weight[:, :, 0, 0]
                    s = matrix @ s + loss.align.bias
                distance = [(a - b)**2
                            for a, b in zip(s.tolist(), teacher[n, :, y,
                                                                x].tolist())]
                expected[n] += 0.01 * sum(distance)
    torch.testing.assert_close(loss(student, teacher), expected)


@pytest.mark.parametrize('channels', [(3, 4), (4, 4)])
def test_checkpoints_of_mmpose_load(channels):
    stock = pytest.importorskip('mmpose.models.losses.fea_dis_loss').FeaLoss(
        'loss_fea', True, *channels)
    ours = FeaLoss('loss_fea', True, *channels)
    ours.load_state_dict(stock.state_dict())
    assert type(ours.align) is type(stock.align)
    student = random(2, channels[0], 5, 6, dtype=None).requires_grad_()
    teacher = random(2, channels[1], 5, 6, seed=1, dtype=None)
    results = []
    for loss in (ours, stock):
        value = loss(preds_S=student, preds_T=teacher)
        results.append(
            (value,
             *torch.autograd.grad(value, [student, *loss.parameters()])))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize('shapes', [
    [(2, 3, 5, 5), (2, 4, 1, 5)],
    [(2, 3, 5, 5), (2, 3, 5, 5)],
    [(2, 3, 5), (2, 4, 5)],
])
def test_maps_of_other_sizes(shapes):
    """mmpose broadcasts the first ones."""
    loss = FeaLoss('loss_fea', True, 3, 4)
    with pytest.raises(ValueError, match=r'3 and 4 channels, got \(2, 3'):
        loss(*[torch.zeros(shape) for shape in shapes])


def test_half_precision_maps():
    """mmpose's sum of squares is infinite."""
    student = torch.full((1, 8, 16, 16), 20.0, dtype=torch.float16)
    got = FeaLoss('loss_fea', True, 8, 8)(student, -student)
    assert got.item() == pytest.approx(7e-5 * 8 * 16 * 16 * 1600)
    stock = pytest.importorskip('mmpose.models.losses.fea_dis_loss')
    assert stock.FeaLoss('loss_fea', True, 8, 8)(student, -student).isinf()


# --- the distiller of DWPose ---

MODEL = '''
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor'),
    backbone=dict(type='ResNet', depth=18),
    head=dict(
        type='RTMCCHead',
        in_channels=512,
        out_channels=17,
        input_size=(64, 64),
        in_featuremap_size=(2, 2),
        simcc_split_ratio=2.0,
        final_layer_kernel_size=1,
        gau_cfg=dict(
            hidden_dims=16,
            s=8,
            expansion_factor=2,
            dropout_rate=0.,
            drop_path=0.,
            act_fn='ReLU',
            use_rel_bias=False,
            pos_enc=False),
        loss=dict(
            type='KLDiscretLoss',
            use_target_weight=True,
            beta=10.,
            label_softmax=True),
        decoder=dict(
            type='SimCCLabel',
            input_size=(64, 64),
            sigma=(2.0, 2.0),
            simcc_split_ratio=2.0,
            normalize=False,
            use_dark=False)))
'''


@pytest.mark.openmmlab
def test_distiller(tmp_path):
    """DWPose, with a teacher that differs from the student."""
    distillers = pytest.importorskip('mmpose.models.distillers')
    from mmengine.config import Config
    from mmengine.logging import MessageHub
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample
    from mmpose.utils import register_all_modules
    register_all_modules()
    path = tmp_path / 'model.py'
    path.write_text(MODEL)
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', 1)
    hub.update_info('max_epochs', 4)
    inputs = random(2, 3, 64, 64, dtype=None)
    samples = []
    for _ in range(2):
        sample = PoseDataSample()
        sample.gt_instance_labels = InstanceData(
            keypoint_x_labels=torch.rand(1, 17, 128),
            keypoint_y_labels=torch.rand(1, 17, 128),
            keypoint_weights=torch.tensor([[1.0] * 9 + [0.0] * 8]))
        samples.append(sample)
    results = []
    config = ROOT / 'configs/mmpose/dwpose_l_dis_m_kd_fea_coco-256x192.py'
    parts = Config.fromfile(str(config)).model.distill_cfg
    parts[0].methods[0].update(student_channels=512, teacher_channels=512)
    for prefix in ('mmlosses.', ''):
        for part in parts:
            loss = part.methods[0]
            loss.type = prefix + loss.type.rpartition('.')[-1]
        torch.manual_seed(0)
        distiller = distillers.DWPoseDistiller(
            str(path), str(path), distill_cfg=parts)
        own = type(distiller.distill_losses['loss_fea']).__module__
        assert own.startswith('mmlosses' if prefix else 'mmpose')
        nn.init.normal_(distiller.teacher.head.final_layer.weight)
        distiller.student.train()
        losses = distiller.loss(inputs, samples)
        terms = [losses['loss_fea'], losses['loss_logit']]
        grads = torch.autograd.grad(
            sum(terms), distiller.student.head.final_layer.weight)
        results.append((*terms, *grads))
    assert min(results[0][:2]) > 0
    torch.testing.assert_close(*results)


# --- ChannelWiseDivergence ---


@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_channels_match_loops(tau):
    """With the mean over samples and channels, as in mmrazor."""
    student, teacher = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    expected = sum([
        divergence(student[n, c].flatten().tolist(),
                   teacher[n, c].flatten().tolist(), 1 / tau) for n in range(2)
        for c in range(3)
    ])
    got = ChannelWiseDivergence(tau)(preds_S=student, preds_T=teacher)
    assert got.item() == pytest.approx(tau**2 * expected / 6, rel=1e-9)


def test_channels_are_weighed_one_by_one_or_by_sample():
    maps = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    loss = ChannelWiseDivergence(reduction='none')
    weight = torch.tensor([[1, 0, 2.0], [0, 3, 1]]).double()
    torch.testing.assert_close(loss(*maps, weight), loss(*maps) * weight)
    torch.testing.assert_close(
        loss(*maps, weight[0, :2]),
        loss(*maps) * weight[0, :2, None])


def test_channels_that_do_not_fit():
    """mmrazor pairs channels of 2 x 3 maps with those of 3 x 2."""
    loss = ChannelWiseDivergence()
    with pytest.raises(ValueError, match='same shape'):
        loss(random(2, 3, 4, 4), random(3, 2, 4, 4))
    with pytest.raises(ValueError, match=r'\(N, C, H, W\)'):
        loss(random(2, 3), random(2, 3))
