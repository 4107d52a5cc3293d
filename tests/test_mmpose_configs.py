"""Every config of configs/mmpose trains and predicts in mmpose."""
import copy
import math
import re

import numpy as np
import pytest
import torch
from cases.boxes import CASES
from helpers import ROOT
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

pytestmark = [pytest.mark.openmmlab, pytest.mark.slow]
try:
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from mmpose.registry import MODELS, TRANSFORMS
    from mmpose.testing import get_coco_sample
    from mmpose.utils import register_all_modules
except (ImportError, AssertionError) as error:
    # mmdet asserts the version of mmcv.
    pytest.skip(
        f'needs mmcv, mmdet and mmpose: {error}', allow_module_level=True)

from mmlosses.checks.batches import lifted_batch
from mmlosses.heads.direction import LimbDirectionHeatmap
from mmlosses.heads.rle import densest

ALL = {path.stem: path for path in ROOT.glob('configs/mmpose/*.py')}
# tests/test_distillation.py runs the distiller.
CONFIGS = {stem: path for stem, path in ALL.items() if 'dwpose' not in stem}
SIMCC = ('mmpose::body_2d_keypoint/simcc/coco/'
         'simcc_res50_8xb64-210e_coco-256x192.py')
# Losses that differ from the stock config's; all others match its values.
OTHERS = {
    'td-hm_res50_direction_coco-256x192': ['loss_direction'],
    'td-reg_res50_propel_coco-256x192': ['loss_kpt'],
    'td-reg_res50_sum_coco-256x192': ['loss_kpt'],
    'td-reg_res50_propel-mixture_coco-256x192': ['loss_kpt'],
    'video-pose-lift_27frm_sum-bone_h36m': ['loss_pose3d'],
    'yoloxpose_s_ciou_balanced_bce_coco-640': ['loss_bbox', 'loss_obj'],
    'yoloxpose_s_cross_entropy_focal_coco-640': ['loss_obj'],
}


