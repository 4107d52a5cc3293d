# Faster R-CNN with our BoundedIoULoss for RoI boxes.
# This base has `reg_decoded_bbox=True`; with other bases, set it yourself.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_bounded-iou_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(loss_bbox=dict(type='mmlosses.BoundedIoULoss'))))
