"""Losses of label maps, alone and in decode heads of mmseg."""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

from mmlosses.losses import (BalancedBCELoss, CrossEntropyLoss, DiceLoss,
                             FocalLoss)

try:
    import mmseg.models  # noqa: F401
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample
except (ImportError, AssertionError) as error:  # mmseg asserts its mmcv.
    mmseg, why = None, error
else:
    mmseg, why = mmseg.models, ''
needs_mmseg = pytest.mark.skipif(mmseg is None, reason=f'needs mmseg: {why}')

CLASSES = 4
WEIGHTS = [0.5, 2.0, 1.0, 3.0]
SIGMOID = dict(use_sigmoid=True)


def label_map(ignored=True):
    """Labels of all classes, 255 in a corner."""
    labels = torch.arange(2 * 6 * 5).reshape(2, 6, 5) % CLASSES
    if ignored:
        labels[:, :2, :3] = 255
    return labels


@pytest.fixture
def pred():
    torch.manual_seed(0)
    return torch.randn(2, CLASSES, 6, 5).double().requires_grad_()


def pixels(pred, labels):
    """The scores and the label of each pixel that is not ignored."""
    for n, row, column in (labels != 255).nonzero().tolist():
        yield pred[n, :, row, column].tolist(), labels[n, row, column].item()


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def entropies(pred, labels, class_weight):
    """Softmax cross entropy by its definition, over the class weights."""
    total = weights = 0.0
    for scores, label in pixels(pred, labels):
        norm = sum([math.exp(score) for score in scores])
        weight = class_weight[label]
        total -= weight * math.log(math.exp(scores[label]) / norm)
        weights += weight
    return total / weights


def focal(pred, labels, alpha):
    """Equation 5 of the paper for each class, over all numbers of pred."""
    total = 0.0
    for scores, label in pixels(pred, labels):
        for c, score in enumerate(scores):
            prob, share = sigmoid(score), alpha[c]
            if c != label:
                prob, share = 1 - prob, 1 - share
            total -= share * (1 - prob)**2 * math.log(prob)
    return total / pred.numel()


def dice(pred, labels, activate):
    """The mean over samples; the sums run over classes and pixels."""
    total = 0.0
    for n in range(len(pred)):
        overlap, size = 0.0, 2e-3
        for scores, label in pixels(pred[n:n + 1], labels[n:n + 1]):
            for c, prob in enumerate(activate(scores)):
                overlap += 2 * prob * (c == label)
                size += prob**2 + (c == label)
        total += 1 - overlap / size
    return total / len(pred)


def softmax(scores):
    norm = sum([math.exp(score) for score in scores])
    return [math.exp(score) / norm for score in scores]


ORACLES = [
    (CrossEntropyLoss(class_weight=WEIGHTS),
     lambda *args: entropies(*args, WEIGHTS)),
    (FocalLoss(alpha=0.3), lambda *args: focal(*args, [0.3] * CLASSES)),
    (FocalLoss(alpha=[0.1, 0.4, 0.5, 0.9]),
     lambda *args: focal(*args, [0.1, 0.4, 0.5, 0.9])),
    (DiceLoss(), lambda *args: dice(*args, lambda x: map(sigmoid, x))),
    (DiceLoss(use_sigmoid=False), lambda *args: dice(*args, softmax)),
]


@pytest.mark.parametrize('loss, oracle', ORACLES)
def test_ignored_pixels_are_out_of_every_sum(pred, loss, oracle):
    labels = label_map()
    got = loss(pred, labels, ignore_index=255)
    assert got.item() == pytest.approx(oracle(pred, labels), rel=1e-6)
    grad, = torch.autograd.grad(got, pred)
    ignored = (labels == 255).unsqueeze(1).expand_as(pred)
    assert not grad[ignored].any() and grad[~ignored].all()
    # Whatever they hold.
    broken = pred.detach().masked_fill(ignored, math.nan).requires_grad_()
    again = loss(broken, labels, ignore_index=255)
    torch.testing.assert_close(again, got)
    torch.testing.assert_close(torch.autograd.grad(again, broken)[0], grad)


