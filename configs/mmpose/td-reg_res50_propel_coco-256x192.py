# RLE's head, which predicts standard deviations, with PROPEL.
# `scale='sigmoid'` matches the head's scores. RLELoss sums over 17 keypoints;
# this loss averages.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(
    head=dict(
        loss=dict(
            type='mmlosses.KeypointPROPELLoss',
            sigma=0.05,
            scale='sigmoid',
            loss_weight=17.)))
