# The stock SimCC pose estimator with its loss swapped by name.
_base_ = 'mmpose::body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

# `use_target_weight=True` is inherited. Without `size_average=False` the loss
# would be averaged over the batch, 1/64 of what the learning rate of this
# schedule was tuned with.
model = dict(
    head=dict(loss=dict(type='mmlosses.KLDiscretLoss', size_average=False)))
