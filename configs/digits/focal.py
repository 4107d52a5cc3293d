# Digit classification with sigmoid focal loss: accuracy (chance: 0.14).
_base_ = '_accuracy_.py'

bar = 0.9  # required value of the `save_best` metric

model = dict(
    head=dict(
        type='mmlosses.demo.ClassificationHead',
        loss=dict(
            type='mmlosses.FocalLoss', use_sigmoid=True, gamma=2.0,
            alpha=0.25)))

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=60, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        by_epoch=True,
        convert_to_iter_based=True),
]
