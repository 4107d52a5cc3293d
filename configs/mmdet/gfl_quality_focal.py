# GFL with our QualityFocalLoss and DistributionFocalLoss.
# The head passes labels and IoUs as a tuple, and distances in strides.
_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        loss_cls=dict(type='mmlosses.QualityFocalLoss'),
        loss_dfl=dict(type='mmlosses.DistributionFocalLoss')))
