# DeepPose with our SmoothL1Loss.
# mmpose weights the coordinates, ours the loss: equal for weights 0 and 1
# only.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.SmoothL1Loss')))
