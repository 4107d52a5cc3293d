# Faster R-CNN with label smoothing for RoI classes.
# The 0.1 is shared among all 81 classes, including the background.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(type='mmlosses.LabelSmoothLoss', smoothing=0.1))))
