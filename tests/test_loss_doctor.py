"""LossDoctorHook with injected faults, in toy and real trainings."""
import contextlib
import copy
import math
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import (DATASETS, HOOKS, MODELS, OPTIM_WRAPPERS,
                               TRANSFORMS)
from mmengine.structures import BaseDataElement
from mmengine.utils import digit_version
from ranks import needs_ranks, run_ranks
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import (ToyDataset, ToyModel, assert_same_weights,
                       skip_without_openmmlab, stock_runner, toy_runner,
                       weights)

from mmlosses.checks.hints import hints
from mmlosses.checks.replay import load_record
from mmlosses.commands import replay_loss
from mmlosses.hooks.loss_doctor import LossDoctorHook, Recorder
from mmlosses.registry import MODELS as MMLOSSES
from mmlosses.trusted import STORAGES

HOOK = dict(type='mmlosses.LossDoctorHook')

TOOL = ROOT / 'tools/replay_loss.py'


@DATASETS.register_module()
class ToyImages(ToyDataset):
    """Numbers with an image path; one may be non-finite."""

    def __init__(self, length, bad=None):
        super().__init__(length)
        self.bad = bad

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        element = BaseDataElement(metainfo=dict(img_path=f'{index}.jpg'))
        element.box = torch.tensor([math.nan if index == self.bad else 1.0])
        return dict(sample, data_samples=element)


@pytest.fixture(autouse=True)
def optimizers_with_hooks():
    """torch 2.0 drops optimizer hooks once anything is compiled."""
    if not hasattr(torch.optim.SGD.step,
                   '__wrapped__') and (torch.__version__.startswith('2.0.')):
        torch.optim.SGD.step = torch.optim.Optimizer.profile_hook_step(
            torch.optim.SGD.step)


@MODELS.register_module()
class Fragile(ToyModel):
    """Has a fault when it sees the bad image.

    Args:
        fault (str): 'target': in the data; 'gradient': the loss is finite,
            its gradient is not; 'elsewhere': outside any loss.
        loss (dict): Config of the loss.
    """

    def __init__(self, fault='target', loss=None):
        super().__init__(loss or dict(type='mmlosses.SmoothL1Loss'))
        self.fault = fault

    def forward(self, inputs, data_samples, mode):
        if mode == 'predict':
            return super().forward(inputs, mode)
        x = torch.stack(inputs) * self.factor + 0 * self.norm(
            torch.stack(inputs))
        bad = torch.stack([sample.box for sample in data_samples])
        target = 0.5 * torch.stack(inputs)
        loss = 0 * x.sum()
        if self.fault == 'target':
            target = target * bad
        if self.fault == 'weight':
            # Removed by weight 0, so harmless.
            weight = bad.isfinite().float()
            x = torch.where(bad.isnan(), bad, x)
            return dict(loss_box=self.loss_box(x, target, weight))
        hit = bad.isnan().any()
        if self.fault == 'gradient':
            # The gradient of sqrt at 0 is infinite.
            x = torch.where(hit, 0 * x, x)
            return dict(loss_box=self.loss_box(x, 0 * target))
        if self.fault == 'elsewhere':
            loss = torch.where(hit, 0 * x.sum(), x.sum() + 1).sqrt()
        return dict(loss_box=self.loss_box(x, target), loss_more=loss)


class RootLoss(nn.Module):
    """A loss with an infinite gradient at 0."""

    def forward(self, pred, target):
        return (pred - target).abs().sum().sqrt()


class LearnedLoss(nn.Module):
    """A loss with a parameter and an inner loss."""

    def __init__(self, losses):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.losses = nn.ModuleList([MODELS.build(x) for x in losses])

    def forward(self, pred, target):
        one, other = self.losses
        return self.scale * (one(pred, pred.detach()) + other(pred, target))


@contextlib.contextmanager
def registered(cls):
    """Register a loss during a test."""
    MMLOSSES.register_module(module=cls)
    try:
        yield f'mmlosses.{cls.__name__}'
    finally:
        MMLOSSES.module_dict.pop(cls.__name__)


@pytest.fixture
def root_loss():
    with registered(RootLoss) as name:
        yield dict(type=name)


@pytest.fixture
def learned_loss():
    with registered(LearnedLoss) as name:
        yield dict(
            type=name,
            losses=[
                dict(type='mmlosses.L1Loss'),
                dict(type='mmlosses.MSELoss', loss_weight=3.0)
            ])


