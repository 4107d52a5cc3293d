# Simple Baselines with the loss of its heatmaps swapped by name.
# Not mmpose's own `MSELoss`: that squares the weights, `KeypointMSELoss` and
# this one do not.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MSELoss')))
