# Keypoints of a digit as coordinates: centre and corners of its box. For the
# other losses: --cfg-options model.head.loss.type=mmlosses.L1Loss
# model.head.loss.beta=..., see regression_l1.py and regression_mse.py.
_base_ = '_base_.py'

model = dict(
    head=dict(
        type='mmlosses.demo.KeypointHead',
        loss=dict(
            type='mmlosses.SmoothL1Loss', beta=0.02, use_target_weight=True)))

val_evaluator = [
    dict(type='mmlosses.demo.MeanIoU'),
    dict(type='mmlosses.demo.PCK', thr=0.05),
]
default_hooks = dict(checkpoint=dict(save_best='PCK'))
