# Mask R-CNN for LVIS with our SeesawLoss, whose counts are those of all GPUs.
# `num_classes` is inherited, and must be that of the head.
_base_ = 'mmdet::seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py'  # noqa: E501
model = dict(
    roi_head=dict(bbox_head=dict(loss_cls=dict(type='mmlosses.SeesawLoss'))))
custom_hooks = [dict(type='mmlosses.SyncStatisticsHook')]
