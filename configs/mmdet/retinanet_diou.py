# RetinaNet with our DIoULoss on boxes instead of L1 on deltas.
# Without `reg_decoded_bbox=True` the loss would silently get deltas as boxes.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        reg_decoded_bbox=True,
        loss_bbox=dict(type='mmlosses.DIoULoss', loss_weight=2.0)))
