# Keypoints of a digit (centre and box corners) as coordinates in [0, 1]: PCK
# (chance: 0.009).
_base_ = '_base_.py'

bar = 0.85  # required value of the `save_best` metric

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
