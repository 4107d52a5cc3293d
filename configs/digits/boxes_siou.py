# boxes_giou.py with SIoULoss.
_base_ = 'boxes_giou.py'

model = dict(head=dict(loss=dict(type='mmlosses.SIoULoss')))
