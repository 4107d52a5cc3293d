# Simple Baselines with our KeypointMSELoss, the loss of most mmpose configs.
# `use_target_weight=True`, inherited, requires weights: mmpose ignores it.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.KeypointMSELoss')))
