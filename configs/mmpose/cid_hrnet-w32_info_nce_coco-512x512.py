# CID with our InfoNCELoss for the features of the people of an image.
# `temperature=0.05` is inherited. The head divides by the number of people, so
# the loss sums over them, also with `reduction='mean'`.
_base_ = 'mmpose::body_2d_keypoint/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py'  # noqa: E501

model = dict(head=dict(contrastive_loss=dict(type='mmlosses.InfoNCELoss')))