def walk(node):
    """All dicts in a config."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from walk(child)


def resize(cfg, size, heatmap_size):
    """Change the size of images and heatmaps."""
    for node in walk([cfg.model, cfg.train_dataloader]):
        if 'input_size' in node:
            node.input_size = size
        if 'heatmap_size' in node:
            node.heatmap_size = heatmap_size


def shrink(cfg):
    """Use small backbones and images; load no checkpoint."""
    model = cfg.model
    for node in walk(model):
        if node.get('init_cfg', {}).get('type') == 'Pretrained':
            del node['init_cfg']
    model.get('data_preprocessor', {}).pop('batch_augments', None)
    name = model.backbone.type
    name = name if isinstance(name, str) else name.__name__
    if name == 'ResNet':
        model.backbone.depth = 18
        model.head.get('pose_cfg', model.head).in_channels = 512
    elif name == 'mmpretrain.VisionTransformer':
        # mmpretrain may be missing; use a stage with the same stride.
        model.backbone = dict(type='ResNet', depth=18, out_indices=(2, ))
        model.head.in_channels = 256
    elif name == 'HRNet':
        for stage in model.backbone.extra.values():
            if 'num_modules' in stage:
                stage.num_modules = 1
                stage.num_blocks = [1] * len(stage.num_blocks)
    elif name == 'MSPN':
        model.backbone.num_blocks = [2, 2, 2, 2]
    elif name == 'CPM':
        model.backbone.num_stages = model.head.num_stages = 2
        resize(cfg, (96, 128), (12, 16))
    elif name == 'DSTFormer':
        model.backbone.update(depth=1, feat_size=32)
        model.head.update(in_channels=32, embedding_size=32)
    for each in ('out_channels', 'num_joints'):
        if model.head.get(each) == 98:
            model.head[each] = 17  # fake people have no landmarks of faces
    if model.type == 'BottomupPoseEstimator':
        resize(cfg, (128, 128), (32, 32))
        # Keep predictions of an untrained model.
        model.test_cfg.update(score_thr=0.0, score_threshold=0.0)
        if model.head.type == 'DEKRHead':
            model.head.decoder.decode_thr = -1.0
        if model.head.type == 'CIDHead':
            loss = model.head.decoupled_heatmap_loss
            if loss.type == 'mmlosses.GaussianFocalLoss':
                # One per pixel.
                loss.loss_weight *= (32 * 32) / (128 * 128)


def stock_of(stem):
    """The base of a config, or the original of a lazy one."""
    base = re.search(r"^_base_ = '(.*?)'", CONFIGS[stem].read_text(), re.M)
    base = base.group(1) if base else SIMCC
    cfg = Config.fromstring(f"_base_ = '{base}'", '.py')
    if stem == 'td-reg_res50_l1_coco-256x192':
        cfg.model.head.loss.type = 'L1Loss'
    return cfg


def build(cfg):
    register_all_modules()
    shrink(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    return revert_sync_batchnorm(model).train()


def mask_crowd(sample):
    """A mask of heatmaps, of an annotated crowd."""
    if 'heatmaps' in sample:
        mask = np.ones(sample['heatmaps'].shape[-2:], bool)
        mask[5:20, 8:20] = 0
        sample['heatmap_mask'] = mask
    return sample


def fake_batch(cfg):
    """Two random images through the pipeline of a config."""
    init_default_scope('mmpose')
    if cfg.model.type == 'PoseLifter':
        batch = lifted_batch(cfg)
        return [
            dict(inputs=x, data_samples=y)
            for x, y in zip(batch['inputs'], batch['data_samples'])
        ]
    bottom_up = cfg.model.type == 'BottomupPoseEstimator'
    people = 2 if bottom_up else 1
    steps = []
    for transform in cfg.train_dataloader.dataset.pipeline:
        if transform.type == 'BottomupRandomAffine':
            transform.update(shift_prob=0, rotate_prob=0, scale_prob=0)
        if transform.type == 'BottomupGetHeatmapMask':
            steps.append(mask_crowd)
        if 'Affine' in str(transform.type) or 'encoder' in transform:
            steps.append(TRANSFORMS.build(transform))
    steps.append(
        TRANSFORMS.build(
            dict(
                type='PackPoseInputs',
                meta_keys=('id', 'img_id', 'img_path', 'ori_shape',
                           'img_shape', 'input_size', 'input_center',
                           'input_scale', 'flip_indices', 'skeleton_links'))))
    links = parse_pose_metainfo(
        dict(from_file='configs/_base_/datasets/coco.py'))['skeleton_links']
    samples = []
    np.random.seed(0)
    for i in range(2):
        sample = get_coco_sample(
            img_shape=(128, 128), num_instances=people, non_occlusion=True)
        sample.update(
            id=i,
            img_id=i,
            img_path='',
            input_size=(128, 128),
            input_center=np.array([64., 64.]),
            input_scale=np.array([128., 128.]),
            area=np.full(people, 2000, np.float32),
            category_id=[1] * people,
            bbox_score=np.ones(people, np.float32),
            skeleton_links=links)
        if i == 1:
            # Another pose: mmpose's function gives all samples the same.
            sample['keypoints'][..., 0] = 127 - sample['keypoints'][..., 0]
            sample['bbox'][:, ::2] = 127 - sample['bbox'][:, ::-2]
            sample['bbox_center'][:, 0] = 127 - sample['bbox_center'][:, 0]
        for transform in steps:
            sample = transform(sample)
        samples.append(sample)
    return samples


def step(model, samples):
    """Losses of a step, and the backbone's squared gradient norm."""
    batch = pseudo_collate(copy.deepcopy(samples))
    batch = model.data_preprocessor(batch, True)
    torch.manual_seed(0)
    model.zero_grad()
    total, losses = model.parse_losses(model(**batch, mode='loss'))
    total.backward()
    norm = sum([
        float(p.grad.double().square().sum())
        for p in model.backbone.parameters() if p.grad is not None
    ])
    losses = {name: value.item() for name, value in losses.items()}
    return losses, norm


def predict(model, samples):
    """Predictions image by image, as some heads require."""
    model.eval()
    results = []
    with torch.no_grad():
        for sample in samples:
            batch = pseudo_collate(copy.deepcopy([sample]))
            batch = model.data_preprocessor(batch, False)
            results += model(**batch, mode='predict')
    model.train()
    return results


