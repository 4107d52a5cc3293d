# YOLOX-Pose with our box losses.
# Inherits `reduction='sum'`: the head divides by the number of positives.
_base_ = 'mmpose::body_2d_keypoint/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py'  # noqa: E501

model = dict(
    head=dict(
        loss_bbox=dict(type='mmlosses.IoULoss'),
        loss_bbox_aux=dict(type='mmlosses.L1Loss')))
