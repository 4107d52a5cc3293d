"""What public threads complain about, one test each."""
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from trainings import toy_runner

from mmlosses.losses import (ArcFaceLoss, CIoULoss, CrossEntropyLoss, DiceLoss,
                             FocalLoss, GIoULoss, IoULoss, KLDiscretLoss,
                             MSELoss, SmoothL1Loss, SumLoss)


def value_and_gradient(loss, pred, *args, **kwargs):
    pred = pred.clone().requires_grad_()
    value = loss(pred, *args, **kwargs)
    return value.detach(), torch.autograd.grad(value.sum(), pred)[0]


def val_loss_of(runner):
    history, _ = runner.message_hub.get_scalar('val/loss').data
    return history


def test_mmdetection_4147():
    """CIoU turns NaN late in training, when a box is met exactly."""
    boxes = torch.tensor([[10., 10., 20., 20.]])
    value, gradient = value_and_gradient(CIoULoss(), boxes, boxes)
    assert value.abs() < 1e-5 and gradient.isfinite().all()


def test_mmdetection_3315():
    """Faster R-CNN's box loss turns NaN at boxes without an area."""
    pred = torch.tensor([[5., 5., 5., 5.], [0., 0., 4., 4.]])
    target = torch.tensor([[5., 5., 5., 9.], [2., 2., 2., 2.]])
    for loss in (SmoothL1Loss(), IoULoss(), GIoULoss(), CIoULoss()):
        value, gradient = value_and_gradient(loss, pred, target)
        assert value.isfinite() and gradient.isfinite().all()


def test_mmdetection_4403():
    """Weights of samples and of classes: both at once, as a product."""
    scores, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    loss = CrossEntropyLoss(class_weight=[1., 2., 4.], reduction='none')
    values = loss(scores, labels, torch.tensor([0.5, 3.]))
    torch.testing.assert_close(values, math.log(3) * torch.tensor([0.5, 6.]))


def test_mmdetection_8668():
    """What shape have class weights of cross entropy? (C,)."""
    scores, labels = torch.zeros(3, 3), torch.tensor([0, 1, 2])
    loss = CrossEntropyLoss(class_weight=[1., 2., 4.], reduction='none')
    expected = math.log(3) * torch.tensor([1., 2., 4.])
    torch.testing.assert_close(loss(scores, labels), expected)
    with pytest.raises(ValueError, match='class_weight'):
        CrossEntropyLoss(class_weight=[1., 2.])(scores, labels)


def test_mmdetection_4454():
    """IoU losses of encoded boxes learn nothing; those of decoded ones do."""
    encoded = torch.zeros(1, 4), torch.tensor([[0., 0.5, 0., math.log(2)]])
    _, gradient = value_and_gradient(IoULoss(mode='linear'), *encoded)
    assert gradient[0, 1:].eq(0).all()
    pred = torch.tensor([[0., 0., 10., 10.]])
    target = torch.tensor([[0., 0., 10., 20.]])
    value, gradient = value_and_gradient(IoULoss(mode='linear'), pred, target)
    assert value == pytest.approx(0.5)
    assert gradient[0, 3] == pytest.approx(-10 / 200)


def test_mmdetection_715():
    """An IoU loss for RetinaNet: of decoded positives, -log(IoU)."""
    # By 0.1 of the width to the right, and higher by exp(0.2) on both sides.
    decoded = torch.tensor(
        [[1., 0., 11., 10.],
         [20., 40 - 20 * math.exp(0.2), 40., 40 + 20 * math.exp(0.2)]])
    target = torch.tensor([[0., 0., 10., 10.], [20., 20., 40., 60.]])
    values = IoULoss(reduction='none')(decoded, target)
    expected = [-math.log(9 / 11), 0.2]
    torch.testing.assert_close(values, torch.tensor(expected))