@pytest.fixture(scope='module', params=sorted(CONFIGS))
def trained(request):
    """A config, its model and batch, after one step."""
    cfg = Config.fromfile(CONFIGS[request.param])
    model = build(cfg)
    if hasattr(model.head, 'use_aux_loss'):
        # Set by a hook in the last epochs.
        model.head.use_aux_loss = True
    samples = fake_batch(cfg)
    before = copy.deepcopy(model.state_dict())
    losses, norm = step(model, samples)
    return request.param, model, samples, before, losses, norm


def test_trains(trained):
    stem, model, _, _, losses, norm = trained
    ours = [
        type(module).__name__ for module in model.modules()
        if type(module).__module__.startswith('mmlosses.losses')
    ]
    print(stem, ours, losses, norm)
    assert ours
    assert all([math.isfinite(value) for value in losses.values()])
    assert all([v > 0 for name, v in losses.items() if 'loss' in name])
    assert 0 < norm < 1e8


def test_matches_stock(trained):
    """With the same parameters, except for losses that differ."""
    stem, model, samples, before, losses, norm = trained
    others = OTHERS.get(stem, [])
    if others in (['loss_kpt'], ['loss_pose3d']):
        pytest.skip('its only loss is another')
    stock = build(stock_of(stem))
    stock.load_state_dict(before, strict=False)
    if hasattr(stock.head, 'use_aux_loss'):
        stock.head.use_aux_loss = True
    expected, expected_norm = step(stock, samples)
    for name in others:
        expected.pop(name, None)
    compared = [name for name in expected if name != 'loss' or not others]
    assert any(['loss' in name for name in compared])
    for name in compared:
        assert losses[name] == pytest.approx(expected[name], rel=1e-5), name
    if not others:
        assert norm == pytest.approx(expected_norm, rel=1e-3)


def test_predicts(trained):
    _, model, samples, *_ = trained
    for result in predict(model, samples):
        keypoints = result.pred_instances.keypoints
        axes = 3 if type(model).__name__ == 'PoseLifter' else 2
        assert keypoints.shape[-2:] == (17, axes) and len(keypoints) > 0
        assert np.isfinite(keypoints).all()
        assert np.isfinite(result.pred_instances.keypoint_scores).all()


def fit(stem, iterations):
    """Train a model on its fake batch; the losses of all iterations."""
    cfg = Config.fromfile(CONFIGS[stem])
    model, samples = build(cfg), fake_batch(cfg)
    model.test_cfg.flip_test = False
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Predict with the statistics of the last step.
            module.momentum = 1.0
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    curve = []
    for _ in range(iterations):
        curve.append(step(model, samples)[0])
        optimizer.step()
    return model, samples, curve


def test_direction_head_learns_directions():
    """For limbs that are mirrored between the samples."""
    model, samples, curve = fit('td-hm_res50_direction_coco-256x192', 30)
    name = 'loss_direction'
    assert curve[-1][name] < 0.4 * curve[0][name]
    assert curve[-1]['loss_kpt'] < 0.4 * curve[0]['loss_kpt']
    model.test_cfg.output_heatmaps = True
    for result in predict(model, samples):
        x, y = result.gt_instance_labels.limb_directions[0].T.numpy()
        angles = result.pred_instances.limb_angles
        assert angles.shape == (1, 12)
        turn = np.exp(1j * (angles[0] - np.arctan2(y, x)))
        error = np.degrees(np.abs(np.angle(turn)))
        print(f'median error of angles {np.median(error):.1f} degrees')
        assert np.median(error) < 15
        maps = result.pred_fields.limb_directions.unflatten(0, (12, 2))
        assert maps.shape == (12, 2, 64, 48)
        length = maps.norm(dim=1)
        torch.testing.assert_close(length, torch.ones_like(length))


def test_mixture_head_learns():
    model, samples, curve = fit('td-reg_res50_propel-mixture_coco-256x192', 40)
    assert curve[-1]['loss_kpt'] < 0.3 * curve[0]['loss_kpt']
    errors, scores = [], []
    for result in predict(model, samples):
        pred = result.pred_instances
        error = pred.keypoints - result.gt_instances.keypoints
        errors.append(np.linalg.norm(error, axis=-1))
        scores.append(pred.keypoint_scores)
    print(f'median error {np.median(errors):.1f} of 128 pixels, '
          f'median score {np.median(scores):.3f}')
    assert np.median(errors) < 10
    # The best standard deviation is the target's, 0.05.
    assert np.median(scores) == pytest.approx(0.95, abs=0.03)


