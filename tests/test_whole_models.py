"""Whole detectors and pose models with our losses, in uncommon trainings."""
import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from detectors import build_detector, demo_mm_inputs
from helpers import needs_dynamo
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from ranks import needs_ranks, run_ranks
from test_mmpose_configs import CONFIGS as POSE_CONFIGS
from test_mmpose_configs import build as build_pose
from test_mmpose_configs import fake_batch as pose_samples
from torch.utils.data import Dataset
from trainings import assert_same_weights, weights

from mmlosses.losses import CenterSoftmaxLoss

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]

MEAN = 'bbox_head.loss_bbox.mean_iou_loss'
OURS = dict(
    loss_cls=dict(type='mmlosses.FocalLoss', use_sigmoid=True),
    loss_bbox=dict(type='mmlosses.WIoULoss', version=3, momentum=0.5),
    reg_decoded_bbox=True)


def detector(losses=OURS, **backbone):
    """A small RetinaNet; its stock losses without ``losses``."""

    def change(model):
        model.backbone.update(norm_eval=False, **backbone)
        # The fewer levels, the fewer graphs to compile.
        model.neck.update(out_channels=32, num_outs=3)
        model.bbox_head.anchor_generator.strides = [8, 16, 32]
        model.bbox_head.update(
            num_classes=4, in_channels=32, feat_channels=32, stacked_convs=1)
        model.bbox_head.update(ConfigDict(copy.deepcopy(losses)))

    model = build_detector('retinanet/retinanet_r50_fpn_1x_coco.py', change)
    # Once: runners do it again only for a model that has not been.
    model.init_weights()
    return model


class FakeDetections(Dataset):
    """Random pictures, always the same ones."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError(index)
        np.random.seed(index)
        torch.manual_seed(index)
        data = demo_mm_inputs(1, [[3, 64, 64]], num_classes=4)
        return {name: value[0] for name, value in data.items()}


def detector_batch(model):
    return model.data_preprocessor(
        pseudo_collate([FakeDetections(1)[0]]), True)


def pose_model(stem):
    """A pose model and its batch."""
    cfg = Config.fromfile(POSE_CONFIGS[stem])
    model = build_pose(cfg)
    samples = pose_samples(cfg)
    return model, model.data_preprocessor(pseudo_collate(samples), True)


def step(model, batch, call=None):
    """Losses and gradients of one step, from the same state each time."""
    model.zero_grad()
    total, losses = model.parse_losses((call or model)(**batch, mode='loss'))
    total.backward()
    gradients = {
        name: p.grad.clone()
        for name, p in model.named_parameters() if p.grad is not None
    }
    return {name: float(x) for name, x in losses.items()}, gradients


def assert_same_gradients(one, other, rtol=1e-4):
    assert set(one) == set(other)
    total = sum(x.square().sum() for x in one.values()).sqrt()
    error = sum(
        (x - other[name]).square().sum() for name, x in one.items()).sqrt()
    assert total > 0 and error <= rtol * total


def compiled_step(model, batch):
    """A step of the model compiled as a whole, and its eager twin."""
    start = copy.deepcopy(model.state_dict())
    eager = step(model, batch)
    buffers = copy.deepcopy(model.state_dict())
    model.load_state_dict(start)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend='eager')
    return eager, buffers, step(model, batch, compiled.forward)


def test_compiled_detector():
    needs_dynamo()
    model = detector()
    eager, buffers, compiled = compiled_step(model, detector_batch(model))
    assert compiled[0] == pytest.approx(eager[0], rel=1e-5)
    assert_same_gradients(eager[1], compiled[1])
    torch.testing.assert_close(model.state_dict()[MEAN], buffers[MEAN])
    assert buffers[MEAN] != 1


@pytest.mark.parametrize(
    'stem',
    ['td-hm_res50_mse_coco-256x192', 'simcc_res50_kl_discret_coco-256x192'])
def test_compiled_pose_model(stem):
    needs_dynamo()
    model, batch = pose_model(stem)
    eager, _, compiled = compiled_step(model, batch)
    assert compiled[0] == pytest.approx(eager[0], rel=1e-5)
    assert_same_gradients(eager[1], compiled[1])


class Raw(torch.nn.Module):
    """The outputs of a model before its decoding."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        outputs = self.model(inputs, None, mode='tensor')
        return tuple(torch.utils._pytree.tree_flatten(outputs)[0])


@pytest.fixture(params=['detector', 'pose'])
def raw(request):
    """A model for deployment, and its input."""
    if request.param == 'detector':
        return Raw(detector()).eval(), torch.rand(1, 3, 64, 64)
    model, _ = pose_model('simcc_res50_kl_discret_coco-256x192')
    return Raw(model).eval(), torch.rand(1, 3, 256, 192)


