# Faster R-CNN: smooth labels for the classes of regions.
# Background is one of the 81 classes that the 0.1 is shared among.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(type='mmlosses.LabelSmoothLoss', smoothing=0.1))))
