# DEKR with our losses of heatmaps and displacements.
# The head passes weights of pixels, and a mask as the fourth argument.
_base_ = 'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(
        heatmap_loss=dict(type='mmlosses.KeypointMSELoss'),
        displacement_loss=dict(type='mmlosses.SmoothL1Loss')))
