# YOLOX-Pose with CIoU, and with the hardest negatives for its objectness.
# `_delete_` drops what these losses do not know, so `reduction='sum'`, which
# the head counts on, is written again.
_base_ = 'mmpose::body_2d_keypoint/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py'  # noqa: E501

model = dict(
    head=dict(
        loss_bbox=dict(
            _delete_=True,
            type='mmlosses.CIoULoss',
            reduction='sum',
            loss_weight=5.0),
        loss_obj=dict(
            _delete_=True,
            type='mmlosses.BalancedBCELoss',
            use_sigmoid=True,
            negative_ratio=3.0,
            reduction='sum')))
