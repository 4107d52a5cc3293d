"""ValLossHook, in toy and real trainings."""
import copy
import json
import random
import re

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, HOOKS, OPTIM_WRAPPERS
from ranks import needs_ranks, run_ranks
from torch import nn
from trainings import (assert_same_weights, skip_without_openmmlab,
                       stock_runner, toy_runner, weights)

HOOK = dict(type='mmlosses.ValLossHook')

# Otherwise mmengine sleeps at the end of an epoch.
ENDLESS = dict(sampler=dict(type='InfiniteSampler'))


def history(runner, name='val/loss'):
    return runner.message_hub.get_scalar(name).data[0].tolist()


def batch_losses(model, numbers):
    """The losses of the toy model, with its layers in evaluation mode."""
    model = copy.deepcopy(model).train()
    model.norm.eval()
    model.drop.eval()
    model.loss_box.eval()
    with torch.no_grad():
        losses = model([torch.tensor([float(x)]) for x in numbers], 'loss')
    return {key: value.item() for key, value in losses.items()}


def oracle(model, batches):
    """The mean over samples of each loss, in a plain loop."""
    sums = {}
    for batch in batches:
        for key, value in batch_losses(model, batch).items():
            sums[key] = sums.get(key, 0) + len(batch) * value
    return {key: value / sum(map(len, batches)) for key, value in sums.items()}


def test_mean_over_samples(tmp_path):
    runner = toy_runner(tmp_path, [HOOK])
    runner.train()
    want = oracle(runner.model, [[1, 2], [3, 4], [5]])
    got = {
        name: history(runner, f'val/{name}')
        for name in want if 'loss' in name
    }
    assert set(got) == {'loss_mean', 'loss_box'}
    for name, values in got.items():
        assert len(values) == 3
        assert values[-1] == pytest.approx(want[name], rel=1e-6), name
    total = want['loss_mean'] + want['loss_box']
    assert history(runner)[-1] == pytest.approx(total, rel=1e-6)
    assert 'val/count' not in runner.message_hub.log_scalars


def test_training_is_bit_identical(tmp_path):
    ends = []
    for hooks in ([], [HOOK]):
        runner = toy_runner(tmp_path, hooks)
        runner.train()
        ends.append((weights(runner), torch.get_rng_state(), random.random(),
                     np.random.rand(), history(runner, 'train/loss')))
        assert runner.model.modes[0] == (True, True, True, True)
    (one, one_rng, *one_rest), (other, other_rng, *other_rest) = ends
    assert_same_weights(one, other)
    assert torch.equal(one_rng, other_rng) and one_rest == other_rest
    assert float(one['loss_box.mean_iou_loss']) != 1.0


def test_model_state_is_restored(tmp_path):
    """Modes, statistics, and lists of modules."""
    runner = toy_runner(tmp_path, [HOOK])
    runner.train()
    hook = next(x for x in runner.hooks if type(x).__name__ == 'ValLossHook')
    runner.model.eval()
    runner.model.norm.train()
    before = weights(runner)
    seen = list(runner.model.seen)
    calls = []
    runner.model.loss_box.register_forward_hook(
        lambda module, args, output: calls.append(
            (torch.is_grad_enabled(), runner.model.modes[-1])))
    hook.compute(runner)
    # The model is in training mode, its layers and losses are not.
    assert calls == 3 * [(False, (True, False, False, False))]
    assert_same_weights(before, weights(runner))
    assert runner.model.seen == seen
    assert not runner.model.training and runner.model.norm.training


@pytest.mark.parametrize('workers', [0, 2])
def test_random_transforms_repeat(tmp_path, workers):
    """For the same weights, with any number of workers."""
    data = dict(
        batch_size=2,
        num_workers=workers,
        dataset=dict(type='ToyDataset', length=5, noise=1.0))
    runner = toy_runner(tmp_path, [dict(HOOK, dataloader=data)],
                        **{'optim_wrapper.optimizer.lr': 0.0})
    runner.train()
    noise = []
    for index in range(5):
        torch.manual_seed(index)
        noise.append(float(torch.rand(1)))
    numbers = [i + 1 + x for i, x in enumerate(noise)]
    want = oracle(runner.model, [numbers[:2], numbers[2:4], numbers[4:]])
    assert history(runner, 'val/loss_mean') == pytest.approx(
        3 * [want['loss_mean']], rel=1e-6)


def test_uses_the_weights_of_the_validation(tmp_path):
    ema = dict(type='EMAHook', momentum=0.9, priority=49)
    for hooks in ([HOOK, ema], [ema, HOOK]):
        runner = toy_runner(tmp_path, hooks)
        runner.train()
        averaged = next(
            x for x in runner.hooks if type(x).__name__ == 'EMAHook')
        model = averaged.ema_model.module
        assert not torch.equal(model.factor, runner.model.factor)
        want = oracle(model, [[1, 2], [3, 4], [5]])['loss_mean']
        assert history(runner, 'val/loss_mean')[-1] == pytest.approx(
            want, rel=1e-6)


