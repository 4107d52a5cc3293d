# Rotation of a digit within +-90 degrees: mean error (chance: 44 degrees).
_base_ = '_base_.py'

bar = 15  # required value of the `save_best` metric

train_dataloader = dict(dataset=dict(max_rotation=90.0))
val_dataloader = dict(dataset=dict(max_rotation=90.0))

model = dict(
    head=dict(
        type='mmlosses.demo.OrientationHead',
        loss=dict(type='mmlosses.AngularLoss')))

val_evaluator = dict(type='mmlosses.demo.AngularError')
default_hooks = dict(checkpoint=dict(save_best='angular_error', rule='less'))
