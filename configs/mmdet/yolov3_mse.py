# YOLOv3: the logarithms of widths and heights by our MSELoss.
# The head never divides: `reduction='sum'`, inherited here, must stay.
_base_ = 'mmdet::yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py'
model = dict(bbox_head=dict(loss_wh=dict(type='mmlosses.MSELoss')))
