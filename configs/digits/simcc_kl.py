# Keypoints of a digit (centre and box corners) with SimCC: PCK (chance:
# 0.009).
_base_ = '_base_.py'

bar = 0.95  # required value of the `save_best` metric

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
