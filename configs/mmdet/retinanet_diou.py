# RetinaNet: the boxes by our DIoULoss instead of L1 of their deltas.
# Without `reg_decoded_bbox=True` the deltas go to the loss as boxes, silently.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        reg_decoded_bbox=True,
        loss_bbox=dict(type='mmlosses.DIoULoss', loss_weight=2.0)))
