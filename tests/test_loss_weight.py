"""LossWeightHook: the weight of each iteration, its log, and errors."""
import math
import uuid

import pytest
import torch
from helpers import ROOT, needs_dotted_paths
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim.scheduler import (CosineAnnealingParamScheduler,
                                      LinearParamScheduler,
                                      MultiStepParamScheduler)
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from ranks import launch_training, needs_ranks
from torch import nn

from mmlosses.hooks import LossWeightHook
from mmlosses.losses import L1Loss, SumLoss

PATH = 'head.loss_bbox'
ITERS = 3  # per epoch


class Model(BaseModel):
    """One parameter and a head with losses."""

    def __init__(self):
        super().__init__()
        self.number = nn.Parameter(torch.ones(1))
        self.head = nn.Module()
        self.head.loss_bbox = L1Loss(loss_weight=4.0)
        self.head.loss_cls = SumLoss([dict(type=L1Loss, loss_weight=3.0)],
                                     loss_weight=2.0)
        self.head.loss_bare = nn.L1Loss()
        self.seen = []

    def forward(self, inputs, mode='tensor'):
        """The losses of a batch."""
        self.seen.append(self.head.loss_bbox.loss_weight)
        target = torch.zeros(1)
        return dict(
            loss_bbox=self.head.loss_bbox(self.number, target),
            loss_cls=self.head.loss_cls(self.number, target))


def runner(folder, *hooks, epochs=4, by_epoch=True, **kwargs):
    """A training of that model."""
    limit = dict(max_epochs=epochs) if by_epoch else dict(max_iters=epochs *
                                                          ITERS)
    return Runner(
        model=Model(),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.zeros(1))] * ITERS,
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1),
        train_cfg=dict(by_epoch=by_epoch, **limit),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[dict(hook) for hook in hooks],
        experiment_name=uuid.uuid4().hex,
        log_level='ERROR',
        **kwargs)


def trained(folder, *hooks, **kwargs):
    """The weight of each iteration: used and logged."""
    run = runner(folder, *hooks, **kwargs)
    run.train()
    logged = run.message_hub.get_scalar(f'train/{PATH}.loss_weight')
    assert logged.data[0].tolist() == pytest.approx(run.model.seen)
    return run.model.seen


def hook(**kwargs):
    return dict(type='mmlosses.LossWeightHook', path=PATH, **kwargs)


def by_hand(schedule, now, start, end_weight, begin, end):
    """A plain loop over the steps of a schedule."""
    weight = start
    for step in range(begin + 1, min(now, end - 1) + 1):
        share = (step - begin) / (end - begin - 1)
        if schedule == 'cosine':
            share = 0.5 - 0.5 * math.cos(math.pi * share)
        weight = (1 - share) * start + share * end_weight
    return weight


# The last is slow: mmengine sleeps when an iteration loop restarts.
@pytest.mark.parametrize('by_epoch, loop',
                         [(True, True), (False, True),
                          pytest.param(False, False, marks=pytest.mark.slow)])
@pytest.mark.parametrize('schedule', ['linear', 'cosine'])
@pytest.mark.parametrize('begin, end', [(0, 3), (1, 4), (2, 3), (1, None)])
def test_weight_of_each_iteration(tmp_path, by_epoch, loop, schedule, begin,
                                  end):
    if not by_epoch and end is not None:
        begin, end = 2 * begin, 2 * end
    got = trained(
        tmp_path,
        hook(
            schedule=schedule,
            start_weight=0.5,
            end_weight=2.0,
            begin=begin,
            end=end,
            by_epoch=by_epoch),
        by_epoch=loop)
    last = end or (4 if by_epoch else 4 * ITERS)
    for iteration, weight in enumerate(got):
        now = iteration // ITERS if by_epoch else iteration
        expected = 4.0  # of the config
        if now >= begin:
            expected = by_hand(schedule, now, 0.5, 2.0, begin, last)
        if last - begin == 1 and now >= begin:
            expected = 2.0
        assert weight == pytest.approx(expected), iteration


def test_step_schedule(tmp_path):
    got = trained(tmp_path,
                  hook(schedule='step', milestones=[1, 3], gamma=0.5))
    assert got == [4.0] * 3 + [2.0] * 6 + [1.0] * 3
    got = trained(
        tmp_path,
        hook(schedule='step', milestones=[2], start_weight=3.0, begin=1))
    assert got == pytest.approx([4.0] * 3 + [3.0] * 3 + [0.3] * 6)


