"""A sum of one loss acts like that loss in real heads."""
import copy

import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]
try:
    import mmdet.models  # noqa: F401
    import mmpose.models  # noqa: F401
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

from mmlosses.commands import check_config

# Each calls its losses or reads their attributes in its own way.
CONFIGS = [
    'mmdet/centernet-update_gaussian_focal', 'mmdet/detr_cross_entropy',
    'mmdet/fcos_iou', 'mmdet/mask-rcnn_cross_entropy',
    'mmdet/mask2former_dice', 'mmdet/paa_inner_iou', 'mmdet/rpn_balanced_bce',
    'mmdet/solo_dice', 'mmdet/yolov3_mse', 'mmdet/yolox_iou',
    'mmpose/rtmo-s_iou_l1_coco-640x640',
    'mmpose/rtmpose-s_kl_discret_coco-256x192',
    'mmpose/td-reg_res50_propel_coco-256x192',
    'mmpose/yoloxpose_s_cross_entropy_focal_coco-640'
]
# Keys that heads remove from the slot's config, or read from the loss.
OUTER = ('class_weight', 'bg_cls_weight', 'loss_weight', 'reduction')
# Losses with several outputs or a call of their own.
NO_SUMMANDS = ('AssociativeEmbeddingLoss', 'CornerNetLoss', 'SumLoss')


def wrap(node):
    """Wrap each of our losses in a config in a SumLoss, in place."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        kind = str(value.get('type')) if isinstance(value, dict) else ''
        scope, _, name = kind.rpartition('.')
        if scope == 'mmlosses' and name not in NO_SUMMANDS:
            inner = dict(value)
            outer = {x: inner.pop(x) for x in OUTER if x in inner}
            if 'use_sigmoid' in inner:
                outer['use_sigmoid'] = inner['use_sigmoid']
            node[key] = dict(outer, type='mmlosses.SumLoss', losses=[inner])
        elif isinstance(value, (dict, list)):
            wrap(value)


def step(cfg):
    """A config after one step on a fake batch."""
    DefaultScope._instance_dict.clear()
    check_config.init_default_scope(cfg.default_scope)
    set_random_seed(0)  # for the augmentations
    done = check_config.Check(cfg, size=256)
    done.run()
    return done


@pytest.mark.parametrize('name', CONFIGS)
def test_sum_of_one_in_every_slot(name):
    """Same terms, gradient and findings."""
    args = check_config.parse_args([str(ROOT / f'configs/{name}.py')])
    cfg = check_config.load_config(args)
    wrapped = Config(copy.deepcopy(cfg._cfg_dict))
    wrap(wrapped._cfg_dict.model)
    before, after = step(cfg), step(wrapped)
    assert before.trains and after.trains, after.found
    assert after.terms == pytest.approx(before.terms, rel=1e-4)
    assert after.norm == pytest.approx(before.norm, rel=1e-3)
    assert any(['.losses.0' in path for path, *_ in after.rows])
    assert [str(x).replace('.losses.0', '')
            for x in after.found] == [str(x) for x in before.found]
