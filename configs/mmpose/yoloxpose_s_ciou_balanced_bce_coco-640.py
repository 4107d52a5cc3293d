# YOLOX-Pose with CIoU for boxes and hard-negative mining for objectness.
# `_delete_` drops arguments of the stock losses, so `reduction='sum'`, which
# the head needs, is restated.
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
