# RTMO with our box losses.
# A hook enables `loss_bbox_aux` in the last epochs.
_base_ = 'mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py'

model = dict(
    head=dict(
        loss_bbox=dict(type='mmlosses.IoULoss'),
        loss_bbox_aux=dict(type='mmlosses.L1Loss')))
