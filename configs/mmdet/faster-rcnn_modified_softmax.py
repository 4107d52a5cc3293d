# Faster R-CNN with the modified softmax: normalised class vectors.
# The loss is a plain cross entropy; the layer makes the difference.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            cls_predictor_cfg=dict(
                type='mmlosses.heads.cosine.WeightNormLinear'),
            loss_cls=dict(type='mmlosses.CrossEntropyLoss'))))
