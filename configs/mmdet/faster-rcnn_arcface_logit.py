# Faster R-CNN with ArcFace's angular margin for classes.
# The classifier layer and the loss need the same `scale`.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(
                type='mmlosses.heads.cosine.CosineLinear', scale=32.0),
            loss_cls=dict(
                type='mmlosses.ArcFaceLogitLoss', scale=32.0, margin=0.5))))
