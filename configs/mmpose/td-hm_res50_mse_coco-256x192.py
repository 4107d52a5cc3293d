# Simple Baselines with our MSELoss for heatmaps.
# Like mmpose's `KeypointMSELoss`; mmpose's own `MSELoss` squares the weights.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MSELoss')))
