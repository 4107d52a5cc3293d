# RTMO with our OKSLoss for keypoints.
_base_ = 'mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py'

model = dict(head=dict(loss_oks=dict(type='mmlosses.OKSLoss')))
