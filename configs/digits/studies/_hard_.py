# Shared by the studies: small digits, partly hidden, in noise, and short
# trainings on one core.
_base_ = '../_base_.py'

scenes = dict(canvas=32, digit_size=(12, 22), occlusion=0.4, noise=0.2)
train_dataloader = dict(batch_size=32, dataset=dict(num_scenes=1600, **scenes))
val_dataloader = dict(dataset=dict(num_scenes=1000, **scenes))

model = dict(channels=(16, 32, 32, 32))

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=40, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        by_epoch=True,
        convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=6))