def test_best_checkpoint_and_early_stopping(tmp_path):
    runner = toy_runner(
        tmp_path, [
            HOOK,
            dict(
                type='EarlyStoppingHook',
                monitor='val/loss',
                rule='less',
                patience=1,
                min_delta=1e6)
        ],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', save_best='val/loss', rule='less')))
    runner.train()
    values = history(runner)
    assert len(values) == 2  # stopped
    best = runner.message_hub.get_info('best_score')
    assert best == pytest.approx(min(values), rel=1e-6)
    assert len(list(tmp_path.rglob('*loss_epoch_*.pth'))) == 1


@pytest.mark.parametrize('hierarchy', [False, True])
def test_each_validation_logs_its_own_value(tmp_path, hierarchy):
    """mmengine logs the mean over a window of each key with 'loss'."""
    runner = toy_runner(
        tmp_path, [HOOK],
        log_level='INFO',
        log_processor=dict(window_size=50, log_with_hierarchy=hierarchy),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', save_best='val/loss', rule='less')),
        **{'visualizer.vis_backends': [dict(type='LocalVisBackend')]})
    runner.train()
    values = history(runner)
    assert len(set(values)) == 3
    record, = tmp_path.rglob('scalars.json')
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    prefix = 'val/' if hierarchy else ''
    assert [x['val/loss'] for x in lines if f'{prefix}always' in x] == values
    log, = tmp_path.rglob('*.log')
    shown = re.findall(r'Epoch\(val\).* val/loss: ([\d.]+)', log.read_text())
    assert shown == [f'{value:.4f}' for value in values]
    best = runner.message_hub.get_info('best_score')
    assert best == min(values)


def test_interval(tmp_path):
    """The last value is not logged again."""
    runner = toy_runner(
        tmp_path, [dict(HOOK, interval=2)], **{
            'train_cfg.max_epochs': 5,
            'visualizer.vis_backends': [dict(type='LocalVisBackend')]
        })
    runner.train()
    assert len(history(runner)) == 2
    record, = tmp_path.rglob('scalars.json')
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [
        'val/loss' in x or 'loss_mean' in x for x in lines if 'always' in x
    ] == [False, True, False, True, False]


def test_resumed_from_the_best_checkpoint(tmp_path):
    """It was saved while the losses had other keys in the logger."""
    saver = dict(
        checkpoint=dict(
            type='CheckpointHook', save_best='val/loss', rule='less'))
    runner = toy_runner(tmp_path, [HOOK], default_hooks=saver)
    runner.train()
    best, = tmp_path.rglob('*loss_epoch_*.pth')
    # mmengine's objects, which torch does not load by default.
    resumed = toy_runner(
        tmp_path, [HOOK],
        load_from=str(best),
        resume=True,
        default_hooks=saver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
        resumed.train()
    assert history(resumed) == history(runner)
    assert not any(
        name.startswith('val/val') for name in resumed.message_hub.log_scalars)


def test_best_checkpoint_needs_each_validation(tmp_path):
    runner = toy_runner(
        tmp_path, [dict(HOOK, interval=2)],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', save_best='val/loss', rule='less')))
    with pytest.raises(ValueError, match='needs the loss at each validation'):
        runner.train()


@pytest.mark.parametrize('by_epoch', [True, False])
def test_without_validation_loop(tmp_path, by_epoch):
    """When a validation would run, with the averaged weights."""
    loop = (
        dict(by_epoch=True, max_epochs=3, val_interval=2)
        if by_epoch else dict(by_epoch=False, max_iters=5, val_interval=2))
    data = dict(batch_size=2, dataset=dict(type='ToyDataset', length=5))
    runner = toy_runner(
        tmp_path,
        [dict(HOOK, dataloader=data),
         dict(type='EMAHook', momentum=0.9)],
        train_cfg=dict(_delete_=True, **loop),
        train_dataloader={} if by_epoch else ENDLESS,
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None)
    runner.train()
    assert len(history(runner)) == (2 if by_epoch else 3)
    averaged = next(x for x in runner.hooks if type(x).__name__ == 'EMAHook')
    want = oracle(averaged.ema_model.module, [[1, 2], [3, 4], [5]])
    assert history(runner, 'val/loss_mean')[-1] == pytest.approx(
        want['loss_mean'], rel=1e-6)


def test_iteration_based_validation(tmp_path):
    runner = toy_runner(
        tmp_path, [HOOK],
        train_cfg=dict(
            _delete_=True, by_epoch=False, max_iters=4, val_interval=2),
        train_dataloader=ENDLESS)
    runner.train()
    assert len(history(runner)) == 2


@OPTIM_WRAPPERS.register_module()
class Bfloat16(OptimWrapper):
    """AmpOptimWrapper for the CPU."""

    def optim_context(self, model):
        return torch.autocast('cpu', dtype=torch.bfloat16)


def test_uses_the_precision_of_the_training(tmp_path):
    runner = toy_runner(tmp_path, [HOOK], **{'optim_wrapper.type': 'Bfloat16'})
    dtypes = []
    hook = HOOKS.build(HOOK)
    runner.train()
    runner.model.loss_box.register_forward_hook(
        lambda *args: dtypes.append(runner.model.dtypes[-1]))
    hook.compute(runner)
    assert dtypes == 3 * [torch.bfloat16]


def test_standalone_validation(tmp_path):
    """`runner.val()` of a runner that does not train."""
    runner = toy_runner(tmp_path, [HOOK])
    metrics = runner.val()
    assert metrics['always'] == 1
    want = oracle(runner.model, [[1, 2], [3, 4], [5]])
    assert metrics['val/loss_mean'] == pytest.approx(want['loss_mean'])


@pytest.mark.parametrize('settings, error, words', [
    (dict(interval=0), ValueError, 'interval must be at least 1, got 0'),
    (dict(dataloader=[]), TypeError, 'a dict of settings, got list'),
    (dict(dataloader=dict(sampler=dict(type='InfiniteSampler'))), ValueError,
     'cannot use sampler InfiniteSampler'),
    (dict(dataloader=dict(dataset=1),
          pipeline=[]), ValueError, 'put it into the dataset'),
])
def test_invalid_arguments(settings, error, words):
    with pytest.raises(error, match=words):
        HOOKS.build(dict(HOOK, **settings))


def test_no_validation_data(tmp_path):
    runner = toy_runner(
        tmp_path, [HOOK],
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None)
    with pytest.raises(ValueError, match='has no val_dataloader'):
        runner.train()


def test_data_without_loss_fail_at_start(tmp_path):
    data = dict(dataset=dict(type='ToyDataset', length=2, noise='none'))
    runner = toy_runner(tmp_path, [dict(HOOK, dataloader=data)])
    with pytest.raises(RuntimeError, match='no loss of the first batch'):
        runner.train()
    assert runner.iter == 0


# Ranks

LEFT_OVER = [1, 5, 7, 8]


def compare_ranks(rank, folder, want):
    for length in LEFT_OVER:
        runner = toy_runner(folder, [HOOK], **across_ranks(length))
        runner.model = MMDistributedDataParallel(
            runner.model, find_unused_parameters=True)
        runner.train()
        runner.model = None  # ends the threads of DDP
        got, = history(runner, 'val/loss_mean')
        assert abs(got - want[length]) < 1e-5, (length, got, want)


def across_ranks(length):
    """A model whose loss reduces across ranks, as many heads do."""
    return {
        'model.across_ranks': True,
        'optim_wrapper.optimizer.lr': 0.0,
        'train_dataloader.dataset.length': 12,
        'val_dataloader.dataset.length': length,
        'train_cfg.max_epochs': 1
    }


@needs_ranks
@pytest.mark.slow
@pytest.mark.parametrize('ranks', [2, 3])
def test_ranks_match_one_process(tmp_path, ranks):
    """For any remainder; no rank waits for ever."""
    want = {}
    for length in LEFT_OVER:
        runner = toy_runner(tmp_path, [HOOK], **across_ranks(length))
        runner.train()
        numbers = list(range(1, length + 1))
        batches = [numbers[i:i + 2] for i in range(0, length, 2)]
        want[length] = oracle(runner.model, batches)['loss_mean']
        assert history(runner,
                       'val/loss_mean') == pytest.approx([want[length]])
    run_ranks(compare_ranks, str(tmp_path), want, ranks=ranks)


# Real models on real images


def pose_pipeline(codec):
    return [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=codec['input_size']),
        dict(type='GenerateTarget', encoder=codec),
        dict(type='PackPoseInputs')
    ]


DETECTION = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(160, 128), keep_ratio=True),
    dict(type='PackDetInputs')
]


