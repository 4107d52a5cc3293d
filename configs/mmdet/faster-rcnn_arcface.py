# Faster R-CNN: classes by the cosine to a vector of each, with a margin.
# The scale stands twice and must be the same; the predictor's is the one that
# the softmax at test time sees. (`tempearture` is mmdet's spelling; its fork
# onedl-mmdetection writes `temperature`.)
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(
                type='NormedLinear', tempearture=30.0, bias=False),
            loss_cls=dict(
                type='mmlosses.ArcFaceLogitLoss', scale=30.0, margin=0.5))))
