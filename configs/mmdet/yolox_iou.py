# YOLOX: the boxes by our IoULoss, one minus its square.
# The head divides by itself: `reduction='sum'`, inherited here, must stay.
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.IoULoss')))
