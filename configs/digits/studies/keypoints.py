# Keypoints of a hard digit as coordinates in [0, 1]: PCK.
_base_ = '_hard_.py'

model = dict(
    head=dict(
        type='mmlosses.demo.KeypointHead',
        canvas=32,
        feature_size=8,
        loss=dict(
            type='mmlosses.SmoothL1Loss', beta=0.02, use_target_weight=True)))

val_evaluator = [dict(type='mmlosses.demo.PCK', thr=0.1)]
default_hooks = dict(checkpoint=dict(save_best='PCK'))
