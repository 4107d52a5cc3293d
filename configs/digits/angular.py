# Rotation of a digit, up to a quarter turn to either side.
# Bar: a mean error below 15 degrees, where chance is 44.
_base_ = '_base_.py'

bar = 15  # what the metric of `save_best` must reach

train_dataloader = dict(dataset=dict(max_rotation=90.0))
val_dataloader = dict(dataset=dict(max_rotation=90.0))

model = dict(
    head=dict(
        type='mmlosses.demo.OrientationHead',
        loss=dict(type='mmlosses.AngularLoss')))

val_evaluator = dict(type='mmlosses.demo.AngularError')
default_hooks = dict(checkpoint=dict(save_best='angular_error', rule='less'))
