# HRNet for 98 landmarks of a face, with our AdaptiveWingLoss.
# mmpose has no weighted loss map, which the paper adds.
_base_ = 'mmpose::face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_awing-8xb64-60e_wflw-256x256.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.AdaptiveWingLoss')))
