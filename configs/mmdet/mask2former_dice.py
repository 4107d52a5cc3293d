# Mask2Former with our DiceLoss for masks, CrossEntropyLoss for their points.
# Inherits `naive_dice=True` and `eps=1.0`, which change the loss.
_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
model = dict(
    panoptic_head=dict(
        loss_mask=dict(type='mmlosses.CrossEntropyLoss'),
        loss_dice=dict(type='mmlosses.DiceLoss')))