def loss_by_loop(runner, batch_size=2):
    """The loss of a model over the images in order."""
    model = copy.deepcopy(runner.model).train()
    for module in model.modules():
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.Dropout)):
            module.eval()
    settings = dict(
        type='CocoDataset',
        data_root=runner.cfg.val_dataloader.dataset.data_root,
        ann_file='test_coco.json',
        data_prefix=dict(img=''))
    if 'codec' in runner.cfg:
        settings.update(
            data_mode='topdown', pipeline=pose_pipeline(runner.cfg.codec))
    else:
        settings.update(
            metainfo=dict(classes=('person', )),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=DETECTION)
    dataset = DATASETS.build(settings)
    sums, count = {}, 0
    for begin in range(0, len(dataset), batch_size):
        samples = [
            dataset[i]
            for i in range(begin, min(begin + batch_size, len(dataset)))
        ]
        torch.manual_seed(begin)  # Faster R-CNN samples proposals
        data = model.data_preprocessor(pseudo_collate(samples))
        with torch.no_grad():
            losses = model.loss(data['inputs'], data['data_samples'])
        for name, value in losses.items():
            if 'loss' in name:
                value = sum(x.mean() for x in value) if isinstance(
                    value, list) else value.mean()
                sums[name] = sums.get(name, 0) + len(samples) * value.item()
        count += len(samples)
    return {name: value / count for name, value in sums.items()}


