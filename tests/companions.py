"""Short trainings of mmdet and mmpose on real images."""
import json
import uuid

import pytest
from companion_cost import training_config
from mmengine.runner import Runner
from real_pictures import detection_data, pose_data, retinanet_giou

from mmlosses.commands.checkpoints import trusted_files

try:
    import mmdet.models  # noqa: F401
    import mmpose.models  # noqa: F401
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

# The head and loss slot that these tests replace, for each project.
HEADS = dict(mmdet='bbox_head', mmpose='head')
SLOTS = dict(mmdet='loss_bbox', mmpose='loss')


def training(project, coco, work_dir, **settings):
    """RetinaNet with decoded boxes, or the regression of keypoints.

    It has two epochs of the same batches, checkpoints and no validation.
    ``settings`` change the config, with ``__`` for dots in the names.
    """
    cfg = training_config('retinanet' if project == 'mmdet' else 'regression',
                          coco, work_dir)
    if project == 'mmdet':
        retinanet_giou(cfg.model)
        cfg.train_dataloader.dataset = detection_data(coco, (160, 128))
    else:
        cfg.train_dataloader.dataset = pose_data(coco, cfg.codec)
    cfg.train_dataloader.pop('batch_sampler', None)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(name)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=2)
    cfg.default_hooks = dict(
        logger=dict(type='LoggerHook', interval=1),
        checkpoint=dict(type='CheckpointHook', interval=1))
    cfg.visualizer = dict(
        type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    # The log of a training is found by this name.
    cfg.experiment_name = uuid.uuid4().hex
    cfg.merge_from_dict({
        name.replace('__', '.'): value
        for name, value in settings.items()
    })
    return cfg


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