def scheduled(kind, count, **kwargs):
    """The values of mmengine's own scheduler, starting from 2.0."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=2.0)
    scheduler = kind(optimizer, 'lr', **kwargs)
    values = []
    for _ in range(count):
        values.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return values


@pytest.mark.parametrize('kwargs, kind, theirs', [
    (dict(start_weight=0.5, end_weight=2.0, begin=2,
          end=7), LinearParamScheduler,
     dict(start_factor=0.25, end_factor=1.0, begin=2, end=7)),
    (dict(schedule='cosine', end_weight=0.2, end=8, start_weight=2.0),
     CosineAnnealingParamScheduler, dict(T_max=7, eta_min=0.2, end=8)),
    (dict(schedule='step', milestones=[3, 6], gamma=0.5, start_weight=2.0),
     MultiStepParamScheduler, dict(milestones=[3, 6], gamma=0.5)),
])
def test_matches_mmengine_schedulers(kwargs, kind, theirs):
    ours = LossWeightHook(PATH, **kwargs)
    begin = kwargs.get('begin', 0)
    expected = scheduled(kind, 11, **theirs)
    got = [ours.weight_at(now) for now in range(begin, 11)]
    assert got == pytest.approx(expected[begin:])


@pytest.mark.parametrize('reverse', [False, True])
def test_chained_schedules(tmp_path, reverse):
    """Each continues from the end of the previous one, in any order."""
    hooks = [
        hook(start_weight=0.0, end_weight=1.0, end=4, by_epoch=False),
        hook(end_weight=3.0, begin=6, end=9, by_epoch=False),
        hook(schedule='step', milestones=[11], begin=10, by_epoch=False)
    ]
    got = trained(tmp_path, *(hooks[::-1] if reverse else hooks))
    expected = [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 2, 3, 3, 3, 0.3]
    assert got == pytest.approx(expected)


def test_end_defaults_to_next_begin(tmp_path):
    got = trained(tmp_path, hook(end_weight=1.0),
                  hook(begin=2, start_weight=9.0, end_weight=8.0))
    assert got == [4.0] * 3 + [1.0] * 3 + [9.0] * 3 + [8.0] * 3


@pytest.mark.parametrize('epoch', [1, 2, 3])
def test_resumed_training_has_the_same_weights(tmp_path, epoch):
    """The checkpoint holds nothing of the schedule."""
    hooks = [
        hook(schedule='cosine', end_weight=0.0, end=5, by_epoch=False),
        hook(schedule='linear', end_weight=7.0, begin=7, by_epoch=False)
    ]
    whole = trained(
        tmp_path,
        *hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)))
    path = tmp_path / f'epoch_{epoch}.pth'
    saved = torch.load(path, weights_only=False)
    assert not [key for key in saved['state_dict'] if 'weight' in key]
    # Without the log, which recent torch refuses to load by default.
    saved['message_hub'].update(log_scalars={}, resumed_keys={})
    saved['message_hub']['runtime_info'] = {}
    torch.save(saved, path)
    got = trained(tmp_path, *hooks, load_from=str(path), resume=True)
    assert got == whole[epoch * ITERS:]


class Overwrite(Hook):
    """Other code that sets the weight."""
    priority = 'LOWEST'

    def after_train_epoch(self, runner):
        """Set the weight."""
        runner.model.head.loss_bbox.loss_weight = 55.0


HOOKS.register_module(module=Overwrite, force=True)


def test_overwritten_weight_warns_once(tmp_path, monkeypatch):
    run = runner(tmp_path, hook(end_weight=0.0), dict(type=Overwrite))
    said = []
    monkeypatch.setattr(run.logger, 'warning', said.append)
    run.train()
    expected = [4.0 - 4.0 * (i // ITERS) / 3 for i in range(12)]
    assert run.model.seen == pytest.approx(expected)
    text, = [x for x in said if 'loss_weight' in x]
    assert 'head.loss_bbox.loss_weight was set to 55.0' in text


def test_weight_before_begin_is_unchanged(tmp_path):
    got = trained(tmp_path, hook(end_weight=1.0, begin=3),
                  dict(type=Overwrite))
    assert got == [4.0] * 3 + [55.0] * 6 + [1.0] * 3


def test_sum_and_its_losses_have_weights(tmp_path):
    run = runner(
        tmp_path, dict(hook(end_weight=0.5, end=1), path='head.loss_cls'),
        dict(hook(end_weight=0.25, end=1), path='head.loss_cls.losses.0'))
    run.train()
    loss = run.model.head.loss_cls
    assert loss.loss_weight == 0.5 and loss.losses[0].loss_weight == 0.25
    for name in ('head.loss_cls', 'head.loss_cls.losses.0'):
        assert f'train/{name}.loss_weight' in run.message_hub.log_scalars


def test_log_shows_current_weight(tmp_path):
    """In each line of the console, the JSON and the visualiser."""
    import json
    run = runner(
        tmp_path,
        hook(start_weight=0.0, end_weight=11.0, by_epoch=False),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=2)))
    lines = []
    run.logger.setLevel('INFO')
    run.logger.info = lines.append
    run.train()
    path, = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    name = f'{PATH}.loss_weight'
    shown = [row[name] for row in rows if name in row]
    assert len(shown) >= 4
    for row in rows:
        # mmengine 0.7 calls the iteration "step".
        assert row[name] == row.get('iter', row['step']) - 1
    texts = [line for line in lines if 'Epoch(train)' in str(line)]
    assert texts and all([f'{name}: ' in line for line in texts])
    assert '10.0000' in texts[-1]


@pytest.mark.parametrize('kwargs, error, text', [
    (dict(path=''), TypeError, 'path must name a module'),
    (dict(path=PATH), ValueError, "schedule='linear' needs end_weight"),
    (dict(path=PATH, schedule='poly'), ValueError, "'step'.*got 'poly'"),
    (dict(path=PATH, schedule='step'), ValueError, 'needs milestones'),
    (dict(path=PATH, schedule='step', milestones=[1],
          end_weight=1.0), ValueError, "schedule='step' has no end_weight"),
    (dict(path=PATH, schedule='step', milestones=[1],
          end=3), ValueError, 'has no end'),
    (dict(path=PATH, end_weight=1.0,
          milestones=[1]), ValueError, 'has no milestones'),
    (dict(path=PATH, end_weight=1.0, gamma=0.1), ValueError, 'has no gamma'),
    (dict(path=PATH, end_weight='1'), TypeError, "number, got '1'"),
    (dict(path=PATH, end_weight=math.nan), TypeError, 'finite number'),
    (dict(path=PATH, end_weight=1.0, begin=-1), ValueError, 'at least 0'),
    (dict(path=PATH, end_weight=1.0, begin=1.5), TypeError, 'an integer'),
    (dict(path=PATH, end_weight=1.0, begin=3,
          end=3), ValueError, 'end must be after begin=3, got 3'),
    (dict(path=PATH, schedule='step', milestones=[3, 2
                                                  ]), ValueError, 'must rise'),
    (dict(path=PATH, schedule='step', milestones=[1],
          begin=2), ValueError, 'from begin=2 on'),
    (dict(path=PATH, schedule='step',
          milestones=[]), ValueError, 'at least one'),
])
def test_arguments(kwargs, error, text):
    with pytest.raises(error, match=text):
        LossWeightHook(**kwargs)


@pytest.mark.parametrize('hooks, text', [
    ([dict(hook(end_weight=1.0), path='head.loss_box')
      ], "no module 'head.loss_box'; did you mean head.loss_bbox"),
    ([dict(hook(end_weight=1.0), path='neck')
      ], 'a loss_weight is in head.loss_bbox, head.loss_cls, '),
    ([dict(hook(end_weight=1.0), path='head.loss_bare')
      ], r'head.loss_bare \(L1Loss\) has no loss_weight to move'),
    ([hook(end_weight=1.0, end=3),
      hook(end_weight=2.0, begin=2)], 'overlap: that from 0 on has end=3'),
    ([hook(schedule='step', milestones=[1]),
      hook(end_weight=2.0, begin=3)], 'overlap: that from 0 on has end=None'),
    ([hook(end_weight=1.0), hook(end_weight=2.0)], 'begin=0, but what comes'),
    ([
        hook(end_weight=1.0, end=1),
        hook(end_weight=2.0, begin=2, by_epoch=False)
    ], 'counts epochs and another iterations'),
    ([hook(end_weight=1.0, begin=9)], 'begin=9, but what comes after it'),
])
def test_errors_at_training_start(tmp_path, hooks, text):
    run = runner(tmp_path, *hooks)
    with pytest.raises(ValueError, match=text):
        run.train()
    assert not run.model.seen


def test_non_numeric_weight(tmp_path):
    run = runner(tmp_path, hook(end_weight=1.0))
    run.model.head.loss_bbox.loss_weight = torch.ones(2)
    with pytest.raises(TypeError, match='loss_bbox must be a number'):
        run.train()


def test_weight_unknown_before_training():
    with pytest.raises(ValueError, match='not known before the training'):
        LossWeightHook(PATH, end_weight=1.0).weight_at(0)


def test_epochs_in_a_training_by_iterations(tmp_path):
    with pytest.raises(ValueError, match='write by_epoch=False'):
        trained(tmp_path, hook(end_weight=1.0), by_epoch=False)


@needs_ranks
@needs_dotted_paths
@pytest.mark.slow
def test_distributed_training(tmp_path):
    """DDP is unwrapped; all ranks have the same weight."""
    pytest.importorskip('sklearn', reason='the demo needs scikit-learn')
    config = tmp_path / 'config.py'
    config.write_text(f'''
_base_ = {str(ROOT / 'configs/digits/simcc_kl.py')!r}
model = dict(channels=(8, 8))
train_dataloader = dict(batch_size=10, dataset=dict(num_scenes=40))
val_dataloader = dict(dataset=dict(num_scenes=20))
train_cfg = dict(max_epochs=3)
custom_hooks = [dict(type='mmlosses.LossWeightHook',
                     path='head.loss_module', end_weight=0.5)]
''')
    assert Config.fromfile(str(config)).custom_hooks
    done = launch_training(config, tmp_path, 2)
    assert done.returncode == 0, done.stderr
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=False)
    scalar = saved['message_hub']['log_scalars'][
        'train/head.loss_module.loss_weight']
    values = scalar.data[0].tolist()
    assert len(values) == 6 and values[:2] == [values[0]] * 2
    assert values[2] == pytest.approx((values[0] + 0.5) / 2)
    assert values[4:] == [0.5, 0.5]


@pytest.fixture(autouse=True)
def no_hub_is_left():
    """Each test has a log of its own."""
    before = dict(MessageHub._instance_dict)
    yield
    MessageHub._instance_dict.clear()
    MessageHub._instance_dict.update(before)
