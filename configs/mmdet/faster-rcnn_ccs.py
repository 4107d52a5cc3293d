# The stock Faster R-CNN with the cosine of embeddings to their class vectors
# beside its losses. Keep `detach_weight`: else the classifier follows it too.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type='mmlosses.heads.ccs.CCSBBoxHead',
            # The weight of a RoI is its IoU with the object.
            loss_ccs=dict(type='mmlosses.CCSLoss', soft=True))))
