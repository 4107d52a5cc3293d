# Digit classification with the modified softmax, whose class vectors are
# normalised: accuracy (chance: 0.14).
_base_ = '_accuracy_.py'

bar = 0.91  # required value of the `save_best` metric

model = dict(
    head=dict(
        type='mmlosses.demo.EmbeddingHead',
        embedding_size=16,
        loss=dict(
            type='mmlosses.ModifiedSoftmaxLoss',
            num_classes=10,
            in_channels=16)))
