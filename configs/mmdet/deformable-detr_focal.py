# Deformable DETR with our FocalLoss for the classes of queries.
# `loss_weight=2.0` equals the matching cost's: change both or neither.
_base_ = 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.FocalLoss')))
