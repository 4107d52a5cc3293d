# Shared by the classification configs, which need few epochs.
_base_ = '_base_.py'

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=60, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        by_epoch=True,
        convert_to_iter_based=True),
]

val_evaluator = [dict(type='mmlosses.demo.Accuracy')]
default_hooks = dict(checkpoint=dict(interval=2, save_best='accuracy'))
