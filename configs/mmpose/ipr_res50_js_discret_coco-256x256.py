# DSNT with our JSDiscretLoss for heatmaps, whose gradient stays finite where
# a softmax is 0. The losses are a list in an mmpose wrapper, which has to be
# restated as a whole.
_base_ = 'mmpose::body_2d_keypoint/integral_regression/coco/ipr_res50_dsnt-8xb64-210e_coco-256x256.py'  # noqa: E501

model = dict(
    head=dict(
        loss=dict(losses=[
            dict(type='mmlosses.SmoothL1Loss', use_target_weight=True),
            dict(type='mmlosses.JSDiscretLoss', use_target_weight=True)
        ])))
