# Digit classification with softmax and centre loss: accuracy (chance: 0.14).
_base_ = '_accuracy_.py'

bar = 0.93  # required value of the `save_best` metric

model = dict(
    head=dict(
        type='mmlosses.demo.EmbeddingHead',
        embedding_size=16,
        loss=dict(
            type='mmlosses.CenterSoftmaxLoss',
            num_classes=10,
            in_channels=16,
            center_weight=0.01)))
