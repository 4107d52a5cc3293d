# Digit classification with softmax cross entropy: accuracy (chance: 0.14).
_base_ = '_accuracy_.py'

bar = 0.9  # required value of the `save_best` metric

model = dict(
    head=dict(
        type='mmlosses.demo.ClassificationHead',
        loss=dict(type='mmlosses.CrossEntropyLoss', use_sigmoid=False)))