def fragile(tmp_path, hook, bad=3, epochs=1, **settings):
    """Six images in order, in batches of two; number 3 is bad."""
    return toy_runner(
        tmp_path, [hook] if hook else [],
        model={
            '_delete_': True,
            'type': 'Fragile',
            **settings.pop('model', {})
        },
        log_level='WARNING',
        train_dataloader=dict(
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(_delete_=True, type='ToyImages', length=6, bad=bad)),
        train_cfg=settings.pop('train_cfg', dict(max_epochs=epochs)),
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        **settings)


def stop_message(runner):
    """The text of the error that ends a training."""
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    return str(error.value)


@pytest.mark.parametrize('before_step', [False, True])
def test_names_loss_argument_and_image(tmp_path, before_step):
    runner = fragile(tmp_path, dict(HOOK, before_step=before_step))
    text = stop_message(runner)
    assert 'not finite in iteration 2' in text
    assert 'loss_box (mmlosses.SmoothL1Loss): its value is not finite' in text
    assert 'not finite before it was called: target' in text
    assert 'pred: float32 (2, 1) from ' in text
    assert 'target: float32 (2, 1) from 1.5 to 1.5, 1 nan of 2' in text
    lines = text.splitlines()
    first = lines[lines.index('pictures:') + 1]
    assert first == '  3.jpg (box: 1 of 1 not finite)'
    assert '  2.jpg' in lines and '0.jpg' not in text
    assert bool(runner.model.factor.isfinite()) == before_step
    assert ('have not been updated' in text) == before_step


def test_file_replays(tmp_path, capsys):
    stop_message(
        fragile(
            tmp_path,
            HOOK,
            model=dict(
                loss=dict(
                    type='mmlosses.SmoothL1Loss', beta=0.3, loss_weight=2.0))))
    file = tmp_path / 'loss_doctor_iter_2.pt'
    record = torch.load(str(file), weights_only=True)
    assert record['config']['type'] == 'mmlosses.SmoothL1Loss'
    assert record['config']['beta'] == 0.3
    assert record['config']['loss_weight'] == 2.0
    assert record['random'] == {}
    assert replay_loss.main([str(file), '--report']) == 0
    shown = capsys.readouterr().out
    assert 'value: nan' in shown and '3.jpg' in shown
    assert 'not finite: gradient of pred, first at [1, 0]: nan' in shown
    assert 'target[1]: [nan]' in shown
    # The same without the fault.
    assert record['args'][1].shape == (2, 1)
    record['args'][1].nan_to_num_(0.0)
    torch.save(record, str(file))
    assert replay_loss.main([str(file)]) == 1
    assert 'all is finite' in capsys.readouterr().out


def test_file_has_the_scheduled_weight(tmp_path):
    """Schedules change the value in the config."""
    runner = fragile(tmp_path, HOOK)
    runner.model.loss_box.loss_weight = 7.0
    stop_message(runner)
    record = load_record(tmp_path / 'loss_doctor_iter_2.pt')
    assert record['config']['loss_weight'] == 7.0


def test_gradient_of_a_finite_loss(tmp_path, root_loss):
    text = stop_message(
        fragile(tmp_path, HOOK, model=dict(fault='gradient', loss=root_loss)))
    assert 'its value is finite, its gradient is not' in text
    assert 'gradient of pred: 2 of 2 not finite' in text
    assert 'gradient not finite: factor' in text
    assert replay_loss.main([str(tmp_path / 'loss_doctor_iter_2.pt')]) == 0


def test_loss_with_parameters_and_parts(tmp_path, learned_loss):
    """The file has the state before the optimizer step."""
    runner = fragile(tmp_path, HOOK, model=dict(loss=learned_loss))
    text = stop_message(runner)
    assert 'loss_box (test_loss_doctor.LearnedLoss): its value' in text
    assert 'first within it: losses.1 (mmlosses.MSELoss)' in text
    assert 'have not been updated' in text
    record = load_record(tmp_path / 'loss_doctor_iter_2.pt')
    assert record['config']['losses'][1]['loss_weight'] == 3.0
    assert record['state']['scale'] == runner.model.loss_box.scale != 1
    assert replay_loss.main([str(tmp_path / 'loss_doctor_iter_2.pt')]) == 0


def test_fault_outside_of_the_losses(tmp_path):
    text = stop_message(fragile(tmp_path, HOOK, model=dict(fault='elsewhere')))
    assert 'it comes from elsewhere' in text
    assert 'gradient not finite: factor' in text and '3.jpg' in text


def test_harmless_input(tmp_path):
    """Weight 0 removes it; it is reported only on request."""
    kind = dict(fault='weight')
    runner = fragile(tmp_path, HOOK, model=kind)
    runner.train()
    assert runner.model.factor.isfinite()
    text = stop_message(
        fragile(tmp_path, dict(HOOK, check_inputs=True), model=kind))
    assert 'an input is not finite, value and gradient are' in text
    assert 'pred: float32 (2, 1)' in text and '1 nan of 2' in text


