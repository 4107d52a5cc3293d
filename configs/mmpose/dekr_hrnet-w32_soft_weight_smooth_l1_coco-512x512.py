# DEKR with our SmoothL1Loss for displacements, under mmpose's name.
_base_ = 'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(displacement_loss=dict(type='mmlosses.SoftWeightSmoothL1Loss')))
