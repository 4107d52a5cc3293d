# CID with the loss of its heatmaps of single persons swapped by name.
# mmpose divides by the number of peaks, this by that of pixels: 128 * 128 for
# each keypoint. The coupled heatmaps come with a mask: keep the stock loss.
_base_ = 'mmpose::body_2d_keypoint/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py'  # noqa: E501

model = dict(
    head=dict(
        decoupled_heatmap_loss=dict(
            type='mmlosses.GaussianFocalLoss', loss_weight=4. * 128 * 128)))
