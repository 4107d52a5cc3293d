# FoveaBox: the boxes by our SmoothL1Loss.
# `beta=0.11` is inherited; with `_delete_=True` it would become 1.
_base_ = 'mmdet::foveabox/fovea_r50_fpn_4xb4-1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.SmoothL1Loss')))
