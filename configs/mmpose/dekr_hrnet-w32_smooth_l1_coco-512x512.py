# DEKR with the loss of its displacements swapped by name.
# Its heatmap loss is called with a mask as the fourth argument, which here is
# `avg_factor`: keep `KeypointMSELoss` there.
_base_ = 'mmpose::body_2d_keypoint/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py'  # noqa: E501

model = dict(head=dict(displacement_loss=dict(type='mmlosses.SmoothL1Loss')))
