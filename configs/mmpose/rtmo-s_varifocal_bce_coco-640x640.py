# RTMO with our VariFocalLoss for persons and BCELoss for visibility.
# The targets of `loss_cls` are the OKS of the poses.
_base_ = 'mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py'

model = dict(
    head=dict(
        loss_cls=dict(type='mmlosses.VariFocalLoss'),
        loss_vis=dict(type='mmlosses.BCELoss')))
