# boxes_giou.py with WIoULoss. 1500 iterations: the running mean moves faster
# than in the trainings of the paper.
_base_ = 'boxes_giou.py'

model = dict(
    head=dict(loss=dict(type='mmlosses.WIoULoss', version=3, momentum=0.01)))
