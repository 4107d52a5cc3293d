# boxes.py with digits of 3 to 9 pixels.
_base_ = 'boxes.py'

scenes = dict(digit_size=(5, 10))
train_dataloader = dict(dataset=scenes)
val_dataloader = dict(dataset=scenes)
