# CenterNet2's first stage with our NWDLoss for the boxes of small objects.
# Set `constant` to the mean object size in pixels: 12.8 is AI-TOD's.
_base_ = 'mmdet::centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py'
model = dict(
    bbox_head=dict(loss_bbox=dict(type='mmlosses.NWDLoss', constant=12.8)))
