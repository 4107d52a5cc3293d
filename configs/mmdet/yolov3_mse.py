# YOLOv3 with our MSELoss for log widths and heights.
# Keep the inherited `reduction='sum'`: the head never divides.
_base_ = 'mmdet::yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py'
model = dict(bbox_head=dict(loss_wh=dict(type='mmlosses.MSELoss')))
