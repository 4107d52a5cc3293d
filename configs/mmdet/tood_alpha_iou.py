# TOOD with our AlphaIoULoss for boxes, which emphasises accurate boxes.
# A power of the IoU gives distant boxes little gradient; `mode='giou'` helps.
_base_ = 'mmdet::tood/tood_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(type='mmlosses.AlphaIoULoss', alpha=3.0, mode='giou')))
