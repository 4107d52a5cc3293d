"""Real trainings of mmdet and mmpose on real pictures, a few seconds each."""
import json
import sys

import pytest
from helpers import ROOT
from mmengine.runner import Runner

try:
    import mmdet.models  # noqa: F401
    import mmpose.models  # noqa: F401
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

sys.path.insert(0, str(ROOT / 'tools'))
from checkpoints import trusted_files
from companion_cost import training  # noqa: F401

sys.path.remove(str(ROOT / 'tools'))

# The head and the slot of each project that these tests put something into.
HEADS = dict(mmdet='bbox_head', mmpose='head')
SLOTS = dict(mmdet='loss_bbox', mmpose='loss')


def fill(cfg, loss):
    """Put a loss into the slot, instead of the one that is there."""
    project = cfg.default_scope
    cfg.model[HEADS[project]][SLOTS[project]] = loss


def train(cfg):
    """Train a config, and return the runner."""
    runner = Runner.from_cfg(cfg)
    with trusted_files():
        runner.train()
    return runner


def scalars(work_dir):
    """What the visualiser wrote in the last training, a dict each time."""
    path = max(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in path.read_text().splitlines()]