def test_skipped_iteration_leaves_no_trace(tmp_path):
    """As if the batch had not been in the data, except in the log."""
    runner = fragile(tmp_path, dict(HOOK, action='skip'),
                     **{'optim_wrapper.optimizer.momentum': 0.9})
    states = []

    class Watch(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, *args, **kwargs):
            states.append((weights(runner), runner.optim_wrapper.state_dict()))

    runner.register_hook(Watch())
    runner.train()
    assert len(states) == 3
    assert_same_weights(states[0][0], states[1][0])
    assert runner.model.factor.isfinite()
    assert not torch.equal(states[2][0]['factor'], states[1][0]['factor'])
    assert float(states[1][0]['norm.num_batches_tracked']) == 1


def test_max_skips(tmp_path):
    """A diverged model does not train for ever."""
    runner = fragile(
        tmp_path,
        dict(HOOK, action='skip', max_skips=2, max_reports=1),
        model=dict(loss=dict(type='mmlosses.SmoothL1Loss', loss_weight=1e39)))
    text = stop_message(runner)
    assert '2 iterations in a row' in text
    assert len(list(tmp_path.glob('*.pt'))) == 1


def test_warn_continues(tmp_path, caplog):
    runner = fragile(tmp_path, dict(HOOK, action='warn', max_reports=1))
    runner.train()
    assert runner.iter == 3
    assert len(list(tmp_path.glob('*.pt'))) == 1


def test_validation_loss_is_not_watched(tmp_path):
    """It may be non-finite while training is fine."""
    data = dict(batch_size=2, dataset=dict(type='ToyImages', length=4, bad=2))
    runner = fragile(tmp_path, HOOK, bad=None)
    runner.register_custom_hooks(
        [dict(type='mmlosses.ValLossHook', dataloader=data)])
    runner.train()
    value = runner.message_hub.get_scalar('val/loss').current()
    assert math.isnan(value) and not list(tmp_path.glob('*.pt'))


@pytest.mark.parametrize('bad', [None, 3])
def test_validation_within_an_iteration_is_not_watched(tmp_path, bad):
    """Without a validation loop, ValLossHook runs before an iteration."""
    data = dict(batch_size=1, dataset=dict(type='ToyImages', length=9, bad=2))
    runner = fragile(
        tmp_path,
        dict(HOOK, action='skip'),
        bad=bad,
        train_cfg=dict(
            _delete_=True, by_epoch=False, max_iters=3, val_interval=1),
        **{'train_dataloader.sampler.type': 'InfiniteSampler'})
    runner.register_custom_hooks(
        [dict(type='mmlosses.ValLossHook', dataloader=data)])
    doctor = next(x for x in runner.hooks if isinstance(x, LossDoctorHook))
    counts = []

    class Watch(Hook):
        priority = 'VERY_HIGH'

        def after_train_iter(self, *args, **kwargs):
            counts.append(len(doctor.recorder.calls))

    runner.register_hook(Watch())
    runner.train()
    values = runner.message_hub.get_scalar('val/loss').data[0]
    assert len(values) == 3 and math.isnan(values[0])
    assert counts == [1, 1, 1]
    assert [x.name for x in tmp_path.glob('*.pt')
            ] == ([] if bad is None else ['loss_doctor_iter_2.pt'])


def test_train_again_after_a_fault(tmp_path):
    """As in a notebook: the same runner, without the bad image."""
    runner = fragile(tmp_path, dict(HOOK, before_step=True))
    stop_message(runner)
    runner.train_dataloader.dataset.bad = None
    runner.train()
    hook = next(x for x in runner.hooks if isinstance(x, LossDoctorHook))
    assert hook.faults == 1 and runner.model.factor.isfinite()
    assert not hook.handles
    assert not runner.model.loss_box._forward_hooks


def test_accumulated_gradients(tmp_path):
    """Iterations without an optimizer step are checked too."""
    for action in ('stop', 'skip'):
        runner = fragile(tmp_path, dict(HOOK, action=action),
                         **{'optim_wrapper.accumulative_counts': 3})
        if action == 'stop':
            assert 'iteration 2' in stop_message(runner)
        else:
            runner.train()
        assert runner.model.factor.isfinite()


