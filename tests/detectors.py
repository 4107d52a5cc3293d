"""Run one step of mmdet's detectors, with stock losses or ours."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

try:
    import mmdet
    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs
    from mmdet.utils import register_all_modules
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(f'needs mmcv and mmdet: {error}', allow_module_level=True)


def build_detector(config, change):
    """A seeded mmdet detector with a small backbone."""
    register_all_modules()
    folder = Path(mmdet.__file__).parent / '.mim/configs'
    model = Config.fromfile(str(folder / config)).model
    model.backbone.init_cfg = None
    model.backbone.depth = 18
    if 'neck' in model and model.neck.type in ('FPN', 'ChannelMapper'):
        used = len(model.neck.in_channels)
        model.neck.in_channels = [64, 128, 256, 512][-used:]
    change(model)
    torch.manual_seed(0)
    return MODELS.build(model).train()


def step(detector):
    """Losses and squared gradient norm on a fake batch."""
    torch.manual_seed(0)
    inputs = demo_mm_inputs(2, [[3, 128, 128], [3, 128, 96]], with_mask=True)
    data = detector.data_preprocessor(inputs, True)
    np.random.seed(0)
    torch.manual_seed(0)
    detector.zero_grad()
    total, losses = detector.parse_losses(detector(**data, mode='loss'))
    total.backward()
    norm = sum(
        float(p.grad.double().square().sum()) for p in detector.parameters()
        if p.grad is not None)
    return {name: value.item() for name, value in losses.items()}, norm


def losses_and_gradient(config, change):
    """Losses and gradient of one step of a new detector."""
    return step(build_detector(config, change))


def stock(model):
    """Keep the stock losses."""


def swapped(*paths):
    """Override only the types of some losses."""

    def change(model):
        for path in paths:
            loss = model
            for name in path.split('.'):
                loss = loss[name]
            loss.type = f'mmlosses.{loss.type}'

    return change
