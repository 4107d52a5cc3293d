# ATSS: the boxes by our GIoULoss.
# `loss_weight=2.0` is inherited, `_delete_=True` would make it 1.
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.GIoULoss')))
