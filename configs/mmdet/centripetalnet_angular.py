# CentripetalNet: the directions from corners to centres by our AngularLoss.
# `dim=1` holds (x, y). The lengths of these vectors are not learned: only the
# offsets of a deformable convolution are made of them, by a layer of its own.
_base_ = 'mmdet::centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco.py'  # noqa: E501
model = dict(
    bbox_head=dict(
        loss_guiding_shift=dict(
            _delete_=True,
            type='mmlosses.AngularLoss',
            dim=1,
            loss_weight=0.05)))