def test_mmdetection_1764():
    """A RoI head passes weights of coordinates (N, 4) to its box loss."""
    pred = torch.tensor([[0., 0., 10., 10.]] * 8)
    target = torch.tensor([[0., 0., 10., 20.]] * 8)
    weight = torch.ones(8, 4)
    weight[4:] = 0
    for loss in (IoULoss(), GIoULoss(), CIoULoss()):
        value = loss(pred, target, weight, avg_factor=8)
        expected = loss(pred, target) / 2
        torch.testing.assert_close(value, expected)


@pytest.mark.slow
def test_mmdetection_7971(tmp_path):
    """Validation loss during training, once for each epoch."""
    runner = toy_runner(tmp_path, [dict(type='mmlosses.ValLossHook')])
    runner.train()
    assert len(val_loss_of(runner)) == 3


@pytest.mark.slow
def test_mmdetection_9904(tmp_path):
    """The validation loss, which 3.x lost: of the weights it is logged at."""
    runner = toy_runner(
        tmp_path, [dict(type='mmlosses.ValLossHook')],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)))
    runner.train()
    # The statistics of WIoU and of batch norm do not matter to this part.
    parts, _ = runner.message_hub.get_scalar('val/loss_mean').data
    assert parts == pytest.approx([3.0] * 3)


@pytest.mark.slow
def test_mmdetection_12308(tmp_path):
    """Validation loss to select a model: the best checkpoint is its least."""
    runner = toy_runner(
        tmp_path, [dict(type='mmlosses.ValLossHook')],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', save_best='val/loss', rule='less')))
    runner.train()
    best = 1 + int(np.argmin(val_loss_of(runner)))
    # mmengine 0.7 takes the slash in the name for a folder.
    assert [
        x.relative_to(tmp_path).as_posix().replace('/', '_')
        for x in tmp_path.rglob('*.pth') if 'best' in str(x)
    ] == [f'best_val_loss_epoch_{best}.pth']


@pytest.mark.slow
def test_mmdetection_10267(tmp_path):
    """Validation loss of a model whose evaluator is of no use."""
    runner = toy_runner(
        tmp_path, [
            dict(
                type='mmlosses.ValLossHook',
                dataloader=dict(
                    batch_size=2, dataset=dict(type='ToyDataset', length=5)))
        ],
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None)
    runner.train()
    assert len(val_loss_of(runner)) == 3


def test_mmpose_2517():
    """The DSNT head turns NaN at joints that are not annotated."""
    pred = torch.tensor([[[0.5, 0.5], [0.2, 0.1]]])
    target = torch.tensor([[[math.nan, math.inf], [0.2, 0.3]]])
    weight = torch.tensor([[0., 1.]])
    for loss in (SmoothL1Loss(), MSELoss()):
        value, gradient = value_and_gradient(
            loss, pred, target, target_weight=weight)
        assert value > 0 and gradient.isfinite().all()
        assert gradient[0, 0].eq(0).all() and gradient[0, 1, 1] < 0


def test_mmpose_2788():
    """A term for classes in a SimCC head: the gradients reach both."""
    bins = [torch.randn(2, 3, size, requires_grad=True) for size in (8, 6)]
    classes = torch.randn(2, 4, requires_grad=True)
    location = KLDiscretLoss(use_target_weight=False)(
        bins, [x.detach().softmax(dim=-1).roll(1, -1) for x in bins])
    (location + FocalLoss()(classes, torch.tensor([1, 4]))).backward()
    for leaf in (*bins, classes):
        assert leaf.grad.isfinite().all() and leaf.grad.abs().sum() > 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_insightface_1486(dtype):
    """ArcFace turns NaN: at an angle of 0 or 180 degrees, and of nothing."""
    loss = ArcFaceLoss(num_classes=3, in_channels=4, scale=64, margin=0.5)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(3, 4))
    rows = torch.eye(3, 4)[[0, 0, 1, 1, 2]]
    features = rows * torch.tensor([[1.], [-1.], [1e4], [-1e4], [0.]])
    features = features.to(dtype).requires_grad_()
    value = loss(features, torch.tensor([0, 0, 1, 1, 2]))
    value.backward()
    assert value.isfinite() and value > 0
    assert features.grad.isfinite().all()
    assert loss.weight.grad.isfinite().all()


