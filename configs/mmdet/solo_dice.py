# SOLO: the masks by our DiceLoss.
# `eps` stands above the fraction as well as below, so that an empty mask that
# is predicted as empty has loss 0: masks of a few pixels give less than stock.
_base_ = 'mmdet::solo/solo_r50_fpn_1x_coco.py'
model = dict(mask_head=dict(loss_mask=dict(type='mmlosses.DiceLoss')))
