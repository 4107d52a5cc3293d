# A heatmap head that also predicts visibility, with our BCELoss.
# The head reads `use_sigmoid=True`, inherited, and applies the sigmoid; the
# loss then takes probabilities, as mmpose's does.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm-vis_res50_8xb64-210e_coco-aic-256x192-merge.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.BCELoss')))
