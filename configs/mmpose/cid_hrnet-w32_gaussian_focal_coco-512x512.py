# CID with our GaussianFocalLoss for single-person heatmaps.
# mmpose normalises by peaks, ours by pixels: 128 * 128 per keypoint. Keep the
# stock loss for the coupled heatmaps, which come with a mask.
_base_ = 'mmpose::body_2d_keypoint/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(
        decoupled_heatmap_loss=dict(
            type='mmlosses.GaussianFocalLoss', loss_weight=4. * 128 * 128)))
