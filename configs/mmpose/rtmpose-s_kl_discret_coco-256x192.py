# RTMPose with our KLDiscretLoss.
# Inherits `beta`, `label_softmax` and `use_target_weight`. The learning rate
# was tuned with `size_average=False`; a mean would be 1/256 of that.
_base_ = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py'  # noqa: E501

model = dict(
    head=dict(loss=dict(type='mmlosses.KLDiscretLoss', size_average=False)))
