# DeepPose with two coordinate losses and learned weights.
# The log variances are parameters: exclude them from weight decay.
_base_ = 'mmpose::body_2d_keypoint/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='mmlosses.SumLoss',
            weighting='uncertainty',
            use_target_weight=True,
            losses=[
                dict(type='mmlosses.SmoothL1Loss'),
                dict(type='mmlosses.L1Loss'),
            ])))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'log_vars': dict(decay_mult=0.0)}))
