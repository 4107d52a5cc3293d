# HRNet with the loss of its heatmaps swapped by name.
# The mean is over all pixels, those of keypoints of weight 0 included.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MSELoss')))
