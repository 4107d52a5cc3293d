# RTMDet with our MPDIoULoss for boxes.
# It normalises by the enclosing box; `img_shape` selects the paper's image.
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
model = dict(bbox_head=dict(loss_bbox=dict(type='mmlosses.MPDIoULoss')))
