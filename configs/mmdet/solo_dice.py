# SOLO with our DiceLoss for masks.
# `eps` is added to the numerator too, so that an empty mask predicted as empty
# has loss 0. Masks of a few pixels give less than stock.
_base_ = 'mmdet::solo/solo_r50_fpn_1x_coco.py'
model = dict(mask_head=dict(loss_mask=dict(type='mmlosses.DiceLoss')))
