# CenterNet2's first stage with our GaussianFocalLoss on sparse heatmaps.
# The head passes `pos_inds` by keyword; stock's pos and neg weights stay.
_base_ = 'mmdet::centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.GaussianFocalLoss')))
