# ReID with the modified softmax instead of triplet and classification loss.
# The loss owns the class vectors: a stock checkpoint has no
# `head.loss_triplet`.
_base_ = 'mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'  # noqa: E501
model = dict(
    head=dict(
        num_classes=None,
        loss_cls=None,
        loss_triplet=dict(
            _delete_=True,
            type='mmlosses.ModifiedSoftmaxLoss',
            num_classes=380,
            in_channels=128)))
