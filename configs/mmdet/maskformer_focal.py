# MaskFormer with our losses for classes, pixels and masks.
# The head passes labels 0 (object) and 1 (none) to `loss_mask`, and reads
# `class_weight`, one number per class plus "none", from the config.
_base_ = 'mmdet::maskformer/maskformer_r50_ms-16xb1-75e_coco.py'
model = dict(
    panoptic_head=dict(
        loss_cls=dict(type='mmlosses.CrossEntropyLoss'),
        loss_mask=dict(type='mmlosses.FocalLoss'),
        loss_dice=dict(type='mmlosses.DiceLoss')))
