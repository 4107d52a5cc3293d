# ReID with ArcFace instead of triplet and classification loss.
# `_delete_=True` drops the inherited `margin` of the triplet loss, 0.3.
_base_ = 'mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'  # noqa: E501
model = dict(
    head=dict(
        num_classes=None,
        loss_cls=None,
        loss_triplet=dict(
            _delete_=True,
            type='mmlosses.ArcFaceLoss',
            num_classes=380,
            in_channels=128,
            scale=30.0,
            margin=0.5)))
