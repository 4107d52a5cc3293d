# DeepPose with L1 instead of smooth L1.
# Coordinates are in [0, 1], where smooth L1 with `beta=1` is a plain square.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.L1Loss')))
