# Label of a small digit, with 20 times as many images of the 0 as of the 9 in
# training: accuracy.
_base_ = 'labels_wrong.py'

train_dataloader = dict(dataset=dict(wrong_labels=0.0, imbalance=20.0))