@pytest.mark.parametrize('clip', [None, 0.1])
@pytest.mark.parametrize('fault', ['target', 'gradient'])
@pytest.mark.parametrize('bad', [0, 1, 2, None])
def test_skip_undoes_one_accumulated_iteration(tmp_path, root_loss, bad, fault,
                                               clip):
    """The step has the gradients of the others, and nothing is divided."""
    loss = root_loss if fault == 'gradient' else dict(type='mmlosses.MSELoss')
    settings = {'optim_wrapper.accumulative_counts': 3}
    if clip:
        settings['optim_wrapper.clip_grad'] = dict(max_norm=clip)
    runner = fragile(
        tmp_path,
        dict(HOOK, action='skip'),
        bad=None if bad is None else 2 * bad,
        model=dict(fault=fault, loss=loss),
        **settings)
    model = copy.deepcopy(runner.model)
    runner.train()
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    for index in range(3):
        if index != bad:
            batch = [
                runner.train_dataloader.dataset[2 * index + i]
                for i in range(2)
            ]
            losses = model([x['inputs'] for x in batch],
                           [x['data_samples'] for x in batch], 'loss')
            (losses['loss_box'] / 3).backward()
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    sgd.step()
    assert float(model.factor.detach()) != 1
    assert runner.model.factor.item() == pytest.approx(
        model.factor.item(), abs=1e-7)
    assert int(runner.model.norm.num_batches_tracked) == 3 - (bad is not None)


def test_earlier_checkpoints_are_finite(tmp_path):
    runner = fragile(
        tmp_path,
        HOOK,
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False,
                            interval=1)))
    stop_message(runner)
    saved, = tmp_path.glob('iter_*.pth')
    state = torch.load(str(saved), weights_only=False)['state_dict']
    assert state['factor'].isfinite()


@MODELS.register_module()
class Noisy(nn.Module):
    """Not registered by any package that a file may name."""

    def forward(self, pred, target):
        return (pred - target + torch.rand_like(pred)).mean()


def test_unregistered_loss_is_reported(tmp_path):
    text = stop_message(
        fragile(tmp_path, HOOK, model=dict(loss=dict(type='Noisy'))))
    assert 'loss_box (test_loss_doctor.Noisy)' in text
    assert 'no file to replay: test_loss_doctor.Noisy is in none of' in text


@pytest.mark.parametrize('place', ['file', 'full'])
def test_unwritable_file_keeps_the_report(tmp_path, place):
    """The folder cannot be created, or the disk is full."""
    out = tmp_path / 'out'
    if place == 'file':
        out.write_text('')
    else:
        if not os.path.exists('/dev/full'):
            pytest.skip('needs /dev/full')
        out.mkdir()
        (out / 'loss_doctor_iter_2.pt.part').symlink_to('/dev/full')
    text = stop_message(fragile(tmp_path, dict(HOOK, out_dir=str(out))))
    assert 'target: float32 (2, 1)' in text and '3.jpg' in text
    assert 'no file to replay: ' in text and 'was not written' in text
    assert place == 'file' or list(out.iterdir()) == []


class HostReads(TorchDispatchMode):
    """Record when the host reads a number from the device."""

    def __init__(self):
        super().__init__()
        self.log = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name == 'aten::_local_scalar_dense':
            self.log.append('read')
        return func(*args, **(kwargs or {}))


def test_adds_one_host_sync(tmp_path):
    """One number per iteration, after mmengine has read the losses."""
    logs = []
    for hook in (None, HOOK):
        runner = fragile(tmp_path, hook, bad=None)
        reads = HostReads()
        runner.register_hook(Marks(reads.log))
        with reads:
            runner.train()
        logs.append(reads.log)
    without, with_hook = [[
        part.count('read') for part in split(log, 'step', 'end')
    ] for log in logs]
    # Before and after each optimizer step.
    assert with_hook[0::2] == without[0::2]
    assert with_hook[1:6:2] == [x + 1 for x in without[1:6:2]]


def split(log, *marks):
    """Split a list at marks."""
    parts = [[]]
    for entry in log:
        parts[-1].append(entry)
        if entry in marks:
            parts.append([])
    return parts


class Marks(Hook):
    """Mark optimizer steps and ends of iterations."""

    priority = 'LOWEST'

    def __init__(self, log):
        self.log = log

    def before_train(self, runner):
        runner.optim_wrapper.optimizer.register_step_post_hook(
            lambda *args: self.log.append('step'))

    def after_train_iter(self, *args, **kwargs):
        self.log.append('end')


# Files


class MaliciousPickle:
    """A pickle that runs code when loaded."""

    def __reduce__(self):
        return os.mkdir, ('ran', )


