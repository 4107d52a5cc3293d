"""Short trainings of a toy model and of stock models."""
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

sys.path.insert(0, str(ROOT / 'tools/dev'))
try:
    from companion_cost import training_config
finally:
    sys.path.remove(str(ROOT / 'tools/dev'))


def skip_without_openmmlab():
    """Skip without a real mmdet and mmpose."""
    try:
        import mmdet.models  # noqa: F401
        import mmpose.models  # noqa: F401
    except (ImportError, AssertionError) as error:
        # mmdet asserts the version of mmcv.
        pytest.skip(f'needs mmcv, mmdet and mmpose: {error}')


def speed_up_faster_rcnn(cfg):
    """Speed up Faster R-CNN."""
    if 'roi_head' in cfg.model:
        cfg.model.train_cfg.rpn_proposal.max_per_img = 20
        cfg.model.test_cfg.rpn.max_per_img = 20
        cfg.model.roi_head.bbox_head.fc_out_channels = 32


def stock_runner(kind, coco, work_dir, hooks=(), change=None, epochs=1):
    """A runner of a stock model on the images, before training."""
    cfg = training_config(kind, coco, work_dir, epochs=epochs)
    speed_up_faster_rcnn(cfg)
    cfg.custom_hooks = list(hooks)
    if change is not None:
        change(cfg)
    return start(cfg)


def start(cfg):
    """Build a runner with a unique name."""
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{len(RUNNERS)}'
    RUNNERS.append(cfg.experiment_name)
    return Runner.from_cfg(cfg)


RUNNERS = []


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Sample i is i + 1, plus optional noise."""

    def __init__(self, length, noise=0.0):
        self.length = length
        self.noise = noise

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError(index)
        noise = self.noise * torch.rand(1)
        return dict(inputs=torch.tensor([index + 1.0]) + noise)


@MODELS.register_module()
class ToyModel(BaseModel):
    """A toy model whose layer and loss keep statistics."""

    def __init__(self, loss=None, across_ranks=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.drop = nn.Dropout(0.5)
        self.factor = nn.Parameter(torch.ones(1))
        self.loss_box = MODELS.build(
            loss or dict(type='mmlosses.WIoULoss', momentum=0.5))
        self.across_ranks = across_ranks
        self.seen = []
        self.modes = []
        self.dtypes = []

    def forward(self, inputs, mode):
        x = torch.stack(inputs).to(self.factor)
        if mode == 'predict':
            return [dict(prediction=self.factor.item())] * len(x)
        self.seen.append(x.mean().item())
        self.modes.append((self.training, self.norm.training,
                           self.drop.training, self.loss_box.training))
        error = (x * self.factor).mean() + 0 * self.drop(self.norm(x)).sum()
        self.dtypes.append(F.linear(x, self.factor[:, None]).dtype)
        if self.across_ranks:
            from mmengine.dist import all_reduce
            total = torch.tensor(float(len(x)))
            all_reduce(total)
        low = torch.zeros(len(x), 2)
        pred = torch.cat([low + x, low + 3 * x], 1) * self.factor
        target = torch.cat([low + x, low + 2 * x], 1)
        return dict(
            loss_mean=error,
            loss_box=self.loss_box(pred, target),
            count=torch.tensor(float(len(x))))


@METRICS.register_module()
class NoMetric(BaseMetric):
    """A placeholder for the evaluator."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(always=1.0)


def toy_config(work_dir, hooks=(), **settings):
    """Three epochs of the toy model, each with a validation."""
    cfg = Config(
        dict(
            model=dict(type='ToyModel'),
            work_dir=str(work_dir),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='ToyDataset', length=6, noise=0.1)),
            train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            val_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(type='ToyDataset', length=5)),
            val_cfg=dict(),
            val_evaluator=dict(type='NoMetric'),
            custom_hooks=list(hooks),
            visualizer=dict(type='Visualizer'),
            randomness=dict(seed=0),
            # Required by mmengine 0.7.
            env_cfg=dict(dist_cfg=dict(backend='gloo')),
            log_level='ERROR'))
    cfg.merge_from_dict(settings)
    return cfg


def toy_runner(work_dir, hooks=(), **settings):
    """A runner of the toy model."""
    return start(toy_config(work_dir, hooks, **settings))


def weights(runner):
    """Parameters and buffers."""
    model = runner.model
    return {
        name: value.clone()
        for name, value in getattr(model, 'module',
                                   model).state_dict().items()
    }


def assert_same_weights(one, other):
    """Compare bit by bit."""
    assert set(one) == set(other)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