@pytest.mark.parametrize('loss', [
    CrossEntropyLoss(use_sigmoid=True),
    FocalLoss(),
    DiceLoss(),
    BalancedBCELoss(),
])
def test_one_channel_has_label_1_in_the_foreground(loss):
    """As a binary decode head predicts; a matrix (N, 1) is that of mmdet."""
    torch.manual_seed(0)
    pred, labels = torch.randn(2, 1, 6, 5), label_map() % 2
    labels[:, 0] = 255
    kept = labels != 255
    right = torch.where(labels == 1, 20.0, -20.0).unsqueeze(1)
    assert loss(right, labels, ignore_index=255) < 1e-3
    assert loss(-right, labels, ignore_index=255) > 0.5
    mask = (labels == 1).unsqueeze(1)
    if not isinstance(loss, DiceLoss):
        torch.testing.assert_close(
            loss(pred, labels, ignore_index=255, reduction_override='sum'),
            loss(
                pred,
                mask.float(),
                kept.unsqueeze(1).float(),
                reduction_override='sum'))


def test_hardest_negatives_of_label_maps(pred):
    labels = label_map()
    hot = F.one_hot(labels.where(labels != 255, 0), CLASSES).movedim(-1, 1)
    kept = (labels != 255).double().unsqueeze(1).expand_as(pred)
    loss = BalancedBCELoss(negative_ratio=1.0)
    torch.testing.assert_close(
        loss(pred, labels, ignore_index=255), loss(pred, hot, kept))


def test_labels_of_dice_are_checked(pred):
    with pytest.raises(ValueError, match='target must be from 0 to 4, got 77'):
        DiceLoss()(pred, label_map().clamp(max=77), ignore_index=255)
    with pytest.raises(ValueError, match='got -1'):
        DiceLoss()(pred, label_map() - 1)


def test_dice_leaves_out_an_ignored_class(pred):
    """As mmseg, which counts the pixels of the class; here they are out."""
    labels = label_map(ignored=False)
    got = DiceLoss(ignore_index=2)(pred, labels)
    others = pred[:, [0, 1, 3]]
    moved = labels.where(labels != 2, 255)
    moved = moved.where(moved != 3, 2)
    torch.testing.assert_close(got, DiceLoss()(others, moved))


def test_weights_of_classes_follow_the_head(pred):
    """mmseg divides by the class weights, mmdet by the number of labels."""
    labels = label_map(ignored=False)
    loss = CrossEntropyLoss(class_weight=WEIGHTS)
    args = pred, labels, torch.tensor(WEIGHTS).double()
    torch.testing.assert_close(
        loss(pred, labels, ignore_index=255), F.cross_entropy(*args))
    torch.testing.assert_close(
        loss(pred, labels),
        F.cross_entropy(*args, reduction='none').mean())


def test_defaults_of_focal_loss_follow_the_project():
    assert FocalLoss().alpha == 0.25
    assert FocalLoss(loss_name='loss_focal').alpha == 0.5
    assert FocalLoss(loss_name='loss_focal', alpha=0.3).alpha == 0.3


# --- real heads ---


