# ViTPose with the loss of its heatmaps swapped by name.
# Its backbone comes from mmpretrain, which the stock config needs too.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_ViTPose-small-simple_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MSELoss')))
