# VFNet with our VarifocalLoss for the classes of points.
# The targets are the IoUs of the refined boxes, 0 for other classes.
_base_ = 'mmdet::vfnet/vfnet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.VarifocalLoss')))
