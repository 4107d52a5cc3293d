# DETR with our losses for classes, boxes and box overlap.
# Keep `class_weight` a number: the head combines it with `bg_cls_weight` into
# a weight per class.
_base_ = 'mmdet::detr/detr_r50_8xb2-150e_coco.py'
model = dict(
    bbox_head=dict(
        loss_cls=dict(type='mmlosses.CrossEntropyLoss'),
        loss_bbox=dict(type='mmlosses.L1Loss'),
        loss_iou=dict(type='mmlosses.GIoULoss')))
