# RetinaNet with the sum of an IoU loss and L1 for boxes.
# Both need decoded boxes; L1 is then in pixels, hence its weight.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        reg_decoded_bbox=True,
        loss_bbox=dict(
            _delete_=True,
            type='mmlosses.SumLoss',
            losses=[
                dict(type='mmlosses.L1Loss', loss_weight=0.02),
                dict(type='mmlosses.GIoULoss', loss_weight=2.0),
            ])))
