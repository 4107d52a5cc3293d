# Labels of digits by the modified softmax, with the cosine of each embedding
# to its class vector beside it.
# Reaches an accuracy of at least 0.93; chance is 0.14.
_base_ = '_base_.py'

bar = 0.93  # what the metric of `save_best` must reach

model = dict(
    head=dict(
        type='mmlosses.demo.EmbeddingHead',
        embedding_size=16,
        loss=dict(
            type='mmlosses.ModifiedSoftmaxLoss',
            num_classes=10,
            in_channels=16),
        loss_ccs=dict(type='mmlosses.CCSLoss')))

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

val_evaluator = dict(type='mmlosses.demo.Accuracy')
default_hooks = dict(checkpoint=dict(interval=2, save_best='accuracy'))
