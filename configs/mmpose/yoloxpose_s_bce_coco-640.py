# YOLOX-Pose with our BCELoss for classes, objectness and visibility.
# As in mmpose, `use_sigmoid=False`, the default, means logits.
_base_ = 'mmpose::body_2d_keypoint/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py'  # noqa: E501

model = dict(
    head=dict(
        loss_cls=dict(type='mmlosses.BCELoss'),
        loss_obj=dict(type='mmlosses.BCELoss'),
        loss_vis=dict(type='mmlosses.BCELoss')))
