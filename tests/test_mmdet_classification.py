"""In the detectors of mmdet, a loss gives what the stock loss gives."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytestmark = pytest.mark.openmmlab
try:
    import mmdet
    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs
    from mmdet.utils import register_all_modules
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(f'needs mmcv and mmdet: {error}', allow_module_level=True)


@pytest.fixture(autouse=True)
def leave_no_default_scope():
    before = dict(DefaultScope._instance_dict)
    register_all_modules()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


def losses_and_gradient(config, change):
    """Of one step on a fake batch, the same each time."""
    folder = Path(mmdet.__file__).parent / '.mim/configs'
    model = Config.fromfile(str(folder / config)).model
    model.backbone.init_cfg = None
    model.backbone.depth = 18
    if 'neck' in model and model.neck.type == 'FPN':
        model.neck.in_channels = [64, 128, 256, 512]
    change(model)
    torch.manual_seed(0)
    detector = MODELS.build(model)
    detector.train()
    inputs = demo_mm_inputs(2, [[3, 128, 128], [3, 128, 96]], with_mask=True)
    data = detector.data_preprocessor(inputs, True)
    np.random.seed(0)
    torch.manual_seed(0)
    losses = detector(**data, mode='loss')
    total, losses = detector.parse_losses(losses)
    total.backward()
    norm = sum(
        float(p.grad.double().square().sum()) for p in detector.parameters()
        if p.grad is not None)
    return {name: float(value) for name, value in losses.items()}, norm


def stock(model):
    """Leave it as it is."""


def swapped(*paths):
    """Override nothing but the types of some losses."""

    def change(model):
        for path in paths:
            loss = model
            for name in path.split('.'):
                loss = loss[name]
            loss.type = f'mmlosses.{loss.type}'

    return change


@pytest.mark.parametrize('config, paths', [
    ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
     ('rpn_head.loss_cls', 'roi_head.bbox_head.loss_cls',
      'roi_head.mask_head.loss_mask')),
    ('retinanet/retinanet_r50_fpn_1x_coco.py', ('bbox_head.loss_cls', )),
    ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
     ('bbox_head.loss_cls', 'bbox_head.loss_centerness')),
    ('centernet/centernet_r18_8xb16-crop512-140e_coco.py',
     ('bbox_head.loss_center_heatmap', )),
    ('centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py',
     ('bbox_head.loss_cls', )),
])
def test_detector_learns_the_same(config, paths):
    expected, expected_norm = losses_and_gradient(config, stock)
    got, norm = losses_and_gradient(config, swapped(*paths))
    assert got == pytest.approx(expected, rel=1e-5)
    assert norm == pytest.approx(expected_norm, rel=1e-4)
    assert norm > 0
