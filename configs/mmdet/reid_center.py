# ReID with centre loss instead of triplet loss, next to stock's classifier.
# Keep `loss_cls`: with all features at one point, the centre loss alone is 0.
_base_ = 'mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'  # noqa: E501
model = dict(
    head=dict(
        loss_triplet=dict(
            _delete_=True,
            type='mmlosses.CenterLoss',
            num_classes=380,
            in_channels=128,
            loss_weight=0.003)))
# All ranks move its statistics together.
custom_hooks = [dict(type='mmlosses.SyncStatisticsHook')]