def test_tampered_files_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stop_message(fragile(tmp_path, HOOK))
    file = tmp_path / 'loss_doctor_iter_2.pt'
    good = torch.load(str(file), weights_only=True)
    changes = [
        dict(kwargs=dict(x=MaliciousPickle())),
        dict(config=dict(type='os.mkdir', path='ran')),
        dict(config=dict(type='os.mkdir', name='ran')),
        dict(config=dict(type='builtins.eval')),
        dict(config=dict(type='mmdet.RetinaNet')),
        dict(
            config=dict(
                type='mmlosses.SumLoss', losses=[dict(type='sys.exit')])),
        dict(config=dict(type='mmlosses.L1Loss', _scope_='os')),
        dict(config=dict(type='antigravity.L1Loss')),
        dict(config=dict(type=os.mkdir)),
        dict(config=dict(type='mmlosses.L1Loss', reduction='https://a/b.pkl')),
        dict(config=dict(type='mmlosses.L1Loss', reduction='b.pkl')),
        dict(training='yes'),
        dict(requires_grad=['x', 2]),
        dict(random=dict(cpu='x')),
        dict(config=dict(type='mmlosses.L1Loss', compile=True)),
        dict(
            config=dict(
                type='mmlosses.SumLoss',
                losses=[dict(type='mmlosses.L1Loss', compile=True)])),
        dict(config={}),
        dict(format=99),
        dict(format=torch.ones(2)),
        dict(args='no list'),
        dict(state=dict(weight=torch.zeros(3))),
        dict(kwargs=dict(nonsense=1)),
    ]
    for change in changes:
        torch.save(dict(good, **change), str(file))
        assert replay_loss.main([str(file)]) == 2, change
        shown = capsys.readouterr().err
        assert shown.startswith('error: ') and shown.count('\n') == 1, change
        assert 'weights_only' not in shown, change
        assert not os.path.exists('ran'), change
    file.write_bytes(pickle.dumps(MaliciousPickle()))
    assert replay_loss.main([str(file)]) == 2
    file.write_bytes(b'nothing')
    assert replay_loss.main([str(file)]) == 2
    assert replay_loss.main([str(tmp_path / 'nothere.pt')]) == 2
    assert not os.path.exists('ran') and 'antigravity' not in sys.modules


@pytest.fixture
def good_file(tmp_path):
    """A file of the hook and its content."""
    stop_message(fragile(tmp_path, HOOK))
    file = tmp_path / 'loss_doctor_iter_2.pt'
    return file, torch.load(str(file), weights_only=True)


def nested(levels):
    """A list that holds 2 ** levels times the same."""
    value = []
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    'args', [
        [torch.zeros(1).expand(10**9)],
        10**4 * [torch.zeros(10**4)],
        nested(30),
    ],
    ids=['expanded', 'shared', 'nested'])
def test_file_that_asks_for_more_than_it_has(good_file, args, capsys):
    file, record = good_file
    torch.save(dict(record, args=args), str(file))
    assert replay_loss.main([str(file)]) == 2
    assert 'asks for more memory than it has bytes' in capsys.readouterr().err


def test_compressed_file_is_refused(good_file, capsys):
    """100 MB of zeros in 100 kB."""
    file, record = good_file
    torch.save(dict(record, args=[torch.zeros(25_000_000)]), str(file))
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    assert file.stat().st_size < 200_000
    assert replay_loss.main([str(file)]) == 2
    assert 'asks for more memory than it has bytes' in capsys.readouterr().err


def test_script_of_torch_is_refused(good_file, capsys):
    """Before torch 2.6 it ran, also with `weights_only=True`."""
    file, _ = good_file
    torch.jit.save(torch.jit.script(nn.ReLU()), str(file))
    assert replay_loss.main([str(file)]) == 2
    shown = capsys.readouterr().err
    assert 'is no file of LossDoctorHook' in shown
    assert 'weights_only' not in shown


def test_every_dtype_is_read(good_file):
    file, record = good_file
    values = [torch.ones(2, 3).to(dtype).t()
              for dtype in STORAGES.values()] + [torch.zeros(0, 4)]
    torch.save(dict(record, args=values), str(file))
    for got, value in zip(load_record(file)['args'], values):
        assert got.dtype == value.dtype and torch.equal(got, value)


def test_control_characters_are_escaped(good_file, capsys):
    file, record = good_file
    torch.save(
        dict(record, path='\x1b[2J\nall is finite', report='a\nb\x07'),
        str(file))
    assert replay_loss.main([str(file), '--report']) == 0
    shown = capsys.readouterr().out
    assert shown.startswith('a\nb\\x07\n\n\\x1b[2J\\nall is finite: {')


def test_random_state_is_saved_if_used(tmp_path):
    """The file has the state before the call, and gives the same value."""
    head = nn.Module()
    head.loss = Noisy()
    recorder = Recorder(head)
    recorder.start()
    pred = torch.zeros(3, requires_grad=True)
    value = head.loss(pred, torch.zeros(3))
    call, = recorder.calls
    torch.set_rng_state(call.random['cpu'])
    assert value == head.loss(pred, torch.zeros(3))
    recorder.close()
    assert not recorder.calls


