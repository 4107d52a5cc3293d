# CenterNet2's first stage: heatmaps with the indices of the centres.
# `pos_inds` goes to the loss by keyword: keep stock's pos and neg weights.
_base_ = 'mmdet::centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py'
model = dict(bbox_head=dict(loss_cls=dict(type='mmlosses.GaussianFocalLoss')))
