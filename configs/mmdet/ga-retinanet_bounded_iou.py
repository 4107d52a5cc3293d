# Guided anchoring with our BoundedIoULoss for the shapes of anchors.
_base_ = 'mmdet::guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_shape=dict(type='mmlosses.BoundedIoULoss')))
