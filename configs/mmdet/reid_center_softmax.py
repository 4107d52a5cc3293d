# ReID with CenterSoftmaxLoss instead of triplet and classification loss.
# `center_weight` is the paper's: the default, 0.2, would be large for 128
# features.
_base_ = 'mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'  # noqa: E501
model = dict(
    head=dict(
        num_classes=None,
        loss_cls=None,
        loss_triplet=dict(
            _delete_=True,
            type='mmlosses.CenterSoftmaxLoss',
            num_classes=380,
            in_channels=128,
            center_weight=0.003)))
# All ranks move its statistics together.
custom_hooks = [dict(type='mmlosses.SyncStatisticsHook')]
