# MSPN with our losses: all keypoints on the coarse levels, the hardest 8 of
# each person on the finest. Lists are replaced, not merged.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mspn50_8xb32-210e_coco-256x192.py'  # noqa: E501

coarse = dict(
    type='mmlosses.KeypointMSELoss', use_target_weight=True, loss_weight=0.25)
fine = dict(type='mmlosses.KeypointOHKMMSELoss', use_target_weight=True)
model = dict(head=dict(loss=[coarse, coarse, coarse, fine]))
