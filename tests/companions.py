"""Short trainings of mmdet and mmpose on real images."""
import json
import sys

import pytest
from helpers import ROOT
from mmengine.runner import Runner

from mmlosses.commands.checkpoints import trusted_files

try:
    import mmdet.models  # noqa: F401
    import mmpose.models  # noqa: F401
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

sys.path.insert(0, str(ROOT / 'tools/dev'))
from companion_cost import training  # noqa: F401

sys.path.remove(str(ROOT / 'tools/dev'))

# The head and loss slot that these tests replace, for each project.
HEADS = dict(mmdet='bbox_head', mmpose='head')
SLOTS = dict(mmdet='loss_bbox', mmpose='loss')


def replace_loss(cfg, loss):
    """Put another loss into the slot."""
    project = cfg.default_scope
    cfg.model[HEADS[project]][SLOTS[project]] = loss


def train(cfg):
    """Train a config and return the runner."""
    runner = Runner.from_cfg(cfg)
    with trusted_files():
        runner.train()
    return runner


def scalars(work_dir):
    """The records of the visualiser in the last training."""
    path = max(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in path.read_text().splitlines()]
