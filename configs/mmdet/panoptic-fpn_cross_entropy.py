# Panoptic FPN with our CrossEntropyLoss for semantic segmentation.
# Inherits `ignore_index`, which excludes the unlabelled pixels (255).
_base_ = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'
model = dict(
    semantic_head=dict(loss_seg=dict(type='mmlosses.CrossEntropyLoss')))
