# Cascade R-CNN with our SIoULoss for the boxes of all three stages.
# Lists are replaced, not merged: take the stages from the base and edit them.
_base_ = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'
stages = [
    dict(
        stage,
        reg_decoded_bbox=True,
        loss_bbox=dict(type='mmlosses.SIoULoss', loss_weight=10.0))
    for stage in _base_.model.roi_head.bbox_head  # noqa: F821
]
model = dict(roi_head=dict(bbox_head=stages))
