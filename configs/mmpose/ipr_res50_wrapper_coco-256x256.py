# Integral regression with all losses of mmpose's wrapper from mmlosses.
# Bare names within our wrapper, here inherited, are losses of mmlosses.
_base_ = 'mmpose::body_2d_keypoint/integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.MultipleLossWrapper')))
