# FoveaBox with our SmoothL1Loss for boxes.
# Inherits `beta=0.11`, which `_delete_=True` would reset to 1.
_base_ = 'mmdet::foveabox/fovea_r50_fpn_4xb4-1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.SmoothL1Loss')))