def build(losses, scope, **settings):
    """A head with losses of a project, the same weights each time."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = dict(
        type='FCNHead',
        in_channels=8,
        channels=8,
        num_convs=1,
        num_classes=CLASSES,
        norm_cfg=dict(type='BN'))
    losses = [dict(loss, type=f'{scope}.{loss["type"]}') for loss in losses]
    head.update(settings, loss_decode=losses if losses[1:] else losses[0])
    if head['type'] != 'FCNHead':
        del head['num_convs']
    return MODELS.build(head).eval()  # no dropout


def samples(labels):
    found = []
    for each in labels:
        sample = SegDataSample()
        sample.gt_sem_seg = mmseg_data(each)
        found.append(sample)
    return found


def mmseg_data(labels):
    from mmengine.structures import PixelData
    return PixelData(data=labels.unsqueeze(0))


def step(losses, scope, labels, **settings):
    """What the head logs, and the gradient of its classifier."""
    head = build(losses, scope, **settings)
    torch.manual_seed(1)
    logged = head.loss([torch.randn(2, 8, 3, 3)], samples(labels), {})
    # mmengine takes the mean of a loss with several elements.
    logged = {key: x.mean() for key, x in logged.items()}
    total = sum([x for key, x in logged.items() if 'loss' in key])
    total.backward()
    return logged, head.conv_seg.weight.grad


CE = dict(type='CrossEntropyLoss', loss_weight=0.4)
LOVASZ = dict(type='LovaszLoss', loss_name='loss_lovasz')
TVERSKY = dict(type='TverskyLoss', loss_name='loss_tversky')
OHEM = dict(type='OhemCrossEntropy', thres=0.3, min_kept=20)
HEADS = [
    ([CE], True),
    ([dict(CE, avg_non_ignore=True)], True),
    ([dict(CE, **SIGMOID)], True),
    ([dict(CE, avg_non_ignore=True, **SIGMOID)], True),
    ([dict(CE, class_weight=WEIGHTS)], False),
    ([dict(type='DiceLoss', loss_name='loss_dice')], False),
    ([dict(type='DiceLoss', use_sigmoid=False, naive_dice=True)], False),
    ([
        dict(CE, loss_name='loss_ce'),
        dict(CE, loss_name='loss_ce', loss_weight=1.0),
        dict(type='DiceLoss', loss_name='loss_dice', loss_weight=3.0)
    ], False),
    ([dict(LOVASZ, reduction='none')], True),
    ([dict(LOVASZ, per_image=True, class_weight=WEIGHTS)], True),
    ([dict(LOVASZ, classes=[0, 3], reduction='none')], True),
    ([dict(TVERSKY, class_weight=WEIGHTS)], True),
    ([dict(TVERSKY, smooth=0.1, alpha=0.5, beta=0.5)], True),
    ([
        dict(CE, loss_name='loss_ce'),
        dict(LOVASZ, reduction='none', loss_weight=0.5),
        dict(TVERSKY, loss_weight=2.0)
    ], True),
]


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('losses, ignored', HEADS)
@pytest.mark.parametrize('sampled', [False, True])
def test_a_head_trains_as_with_stock(losses, ignored, sampled):
    """With a sampler, it passes a weight of each pixel."""
    settings = {}
    if sampled:
        if any([loss['type'] != 'CrossEntropyLoss' for loss in losses]):
            pytest.skip('stock takes no weight of pixels')
        settings['sampler'] = dict(
            type='OHEMPixelSampler', thresh=0.3, min_kept=10)
    ours, own = step(losses, 'mmlosses', label_map(ignored), **settings)
    stock, theirs = step(losses, 'mmseg', label_map(ignored), **settings)
    if all(['loss_name' in loss for loss in losses]):
        assert ours.keys() == stock.keys()
    for got, expected in zip(ours.values(), stock.values()):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(own, theirs)


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('losses, error', [
    ([dict(CE, class_weight=WEIGHTS)], IndexError),
    ([dict(type='FocalLoss', loss_name='loss_focal')], Exception),
    ([LOVASZ], AssertionError),
    ([dict(OHEM, class_weight=WEIGHTS)], TypeError),
    ([dict(type='HuasdorffDisstanceLoss', class_weight=WEIGHTS)
      ], AssertionError),
    ([dict(TVERSKY, alpha=1.0, beta=1.0)], AssertionError),
])
def test_a_head_trains_where_stock_fails(losses, error):
    """On the CPU; labels to ignore, and any labels of the focal loss."""
    logged, grad = step(losses, 'mmlosses', label_map())
    assert grad.isfinite().all() and grad.any()
    assert any([key.startswith('loss_') for key in logged])
    with pytest.raises(error):
        step(copy.deepcopy(losses), 'mmseg', label_map())


@needs_mmseg
@pytest.mark.openmmlab
def test_a_head_trains_on_distances():
    """mmseg takes all classes but 0 for one region, so compare with two."""
    losses = [dict(type='HuasdorffDisstanceLoss', loss_name='loss_hd')]
    labels = label_map(False) % 2
    ours, own = step(losses, 'mmlosses', labels, num_classes=2)
    stock, theirs = step(losses, 'mmseg', labels, num_classes=2)
    torch.testing.assert_close(ours, stock)
    torch.testing.assert_close(own, theirs)


@needs_mmseg
@pytest.mark.openmmlab
def test_a_head_trains_on_centrelines():
    losses = [
        dict(type='DiceLoss', loss_name='loss_dice'),
        dict(type='ClDiceLoss', loss_name='loss_cl_dice')
    ]
    logged, grad = step(losses, 'mmlosses', label_map())
    assert grad.isfinite().all() and grad.any()
    assert logged['loss_cl_dice'] > 0


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('losses', [
    [LOVASZ],
    [TVERSKY],
    [dict(OHEM, thres=0.9)],
    [dict(type='HuasdorffDisstanceLoss')],
    [CE, dict(LOVASZ, per_image=True)],
])
def test_a_head_with_a_sampler_of_pixels(losses):
    """mmseg ignores the weight that the sampler gives to each pixel."""
    sampler = dict(type='OHEMPixelSampler', thresh=0.3, min_kept=10)
    logged, grad = step(losses, 'mmlosses', label_map(), sampler=sampler)
    every, other = step(losses, 'mmlosses', label_map())
    assert grad.isfinite().all() and not torch.equal(grad, other)


def edge_samples(labels):
    found = samples(labels)
    for sample in found:
        edge = torch.zeros_like(sample.gt_sem_seg.data)
        edge[:, 2:4, 1:3], edge[:, 5:] = 1, 255
        sample.gt_edge_map = mmseg_data(edge[0])
    return found


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('head, count', [('PIDHead', 4), ('DDRHead', 2)])
@pytest.mark.parametrize('thres', [0.9, 0.1])
def test_heads_with_two_branches_train_as_with_stock(head, count, thres):
    """The calls of PIDNet and DDRNet, all losses with class weights."""
    ohem = dict(OHEM, thres=thres, loss_weight=0.7)
    losses = [
        dict(CE), ohem,
        dict(type='BoundaryLoss', loss_weight=20.0),
        dict(ohem, loss_weight=1.0)
    ]
    if head == 'DDRHead':
        losses = [ohem, dict(ohem, loss_weight=0.4)]
    results = []
    for scope in ('mmlosses', 'mmseg'):
        module = build(copy.deepcopy(losses), scope, type=head).train()
        torch.manual_seed(1)
        features = {
            'PIDHead': [(4, 6, 5), (8, 6, 5), (4, 6, 5)],
            'DDRHead': [(4, 6, 5), (8, 6, 5)]
        }[head]
        features = [torch.randn(2, *size) for size in features]
        logged = module.loss(features, edge_samples(label_map()), {})
        sum([x for key, x in logged.items() if 'loss' in key]).backward()
        grads = [x.grad for x in module.parameters() if x.grad is not None]
        assert len(logged) == count + 1
        results.append((logged, grads))
    torch.testing.assert_close(*results)


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('several', [False, True])
def test_depths_of_vpd_train_as_with_stock(several):
    """The part of its head that knows the loss; the rest is 100 MB."""
    results = []
    for scope in ('mmlosses', 'mmseg'):
        loss = dict(type=f'{scope}.SiLogLoss', loss_name='loss_silog')
        loss = [loss, dict(loss, loss_weight=0.5)] if several else loss
        init_default_scope('mmseg')
        head = MODELS.build(
            dict(
                type='VPDDepthHead',
                in_channels=[16, 16, 16, 16],
                embed_dim=4,
                feature_dim=32,
                num_deconv_layers=1,
                num_deconv_filters=(8, ),
                loss_decode=loss))
        torch.manual_seed(1)
        pred = torch.rand(2, 1, 4, 4).requires_grad_()
        depth = torch.rand(2, 1, 8, 8) * 10
        depth[:, :, :3] = 0
        found = [SegDataSample() for _ in depth]
        for sample, each in zip(found, depth):
            sample.gt_depth_map = mmseg_data(each[0])
        logged = head.loss_by_feat(pred, found)
        grad, = torch.autograd.grad(logged['loss_silog'], pred)
        results.append((logged, grad))
    torch.testing.assert_close(*results)


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('alpha', [0.5, [0.1, 0.4, 0.5, 0.9]])
@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
def test_focal_loss_of_masks_matches_mmseg(pred, alpha, class_weight):
    """For a mask of each class, stock works on the CPU too."""
    hot = F.one_hot(label_map(ignored=False), CLASSES).movedim(-1, 1)
    settings = dict(alpha=alpha, class_weight=class_weight, loss_name='loss_f')
    results = []
    for loss in (FocalLoss(**settings), mmseg.losses.FocalLoss(**settings)):
        value = loss(pred, hot, ignore_index=255)
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.parametrize('settings', [CE, dict(CE, avg_non_ignore=True)])
def test_points_match_mmseg(settings):
    """PointRend's head passes (N, C, P) and labels (N, P)."""
    torch.manual_seed(0)
    pred = torch.randn(2, CLASSES, 7, requires_grad=True)
    labels = label_map()[:, :, 1].repeat(1, 2)[:, :7]
    results = []
    for loss in (CrossEntropyLoss, mmseg.losses.CrossEntropyLoss):
        loss = loss(**{k: v for k, v in settings.items() if k != 'type'})
        value = loss(pred, labels, ignore_index=255)
        results.append((value, *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(*results)


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.slow
@pytest.mark.parametrize('name, reason', [
    ('fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py', ''),
    ('unet/unet-s5-d16_fcn_4xb4-ce-1.0-dice-3.0-40k_drive-64x64.py',
     'stock counts pixels to ignore'),
])
def test_swap_of_a_stock_config(name, reason, tmp_path, monkeypatch, capsys):
    """Only what stock gets wrong differs, and the margin of the fake map."""
    from mmlosses.commands import swap
    monkeypatch.chdir(tmp_path)
    config = tmp_path / 'small.py'
    config.write_text(f"_base_ = 'mmseg::{name}'\n"
                      'model = dict(data_preprocessor=dict(size=(64, 64)))\n')
    with pytest.raises(SystemExit) as end:
        swap.main([str(config), '--check', '--size', '64'])
    text = capsys.readouterr().out
    assert end.value.code == 0, text
    assert text.rstrip().endswith(reason or 'agrees with stock')
    same, = [x for x in text.splitlines() if x.startswith('decode.loss_ce')]
    assert 'differs' not in same and "loss_name='loss_ce'" in text


@needs_mmseg
@pytest.mark.openmmlab
@pytest.mark.slow
def test_swap_of_ddrnet(tmp_path, monkeypatch, capsys):
    """Both losses of its head, with class weights and labels to ignore."""
    from mmlosses.commands import swap
    monkeypatch.chdir(tmp_path)
    config = tmp_path / 'small.py'
    name = 'ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024'
    config.write_text(f"_base_ = 'mmseg::ddrnet/{name}.py'\n"
                      'model = dict(data_preprocessor=dict(size=(64, 64)),\n'
                      '             backbone=dict(init_cfg=None))\n')
    with pytest.raises(SystemExit) as end:
        swap.main([str(config), '--check', '--size', '64'])
    text = capsys.readouterr().out
    assert end.value.code == 0, text
    assert text.count('mmlosses.OhemCrossEntropy') == 2
    assert text.rstrip().endswith('agrees with stock')
