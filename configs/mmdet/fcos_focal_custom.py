# FCOS for the 13,204 classes of V3Det with our FocalCustomLoss.
# `num_classes` must be that of the head.
_base_ = 'mmdet::v3det/fcos_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.FocalCustomLoss')))
