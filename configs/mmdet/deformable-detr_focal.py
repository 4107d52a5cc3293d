# Deformable DETR: the classes of queries by our FocalLoss.
# `loss_weight=2.0` is that of the matching cost too: change both or none.
_base_ = 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.FocalLoss')))
