# RTMO with the losses of its boxes swapped by name.
# `loss_bbox_aux` is used in the last epochs only, when a hook asks for it.
_base_ = 'mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py'

model = dict(
    head=dict(
        loss_bbox=dict(type='mmlosses.IoULoss'),
        loss_bbox_aux=dict(type='mmlosses.L1Loss')))
