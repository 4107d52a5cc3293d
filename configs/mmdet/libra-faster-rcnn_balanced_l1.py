# Libra R-CNN with our BalancedL1Loss instead of mmdet's of the same name.
_base_ = 'mmdet::libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(loss_bbox=dict(type='mmlosses.BalancedL1Loss'))))
