# FCOS with our IoULoss for boxes; any other box loss fits too.
# `mode` defaults to 'log', as in stock.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.IoULoss')))
