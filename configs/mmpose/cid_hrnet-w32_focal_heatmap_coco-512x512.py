# CID with our FocalHeatmapLoss for the heatmaps of all people and of each.
# mmpose's is NaN where a prediction is exactly 0 or 1.
_base_ = 'mmpose::body_2d_keypoint/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(
        coupled_heatmap_loss=dict(type='mmlosses.FocalHeatmapLoss'),
        decoupled_heatmap_loss=dict(type='mmlosses.FocalHeatmapLoss')))
