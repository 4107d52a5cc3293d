# Ink mask of one to three hard digits: mask_IoU.
_base_ = '_hard_.py'

scenes = dict(num_digits=(1, 3), digit_size=(8, 16))
train_dataloader = dict(dataset=scenes)
val_dataloader = dict(dataset=scenes)

model = dict(
    head=dict(
        type='mmlosses.demo.MaskHead',
        label_map=True,
        loss=dict(type='mmlosses.CrossEntropyLoss', use_sigmoid=True)))

val_evaluator = [dict(type='mmlosses.demo.MaskIoU')]
default_hooks = dict(checkpoint=dict(save_best='mask_IoU'))
