# Panoptic FPN: the classes of pixels by our CrossEntropyLoss.
# Unlabelled pixels are 255: only the inherited `ignore_index` says so.
_base_ = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'
model = dict(
    semantic_head=dict(loss_seg=dict(type='mmlosses.CrossEntropyLoss')))
