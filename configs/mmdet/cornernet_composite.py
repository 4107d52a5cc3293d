# CornerNet with CornerNetLoss instead of three losses.
# Same value for its two stacks, but pull and push count half, as in the paper.
_base_ = 'mmdet::cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py'

model = dict(
    bbox_head=dict(
        type='mmlosses.heads.corner.CornerNetHead',
        loss_corner=dict(
            type='mmlosses.CornerNetLoss', pull_weight=0.1, push_weight=0.1)))
