# Faster R-CNN for the 13,204 classes of V3Det with our CrossEntropyCustomLoss.
# With `use_sigmoid=True`, inherited, the loss tells the head that the
# background has no channel, and scores by a sigmoid.
_base_ = 'mmdet::v3det/faster_rcnn_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(loss_cls=dict(type='mmlosses.CrossEntropyCustomLoss'))))
