"""Buffers that training moves: alone, by the hook, and over ranks."""
import copy
import warnings

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from ranks import needs_ranks, run_ranks
from trainings import assert_same_weights, toy_runner, weights

from mmlosses.core.statistics import statistics_losses, warn_once
from mmlosses.losses import CenterLoss, WIoULoss

HOOK = dict(type='mmlosses.SyncStatisticsHook')
MEAN = 'loss_box.mean_iou_loss'


def boxes(number, seed=0):
    random = torch.Generator().manual_seed(seed)
    low = 10 * torch.rand(number, 2, generator=random)
    target = torch.cat([low, low + 5], dim=1)
    return target + torch.rand(number, 4, generator=random), target


def test_hook_moves_once_per_iteration(tmp_path):
    """By all calls of the iteration, and each call sees the same mean."""
    runner = toy_runner(tmp_path, [HOOK])
    means = []

    def call_twice(module, args, output):
        if module.training:
            means.append(module.mean_iou_loss.item())
            with torch.no_grad():
                module.forward(*args)  # no hook of a module runs

    loss = runner.model.loss_box
    loss.register_forward_hook(call_twice)
    runner.train()
    assert len(means) == 9 and len(set(means)) == 9 and means[0] == 1
    # The IoU of each box is 1/4 or so: half of the way, once.
    assert means[1] == pytest.approx((1 + 0.75) / 2, abs=0.01)
    assert not loss.is_deferred
    loss(*boxes(3))
    assert loss.mean_iou_loss != means[-1]


def test_hook_changes_nothing_for_one_call(tmp_path):
    states = []
    for hooks in ([], [HOOK]):
        runner = toy_runner(tmp_path / f'{len(hooks)}', hooks)
        runner.train()
        states.append(runner.model.state_dict())
    assert states[0][MEAN] < 1
    torch.testing.assert_close(states[1], states[0])


def test_moving_average_of_the_model_has_the_moved_buffer(tmp_path):
    """EMAHook copies the buffers after the iteration."""
    runner = toy_runner(tmp_path, [HOOK, dict(type='EMAHook')])
    average = runner.hooks[[type(x).__name__
                            for x in runner.hooks].index('EMAHook')]
    runner.train()
    seen = average.ema_model.module.loss_box.mean_iou_loss
    assert seen < 1


