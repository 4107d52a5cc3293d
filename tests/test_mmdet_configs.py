"""Every config of ``configs/mmdet`` trains and predicts in mmdet."""
from __future__ import annotations
import copy
import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.structures import LabelData

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]
try:
    import mmdet
    from mmdet.registry import MODELS
    from mmdet.structures import ReIDDataSample
    from mmdet.testing import demo_mm_inputs, demo_track_inputs
    from mmdet.utils import register_all_modules
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(f'needs mmcv and mmdet: {error}', allow_module_level=True)

CONFIGS = [path.stem for path in (ROOT / 'configs/mmdet').glob('*.py')]
# Only `type` differs from the stock config, so no value may differ.
DROP_INS = [
    'atss_giou', 'centernet-update_gaussian_focal', 'centernet_l1',
    'cornernet_corner_losses', 'deformable-detr_focal', 'detr_cross_entropy',
    'faster-rcnn_bounded_iou', 'faster-rcnn_ciou',
    'faster-rcnn_cross_entropy_custom', 'faster-rcnn_eqlv2',
    'fcos_focal_custom', 'fcos_iou', 'foveabox_smooth_l1',
    'ga-retinanet_bounded_iou', 'gfl_quality_focal',
    'ld_knowledge_distillation', 'mask-rcnn_cross_entropy', 'mask-rcnn_seesaw',
    'mask2former_dice', 'maskformer_focal', 'panoptic-fpn_cross_entropy',
    'qdtrack_margin_l2', 'qdtrack_multi_pos', 'retinanet_focal',
    'retinanet_ghm', 'rtmdet_quality_focal', 'solo_dice', 'vfnet_varifocal',
    'yolov3_mse', 'yolox_iou'
]


def visit(node, change):
    """Call `change` with every dict in a config."""
    if isinstance(node, dict):
        change(node)
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            visit(child, change)


def shrink_part(part):
    if part.get('type') == 'SyncBN':
        part.type = 'BN'
    if 'checkpoint' in (part.get('init_cfg') or ()):
        part.init_cfg = None
    if 'num_grids' in part:
        part.num_grids = [8, 6, 5, 4, 3]
    if 'batch_augments' in part:
        part.batch_augments = None
    # 64 pixels are too few for 12544 mask points, and an untrained model has
    # no score above the threshold.
    for name, most in (('num_layers', 1), ('num_queries', 10), ('num_points',
                                                                64),
                       ('nms_pre', 50), ('max_per_img', 10), ('score_thr', 0),
                       ('filter_thr', 0), ('mask_thr', 0), ('min_bbox_size',
                                                            -1)):
        if part.get(name, most) > most:
            part[name] = most


