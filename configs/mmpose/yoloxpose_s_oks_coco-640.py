# YOLOX-Pose with our OKSLoss for keypoints.
# Inherits `metainfo`, which is found among mmpose's files.
_base_ = 'mmpose::body_2d_keypoint/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py'  # noqa: E501

model = dict(head=dict(loss_oks=dict(type='mmlosses.OKSLoss')))
