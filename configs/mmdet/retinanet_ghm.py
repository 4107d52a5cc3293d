# RetinaNet with our GHMC and GHMR instead of mmdet's of the same names.
# `bins`, `momentum` and the loss weights of 1 and 10 are inherited.
_base_ = 'mmdet::ghm/retinanet_r50_fpn_ghm-1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_cls=dict(type='mmlosses.GHMC'),
        loss_bbox=dict(type='mmlosses.GHMR')))
