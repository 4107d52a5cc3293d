# CentripetalNet with our AngularLoss for the guiding shifts of corners.
# `dim=1` holds (x, y). The loss ignores vector lengths; a separate layer turns
# the vectors into offsets of a deformable convolution.
_base_ = 'mmdet::centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco.py'  # noqa: E501
model = dict(
    bbox_head=dict(
        loss_guiding_shift=dict(
            _delete_=True,
            type='mmlosses.AngularLoss',
            dim=1,
            loss_weight=0.05)))
