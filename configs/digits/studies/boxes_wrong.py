# boxes.py with 20 % wrong boxes in training.
_base_ = 'boxes.py'

train_dataloader = dict(dataset=dict(wrong_boxes=0.2))
