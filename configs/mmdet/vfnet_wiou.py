# VFNet with our WIoULoss for boxes before and after refinement.
# Each loss keeps a running mean, which stock checkpoints lack.
_base_ = 'mmdet::vfnet/vfnet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(type='mmlosses.WIoULoss', version=3),
        loss_bbox_refine=dict(type='mmlosses.WIoULoss', version=3)))
# All ranks move its statistics together.
custom_hooks = [dict(type='mmlosses.SyncStatisticsHook')]
