# HRNet with our MSELoss for heatmaps.
# The mean includes the pixels of keypoints with weight 0.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MSELoss')))
