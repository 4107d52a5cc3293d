# Box of a hard digit: mean IoU.
_base_ = '_hard_.py'

model = dict(
    head=dict(
        type='mmlosses.demo.BoxHead',
        canvas=32,
        size=16,
        feature_size=8,
        loss=dict(type='mmlosses.GIoULoss')))

val_evaluator = [dict(type='mmlosses.demo.MeanIoU')]
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
