# YOLOF with our ShapeIoULoss for boxes.
# This anchor head decodes its boxes regardless of `reg_decoded_bbox`.
_base_ = 'mmdet::yolof/yolof_r50-c5_8xb8-1x_coco.py'
model = dict(
    bbox_head=dict(loss_bbox=dict(type='mmlosses.ShapeIoULoss', scale=1.0)))
