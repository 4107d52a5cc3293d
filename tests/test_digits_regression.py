"""Train every digits config for regression for one epoch."""
import math

import numpy as np
import pytest
import torch
from helpers import ROOT, needs_dotted_paths

pytest.importorskip('sklearn', reason='the demo needs scikit-learn')

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData

from mmlosses.demo import (AngularError, BoxHead, GaussianKeypointHead,
                           KeypointHead, OrientationHead)


@pytest.mark.slow
@needs_dotted_paths
@pytest.mark.parametrize('name, metric', [
    ('regression_l1', 'PCK'),
    ('regression_mse', 'PCK'),
    ('regression_smooth_l1', 'PCK'),
    ('propel', 'PCK'),
    ('angular', 'angular_error'),
    ('boxes_giou', 'mIoU'),
    ('boxes_ciou', 'mIoU'),
    ('boxes_siou', 'mIoU'),
    ('boxes_wiou', 'mIoU'),
])
def test_config_trains(name, metric, tmp_path):
    cfg = Config.fromfile(str(ROOT / 'configs/digits' / f'{name}.py'))
    cfg.merge_from_dict({
        'work_dir': str(tmp_path),
        'train_dataloader.dataset.num_scenes': 100,
        'val_dataloader.dataset.num_scenes': 20,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.logger.interval': 1,
        'model.channels': (8, 8),
        'experiment_name': f'{name}_{tmp_path.name}',
    })
    runner = Runner.from_cfg(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert math.isfinite(scalars['train/loss'].current())
    assert math.isfinite(scalars[f'val/{metric}'].current())
    assert list(tmp_path.glob(f'best_{metric}_epoch_1.pth'))


def sample(**fields):
    data_sample = BaseDataElement()
    data_sample.gt_instances = InstanceData(**fields)
    return data_sample


@pytest.mark.parametrize('head, loss', [
    (KeypointHead, dict(type='mmlosses.L1Loss')),
    (GaussianKeypointHead, dict(type='mmlosses.KeypointPROPELLoss')),
])
def test_predicted_keypoints_match_the_loss_input(head, loss):
    head = head(loss, in_channels=4)
    features = torch.randn(1, 4, 16, 16)
    predicted = head.predict(features, [sample()])[0].pred_instances
    output = head(features)
    torch.testing.assert_close(predicted.keypoints, 64 * output[..., :2])
    seen = []
    head.loss_module.register_forward_pre_hook(
        lambda module, args: seen.extend(args))
    head.loss(features, [sample(keypoints=predicted.keypoints)])
    torch.testing.assert_close(seen[0], seen[-2])
    assert seen[-1].shape == (1, 5, 1)


def test_predicted_boxes_match_the_loss_input():
    head = BoxHead(dict(type='mmlosses.GIoULoss'), in_channels=4)
    features = torch.randn(2, 4, 16, 16)
    samples = head.predict(features, [sample(), sample()])
    boxes = [x.pred_instances.bboxes for x in samples]
    assert all([(box[:, 2:] > box[:, :2]).all() for box in boxes])
    losses = head.loss(features, [sample(bboxes=box) for box in boxes])
    assert losses['loss_bbox'].abs() < 1e-6
    moved = head.loss(features, [sample(bboxes=box + 4) for box in boxes])
    assert moved['loss_bbox'] > 0.05


@pytest.mark.parametrize('degrees', [-120, -30, 0, 75, 170])
def test_orientation_round_trip(degrees):
    head = OrientationHead(dict(type='mmlosses.AngularLoss'), in_channels=4)
    angle = torch.tensor([math.radians(degrees)])
    vector = 3 * torch.cat([angle.cos(), angle.sin()])[None]
    head.layers = torch.nn.Sequential()
    assert head.loss(vector, [sample(angles=angle)])['loss_angle'] < 1e-6
    predicted = head.predict(vector, [sample()])[0].pred_instances
    torch.testing.assert_close(predicted.angles, angle)


def test_angular_error_by_hand():
    truth, guess = np.deg2rad([[170.0, -170, 10, -10], [-175, -170, 20, 20]])
    metric = AngularError()
    for one, other in zip(truth, guess):
        metric.process(None, [
            dict(
                gt_instances=dict(
                    angles=torch.tensor([one]), bboxes=torch.zeros(1, 4)),
                pred_instances=dict(angles=torch.tensor([other])))
        ])
    got = metric.evaluate(4)
    assert got['angular_error'] == pytest.approx((15 + 0 + 10 + 30) / 4)
    # Two pairs around opposite directions: the mean direction comes from the
    # sum of their vectors.
    mean = np.angle(np.exp(1j * truth).sum())
    expected = np.abs(np.angle(np.exp(1j * (truth - mean))))
    assert got['angular_error_chance'] == pytest.approx(
        np.rad2deg(expected).mean())
