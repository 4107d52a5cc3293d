# RLE's head with a Gaussian mixture for each keypoint, and PROPEL.
# Checkpoints of stock RLE do not fit: `fc` has that many outputs per Gaussian.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(
    head=dict(
        type='mmlosses.heads.rle.MixtureRLEHead',
        num_gaussians=3,
        loss=dict(
            type='mmlosses.PROPELLoss',
            sigma=0.05,
            scale='sigmoid',
            loss_weight=17.)))
