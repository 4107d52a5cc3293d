# DeepPose with its loss swapped by name.
# mmpose multiplies the coordinates by the weight and this one the loss: the
# same for weights of 0 and 1, and for no others.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.SmoothL1Loss')))
