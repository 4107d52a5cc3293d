# SOLO: the masks by our DiceLoss.
# Stock's 1e-3 in the denominator stands above too, so that an empty mask,
# predicted as empty, has loss 0: the numbers differ in the fifth digit.
_base_ = 'mmdet::solo/solo_r50_fpn_1x_coco.py'
model = dict(mask_head=dict(loss_mask=dict(type='mmlosses.DiceLoss')))
