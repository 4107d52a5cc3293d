# YOLOX-Pose with sigmoid cross entropy for classes, focal for objectness.
# In mmpose `use_sigmoid=True` means that the head has applied the sigmoid;
# here, that the loss applies it.
_base_ = 'mmpose::body_2d_keypoint/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py'  # noqa: E501

model = dict(
    head=dict(
        loss_cls=dict(type='mmlosses.CrossEntropyLoss', use_sigmoid=True),
        loss_obj=dict(
            _delete_=True,
            type='mmlosses.FocalLoss',
            use_sigmoid=True,
            reduction='sum')))
