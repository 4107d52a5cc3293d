# CenterNet with our L1Loss for sizes and centre offsets.
# `avg_factor` counts both channels of a centre, so stock's weights stay.
_base_ = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
model = dict(
    bbox_head=dict(
        loss_wh=dict(type='mmlosses.L1Loss'),
        loss_offset=dict(type='mmlosses.L1Loss')))