def test_exported_model_has_no_loss(raw):
    """Torch keeps the running mean as an input that no node uses."""
    if not hasattr(torch, 'export') or not hasattr(torch.export, 'export'):
        pytest.skip('needs torch.export')
    model, inputs = raw
    program = torch.export.export(model, (inputs, ))
    used = [node.name for node in program.graph.nodes if node.users]
    assert not [name for name in used if 'loss' in name]
    for one, other in zip(program.module()(inputs), model(inputs)):
        torch.testing.assert_close(one, other)


def test_traced_model_has_no_loss(raw):
    model, inputs = raw
    traced = torch.jit.trace(model, inputs, check_trace=False)
    assert 'loss' not in str(torch.jit.freeze(traced.eval()).graph)
    for one, other in zip(traced(inputs), model(inputs)):
        torch.testing.assert_close(one, other)


def test_onnx_model_has_no_loss(raw, tmp_path):
    onnx = pytest.importorskip('onnx')
    model, inputs = raw
    # Without the new exporter, which takes longer and needs onnxscript.
    options = dict(dynamo=False) if hasattr(torch.onnx, 'ops') else {}
    torch.onnx.export(model, (inputs, ), str(tmp_path / 'a.onnx'), **options)
    graph = onnx.load(str(tmp_path / 'a.onnx')).graph
    names = [x.name for x in (*graph.initializer, *graph.node, *graph.input)]
    assert names and not [name for name in names if 'loss' in name]


class KeepMean(Hook):
    """Keep the losses and the running mean, also of a sharded model."""

    def __init__(self):
        self.losses, self.means = [], []

    def after_train_iter(self,
                         runner,
                         batch_idx,
                         data_batch=None,
                         outputs=None):
        self.losses.append(float(outputs['loss']))
        self.means += [
            float(x) for name, x in runner.model.named_buffers()
            if name.endswith('mean_iou_loss')
        ]


class KeepHook(KeepMean):
    """Keep also the weights of each iteration."""

    def __init__(self):
        super().__init__()
        self.factors = []

    def after_train_iter(self, runner, *args, **kwargs):
        super().after_train_iter(runner, *args, **kwargs)
        self.factors.append(weights(runner)['bbox_head.retina_reg.weight'])


@OPTIM_WRAPPERS.register_module()
class Bfloat16Wrapper(OptimWrapper):
    """mmengine's ``AmpOptimWrapper``, which refuses the CPU."""

    @contextmanager
    def optim_context(self, model):
        with torch.autocast('cpu', torch.bfloat16):
            with super().optim_context(model):
                yield


RUNS = []


def four_batches():
    """A loader of fake pictures in order."""
    return dict(
        batch_size=1,
        num_workers=0,
        collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=FakeDetections(4))


def train(work_dir, model=None, epochs=1, hooks=(), **settings):
    """Train four batches an epoch."""
    kept = KeepHook()
    RUNS.append(work_dir)
    optim_wrapper = settings.pop('optim_wrapper', {})
    runner = Runner(
        model=detector() if model is None else model,
        work_dir=str(work_dir),
        train_dataloader=four_batches(),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=1e-3), **optim_wrapper),
        custom_hooks=[*hooks, kept],
        default_scope='mmdet',
        experiment_name=f'whole_{len(RUNS)}',
        visualizer=dict(type='Visualizer'),
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        log_level='ERROR',
        randomness=dict(seed=0),
        **settings)
    runner.train()
    return runner, kept


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """A plain training."""
    return train(tmp_path_factory.mktemp('plain'))


def test_bfloat16_training(plain, tmp_path):
    """The losses of autocast features, and a running mean in float32."""
    runner, kept = train(tmp_path, optim_wrapper=dict(type='Bfloat16Wrapper'))
    assert kept.losses == pytest.approx(plain[1].losses, rel=2e-2)
    assert kept.means == pytest.approx(plain[1].means, abs=5e-3)
    assert weights(runner)[MEAN].dtype == torch.float32


def test_accumulated_gradients(plain, tmp_path):
    """The weights move every second batch, the running mean with each."""
    _, kept = train(tmp_path, optim_wrapper=dict(accumulative_counts=2))
    assert kept.losses[0] == pytest.approx(plain[1].losses[0], rel=1e-6)
    first, second, third, fourth = kept.factors
    assert torch.equal(second, third)
    assert not torch.equal(first, second) and not torch.equal(third, fourth)
    assert len({1.0, *kept.means}) == 5


def test_checkpointed_backbone(plain, tmp_path):
    _, kept = train(tmp_path, model=detector(with_cp=True))
    assert kept.losses == pytest.approx(plain[1].losses, rel=1e-5)
    assert kept.means == pytest.approx(plain[1].means, rel=1e-5)


