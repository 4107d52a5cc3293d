# RLE with our RLELoss.
# Checkpoints fit both ways: its flow has the parameters of mmpose's.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(head=dict(loss=dict(type='mmlosses.RLELoss')))
