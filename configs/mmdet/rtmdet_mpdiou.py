# RTMDet: the boxes by our MPDIoULoss.
# Divided by the enclosing box, unless `img_shape` gives the paper's picture.
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.MPDIoULoss')))
