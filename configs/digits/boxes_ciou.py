# boxes_giou.py with CIoULoss.
_base_ = 'boxes_giou.py'

model = dict(head=dict(loss=dict(type='mmlosses.CIoULoss')))