@MODELS.register_module()
class CentreModel(BaseModel):
    """A layer whose features have centres."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 2)
        self.loss_centre = CenterLoss(num_classes=2, in_channels=2)

    def forward(self, inputs, mode):
        x = torch.stack(inputs)
        if mode == 'predict':
            return [{}] * len(x)
        labels = (x[:, 0] > 3).long()
        return dict(loss=self.loss_centre(self.layer(x), labels))


@pytest.mark.parametrize('hooks', ([], [HOOK]))
def test_centres_in_the_moving_average_and_resumed(tmp_path, monkeypatch,
                                                   hooks):
    # mmengine's objects, which torch does not load by default.
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    settings = {
        'model': dict(type='CentreModel', _delete_=True),
        'train_cfg.max_epochs': 2,
        'train_dataloader.dataset.noise': 0.0,
        'default_hooks':
        dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    }
    hooks = [*hooks, dict(type='EMAHook', momentum=0.25)]
    whole = toy_runner(tmp_path / 'whole', hooks, **settings)
    whole.train()
    resumed = toy_runner(
        tmp_path / 'resumed',
        hooks,
        load_from=str(tmp_path / 'whole/epoch_1.pth'),
        resume=True,
        **settings)
    resumed.train()
    assert whole.model.loss_centre.centers.abs().min() > 0
    assert_same_weights(weights(whole), weights(resumed))
    saved = torch.load(str(tmp_path / 'resumed/epoch_2.pth'))
    name = 'loss_centre.centers'
    # Buffers are copied into the average.
    assert torch.equal(saved['state_dict'][name],
                       saved['ema_state_dict'][f'module.{name}'])


def test_skipped_iteration_moves_nothing(tmp_path):
    """LossDoctorHook undoes the whole iteration."""
    doctor = dict(type='mmlosses.LossDoctorHook', action='skip')
    runner = toy_runner(
        tmp_path, [HOOK, doctor], train_cfg=dict(by_epoch=True, max_epochs=1))
    model = runner.model

    def spoil(module, args, output):
        # The boxes of the loss are fine, and their sums.
        return dict(output, loss_mean=output['loss_mean'] * float('nan'))

    model.register_forward_hook(lambda *args: spoil(*args)
                                if model.training else None)
    runner.train()
    assert model.loss_box.mean_iou_loss == 1


@pytest.mark.parametrize('reentrant', [False, True])
def test_checkpointed_calls_of_one_iteration_need_the_hook(reentrant):
    """A level of a head after the other; each is repeated in its turn."""
    from torch.utils.checkpoint import checkpoint
    plain, loss = CenterLoss(2, 3), CenterLoss(2, 3)
    loss.defer(True)
    labels = torch.tensor([0, 1, 1])
    for _ in range(2):
        centers = plain.centers.clone()
        both = [torch.randn(3, 3, requires_grad=True) for _ in range(2)]
        total = sum([
            checkpoint(loss, x, labels, use_reentrant=reentrant) for x in both
        ])
        total.backward()
        for x in both:
            torch.testing.assert_close(x.grad,
                                       (x.detach() - centers[labels]) / 3)
        with torch.no_grad():
            plain(torch.cat(both), labels.repeat(2))
        loss.synchronize()
        torch.testing.assert_close(loss.centers, plain.centers)


def test_steps_in_half_precision():
    """0.788 after 3,000 steps, where bfloat16 would stay at 1."""
    pred, target = boxes(4)
    loss, other = WIoULoss(), WIoULoss().bfloat16()
    for each in (loss, other):
        for _ in range(100):
            each(pred.bfloat16(), target.bfloat16())
    assert other.mean_iou_loss.dtype == torch.float32
    assert other.mean_iou_loss == loss.mean_iou_loss < 0.999
    assert loss.double().mean_iou_loss.dtype == torch.float64
    assert loss.half().mean_iou_loss.dtype == torch.float64
    assert loss.to('meta').mean_iou_loss.device.type == 'meta'
    learned = CenterLoss(2, 3, learn_centers=True).half()
    assert learned.centers.dtype == torch.half


def test_inference_mode_moves_nothing():
    loss = WIoULoss(momentum=0.5)
    with torch.inference_mode():
        loss(*boxes(3))
    assert loss.mean_iou_loss == 1


def test_copies_keep_their_own_sums():
    loss = WIoULoss(momentum=0.5)
    loss.defer(True)
    loss(*boxes(3))
    twin = copy.deepcopy(loss)
    loss.synchronize()
    assert loss.mean_iou_loss < 1 and twin.mean_iou_loss == 1
    twin.synchronize()
    assert twin.mean_iou_loss == loss.mean_iou_loss


def warn_without_hook(rank):
    loss = CenterLoss(2, 3)
    features, labels = torch.ones(1, 3), torch.tensor([rank])
    warn_once.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(2):
            loss(features, labels)
        text, = [str(x.message) for x in caught]
    assert "dict(type='mmlosses.SyncStatisticsHook')" in text
    # Its own samples only.
    assert loss.centers[rank].all() and not loss.centers[1 - rank].any()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss.defer(True)
        loss(features, labels)


@needs_ranks
@pytest.mark.slow
def test_warning_without_the_hook():
    run_ranks(warn_without_hook)


# Real heads, which skip the loss on a rank without boxes.

WISE = dict(type='mmlosses.WIoULoss', version=3, momentum=0.1)
ITERATIONS = 4


def fcos(model):
    model.bbox_head.loss_bbox = WISE
    model.bbox_head.feat_channels = model.neck.out_channels = 64
    model.bbox_head.in_channels = 64


def faster_rcnn(model):
    head = model.roi_head.bbox_head
    head.update(loss_bbox=WISE, reg_decoded_bbox=True, fc_out_channels=32)
    model.train_cfg.rpn_proposal.max_per_img = 50


def fcos_uncertainty(model):
    fcos(model)
    model.bbox_head.loss_bbox = dict(
        type='mmlosses.SumLoss',
        weighting='uncertainty',
        losses=[dict(type='mmlosses.GIoULoss'), WISE])


DETECTORS = {
    'fcos_uncertainty':
    ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', fcos_uncertainty),
    'fcos': ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', fcos),
    'faster_rcnn': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', faster_rcnn),
}


class Pictures(torch.utils.data.Dataset):
    """Random pictures. Of each two, in turn, one has no box."""

    def __len__(self):
        return 2 * ITERATIONS

    def __getitem__(self, index):
        from mmdet.testing import demo_mm_inputs
        iteration, rank = divmod(index, 2)
        number = 0 if rank == iteration % 2 else 3
        torch.manual_seed(index)
        data = demo_mm_inputs(1, [[3, 128, 128]], num_items=[number])
        return dict(
            inputs=data['inputs'][0], data_samples=data['data_samples'][0])


def build_runner(name, work_dir, hooks, distributed, **wrapper):
    """A real runner of a few iterations."""
    from detectors import build_detector
    from mmengine.runner import Runner
    detector = build_detector(*DETECTORS[name])
    return Runner(
        detector,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Pictures(),
            batch_size=1 if distributed else 2,
            num_workers=0,
            collate_fn=dict(type='pseudo_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        custom_hooks=hooks,
        launcher='pytorch' if distributed else 'none',
        randomness=dict(seed=0),
        experiment_name=f'{name}-{distributed}-{len(hooks)}',
        default_scope='mmdet',
        log_level='ERROR',
        # The default takes the ranks for GPUs.
        cfg=dict(
            model_wrapper_cfg=dict(
                type='MMDistributedDataParallel',
                device_ids=None,
                broadcast_buffers=False,
                **wrapper)))


def train(*args):
    """The statistics after a training."""
    runner = build_runner(*args)
    runner.train()
    loss, = statistics_losses(runner.model)
    return loss.mean_iou_loss


def train_rank(rank, name, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', str(rank))
        got = [
            train(name, folder / f'{rank}-{len(hooks)}', hooks, True)
            for hooks in ([], [HOOK])
        ]
    torch.save(got, folder / f'{rank}.pt')


@needs_ranks
@pytest.mark.slow
@pytest.mark.openmmlab
@pytest.mark.parametrize('name', ['fcos', 'faster_rcnn'])
def test_ranks_without_boxes_in_turn(name, tmp_path):
    """FCOS and RoI heads skip the loss, so no call may communicate."""
    import detectors  # noqa: F401
    run_ranks(train_rank, name, tmp_path)
    one, other = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    assert one[1] == other[1] < 1
    if name == 'fcos':  # an RoI head samples proposals at random
        whole = train(name, tmp_path / 'whole', [HOOK], False)
        torch.testing.assert_close(one[1], whole, rtol=1e-6, atol=0)
    else:  # the boxes of a new FCOS hardly overlap: its means are close to 1
        assert one[0] != other[0]


def train_uncertainty(rank, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', str(rank))
        runner = build_runner(
            'fcos_uncertainty',
            folder / f'{rank}', [HOOK],
            True,
            find_unused_parameters=True)
        runner.train()
        learned = runner.model.module.bbox_head.loss_bbox.log_vars
        torch.save(learned.detach(), folder / f'{rank}.pt')
        del runner


@needs_ranks
@pytest.mark.slow
@pytest.mark.openmmlab
def test_learned_weights_of_a_skipped_loss(tmp_path):
    """Parameters need what the docstring of SumLoss says."""
    import detectors  # noqa: F401
    run_ranks(train_uncertainty, tmp_path)
    one, other = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    assert one.all() and torch.equal(one, other)
