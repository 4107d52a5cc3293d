# ATSS with our ExtendedIoULoss, mmdet's EIoULoss, for boxes.
# Inherits `loss_weight=2.0`, which `_delete_=True` would reset to 1.
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.ExtendedIoULoss')))
