# Faster R-CNN plus CCSLoss between embeddings and class vectors.
# Keep `detach_weight`, or the loss moves the classifier too.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='mmlosses.heads.ccs.CCSBBoxHead',
            # Weight each RoI by its IoU with the ground truth.
            loss_ccs=dict(type='mmlosses.CCSLoss', soft=True))))