def strided_fcos(cfg):
    """FCOS with boxes in units of the stride in training only."""
    cfg.model.bbox_head.update(norm_on_bbox=True, centerness_on_reg=True)


def add_dropout(cfg):
    """A source of noise."""
    cfg.model.backbone.norm_cfg = dict(type='BN', requires_grad=True)
    cfg.model.backbone.norm_eval = False


CASES = {
    'retinanet': add_dropout,
    'fcos': strided_fcos,
    'faster-rcnn': add_dropout,
    'simcc': None,
    'heatmap': None
}


@pytest.mark.openmmlab
@pytest.mark.slow
@pytest.mark.parametrize('kind', CASES)
def test_stock_models(coco, tmp_path, kind):
    """The loss of a plain loop; training is unaffected."""
    skip_without_openmmlab()
    ends = []
    for hooks in ([], [HOOK]):
        runner = stock_runner(kind, coco, tmp_path, hooks, CASES[kind])
        runner.train()
        ends.append((weights(runner), history(runner, 'train/loss')))
    assert_same_weights(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    want = loss_by_loop(runner)
    assert want
    for name, value in want.items():
        got, = history(runner, f'val/{name}')
        assert got == pytest.approx(value, rel=1e-5), name
    total, = history(runner)
    assert total == pytest.approx(sum(want.values()), rel=1e-5)


@pytest.mark.openmmlab
@pytest.mark.slow
def test_dynamic_rcnn_thresholds_are_restored(coco, tmp_path):
    """They adapt to the data of the head and are not buffers."""
    skip_without_openmmlab()

    def dynamic(cfg):
        cfg.model.roi_head.type = 'DynamicRoIHead'
        cfg.model.roi_head.bbox_head.loss_bbox = dict(
            type='SmoothL1Loss', beta=1.0, loss_weight=1.0)
        cfg.model.train_cfg.rcnn.dynamic_rcnn = dict(
            iou_topk=75,
            beta_topk=10,
            update_iter_interval=1,
            initial_iou=0.4,
            initial_beta=1.0)

    runner = stock_runner('faster-rcnn', coco, tmp_path, [HOOK], dynamic)
    runner.train()
    head = runner.model.roi_head
    state = (head.bbox_assigner.pos_iou_thr, head.bbox_head.loss_bbox.beta,
             list(head.iou_history))
    next(x for x in runner.hooks
         if type(x).__name__ == 'ValLossHook').compute(runner)
    assert state == (head.bbox_assigner.pos_iou_thr,
                     head.bbox_head.loss_bbox.beta, head.iou_history)


@pytest.mark.openmmlab
@pytest.mark.slow
def test_custom_pipeline(coco, tmp_path):
    """With a random flip that is the same each time."""
    skip_without_openmmlab()
    pipeline = [
        *DETECTION[:3],
        dict(type='RandomFlip', prob=0.5), DETECTION[3]
    ]
    runner = stock_runner('retinanet', coco, tmp_path,
                          [dict(HOOK, pipeline=pipeline)])
    runner.train()
    hook = next(x for x in runner.hooks if type(x).__name__ == 'ValLossHook')
    torch.manual_seed(3)
    one = hook.compute(runner)
    torch.manual_seed(4)
    assert hook.compute(runner) == one
    assert one['val/loss'] == history(runner)[-1]


@pytest.mark.openmmlab
@pytest.mark.slow
def test_bottom_up_needs_a_pipeline(coco, tmp_path):
    skip_without_openmmlab()

    def bottom_up(cfg):
        cfg.val_dataloader.dataset.data_mode = 'bottomup'

    runner = stock_runner('simcc', coco, tmp_path, [HOOK], bottom_up)
    with pytest.raises(ValueError, match='does not resize the keypoints'):
        runner.train()
