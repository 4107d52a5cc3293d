# Ink mask of one to three digits with BalancedBCELoss: mask_IoU (chance:
# 0.13).
_base_ = '_base_.py'

bar = 0.9  # required value of the `save_best` metric

scenes = dict(num_digits=(1, 3), digit_size=(16, 32))
train_dataloader = dict(dataset=dict(num_scenes=2000, **scenes))
val_dataloader = dict(dataset=scenes)

model = dict(
    head=dict(
        type='mmlosses.demo.MaskHead',
        loss=dict(type='mmlosses.BalancedBCELoss', negative_ratio=3.0)))

val_evaluator = [
    dict(type='mmlosses.demo.MaskIoU'),
    dict(type='mmlosses.demo.MaskDice'),
]
default_hooks = dict(checkpoint=dict(save_best='mask_IoU'))
