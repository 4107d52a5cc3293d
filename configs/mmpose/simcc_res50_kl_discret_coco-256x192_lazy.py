# SimCC as a pure-Python config with our KLDiscretLoss, given as a class.
# mmpose's wheel carries no pure-Python bases, so this restates the stock
# config; only the loss differs.
from mmengine.dataset import DefaultSampler
from mmengine.hooks import (CheckpointHook, DistSamplerSeedHook, IterTimerHook,
                            LoggerHook, ParamSchedulerHook, SyncBuffersHook)
from mmengine.optim import LinearLR, MultiStepLR
from mmengine.runner import LogProcessor
from mmpose.codecs import SimCCLabel
from mmpose.datasets import (CocoDataset, GenerateTarget, GetBBoxCenterScale,
                             LoadImage, PackPoseInputs, RandomFlip,
                             RandomHalfBody, TopdownAffine)
from mmpose.datasets.transforms import RandomBBoxTransform
from mmpose.evaluation import CocoMetric
from mmpose.models import (PoseDataPreprocessor, ResNet, SimCCHead,
                           TopdownPoseEstimator)
from torch.optim import Adam

from mmlosses.losses import KLDiscretLoss

default_scope = 'mmpose'
codec = dict(
    type=SimCCLabel, input_size=(192, 256), sigma=6.0, simcc_split_ratio=2.0)

model = dict(
    type=TopdownPoseEstimator,
    data_preprocessor=dict(
        type=PoseDataPreprocessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type=ResNet,
        depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    head=dict(
        type=SimCCHead,
        in_channels=2048,
        out_channels=17,
        input_size=(192, 256),
        in_featuremap_size=(6, 8),
        simcc_split_ratio=2.0,
        loss=dict(
            type=KLDiscretLoss, use_target_weight=True, size_average=False),
        decoder=codec),
    test_cfg=dict(flip_test=True))

val_pipeline = [
    dict(type=LoadImage),
    dict(type=GetBBoxCenterScale),
    dict(type=TopdownAffine, input_size=(192, 256)),
    dict(type=PackPoseInputs)
]
train_pipeline = [
    dict(type=LoadImage),
    dict(type=GetBBoxCenterScale),
    dict(type=RandomFlip, direction='horizontal'),
    dict(type=RandomHalfBody),
    dict(type=RandomBBoxTransform),
    dict(type=TopdownAffine, input_size=(192, 256)),
    dict(type=GenerateTarget, encoder=codec),
    dict(type=PackPoseInputs)
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=CocoDataset,
        data_root='data/coco/',
        data_mode='topdown',
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    dataset=dict(
        type=CocoDataset,
        data_root='data/coco/',
        data_mode='topdown',
        ann_file='annotations/person_keypoints_val2017.json',
        bbox_file='data/coco/person_detection_results/'
        'COCO_val2017_detections_AP_H_56_person.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    type=CocoMetric,
    ann_file='data/coco/annotations/person_keypoints_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=210, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type=Adam, lr=1e-3))
param_scheduler = [
    dict(type=LinearLR, begin=0, end=500, start_factor=0.001, by_epoch=False),
    dict(type=MultiStepLR, milestones=[170, 200], gamma=0.1, by_epoch=True)
]
auto_scale_lr = dict(base_batch_size=512)

default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=50),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(
        type=CheckpointHook, interval=10, save_best='coco/AP', rule='greater'),
    sampler_seed=dict(type=DistSamplerSeedHook))
custom_hooks = [dict(type=SyncBuffersHook)]
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
log_processor = dict(type=LogProcessor, window_size=50, by_epoch=True)
