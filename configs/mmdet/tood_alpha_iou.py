# TOOD: the boxes by our AlphaIoULoss, whose power favours good boxes.
# Far boxes hardly learn from the power of an IoU; 'giou' keeps them going.
_base_ = 'mmdet::tood/tood_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(type='mmlosses.AlphaIoULoss', alpha=3.0, mode='giou')))
