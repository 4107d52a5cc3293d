# YOLOF: the boxes by our ShapeIoULoss.
# An anchor head that decodes its boxes whatever `reg_decoded_bbox` says.
_base_ = 'mmdet::yolof/yolof_r50-c5_8xb8-1x_coco.py'
model = dict(
    bbox_head=dict(loss_bbox=dict(type='mmlosses.ShapeIoULoss', scale=1.0)))
