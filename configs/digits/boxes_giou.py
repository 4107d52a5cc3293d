# Box of a digit with GIoULoss: mean IoU (chance: 0.27).
_base_ = '_base_.py'

bar = 0.85  # required value of the `save_best` metric

model = dict(
    head=dict(
        type='mmlosses.demo.BoxHead', loss=dict(type='mmlosses.GIoULoss')))

val_evaluator = [dict(type='mmlosses.demo.MeanIoU')]
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
