# SimCC with our KLDiscretLoss.
_base_ = 'mmpose::body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

# Inherits `use_target_weight=True`. The learning rate was tuned with
# `size_average=False`; a mean over the batch would be 1/64 of that.
model = dict(
    head=dict(loss=dict(type='mmlosses.KLDiscretLoss', size_average=False)))
