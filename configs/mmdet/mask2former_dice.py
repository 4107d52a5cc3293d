# Mask2Former: the masks by our DiceLoss, their points by CrossEntropyLoss.
# `naive_dice=True` and `eps=1.0` are inherited: other values, another loss.
_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
model = dict(
    panoptic_head=dict(
        loss_mask=dict(type='mmlosses.CrossEntropyLoss'),
        loss_dice=dict(type='mmlosses.DiceLoss')))
