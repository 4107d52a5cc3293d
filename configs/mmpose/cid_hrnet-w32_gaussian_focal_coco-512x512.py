# CID with our GaussianFocalLoss for single-person heatmaps.
# mmpose normalises by peaks, this loss by pixels: 128 * 128 per keypoint. Our
# FocalHeatmapLoss normalises as mmpose.
_base_ = 'mmpose::body_2d_keypoint/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(
        decoupled_heatmap_loss=dict(
            type='mmlosses.GaussianFocalLoss', loss_weight=4. * 128 * 128)))
