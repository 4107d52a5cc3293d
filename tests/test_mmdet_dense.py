"""Mask losses in mmdet's heads."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

pytestmark = pytest.mark.openmmlab
try:
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS
    from mmdet.structures.mask import BitmapMasks
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(f'needs mmcv and mmdet: {error}', allow_module_level=True)

SIZE = (64, 64)
METAS = [dict(img_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE)] * 2


def instances(*boxes):
    """Ground truth of one image, with box-shaped masks."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(boxes), 64, 64, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    return InstanceData(
        bboxes=boxes,
        labels=torch.arange(len(boxes)) % 2,
        masks=BitmapMasks(masks.numpy(), *SIZE))


def truth():
    return [
        instances([5, 6, 30, 41], [20, 3, 60, 50], [33, 30, 62, 63]),
        instances([2, 2, 40, 60])
    ]


def total(losses):
    """The total loss, as mmengine computes it."""
    flat = []
    for name, value in losses.items():
        assert 'loss' in name
        flat += value if isinstance(value, (list, tuple)) else [value]
    assert all([x.ndim == 0 for x in flat])
    return sum(flat)


def test_corner_head_embedding():
    maps = [
        torch.randn(2, channels, 16, 16) for channels in (2, 2, 1, 1, 2, 2)
    ]
    losses = []
    for name in ('AssociativeEmbeddingLoss',
                 'mmlosses.AssociativeEmbeddingLoss'):
        head = MODELS.build(
            dict(
                type='CornerHead',
                num_classes=2,
                in_channels=4,
                num_feat_levels=1,
                loss_embedding=dict(
                    type=name, pull_weight=0.1, push_weight=0.1)))
        tensors = [x.clone().requires_grad_() for x in maps]
        losses.append(
            head.loss_by_feat(*[[x] for x in tensors], truth(), METAS))
        total(losses[-1]).backward()
    assert losses[0]['push_loss'][0] > 0
    for name in losses[0]:
        torch.testing.assert_close(losses[1][name], losses[0][name])


def test_solo_masks():
    torch.manual_seed(0)
    features = [torch.randn(2, 8, side, side) for side in (16, 16, 8, 4, 4)]
    losses = []
    for name in ('DiceLoss', 'mmlosses.DiceLoss'):
        torch.manual_seed(1)
        head = MODELS.build(
            dict(
                type='SOLOHead',
                num_classes=2,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                num_grids=[8, 6, 5, 4, 3],
                strides=[8, 8, 16, 32, 32],
                norm_cfg=dict(type='GN', num_groups=2),
                loss_mask=dict(type=name, use_sigmoid=True, loss_weight=3.0),
                loss_cls=dict(
                    type='FocalLoss', use_sigmoid=True, loss_weight=1.0)))
        losses.append(head.loss_by_feat(*head(features), truth(), METAS))
        total(losses[-1]).backward()
    assert losses[0]['loss_mask'] > 0
    for name in losses[0]:
        # The eps in the numerator shows for small masks.
        torch.testing.assert_close(
            losses[1][name], losses[0][name], rtol=1e-4, atol=0)


def test_rpn_objectness():
    """Of all anchors, the positives and three times as many are kept."""
    head = MODELS.build(
        dict(
            type='RPNHead',
            in_channels=8,
            feat_channels=8,
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[4],
                ratios=[1.0],
                strides=[4, 8]),
            loss_cls=dict(type='mmlosses.BalancedBCELoss', use_sigmoid=True),
            train_cfg=ConfigDict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.5,
                    neg_iou_thr=0.3,
                    min_pos_iou=0.3),
                sampler=dict(type='PseudoSampler'),
                allowed_border=-1,
                pos_weight=-1,
                debug=False)))
    calls = []
    head.loss_cls.register_forward_pre_hook(
        lambda module, args: calls.append(args))
    features = [torch.randn(2, 8, side, side) for side in (16, 8)]
    losses = head.loss_by_feat(*head(features), truth(), METAS)
    total(losses).backward()
    assert len(calls) == 2
    for score, labels, weights in list(calls):
        kept = head.loss_cls(score, labels, weights, reduction_override='none')
        positives = int(((labels == 0) & (weights > 0)).sum())
        if positives:
            assert (kept > 0).sum() == 4 * positives
            assert (kept[labels == 0] > 0).sum() == positives
