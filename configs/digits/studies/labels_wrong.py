# Label of a small digit, with 20 % wrong labels in training: accuracy.
_base_ = '_hard_.py'

scenes = dict(digit_size=(16, 22), max_rotation=15.0, occlusion=0.0, noise=0.1)
train_dataloader = dict(dataset=dict(wrong_labels=0.2, **scenes))
val_dataloader = dict(dataset=scenes)

model = dict(
    head=dict(
        type='mmlosses.demo.ClassificationHead',
        loss=dict(type='mmlosses.CrossEntropyLoss')))

val_evaluator = [dict(type='mmlosses.demo.Accuracy')]
default_hooks = dict(checkpoint=dict(save_best='accuracy'))