def test_mixture_of_one_matches_rle_head():
    """One Gaussian, and the loss in the call of mmpose's head."""
    cfg = Config.fromfile(CONFIGS['td-reg_res50_propel_coco-256x192'])
    model, samples = build(cfg), fake_batch(cfg)
    head = copy.deepcopy(cfg.model.head)
    head.update(
        type='mmlosses.heads.rle.MixtureRLEHead',
        num_gaussians=1,
        loss=dict(head.loss, type='mmlosses.PROPELLoss'))
    mixture = copy.deepcopy(model)
    mixture.head = MODELS.build(head)
    mixture.head.load_state_dict(model.head.state_dict())
    expected, expected_norm = step(model, samples)
    losses, norm = step(mixture, samples)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert norm == pytest.approx(expected_norm, rel=1e-4)
    for a, b in zip(predict(model, samples), predict(mixture, samples)):
        np.testing.assert_allclose(
            a.pred_instances.keypoints, b.pred_instances.keypoints, rtol=1e-5)
        np.testing.assert_allclose(
            a.pred_instances.keypoint_scores,
            b.pred_instances.keypoint_scores,
            rtol=1e-5)


@pytest.fixture(scope='module')
def yoloxpose():
    cfg = Config.fromfile(CONFIGS['yoloxpose_s_iou_l1_coco-640'])
    return build(cfg), fake_batch(cfg)


@pytest.mark.parametrize('name', [case.loss.__name__ for case in CASES])
def test_yoloxpose_trains_with_every_box_loss(yoloxpose, name):
    model, samples = yoloxpose
    model.head.loss_bbox = MODELS.build(
        dict(type=f'mmlosses.{name}', reduction='sum'))
    losses, norm = step(model, samples)
    assert losses['loss_bbox'] > 0
    assert math.isfinite(losses['loss']) and 0 < norm < 1e8


def test_readme_lists_configs_that_match_stock():
    text = (ROOT / 'configs/mmpose/README.md').read_text()
    rows = re.findall(r'^\|.*\]\((.*)\.py\) \| (.*?) \|', text, re.M)
    assert {stem for stem, _ in rows} == set(ALL)
    assert not {stem for stem, change in rows if change == 'same'} & {*OTHERS}


def test_direction_head_needs_its_codec():
    cfg = Config.fromfile(CONFIGS['td-hm_res50_direction_coco-256x192'])
    cfg.model.head.decoder.pop('limbs')
    cfg.model.head.decoder.type = 'MSRAHeatmap'
    with pytest.raises(TypeError, match='LimbDirectionHeatmap'):
        build(cfg)


def test_densest_gaussian():
    """Two wide Gaussians together beat one; a narrow one beats both."""
    wide, needle = [0.5, 0.5, -1.0, -1.0], [0.9, 0.9, -5.0, -5.0]
    lone = [0.1, 0.1, -1.0, -1.0]
    mixtures = torch.tensor([[lone, wide, wide], [lone, needle, wide]])
    assert densest(mixtures).tolist() == torch.tensor([wide, needle]).tolist()


def test_direction_targets():
    codec = LimbDirectionHeatmap(
        limbs=[(0, 1), (1, 0), (1, 2), (2, 3)],
        input_size=(64, 64),
        heatmap_size=(16, 16),
        sigma=2)
    keypoints = np.array([[[8., 20.], [40., 20.], [40., 44.], [40., 44.]]])
    encoded = codec.encode(keypoints, np.ones((1, 4), np.float32))
    right, left, down, _ = encoded['limb_directions'][0]
    np.testing.assert_allclose([right, left, down], [[1, 0], [-1, 0], [0, 1]])
    # From (2, 5) to (10, 5), and everything within distance 1.
    masks = encoded['limb_masks']
    rows, columns = np.nonzero(masks[0])
    assert set(rows) == {4, 5, 6} and masks[0].sum() == 3 * 9 + 2
    assert columns.min() == 1 and columns.max() == 11
    np.testing.assert_array_equal(masks[0], masks[1])
    # Coinciding ends; then one invisible end.
    assert masks[3].sum() == 0 < masks[2].sum()
    encoded = codec.encode(keypoints, np.array([[1, 1, 0, 1.]]))
    assert [mask.any() for mask in encoded['limb_masks']] == [1, 1, 0, 0]
