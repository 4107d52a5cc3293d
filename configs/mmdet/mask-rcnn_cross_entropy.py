# Mask R-CNN with our CrossEntropyLoss for proposals (sigmoid), classes
# (softmax) and masks (`use_mask`). Inherits these flags: restate them after
# `_delete_=True`.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    rpn_head=dict(loss_cls=dict(type='mmlosses.CrossEntropyLoss')),
    roi_head=dict(
        bbox_head=dict(loss_cls=dict(type='mmlosses.CrossEntropyLoss')),
        mask_head=dict(loss_mask=dict(type='mmlosses.CrossEntropyLoss'))))
