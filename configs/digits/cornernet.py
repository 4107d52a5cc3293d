# Boxes of one to three digits as corner pairs with CornerNetLoss: box_F1
# (chance: 0.04).
_base_ = '_base_.py'

bar = 0.95  # required value of the `save_best` metric

scenes = dict(num_digits=(1, 3), digit_size=(16, 32))
train_dataloader = dict(dataset=dict(num_scenes=3000, **scenes))
val_dataloader = dict(dataset=scenes)

model = dict(
    head=dict(
        type='mmlosses.demo.CornerHead',
        loss=dict(
            type='mmlosses.CornerNetLoss', pull_weight=0.1, push_weight=0.1)))

val_evaluator = [dict(type='mmlosses.demo.BoxF1', thr=0.5)]
default_hooks = dict(checkpoint=dict(save_best='box_F1'))
