"""Hooks and wrappers in real trainings of mmdet and mmpose."""
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from companions import replace_loss, scalars, train, training
from helpers import ROOT
from mmengine.logging import HistoryBuffer

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]

both_projects = pytest.mark.parametrize('project', ['mmdet', 'mmpose'])


def sum_of(project, **kwargs):
    """A sum of one of our losses and one of the project's."""
    other = (
        dict(type='mmdet.SmoothL1Loss', beta=1.0, loss_weight=0.1) if project
        == 'mmdet' else dict(type='mmpose.L1Loss', use_target_weight=True))
    first = dict(type='mmlosses.GIoULoss' if project ==
                 'mmdet' else 'mmlosses.SmoothL1Loss')
    return dict(type='mmlosses.SumLoss', losses=[first, other], **kwargs)


@both_projects
def test_sum_loss_is_logged_and_resumed(project, coco, tmp_path):
    """The logged terms add up to the head's loss; a resumed log continues."""
    cfg = training(project, coco, tmp_path)
    replace_loss(cfg, sum_of(project, weighting='uncertainty'))
    train(cfg)
    rows = scalars(tmp_path)
    kind = 'loss_bbox' if project == 'mmdet' else 'loss_kpt'
    for row in rows:
        terms = [row[key] for key in row if key.startswith('sum_loss.')]
        assert len(terms) == 2
        assert sum(terms) == pytest.approx(row[kind], rel=1e-5)
    path = tmp_path / 'epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    name = next(key for key in saved['state_dict'] if 'log_vars' in key)
    assert (saved['state_dict'][name] != 0).all(), 'nothing was learnt'
    logged = saved['message_hub']['log_scalars']
    for key in (f'train/{kind}', 'train/sum_loss.SmoothL1Loss'):
        assert type(logged[key]) is HistoryBuffer
        assert len(logged[key].data[0]) == len(rows) // 2
    cfg = training(project, coco, tmp_path, load_from=str(path), resume=True)
    replace_loss(cfg, sum_of(project, weighting='uncertainty'))
    runner = train(cfg)
    assert runner.message_hub.get_scalar(
        'train/sum_loss.SmoothL1Loss').data[0].shape == (len(rows), )
    again = scalars(tmp_path)
    for row, expected in zip(again, rows[len(rows) // 2:]):
        for key in row:
            if 'loss' in key:
                assert row[key] == pytest.approx(expected[key], rel=1e-4), key


@both_projects
def test_sum_of_one_loss_trains_identically(project, coco, tmp_path):
    """Bit-identical, in a slot of several levels and of one."""
    curves = []
    for wrap in (False, True):
        cfg = training(project, coco, tmp_path / str(wrap))
        loss = dict(type='mmlosses.GIoULoss' if project ==
                    'mmdet' else 'mmlosses.L1Loss')
        replace_loss(
            cfg,
            dict(type='mmlosses.SumLoss', losses=[loss]) if wrap else loss)
        train(cfg)
        curves.append([row['loss'] for row in scalars(tmp_path / str(wrap))])
    assert curves[0] == curves[1]


def test_check_config_checks_each_loss_of_a_sum(tmp_path):
    """One loss has a trap; the head reads the sigmoid of the sum."""
    config = tmp_path / 'config.py'
    config.write_text('''
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
model = dict(backbone=dict(init_cfg=None), bbox_head=dict(
    loss_cls=dict(_delete_=True, type='mmlosses.SumLoss', losses=[
        dict(type='mmlosses.FocalLoss'),
        dict(type='mmdet.FocalLoss', use_sigmoid=True, loss_weight=0.5)]),
    loss_bbox=dict(_delete_=True, type='mmlosses.SumLoss', losses=[
        dict(type='mmlosses.L1Loss'), dict(type='mmlosses.GIoULoss')])))
''')

    def check(*options):
        command = [sys.executable, str(ROOT / 'tools/check_config.py')]
        options = ('--cfg-options', *options) if options else ()
        return subprocess.run([*command, str(config), *options],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              universal_newlines=True)

    done = check()
    assert done.returncode == 1, done.stdout
    for text in ('bbox_head.loss_cls.losses.1 (mmdet.FocalLoss) applies a sig',
                 'losses.1 (mmlosses.GIoULoss) needs boxes',
                 'write reg_decoded_bbox=True', 'write use_sigmoid=True'):
        assert text in done.stdout
    done = check('model.bbox_head.loss_cls.use_sigmoid=True',
                 'model.bbox_head.reg_decoded_bbox=True',
                 'model.bbox_head.loss_bbox.losses.0.loss_weight=0.01')
    assert done.returncode == 0, done.stdout
    rows = [line.split() for line in done.stdout.splitlines()[1:5]]
    assert [row[:2] for row in rows
            ] == [['bbox_head.loss_cls.losses.0', 'mmlosses.FocalLoss'],
                  ['bbox_head.loss_cls.losses.1', 'mmdet.FocalLoss'],
                  ['bbox_head.loss_bbox.losses.0', 'mmlosses.L1Loss'],
                  ['bbox_head.loss_bbox.losses.1', 'mmlosses.GIoULoss']]
    assert float(rows[0][3]) == pytest.approx(2 * float(rows[1][3]), rel=1e-3)
    # A sum adds no warnings to those of its losses.
    warnings = [x for x in done.stdout.splitlines() if x.startswith('warn')]
    assert len(warnings) == 1 and 'L1Loss) compares pixels' in warnings[0]


def first_losses(cfg):
    """The losses of the first iteration."""
    cfg.train_cfg = dict(by_epoch=False, max_iters=1)
    train(cfg)
    return scalars(Path(cfg.work_dir))[0]


def test_keypoint_weight_in_a_pose_estimator(coco, tmp_path):
    """Single-keypoint losses, weighted, add up to the whole."""
    weights = [0.0] * 17
    weights[0], weights[5], weights[16] = 2.0, 0.5, 3.0

    def loss_of(numbers):
        cfg = training('mmpose', coco, tmp_path / f'{numbers}'[:60])
        replace_loss(
            cfg,
            dict(
                type='mmlosses.SmoothL1Loss',
                use_target_weight=True,
                keypoint_weight=numbers))
        return first_losses(cfg)['loss_kpt']

    single = [[1.0 * (k == index) for k in range(17)] for index in (0, 5, 16)]
    parts = [loss_of(numbers) for numbers in single]
    assert loss_of(weights) == pytest.approx(
        2 * parts[0] + 0.5 * parts[1] + 3 * parts[2], rel=1e-4)


def test_wrong_number_of_keypoints_is_an_error(coco, tmp_path):
    cfg = training('mmpose', coco, tmp_path)
    replace_loss(cfg, dict(type='mmlosses.L1Loss', keypoint_weight=[1.0] * 16))
    with pytest.raises(ValueError, match='has 16 numbers, .* 17 keypoints'):
        train(cfg)


@pytest.mark.parametrize('number', [1, 2])
def test_class_weight_in_a_detector(coco, tmp_path, number):
    """RetinaNet has a sigmoid: one weight per class, no background."""
    losses = []
    for factor in (1.0, 0.5):
        cfg = training('mmdet', coco, tmp_path / str(factor))
        cfg.model.bbox_head.num_classes = 1
        cfg.model.bbox_head.loss_cls = dict(
            type='mmlosses.FocalLoss',
            use_sigmoid=True,
            class_weight=[factor] * number)
        if number == 2:
            with pytest.raises(ValueError, match='leave out the last'):
                train(cfg)
            return
        losses.append(first_losses(cfg)['loss_cls'])
    assert losses[1] == pytest.approx(0.5 * losses[0], rel=1e-5)


PATHS = dict(mmdet='bbox_head.loss_bbox', mmpose='head.loss_module')


@both_projects
def test_loss_weight_of_an_interrupted_training(project, coco, tmp_path):
    """Same weights and losses as without the interruption."""
    name = f'{PATHS[project]}.loss_weight'
    kind = 'loss_bbox' if project == 'mmdet' else 'loss_kpt'

    def rows_of(folder, **settings):
        cfg = training(
            project,
            coco,
            folder,
            train_cfg__max_epochs=3,
            custom_hooks=[
                dict(
                    type='mmlosses.LossWeightHook',
                    path=PATHS[project],
                    schedule='cosine',
                    start_weight=1.0,
                    end_weight=0.125,
                    by_epoch=False)
            ],
            **settings)
        replace_loss(
            cfg,
            dict(type='mmlosses.GIoULoss' if project ==
                 'mmdet' else 'mmlosses.SmoothL1Loss'))
        train(cfg)
        return scalars(folder)

    rows = rows_of(tmp_path / 'whole')
    expected = [
        0.125 + 0.875 * (1 + math.cos(math.pi * k / (len(rows) - 1))) / 2
        for k in range(len(rows))
    ]
    assert [row[name] for row in rows] == pytest.approx(expected)
    again = rows_of(
        tmp_path / 'whole',
        load_from=str(tmp_path / 'whole/epoch_2.pth'),
        resume=True)
    assert len(again) == len(rows) // 3
    for row, other in zip(again, rows[-len(again):]):
        assert row['iter'] == other['iter'] and row[name] == other[name]
        assert row[kind] == pytest.approx(other[kind], rel=1e-4)
    # The weight acts on the loss: at the end it is an eighth.
    single = torch.load(tmp_path / 'whole/epoch_3.pth', weights_only=False)
    curve = single['message_hub']['log_scalars'][f'train/{kind}'].data[0]
    assert curve[-1] < 0.3 * curve[0]


def test_stock_loss_without_a_weight_is_an_error(coco, tmp_path):
    """Such as mmpose's KLDiscretLoss."""
    cfg = training('mmpose', coco, tmp_path)
    cfg.custom_hooks = [
        dict(type='mmlosses.LossWeightHook', path='head.loss', end_weight=1.0)
    ]
    with pytest.raises(ValueError, match='did you mean head.loss_module?'):
        train(cfg)
    cfg = training('mmpose', coco, tmp_path)
    cfg.model.head.loss = dict(type='RLELoss')
    cfg.custom_hooks = [
        dict(
            type='mmlosses.LossWeightHook',
            path='head.loss_module',
            end_weight=1.0)
    ]
    with pytest.raises(ValueError, match='RLELoss.* has no loss_weight'):
        train(cfg)


def test_companion_cost(coco):
    """A short run of the tool."""

    def run(*args):
        tool = ROOT / 'tools/dev/companion_cost.py'
        return subprocess.run(
            [sys.executable, str(tool), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True)

    short = ('--rounds', 2, '--epochs', 2, '--size', 96, 64)
    done = run(coco, 'LossWeightHook', 'ValLossHook', '--kind', 'regression',
               'simcc', *short)
    assert done.returncode == 0, done.stderr[-3000:]
    ratio = r'([\d.]+) \([\d.]+ to [\d.]+\) of [\d.]+ ms'
    found = re.findall(rf'^(\w+, \w+): iteration {ratio}, validation {ratio}$',
                       done.stdout, re.M)
    assert [row[0] for row in found] == [
        'LossWeightHook, regression', 'ValLossHook, regression',
        'ValLossHook, simcc'
    ]
    assert all([0.1 < float(x) < 10 for row in found for x in row[1:]])
    for args, text in (((coco, 'SumLos'), 'unknown name SumLos'),
                       ((coco / 'nowhere', ), 'there is no ')):
        done = run(*args)
        assert done.returncode != 0 and text in done.stderr
        assert 'Traceback' not in done.stderr
