# PAA: the boxes by our InnerIoULoss.
# The head scores its anchors by this loss of each, so its scale counts twice.
_base_ = 'mmdet::paa/paa_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(type='mmlosses.InnerIoULoss', ratio=0.75, mode='giou')))