@pytest.mark.parametrize('settings, words', [
    (dict(action='halt'), "'stop', 'skip' or 'warn', got 'halt'"),
    (dict(max_reports=0), 'must be at least 1, got 0 and 10'),
])
def test_invalid_arguments(settings, words):
    with pytest.raises(ValueError, match=words):
        HOOKS.build(dict(HOOK, **settings))


# Mixed precision


@OPTIM_WRAPPERS.register_module()
class CpuAmp(AmpOptimWrapper):
    """mmengine's AmpOptimWrapper, which needs a GPU, for the CPU."""

    def __init__(self, init_scale, **kwargs):
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = None
        self.cast_dtype = torch.bfloat16
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=init_scale)


needs_scaler = pytest.mark.skipif(
    not hasattr(torch, 'amp') or not hasattr(torch.amp, 'GradScaler'),
    reason='no GradScaler for the CPU before torch 2.3')


@needs_scaler
@pytest.mark.parametrize('action', ['stop', 'skip'])
@pytest.mark.parametrize('fused', [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            digit_version(torch.__version__) < digit_version('2.4'),
            reason='no fused SGD for the CPU before torch 2.4'))
])
def test_loss_scale_overflow_is_no_fault(tmp_path, action, fused):
    optimizer = {'optim_wrapper.optimizer.fused': True} if fused else {}
    runner = fragile(
        tmp_path,
        dict(HOOK, action=action),
        bad=None,
        epochs=3,
        **{
            'optim_wrapper.type':
            'CpuAmp',
            'optim_wrapper.init_scale':
            2.0**127,
            'model':
            dict(loss=dict(type='mmlosses.SmoothL1Loss', loss_weight=50.0)),
            **optimizer
        })
    runner.train()
    assert runner.iter == 9
    assert runner.optim_wrapper.loss_scaler.get_scale() < 2.0**127
    assert float(runner.model.factor) != 1.0
    hook = next(x for x in runner.hooks if isinstance(x, LossDoctorHook))
    assert hook.faults == 0


@needs_scaler
def test_nan_hidden_by_the_scaler(tmp_path, root_loss):
    """Otherwise it would skip the step and lower the scale for ever."""
    text = stop_message(
        fragile(
            tmp_path,
            HOOK,
            model=dict(fault='gradient', loss=root_loss),
            **{
                'optim_wrapper.type': 'CpuAmp',
                'optim_wrapper.init_scale': 8.0
            }))
    assert 'its value is finite, its gradient is not' in text
    record = load_record(tmp_path / 'loss_doctor_iter_2.pt')
    assert record['autocast'] == 'bfloat16'


@needs_scaler
def test_says_what_a_skipped_step_of_the_scaler_loses(tmp_path):
    runner = fragile(
        tmp_path,
        dict(HOOK, action='skip'),
        bad=5,
        **{
            'optim_wrapper.type': 'CpuAmp',
            'optim_wrapper.init_scale': 8.0,
            'optim_wrapper.accumulative_counts': 3
        })
    runner.train()
    assert runner.model.factor.item() == 1
    log, = tmp_path.rglob('*.log')
    assert ('the 2 iterations before it, whose gradients were accumulated for '
            'the same step, are lost too') in log.read_text()


# Values that a loss is not made for


class DiceLoss(nn.Module):
    """As mmdet's, it takes any mask and divides by any number."""

    def forward(self, pred, target, weight=None, avg_factor=None):
        loss = 1 - 2 * pred * target / (pred**2 + target**2)
        if weight is not None:
            loss = loss * weight
        return loss.sum() / ((avg_factor or 0) + 1e-7)


class GIoULoss(DiceLoss):
    """Known as a loss of boxes by its name."""


NEGATIVE = torch.tensor([1., -1.])


@pytest.mark.parametrize(
    'kind, target, more, found',
    [
        (DiceLoss, [[0., 255.]], {}, {
            'target': 'is from 0 to 255, not from 0 to'
        }),
        (DiceLoss, [[0., 1.]], {}, {}),
        (DiceLoss, [[0., 255.]], {
            'weight': torch.zeros(1)
        }, {}),
        (DiceLoss, [[0., 1.]], {
            'weight': NEGATIVE
        }, {
            'weight': 'is negative'
        }),
        (DiceLoss, [[0., 1.]], {
            'avg_factor': 0
        }, {
            'avg_factor': 'is 0: '
        }),
        (DiceLoss, [[0., 1.]], {
            'avg_factor': torch.tensor([math.nan])
        }, {
            'avg_factor': 'is nan'
        }),
        (DiceLoss, [[0.5, 0.5]], {
            'avg_factor': 0.
        }, {}),  # nothing to divide
        (GIoULoss, [[9., 9., 4., 5.]], {}, {
            'target': 'has boxes with x2 < x1'
        }),
        (GIoULoss, [[9., 9., 13., 14.]], {}, {}),
        (RootLoss, [[0., 255.]], {}, {}),
    ])
