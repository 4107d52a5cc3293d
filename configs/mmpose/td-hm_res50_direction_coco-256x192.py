# Simple Baselines with maps of limb directions next to the heatmaps.
# The codec encodes both targets: replace it in the head and in the training
# pipeline.
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'  # noqa: E501

codec = dict(
    type='mmlosses.heads.direction.LimbDirectionHeatmap',
    limbs=[(15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12),
           (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)])
model = dict(
    head=dict(
        type='mmlosses.heads.direction.DirectionHead',
        loss_direction=dict(type='mmlosses.AngularLoss', loss_weight=0.001),
        decoder=codec))

train_pipeline = _base_.train_pipeline
train_pipeline[-2].encoder.update(codec)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
