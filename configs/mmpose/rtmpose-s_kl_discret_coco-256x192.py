# RTMPose with its loss swapped by name.
# `beta`, `label_softmax` and `use_target_weight` are inherited; without
# `size_average=False` the loss would be 1/256 of what the rate was tuned with.
_base_ = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py'  # noqa: E501

model = dict(
    head=dict(loss=dict(type='mmlosses.KLDiscretLoss', size_average=False)))