def test_detr_259():
    """Class weights and focal loss at once: each class by its own weight."""
    scores = torch.zeros(2, 2)
    labels = torch.tensor([0, 1])
    loss = FocalLoss(
        use_sigmoid=False, class_weight=[1., 3.], reduction='none', alpha=None)
    values = loss(scores, labels).reshape(2, -1).sum(1)
    focal = 0.25 * math.log(2)
    torch.testing.assert_close(values, focal * torch.tensor([1., 3.]))


def test_mmsegmentation_1925():
    """Several losses in one head: one config, one tensor, and the parts."""
    loss = MODELS.build(
        dict(
            type='mmlosses.SumLoss',
            losses=[
                dict(type='mmlosses.L1Loss'),
                dict(type='mmlosses.MSELoss', loss_weight=2.0)
            ]))
    pred, target = torch.tensor([1., 4.]), torch.zeros(2)
    assert isinstance(loss, SumLoss)
    assert loss(pred, target) == pytest.approx(2.5 + 2 * 8.5)
    assert sum(loss.parts.values()) == pytest.approx(2.5 + 2 * 8.5)


def test_mmsegmentation_3237():
    """Dice loss of labels (N, H, W), where pixels of 255 do not count."""
    labels = torch.tensor([[[0, 1], [255, 1]]])
    pred = torch.randn(1, 2, 2, 2, requires_grad=True)
    value = DiceLoss()(pred, labels, ignore_index=255)
    gradient, = torch.autograd.grad(value, pred)
    overlap = total = 0.0
    for row, column in ((0, 0), (0, 1), (1, 1)):
        for index, score in enumerate(pred[0, :, row, column].tolist()):
            prob = 1 / (1 + math.exp(-score))
            true = float(labels[0, row, column] == index)
            overlap += prob * true
            total += prob**2 + true**2
    assert value.item() == pytest.approx(1 - 2 * overlap / (total + 2e-3))
    assert gradient[0, :, 1, 0].eq(0).all() and gradient.ne(0).sum() == 6


def test_mmsegmentation_1409():
    """The mean leaves out ignored pixels on request, as in torch."""
    scores = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 255, 2, 255, 3, 1])
    loss = CrossEntropyLoss(ignore_index=255, avg_non_ignore=True)
    expected = nn.CrossEntropyLoss(ignore_index=255)(scores, labels)
    torch.testing.assert_close(loss(scores, labels), expected)
    loss = CrossEntropyLoss(ignore_index=255)
    torch.testing.assert_close(loss(scores, labels), expected * 4 / 6)


def test_mmsegmentation_1388():
    """A picture of ignored pixels only divides by 0."""
    scores, labels = torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255)
    loss = CrossEntropyLoss(ignore_index=255, avg_non_ignore=True)
    scores, labels = scores.permute(0, 2, 3, 1).reshape(-1, 3), labels.ravel()
    value, gradient = value_and_gradient(loss, scores, labels)
    assert value == 0 and gradient.eq(0).all()


def test_pytorch_metric_learning_209():
    """ArcFace turns NaN with Adam where features meet their class vector."""
    torch.manual_seed(0)
    loss = ArcFaceLoss(num_classes=3, in_channels=4)
    labels = torch.tensor([0, 1, 2, 0])
    features = nn.Parameter(loss.weight.detach()[labels].clone())
    with torch.no_grad():
        features[3].zero_()
    optimizer = torch.optim.Adam([features, loss.weight], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        value = loss(features, labels)
        value.backward()
        optimizer.step()
        assert value.isfinite()
    assert features.isfinite().all() and loss.weight.isfinite().all()
