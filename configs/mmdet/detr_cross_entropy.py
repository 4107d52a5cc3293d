# DETR: classes, boxes and their overlap, each by ours.
# `class_weight` stays one number, beside `bg_cls_weight`: the head makes a
# weight per class of them, and replaces the config's by it.
_base_ = 'mmdet::detr/detr_r50_8xb2-150e_coco.py'
model = dict(
    bbox_head=dict(
        loss_cls=dict(type='mmlosses.CrossEntropyLoss'),
        loss_bbox=dict(type='mmlosses.L1Loss'),
        loss_iou=dict(type='mmlosses.GIoULoss')))
