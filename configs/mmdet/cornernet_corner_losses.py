# CornerNet with our losses for heatmaps, embeddings and offsets of corners.
# `loss_embedding` is the one mmdet loss that returns a pair (pull, push).
_base_ = 'mmdet::cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py'
model = dict(
    bbox_head=dict(
        loss_heatmap=dict(type='mmlosses.GaussianFocalLoss'),
        loss_embedding=dict(type='mmlosses.AssociativeEmbeddingLoss'),
        loss_offset=dict(type='mmlosses.SmoothL1Loss')))
