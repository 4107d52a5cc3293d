# RTMDet with our QualityFocalLoss.
# `beta=2.0` and `use_sigmoid=True`, which the head reads, are inherited.
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.QualityFocalLoss')))
