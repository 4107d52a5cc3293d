# GFL with our EIoULoss (Efficient-IoU) for boxes.
# The head passes boxes in units of the stride. IoU losses are scale-free, but
# `constant` of `NWDLoss` would need that unit too.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.EIoULoss')))
