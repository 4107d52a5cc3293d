# Faster R-CNN with equalization loss v2 for RoI classes.
# The head tests with sigmoids, where it tests mmdet's loss with a softmax.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(
                _delete_=True, type='mmlosses.EQLV2Loss', num_classes=80))))
