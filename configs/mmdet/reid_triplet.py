# ReID with our TripletLoss beside the classifier.
# `margin=0.3` is inherited. A batch of one identity has no triplets: its loss
# is 0, where mmdet's raises an error.
_base_ = 'mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'  # noqa: E501
model = dict(head=dict(loss_triplet=dict(type='mmlosses.TripletLoss')))
