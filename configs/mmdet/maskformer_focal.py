# MaskFormer: classes, pixels and masks, each by ours.
# `class_weight`, a number per class and one for none, stays in the config:
# the head reads it there.
_base_ = 'mmdet::maskformer/maskformer_r50_ms-16xb1-75e_coco.py'
model = dict(
    panoptic_head=dict(
        loss_cls=dict(type='mmlosses.CrossEntropyLoss'),
        loss_mask=dict(type='mmlosses.FocalLoss'),
        loss_dice=dict(type='mmlosses.DiceLoss')))
