# Shared by all digits configs, which add the head with its loss, the metrics
# and the metric for `save_best`.
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmlosses.demo.DigitScenes', split='train', num_scenes=5000))
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmlosses.demo.DigitScenes', split='val', num_scenes=500))

model = dict(
    type='mmlosses.demo.DigitNet',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[30.0], std=[70.0]))

max_epochs = 15
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=3)
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=60, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        by_epoch=True,
        convert_to_iter_based=True),
]

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(
        type='CheckpointHook', interval=3, max_keep_ckpts=1, rule='greater'))
randomness = dict(seed=0)