def test_averaged_weights_and_resume(tmp_path):
    """A resumed training ends with the weights and means of a whole one."""
    hooks = [dict(type='EMAHook', momentum=0.25)]
    saver = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    whole, kept = train(
        tmp_path / 'whole', epochs=2, hooks=hooks, default_hooks=saver)
    with pytest.MonkeyPatch.context() as patch:
        # mmengine's objects, which torch does not load by default.
        patch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
        resumed, again = train(
            tmp_path / 'resumed',
            epochs=2,
            hooks=hooks,
            default_hooks=saver,
            load_from=str(tmp_path / 'whole/epoch_1.pth'),
            resume=True)
        saved = torch.load(str(tmp_path / 'whole/epoch_2.pth'))
    assert again.means == kept.means[4:]
    assert_same_weights(weights(whole), weights(resumed))
    ema, = [x for x in whole._hooks if type(x).__name__ == 'EMAHook']
    averaged = ema.ema_model.module.state_dict()[MEAN]
    # Buffers are copied, not averaged. The checkpoint has both models.
    assert averaged == kept.means[-1]
    assert saved['ema_state_dict'][f'module.{MEAN}'] == kept.means[-1]
    assert saved['state_dict'][MEAN] == kept.means[-1]


def test_averaged_buffers(tmp_path):
    """With ``update_buffers`` the running mean is averaged as a weight."""
    runner, kept = train(
        tmp_path,
        hooks=[dict(type='EMAHook', momentum=0.25, update_buffers=True)])
    ema, = [x for x in runner._hooks if type(x).__name__ == 'EMAHook']
    expected = kept.means[0]
    for mean in kept.means[1:]:
        expected += 0.25 * (mean - expected)
    averaged = float(ema.ema_model.module.state_dict()[MEAN])
    assert averaged == pytest.approx(expected, rel=1e-5)


def test_synchronised_batch_norm():
    """The losses are no batch norms, and reverting changes nothing."""
    model = detector()
    batch = detector_batch(model)
    start = copy.deepcopy(model.state_dict())
    expected = step(model, batch)
    model.load_state_dict(start)
    converted = convert_sync_batchnorm(model)
    assert set(converted.state_dict()) == set(start)
    assert type(converted.bbox_head.loss_bbox).__name__ == 'WIoULoss'
    reverted = revert_sync_batchnorm(converted).train()
    losses, gradients = step(reverted, batch)
    assert losses == pytest.approx(expected[0], rel=1e-6)
    assert_same_gradients(expected[1], gradients)


def sharded_training(rank, work_dir):
    from mmengine.runner._flexible_runner import FlexibleRunner
    kept = KeepMean()
    runner = FlexibleRunner(
        model=detector(),
        work_dir=work_dir,
        strategy=dict(
            type='FSDPStrategy',
            model_wrapper=dict(
                type='MMFullyShardedDataParallel',
                # mmengine passes the number of a GPU.
                device_id=torch.device('cpu'),
                auto_wrap_policy=dict(
                    type='torch.distributed.fsdp.wrap.'
                    'size_based_auto_wrap_policy',
                    min_num_params=100000))),
        train_dataloader=four_batches(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        custom_hooks=[kept],
        default_hooks=dict(checkpoint=None),
        default_scope='mmdet',
        experiment_name='sharded',
        launcher='pytorch',
        log_level='ERROR',
        cfg=dict())
    runner.train()
    torch.save([kept.losses, kept.means], f'{work_dir}/{rank}.pt')


@needs_ranks
def test_sharded_model(plain, tmp_path, monkeypatch):
    """FSDP on two processes: rank 0 sees the first batch as one process."""
    pytest.importorskip('mmengine._strategy.fsdp')
    for name, value in (('LOCAL_RANK', '0'), ('WORLD_SIZE', '2')):
        monkeypatch.setenv(name, value)
    run_ranks(sharded_training, str(tmp_path))
    first, second = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    assert first[0][0] == pytest.approx(plain[1].losses[0], rel=1e-4)
    assert first[1][0] == pytest.approx(plain[1].means[0], rel=1e-4)
    assert np.isfinite([first, second]).all()


def test_checkpoints_of_stock_losses():
    """They load strictly; ours have one more key."""
    ours, stock = detector(), detector(losses={})
    step(ours, detector_batch(ours))
    mean = ours.state_dict()[MEAN].clone()
    assert mean != 1
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert_same_weights(
        dict(stock.state_dict(), **{MEAN: mean}), ours.state_dict())
    missing, extra = stock.load_state_dict(ours.state_dict(), strict=False)
    assert not missing and extra == [MEAN]


def test_checkpoints_without_centres_or_class_vectors():
    """Centres keep their value; random class vectors are refused."""
    center = CenterSoftmaxLoss(num_classes=3, in_channels=2)
    center.centers.fill_(0.5)
    weight = {'weight': torch.ones(3, 2)}
    center.load_state_dict(weight, strict=True)
    assert center.centers.eq(0.5).all() and center.weight.eq(1).all()
    with pytest.raises(RuntimeError, match='Missing key.*"weight"'):
        center.load_state_dict({}, strict=True)
    learned = CenterSoftmaxLoss(3, 2, learn_centers=True)
    with pytest.raises(RuntimeError, match='Missing key.*"centers"'):
        learned.load_state_dict(weight, strict=True)