def shrink(model):
    """Shrink a model so that it trains and predicts in a second."""
    visit(model, shrink_part)
    model = model.get('detector', model)
    if 'teacher_config' in model:
        # A path in mmdet's repository, which its wheel has too.
        folder = Path(mmdet.__file__).parent / '.mim'
        teacher = Config.fromfile(str(folder / model.teacher_config)).model
        shrink(teacher)
        model.update(teacher_config=dict(model=teacher), teacher_ckpt=None)
    if model.backbone.get('depth') in (50, 101):
        model.backbone.depth = 18
        for name in ('neck', 'panoptic_head', 'head'):
            part = model.get(name, {})
            if isinstance(part, list):  # the first of several necks
                part = part[0]
            if isinstance(part.get('in_channels'), int):
                part.in_channels //= 4
            elif 'in_channels' in part:
                part.in_channels = [width // 4 for width in part.in_channels]
    if model.backbone.type == 'HourglassNet':
        model.backbone.update(
            downsample_times=3,
            feat_channel=32,
            stage_channels=[32] * 4,
            stage_blocks=[1] * 4)
        model.bbox_head.in_channels = 32
        # An untrained model has few matching corners of a class.
        model.test_cfg.update(corner_topk=500, distance_threshold=100)


def load(name):
    """The model of a config, with our losses."""
    path = ROOT / 'configs/mmdet' / f'{name}.py'
    model = Config.fromfile(str(path)).model
    if name.startswith('reid'):
        try:
            import mmpretrain  # noqa: F401
        except (ImportError, AssertionError) as error:
            pytest.skip(f'the ReID models of mmdet need mmpretrain: {error}')
    shrink(model)
    return model


def build(model):
    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    detector = MODELS.build(copy.deepcopy(model))
    detector.init_weights()
    return detector


def fake_batch(detector, training):
    if hasattr(detector, 'tracker'):
        np.random.seed(0)
        data = demo_track_inputs(
            num_frames=2,
            key_frames_inds=[0],
            image_shapes=(3, 64, 64),
            num_classes=1)
    elif hasattr(detector, 'head'):
        torch.manual_seed(0)
        samples = [ReIDDataSample() for _ in range(4)]
        for i, sample in enumerate(samples):
            sample.gt_label = LabelData(label=torch.tensor([i // 2]))
        # The neck pools 8x4 features only.
        data = dict(inputs=torch.rand(4, 3, 256, 128), data_samples=samples)
    else:
        np.random.seed(0)
        data = demo_mm_inputs(
            2, [[3, 64, 64], [3, 64, 48]],
            with_mask=hasattr(detector, 'panoptic_head')
            or getattr(detector, 'with_mask', False),
            with_semantic=hasattr(detector, 'semantic_head'))
    return detector.data_preprocessor(data, training)


def norm(tensors):
    return sum(
        float(x.double().square().sum()) for x in tensors
        if x is not None)**0.5


@pytest.fixture(scope='module', autouse=True)
def first_epoch():
    """Set the epoch in the message hub, which TOOD reads."""
    hub = MessageHub.get_current_instance()
    hub.update_info('epoch', 0)
    yield
    hub.pop_info('epoch')


def total_of(loss):
    if isinstance(loss, dict):
        loss = list(loss.values())
    if isinstance(loss, (list, tuple)):
        return sum(total_of(part) for part in loss)
    return loss.sum()


def train_one_step(detector, watch=()):
    """Losses, gradient norm, and the gradients of each of `watch`."""
    outputs = {name: [] for name in watch}
    for name, calls in outputs.items():
        detector.get_submodule(name).register_forward_hook(
            lambda module, args, out, calls=calls: calls.append(total_of(out)))
    detector.train()
    data = fake_batch(detector, training=True)
    np.random.seed(0)
    torch.manual_seed(0)
    total, losses = detector.parse_losses(detector(**data, mode='loss'))
    backbone = getattr(detector, 'detector', detector).backbone
    learning = [p for p in backbone.parameters() if p.requires_grad]
    parts = {}
    for name, calls in outputs.items():
        value = sum(calls)
        gradient = torch.autograd.grad(
            value, learning, retain_graph=True, allow_unused=True)
        parts[name] = (float(value), norm(gradient))
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-5)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    return SimpleNamespace(
        losses={
            name: value.item()
            for name, value in losses.items()
        },
        gradient=norm(p.grad for p in learning),
        parts=parts)


def without_mask(forward, features, mask=None):
    return forward(features)


def predict(detector):
    detector.eval()
    for module in detector.modules():
        if type(module).__name__ == 'MaskedConv2d':
            # Its mask, which saves time, works on a GPU only.
            module.forward = functools.partial(without_mask, module.forward)
    data = fake_batch(detector, training=False)
    with torch.no_grad():
        return detector(**data, mode='predict')


@functools.lru_cache(maxsize=None)
def trained(name):
    """A step of the config, and its predictions afterwards."""
    detector = build(load(name))
    ours = [
        path for path, module in detector.named_modules()
        if type(module).__module__.startswith('mmlosses.losses')
    ]
    result = train_one_step(detector, ours)
    result.predictions = predict(detector)
    return result


@pytest.mark.parametrize('name', CONFIGS)
def test_trains(name):
    result = trained(name)
    assert np.isfinite(list(result.losses.values())).all()
    assert 0 < result.gradient < np.inf
    assert result.parts
    for value, gradient in result.parts.values():
        assert 0 < value < np.inf
        assert 0 < gradient < np.inf


@pytest.mark.parametrize('name', CONFIGS)
def test_predicts(name):
    for sample in trained(name).predictions:
        if 'video_data_samples' in sample:
            sample = sample[0]  # of a video, the first frame
        if 'pred_feature' in sample:
            assert sample.pred_feature.shape == (128, )
            assert sample.pred_feature.isfinite().all()
        elif 'pred_panoptic_seg' in sample:
            height, width = sample.img_shape
            assert sample.pred_panoptic_seg.sem_seg.shape[-2:] == (height,
                                                                   width)
        else:
            found = sample.pred_instances
            assert len(found) > 0
            assert found.bboxes.isfinite().all()
            assert ((found.scores > 0) & (found.scores <= 1)).all()
            if 'masks' in found:
                assert found.masks.any()


@pytest.mark.parametrize('name', DROP_INS)
def test_matches_stock(name):
    model = load(name)
    swapped = []

    def swap_back(part):
        if str(part.get('type')).startswith('mmlosses.'):
            part.type = part.type[len('mmlosses.'):]
            swapped.append(part.type)

    visit(model, swap_back)
    assert swapped
    stock = train_one_step(build(model))
    # Some masks of its picture are empty, and cost 1 in mmdet.
    rel = 1e-2 if name == 'solo_dice' else 1e-5
    assert trained(name).losses == pytest.approx(stock.losses, rel=rel)
    assert trained(name).gradient == pytest.approx(stock.gradient, rel=rel)


@pytest.mark.parametrize('base', [
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py'
])
def test_decoder_passes_labels_with_qualities(base):
    """It asks if its loss is mmdet's QualityFocalLoss."""
    model = Config.fromstring(f"_base_ = 'mmdet::{base}'", '.py').model
    shrink(model)
    results = []
    for name in ('QualityFocalLoss', 'mmlosses.QualityFocalLoss'):
        model.bbox_head.loss_cls = dict(type=name, use_sigmoid=True)
        results.append(train_one_step(build(model)))
    expected, got = results
    assert got.losses == pytest.approx(expected.losses, rel=1e-5)
    assert got.gradient == pytest.approx(expected.gradient, rel=1e-5)
    assert got.losses['loss_cls'] > 0


def test_pure_python_config_matches_text_config():
    lazy = trained('fcos_ciou_lazy').losses
    text = trained('fcos_iou').losses
    for name in ('loss_cls', 'loss_centerness'):
        assert lazy[name] == pytest.approx(text[name], rel=1e-6)
    assert lazy['loss_bbox'] != pytest.approx(text['loss_bbox'], rel=1e-2)


def test_every_config_is_listed():
    """In the table, or with its loss on the page of a family."""
    pages = [path.read_text() for path in ROOT.glob('configs/*/README.md')]
    for name in CONFIGS:
        assert any([f'{name}.py)' in page for page in pages]), name