def test_hints(kind, target, more, found):
    target = torch.tensor(target)
    pred = torch.full_like(target, 0.5)
    got = hints(kind(), dict(pred=pred, target=target, **more),
                [kind.forward(None, pred, target, **more)])
    assert set(got) == set(found)
    for name, text in found.items():
        assert got[name].startswith(text)


@MODELS.register_module()
class Unchecked(Fragile):
    """Its loss is finite for any mask.

    Args:
        late (float, optional): The divisor in the third iteration.
    """

    def __init__(self, late=None):
        super().__init__()
        self.loss_box = DiceLoss()
        self.late = late

    def forward(self, inputs, data_samples, mode):
        x = self.factor * torch.stack(inputs)
        self.seen.append(0)
        if self.late is not None:
            count = self.late if len(self.seen) == 3 else 9
            loss = self.loss_box(x, torch.ones_like(x), avg_factor=count)
        else:
            loss = self.loss_box(x, 255 + x.detach(), avg_factor=9)
        return dict(loss_box=loss)


def test_report_names_values(tmp_path):
    text = stop_message(
        fragile(tmp_path, HOOK, model=dict(type='Unchecked', late=math.nan)))
    assert '\n  avg_factor is nan\n' in text


@pytest.mark.parametrize('late', [0, None])
def test_warns_once_of_values(tmp_path, late):
    """In the first iteration, and where a loss is huge."""
    runner = fragile(
        tmp_path, HOOK, epochs=2, model=dict(type='Unchecked', late=late))
    runner.train()
    log, = tmp_path.rglob('*.log')
    shown = [x for x in log.read_text().splitlines() if 'LossDoctor' in x]
    want = ('iteration 3: loss_box (test_loss_doctor.DiceLoss): avg_factor is '
            '0: the sum is divided by about 1e-7' if late == 0 else
            'iteration 1: loss_box (test_loss_doctor.DiceLoss): target is '
            'from 256 to 257, not from 0 to 1')
    assert len(shown) == 1 and shown[0].endswith(want)


# Ranks


def both_ranks_stop(rank, folder, wrapped):

    def runner_of(action, **settings):
        runner = fragile(
            Path(folder) / f'{action}_{rank}', dict(HOOK, action=action),
            **{'train_dataloader.dataset.length': 12}, **settings)
        if wrapped:
            runner.model = MMDistributedDataParallel(
                runner.model, find_unused_parameters=True)
        return runner

    runner = runner_of('stop')
    text = stop_message(runner)
    # The other rank receives its gradient, but has no fault itself.
    assert 'rank 1: ' in text and ('rank 0: ' in text) == wrapped
    assert '3.jpg (box' in text and runner.iter == 0
    assert 'loss_doctor_iter_1_rank_1.pt' in text
    runner = runner_of('skip')
    runner.train()
    hook = next(x for x in runner.hooks if isinstance(x, LossDoctorHook))
    assert hook.faults == 1
    learnt = weights(runner)
    assert learnt['factor'].isfinite()
    # Three batches, if rank 0 had not skipped the first step too.
    assert int(learnt['norm.num_batches_tracked']) == 2
    runner.model = None  # ends the threads of DDP
    if wrapped:
        # The faults are in a step, and in an iteration before a step.
        runner = runner_of(
            'skip', epochs=2, **{'optim_wrapper.accumulative_counts': 2})
        runner.train_dataloader.dataset.bad = 7
        runner.train()
        factor = runner.model.module.factor.item()
        assert all_gather_object(factor) == [factor, factor]
        assert math.isfinite(factor) and factor != 1
        runner.model = None


@needs_ranks
@pytest.mark.slow
@pytest.mark.parametrize('wrapped', [False, True])
def test_ranks_stop_and_skip_together(tmp_path, wrapped):
    """A fault on one of two ranks, with or without gradient reduction."""
    run_ranks(both_ranks_stop, str(tmp_path), wrapped)


# Real models on real images


@TRANSFORMS.register_module()
class InjectFault:
    """Put a fault into the data of one image."""

    def __init__(self, kind, picture):
        self.kind = kind
        self.picture = picture

    def __call__(self, results):
        if self.picture not in results['img_path']:
            return results
        if self.kind == 'box':
            results['gt_bboxes'].tensor[0, 2] = math.nan
        elif self.kind == 'anchor':
            results['gt_bboxes'].tensor[0] = torch.tensor([48., 48., 80., 80.])
        elif self.kind == 'label':
            results['keypoint_x_labels'][..., 5, :] = math.nan
        return results


