# Convolutional pose machines with our KeypointMSELoss for all stages.
# The head adds in place to the value of the first stage.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_cpm_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.KeypointMSELoss')))
