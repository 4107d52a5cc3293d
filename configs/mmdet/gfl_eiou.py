# GFL: the boxes by our EIoULoss (Efficient-IoU).
# The head hands over boxes in units of the stride: no IoU notices, but the
# `constant` of `NWDLoss` would.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.EIoULoss')))
