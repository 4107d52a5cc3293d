"""Box losses in mmdet's detectors."""
import math

import pytest
from cases.boxes import CASES
from detectors import build_detector, losses_and_gradient, step, stock, swapped
from mmengine.registry import MODELS

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]


@pytest.mark.parametrize('config, path', [
    ('faster_rcnn/faster-rcnn_r50_fpn_iou_1x_coco.py',
     'roi_head.bbox_head.loss_bbox'),
    ('faster_rcnn/faster-rcnn_r50_fpn_giou_1x_coco.py',
     'roi_head.bbox_head.loss_bbox'),
    ('faster_rcnn/faster-rcnn_r50_fpn_ciou_1x_coco.py',
     'roi_head.bbox_head.loss_bbox'),
    ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 'bbox_head.loss_bbox'),
    ('atss/atss_r50_fpn_1x_coco.py', 'bbox_head.loss_bbox'),
    ('detr/detr_r50_8xb2-150e_coco.py', 'bbox_head.loss_iou'),
])
def test_detector_matches_stock(config, path):
    expected, expected_norm = losses_and_gradient(config, stock)
    got, norm = losses_and_gradient(config, swapped(path))
    assert got == pytest.approx(expected, rel=1e-4)
    assert norm == pytest.approx(expected_norm, rel=1e-3)
    assert norm > 0


@pytest.fixture(scope='module')
def retinanet():
    """All anchors take part; negatives have all-zero boxes."""

    def decoded(model):
        model.bbox_head.reg_decoded_bbox = True

    return build_detector('retinanet/retinanet_r50_fpn_1x_coco.py', decoded)


@pytest.mark.parametrize('loss', [case.loss.__name__ for case in CASES])
def test_retinanet_trains_with_every_loss(retinanet, loss):
    retinanet.bbox_head.loss_bbox = MODELS.build(dict(type=f'mmlosses.{loss}'))
    losses, norm = step(retinanet)
    assert losses['loss_bbox'] > 0
    assert math.isfinite(losses['loss']) and 0 < norm < 1e8


def test_deltas_passed_as_boxes(retinanet):
    """Forgetting `reg_decoded_bbox` is noticed on the CPU."""
    retinanet.bbox_head.loss_bbox = MODELS.build(dict(type='mmlosses.IoULoss'))
    retinanet.bbox_head.reg_decoded_bbox = False
    with pytest.raises(ValueError, match='encoded deltas'):
        step(retinanet)
    retinanet.bbox_head.reg_decoded_bbox = True
