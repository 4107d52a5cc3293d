# RTMO with our MLECCLoss for its distributions over bins.
# The head reads its `loss_weight`, and a hook sets it in the last epochs.
_base_ = 'mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py'

model = dict(head=dict(loss_mle=dict(type='mmlosses.MLECCLoss')))
