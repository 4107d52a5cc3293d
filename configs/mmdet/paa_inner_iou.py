# PAA with our InnerIoULoss for boxes.
# The head also scores anchors by this loss, so its scale matters twice.
_base_ = 'mmdet::paa/paa_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_bbox=dict(type='mmlosses.InnerIoULoss', ratio=0.75, mode='giou')))
