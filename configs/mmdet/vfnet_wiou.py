# VFNet: the boxes, before and after refinement, by our WIoULoss.
# Each keeps a running mean of its own, which no checkpoint of stock has.
_base_ = 'mmdet::vfnet/vfnet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(type='mmlosses.WIoULoss', version=3),
        loss_bbox_refine=dict(type='mmlosses.WIoULoss', version=3)))
