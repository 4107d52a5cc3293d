# RetinaNet: the classes of anchors by our FocalLoss.
# The head reads `use_sigmoid=True`, inherited here, from the config: without
# it there is one channel more and a softmax at test time.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.FocalLoss')))
