# FCOS: the boxes by our IoULoss; the others take the place as well.
# `mode` is 'log' unless said otherwise, here as in stock.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.IoULoss')))
