# boxes_giou.py with WIoULoss. With only 1500 iterations, the running mean
# needs a larger momentum than the paper's.
_base_ = 'boxes_giou.py'

model = dict(
    head=dict(loss=dict(type='mmlosses.WIoULoss', version=3, momentum=0.01)))
