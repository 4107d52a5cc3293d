# MSPN, whose head has a list of losses, with ours for the coarse levels.
# Lists are replaced, not merged: restate the whole list.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mspn50_8xb32-210e_coco-256x192.py'  # noqa: E501

coarse = dict(
    type='mmlosses.MSELoss', use_target_weight=True, loss_weight=0.25)
model = dict(
    head=dict(loss=[
        coarse, coarse, coarse,
        dict(
            type='KeypointOHKMMSELoss', use_target_weight=True, loss_weight=1.)
    ]))
