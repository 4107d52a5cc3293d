# YOLOX with our squared IoULoss for boxes.
# Keep the inherited `reduction='sum'`: the head divides itself.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.IoULoss')))
