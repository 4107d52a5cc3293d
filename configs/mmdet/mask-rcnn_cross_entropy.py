# Mask R-CNN: proposals (sigmoid), classes (softmax) and masks (`use_mask`).
# Each of the three flags is inherited: name them again after `_delete_=True`.
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    rpn_head=dict(loss_cls=dict(type='mmlosses.CrossEntropyLoss')),
    roi_head=dict(
        bbox_head=dict(loss_cls=dict(type='mmlosses.CrossEntropyLoss')),
        mask_head=dict(loss_mask=dict(type='mmlosses.CrossEntropyLoss'))))