def with_fault(kind, picture, more=None):
    """Change a config: data with a fault, images in order."""

    def change(cfg):
        loader = cfg.train_dataloader
        loader.sampler.shuffle = False
        loader.pop('batch_sampler', None)
        loader.batch_size = 1
        loader.dataset.pipeline = [
            t for t in loader.dataset.pipeline if 'Random' not in t.type
        ]
        loader.dataset.pipeline.insert(
            -1, dict(type='InjectFault', kind=kind, picture=picture))
        for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg.pop(name)
        cfg.optim_wrapper.optimizer.lr = 0.0
        if more is not None:
            more(cfg)

    return change


def run_replay(file):
    """Run the tool as a user does."""
    return subprocess.run(
        [sys.executable, str(TOOL), str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True)


def stock_ciou(cfg):
    """Predictions equal to their anchors, which this loss cannot take."""
    cfg.model.bbox_head.update(
        reg_decoded_bbox=True,
        loss_bbox=dict(type='CIoULoss', loss_weight=2.0),
        init_cfg=dict(type='Constant', layer='Conv2d', val=0))


@pytest.mark.openmmlab
@pytest.mark.slow
@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_ciou_of_mmdet_at_a_perfect_box(coco, tmp_path, action):
    """A known fault of the stock loss: 0 / 0 in a weight."""
    skip_without_openmmlab()
    runner = stock_runner('retinanet', coco, tmp_path,
                          [dict(HOOK, action=action)],
                          with_fault('anchor', '000000196141', stock_ciou))
    if action == 'skip':
        runner.train()
        assert all(x.isfinite().all() for x in runner.model.parameters())
        assert next(x for x in runner.hooks
                    if isinstance(x, LossDoctorHook)).faults == 1
        return
    text = stop_message(runner)
    assert 'in iteration 3' in text
    assert 'bbox_head.loss_bbox (mmdet.CIoULoss)' in text
    assert 'all inputs are finite: the loss itself makes it' in text
    assert 'pictures:\n  ' + str(coco / '000000196141.jpg') in text
    file, = tmp_path.glob('*.pt')
    done = run_replay(file)
    assert done.returncode == 0, done.stderr
    assert "'type': 'mmdet.CIoULoss'" in done.stdout
    assert 'value: nan' in done.stdout
    assert 'not finite: gradient of pred, first at [' in done.stdout


@pytest.mark.openmmlab
@pytest.mark.slow
def test_nan_box_in_mmdet(coco, tmp_path):
    """Faster R-CNN adds the annotated boxes to its proposals."""
    skip_without_openmmlab()
    runner = stock_runner('faster-rcnn', coco, tmp_path, [HOOK],
                          with_fault('box', '000000196141'))
    text = stop_message(runner)
    assert 'in iteration 3' in text
    assert '000000196141.jpg (gt_instances.bboxes: 1 of' in text
    file, = tmp_path.glob('*.pt')
    assert run_replay(file).returncode == 0


@pytest.mark.openmmlab
@pytest.mark.slow
@pytest.mark.parametrize('ours', [False, True])
def test_nan_label_in_mmpose(coco, tmp_path, ours):
    skip_without_openmmlab()

    def swap(cfg):
        if ours:
            cfg.model.head.loss.type = 'mmlosses.KLDiscretLoss'

    runner = stock_runner('simcc', coco, tmp_path, [HOOK],
                          with_fault('label', '000000196141', swap))
    text = stop_message(runner)
    package = 'mmlosses' if ours else 'mmpose'
    assert f'head.loss_module ({package}.KLDiscretLoss)' in text
    argument = 'target' if ours else 'gt_simcc'
    assert f'before it was called: {argument}[0]' in text
    assert '000000196141.jpg (' in text and 'keypoint_x_labels: ' in text
    file, = tmp_path.glob('*.pt')
    done = run_replay(file)
    assert done.returncode == 0, done.stderr
    assert f"'type': '{package}.KLDiscretLoss'" in done.stdout


@pytest.mark.openmmlab
@pytest.mark.slow
def test_healthy_training_is_unchanged(coco, tmp_path):
    skip_without_openmmlab()
    ends = []
    for hooks in ([], [HOOK], [dict(HOOK, action='skip')]):
        runner = stock_runner('retinanet', coco, tmp_path, hooks)
        runner.train()
        ends.append(weights(runner))
    assert_same_weights(ends[0], ends[1])
    assert_same_weights(ends[0], ends[2])
    assert not list(tmp_path.glob('*.pt'))
