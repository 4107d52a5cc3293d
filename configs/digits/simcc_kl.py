# Keypoints of a digit by SimCC: centre and corners of its box.
_base_ = '_base_.py'

bar = 0.95  # what the metric of `save_best` must reach

model = dict(
    head=dict(
        type='mmlosses.demo.SimCCHead',
        loss=dict(
            type='mmlosses.KLDiscretLoss',
            bin_reduction='sum',
            normalize_target=True)))

val_evaluator = [
    dict(type='mmlosses.demo.MeanIoU'),
    dict(type='mmlosses.demo.PCK', thr=0.05),
]
default_hooks = dict(checkpoint=dict(save_best='PCK'))
