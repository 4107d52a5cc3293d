"""Classification losses match stock in mmdet's detectors."""
import pytest
from detectors import losses_and_gradient, stock, swapped
from mmengine.logging import MessageHub

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]


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
def test_detector_matches_stock(config, paths):
    expected, expected_norm = losses_and_gradient(config, stock)
    got, norm = losses_and_gradient(config, swapped(*paths))
    assert got == pytest.approx(expected, rel=1e-5)
    assert norm == pytest.approx(expected_norm, rel=1e-4)
    assert norm > 0


@pytest.mark.parametrize('epoch', [0, 4])
def test_tood_with_labels_and_then_with_qualities(epoch):
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', epoch)
    config = 'tood/tood_r50_fpn_1x_coco.py'
    paths = 'bbox_head.initial_loss_cls', 'bbox_head.loss_cls'
    try:
        expected, expected_norm = losses_and_gradient(config, stock)
        got, norm = losses_and_gradient(config, swapped(*paths))
    finally:
        hub.pop_info('epoch')
    assert got == pytest.approx(expected, rel=1e-5)
    assert norm == pytest.approx(expected_norm, rel=1e-4)
    assert got['loss_cls'] > 0
