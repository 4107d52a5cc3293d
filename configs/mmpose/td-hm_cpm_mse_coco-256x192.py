# Convolutional pose machines: the head calls one loss for each of 6 stages.
# It adds in place to the first value: a loss must return a new tensor.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_cpm_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MSELoss')))
