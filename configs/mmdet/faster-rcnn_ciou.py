# Faster R-CNN: the boxes of regions by our CIoULoss.
# This base has `reg_decoded_bbox=True`; other bases need it beside the loss.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_ciou_1x_coco.py'
model = dict(
    roi_head=dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.CIoULoss'))))
