# Faster R-CNN with NormFace: a classifier over scaled cosines.
# A small `scale` trains, but all scores stay below the detector's threshold.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(
                type='mmlosses.heads.cosine.CosineLinear', scale=16.0),
            loss_cls=dict(type='mmlosses.CrossEntropyLoss'))))
