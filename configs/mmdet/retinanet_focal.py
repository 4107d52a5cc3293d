# RetinaNet with our FocalLoss for the classes of anchors.
# The head reads `use_sigmoid=True`, inherited here, from the config: without
# it, it adds a background channel and scores with a softmax.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.FocalLoss')))
