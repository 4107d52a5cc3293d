# The box of a digit, by GIoULoss. The bar: mean IoU 0.85 (chance 0.27).
_base_ = '_base_.py'

bar = 0.85  # what the metric of `save_best` must reach

model = dict(
    head=dict(
        type='mmlosses.demo.BoxHead', loss=dict(type='mmlosses.GIoULoss')))

val_evaluator = [dict(type='mmlosses.demo.MeanIoU')]
default_hooks = dict(checkpoint=dict(save_best='mIoU'))
