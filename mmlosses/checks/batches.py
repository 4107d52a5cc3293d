"""A fake batch for the model of any config, without dataset files."""
from __future__ import annotations
from copy import deepcopy
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, Iterator, List, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.fileio import dump
from mmengine.registry import DATASETS, FUNCTIONS
from mmengine.structures import InstanceData, PixelData

from .findings import type_name

BATCH_SIZE = 2

# Transforms of an optional package that add nothing a loss could see.
OPTIONAL_TRANSFORMS = ('Albumentation', 'Albu', 'Albumentations')

# What a batch of noise does not need: files, and colours, of which the hue of
# mmcv fails with NumPy 2.
UNNEEDED_TRANSFORMS = (*OPTIONAL_TRANSFORMS, 'LoadImageFromFile',
                       'ColorJitter')


class NoBatch(ValueError):
    """There is neither a fake batch nor data for this model."""


def fake_batch(cfg: Config, size: int = 256) -> Any:
    """Two samples with every target that the model of a config needs.

    A model of mmdet gets noise with boxes, masks and a semantic map: a tracker
    as pairs of frames, a semi-supervised detector as its three branches. A
    mmpose estimator gets noise with people, encoded by the pipeline of the
    config; a pose lifter gets a film of random poses. A model of mmseg gets
    noise with a label map. A model of mmpretrain gets noise with labels, of
    which the pipeline of the config makes views and masks. Any other model
    gets the first samples of its training data.

    Args:
        cfg (Config): The whole config.
        size (int): Image side for mmdet and mmseg, in pixels. 256 pixels give
            a location to each of 900 queries. Default: 256.

    Returns:
        Any: A batch as a data loader yields it.

    Raises:
        NoBatch: If the config has neither such a model nor training data.
    """
    scope = cfg.get('default_scope')
    names = set(types_of(cfg.model))
    if scope == 'mmdet':
        if 'ReIDDataPreprocessor' in names:
            return reid_batch()
        batch = detection_batch(cfg, size)
        if 'MultiBranchDataPreprocessor' in names:
            return branched(batch)
        if ('TrackDataPreprocessor' in names
                and not cfg.model.data_preprocessor.get('use_det_processor')):
            return filmed(batch)
        return batch
    if scope == 'mmpose' and names & {
            'TopdownPoseEstimator', 'BottomupPoseEstimator', 'DWPoseDistiller'
    }:
        return pose_batch(cfg)
    if scope == 'mmpose' and 'PoseLifter' in names:
        return lifted_batch(cfg)
    if scope == 'mmseg':
        return segmentation_batch(cfg, size)
    if scope == 'mmpretrain':
        return pretraining_batch(cfg)
    return first_samples(cfg)


def types_of(node: Any) -> Iterator[str]:
    """The class names in a config, at any depth."""
    if isinstance(node, dict):
        if 'type' in node:
            yield type_name(node)
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for value in node:
        yield from types_of(value)


def first_samples(cfg: Config) -> Any:
    """The first samples of the config's own training data."""
    loader = training_loader(cfg)
    dataset = DATASETS.build(loader.dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    samples = [dataset[index] for index in range(BATCH_SIZE)]
    return collate_function(loader)(samples)


def training_loader(cfg: Config) -> Any:
    """The loader of a config's training data."""
    loader = cfg.get('train_dataloader')
    if not loader or not loader.get('dataset'):
        raise NoBatch('no batch can be made for this model: the config has '
                      'no train_dataloader with a dataset to take it from')
    return loader


def collate_function(loader: Dict[str, Any]) -> Callable:
    """The collate function of a data loader config."""
    collate = dict(loader.get('collate_fn') or dict(type='pseudo_collate'))
    kind = collate.pop('type')
    collate.pop('_scope_', None)  # of a config that inherits from a project
    function = FUNCTIONS.get(kind) if isinstance(kind, str) else kind
    return partial(function, **collate)


def random_boxes(rng: np.random.RandomState, number: int,
                 shape: Sequence[int]) -> np.ndarray:
    """Boxes (number, 4), xyxy, with sides of 0.1 to 0.8 of the image."""
    height, width = shape
    size = np.array([width, height], dtype=np.float32)
    sides = size * rng.uniform(0.1, 0.8, (number, 2))
    corners = (size - sides) * rng.uniform(0, 1, (number, 2))
    return np.concatenate([corners, corners + sides], 1).astype(np.float32)


def smallest_value(node: Any, name: str, default: int) -> int:
    """The smallest number under a key of a detector config."""
    found = [default]
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name and isinstance(value, int):
                found.append(value)
            elif not (key in ('rpn_head', 'backbone') or 'loss' in str(key)):
                found.append(smallest_value(value, name, default))
    elif isinstance(node, (list, tuple)):
        found += [smallest_value(value, name, default) for value in node]
    return min(found)


def detection_batch(cfg: Config, size: int) -> Dict[str, list]:
    """Noise, packed as mmdet's pipelines do."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    rng = np.random.RandomState(0)
    classes = smallest_value(cfg.model, 'num_classes', 10)
    things = smallest_value(cfg.model, 'num_things_classes', 1000)
    labels_below = min(classes, things)
    # Stuff classes are numbered after the things.
    stuff = things if things < 1000 else 1
    transforms = list(
        pipelines((cfg.get('train_dataloader') or {}).get('dataset', {})))
    scale = semantic_scale(transforms)
    # Some assigners prefer masks to boxes if they exist.
    masked = 'LoadAnnotations' not in map(type_name, transforms) or any(
        transform.get('with_mask') for transform in transforms)
    samples = []
    for index in range(BATCH_SIZE):
        # All of one size: not every head pads its masks.
        shape = (size, size)
        number = 4 + index
        boxes = random_boxes(rng, number, shape)
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_path='<noise>',
                img_shape=shape,
                ori_shape=shape,
                pad_shape=shape,
                batch_input_shape=shape,
                scale_factor=(1.0, 1.0),
                border=np.array([0, size, 0, size]),
                flip=False,
                flip_direction=None))
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(
                rng.randint(0, labels_below, number).astype(np.int64)))
        if masked:
            masks = np.zeros((number, *shape), dtype=np.uint8)
            for mask, (left, top, right,
                       bottom) in zip(masks, boxes.astype(int)):
                mask[top:bottom + 1, left:right + 1] = 1
            sample.gt_instances.masks = BitmapMasks(masks, *shape)
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        semantic = torch.zeros(1, size // scale, size // scale).long()
        semantic[:, size // scale // 2:] = stuff
        sample.gt_sem_seg = PixelData(sem_seg=semantic)
        picture = rng.randint(0, 256, (3, *shape)).astype(np.uint8)
        # Fast R-CNN has none of its own.
        sample.proposals = InstanceData(
            bboxes=torch.from_numpy(random_boxes(rng, 20, shape)))
        samples.append(
            dict(inputs=torch.from_numpy(picture), data_samples=sample))
    return pseudo_collate(samples)


def segmentation_batch(cfg: Config, size: int) -> Dict[str, list]:
    """Noise with label maps, packed as mmseg's pipelines do.

    They have squares of all classes, and a margin to ignore.
    """
    from mmseg.structures import SegDataSample
    rng = np.random.RandomState(0)
    classes = smallest_value(cfg.model, 'num_classes', 10)
    ignored = 255
    for node in (cfg.model.get('decode_head'), cfg.model):
        if isinstance(node, dict) and 'ignore_index' in node:
            ignored = node['ignore_index']
            break
    samples = []
    for index in range(BATCH_SIZE):
        shape = (size, size)
        coarse = rng.randint(0, classes, (1, -(-size // 8), -(-size // 8)))
        labels = coarse.repeat(8, 1).repeat(8, 2)[:, :size, :size]
        edges = np.zeros_like(labels)
        edges[:, ::8] = edges[:, :, ::8] = 1
        margin = size // 16
        labels[:, :margin] = labels[:, :, :margin] = ignored
        sample = SegDataSample(
            metainfo=dict(
                img_path='<noise>',
                img_shape=shape,
                ori_shape=shape,
                pad_shape=shape,
                flip=False,
                flip_direction=None))
        maps = dict(gt_sem_seg=labels, gt_edge_map=edges)
        for name, values in maps.items():
            data = torch.from_numpy(values.astype(np.int64))
            setattr(sample, name, PixelData(data=data))
        picture = rng.randint(0, 256, (3, *shape)).astype(np.uint8)
        samples.append(
            dict(inputs=torch.from_numpy(picture), data_samples=sample))
    return pseudo_collate(samples)


def pretraining_batch(cfg: Config) -> Any:
    """Noise with labels, through the pipeline of the config.

    A head for several labels gets two of them for each image, and a model
    whose preprocessor has one mean gets gray images.
    """
    from mmpretrain.registry import TRANSFORMS
    loader = training_loader(cfg)
    dataset = loader.dataset
    while 'pipeline' not in dataset:
        dataset = dataset.get('dataset') or dataset.datasets[0]
    transforms = [
        TRANSFORMS.build(transform)
        for transform in without_unneeded(dataset.pipeline)
    ]
    rng = np.random.RandomState(0)
    classes = smallest_value(cfg.model, 'num_classes', 10)
    several = any([
        name.startswith(('MultiLabel', 'CSRA')) for name in types_of(cfg.model)
    ])
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get(
        'data_preprocessor') or {}
    channels = () if len(preprocessor.get('mean') or ()) == 1 else (3, )
    samples = []
    for index in range(BATCH_SIZE):
        shape = (320, 320)
        labels = rng.choice(classes, 2, replace=False).tolist()
        sample: Any = dict(
            img=rng.randint(0, 256, (*shape, *channels)).astype(np.uint8),
            img_path='<noise>',
            img_shape=shape,
            ori_shape=shape,
            sample_idx=index,
            gt_label=labels if several else labels[0])
        for transform in transforms:
            sample = transform(sample)
        samples.append(sample)
    return collate_function(loader)(samples)


def branched(batch: Dict[str, list]) -> Dict[str, Dict[str, list]]:
    """The samples with labels, and twice as if they had none."""
    for sample in batch['data_samples']:
        sample.set_metainfo(
            dict(homography_matrix=np.eye(3, dtype=np.float32)))
    return {
        key: {
            branch: deepcopy(values)
            for branch in ('sup', 'unsup_teacher', 'unsup_student')
        }
        for key, values in batch.items()
    }


def filmed(batch: Dict[str, list]) -> Dict[str, list]:
    """Each sample as two frames of a film in which nothing moves."""
    from mmdet.structures import TrackDataSample
    films = []
    for frame in batch['data_samples']:
        objects = frame.gt_instances
        objects.instances_ids = torch.arange(1, len(objects) + 1)
        film = TrackDataSample(
            metainfo=dict(key_frames_inds=[0], ref_frames_inds=[1]))
        film.video_data_samples = [frame, deepcopy(frame)]
        films.append(film)
    pictures = [torch.stack([x, x]) for x in batch['inputs']]
    return dict(inputs=pictures, data_samples=films)


def semantic_scale(transforms: Sequence[Dict]) -> int:
    """The factor by which a pipeline shrinks the semantic map."""
    for transform in transforms:
        if type_name(transform) == 'SegRescale':
            return round(1 / transform.get('scale_factor', 1))
    return 1


def pipelines(node: Any) -> Iterator[Dict]:
    """The transforms of a dataset and of the datasets that it wraps."""
    if isinstance(node, dict):
        yield from node.get('pipeline', [])
        yield from pipelines(node.get('dataset'))
        yield from pipelines(node.get('datasets'))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from pipelines(value)


def reid_batch() -> Dict[str, list]:
    """Two images each of two people, packed as one sample."""
    from mmdet.structures import ReIDDataSample

    # The size that the model's global pooling expects.
    shape = (256, 128)
    rng = np.random.RandomState(0)
    pictures = rng.randint(0, 256, (4, 3, *shape)).astype(np.uint8)
    sample = ReIDDataSample(metainfo=dict(img_shape=shape))
    sample.set_gt_label([0, 0, 1, 1])
    return pseudo_collate(
        [dict(inputs=torch.from_numpy(pictures), data_samples=sample)])


def pose_batch(cfg: Config) -> Any:
    """Noise with people, through the pipeline of the config."""
    from mmpose.datasets.datasets import BaseCocoStyleDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from mmpose.registry import DATASETS, TRANSFORMS
    inner = deepcopy(cfg.train_dataloader.dataset)
    later: List[Any] = []
    whole: Dict[str, Any] = {}
    # Of several datasets the first will do, converted to the keypoints of the
    # combined dataset.
    while 'dataset' in inner or 'datasets' in inner:
        later = [*inner.get('pipeline', []), *later]
        if 'metainfo' in inner:
            whole = parse_pose_metainfo(inner.metainfo)
        inner = inner['dataset'] if 'dataset' in inner else inner.datasets[0]
    inner.pipeline = without_optional(inner.get('pipeline', []))
    inner.lazy_init = True
    dataset = DATASETS.build(inner)
    people = [
        BaseCocoStyleDataset.parse_data_info(
            dataset,
            dict(
                raw_ann_info=person,
                raw_img_info=dict(width=320, height=320, img_path='<noise>')))
        for person in random_people(dataset.metainfo['num_keypoints'])
    ]
    if dataset.data_mode == 'bottomup':
        people = dataset._get_bottomup_data_infos(people, [])
    rng = np.random.RandomState(0)
    for person in people:
        person['img'] = rng.randint(0, 256, (320, 320, 3)).astype(np.uint8)
    dataset.data_list = people
    dataset.serialize_data = False
    dataset._fully_initialized = True
    transforms = [TRANSFORMS.build(t) for t in without_optional(later)]
    samples = []
    for index in range(BATCH_SIZE):
        sample = dataset[index]
        for transform in transforms:
            sample.update({key: whole[key] for key in whole if key in sample})
            sample['dataset'] = dataset
            sample = transform(sample)
        samples.append(sample)
    return pseudo_collate(samples)


def lifted_batch(cfg: Config) -> Any:
    """A film of random poses in 3D, read by the dataset of the config."""
    from mmpose.registry import DATASETS

    # Semi-supervised ones have no training data in their config.
    loader = cfg.get('train_dataloader') or cfg.val_dataloader
    settings = deepcopy(loader.dataset)
    length = max(
        settings.get('seq_len', 1) * settings.get('seq_step', 1),
        settings.get('multiple_target', 0) +
        settings.get('multiple_target_step', 0))
    rng = np.random.RandomState(0)
    # In metres before the camera, as Human3.6M.
    poses = rng.normal((0, 0, 5), 0.3, (length + BATCH_SIZE, 17, 3))
    focus, centre, sides = 1000.0, 500.0, 1000
    pixels = poses[..., :2] / poses[..., 2:] * focus + centre
    seen = np.ones((*poses.shape[:2], 1))
    camera = dict(
        w=sides,
        h=sides,
        f=np.full((2, 1), focus),
        c=np.full((2, 1), centre),
        k=np.zeros((3, 1)),
        p=np.zeros((2, 1)),
        R=np.eye(3),
        T=np.zeros((3, 1)))
    with TemporaryDirectory() as folder:
        np.savez(
            f'{folder}/poses.npz',
            imgname=np.array([
                f'S1_Noise.1_{frame:06d}.jpg' for frame in range(len(poses))
            ]),
            S=np.concatenate([poses, seen], axis=-1).astype(np.float32),
            part=np.concatenate([pixels, seen], axis=-1).astype(np.float32),
            center=np.full((len(poses), 2), centre),
            scale=np.ones(len(poses)))
        dump({('S1', '1'): camera}, f'{folder}/cameras.pkl')
        settings.update(
            data_root=folder,
            ann_file='poses.npz',
            camera_param_file='cameras.pkl',
            keypoint_2d_src='gt',
            factor_file=None,
            subset_frac=1.0)
        dataset = DATASETS.build(settings)
        return pseudo_collate([dataset[index] for index in range(BATCH_SIZE)])


def without_optional(pipeline: Sequence[Any]) -> List[Any]:
    """A pipeline without the transforms of optional packages."""
    return [
        transform for transform in pipeline
        if type_name(transform) not in OPTIONAL_TRANSFORMS
    ]


def without_unneeded(node: Any) -> Any:
    """A pipeline without what noise does not need, at any depth."""
    if isinstance(node, dict):
        return {key: without_unneeded(value) for key, value in node.items()}
    if not isinstance(node, (list, tuple)):
        return node
    return type(node)([
        without_unneeded(each) for each in node if not (
            isinstance(each, dict) and type_name(each) in UNNEEDED_TRANSFORMS)
    ])


def random_people(keypoints: int) -> Iterator[Dict[str, Any]]:
    """COCO annotations of six people, two per image.

    One keypoint of each is not annotated, as is usual.
    """
    rng = np.random.RandomState(0)
    for index in range(6):
        left, top, right, bottom = random_boxes(rng, 1, (320, 320))[0].tolist()
        points = np.full((keypoints, 3), 2.0)
        points[:, :2] = rng.uniform((left, top), (right, bottom),
                                    (keypoints, 2))
        points[-1] = 0
        yield dict(
            id=index,
            image_id=index // 2,
            category_id=1,
            iscrowd=0,
            area=(right - left) * (bottom - top) * 0.5,
            bbox=[left, top, right - left, bottom - top],
            num_keypoints=keypoints - 1,
            segmentation=[[left, top, right, top, right, bottom, left,
                           bottom]],
            keypoints=points.ravel().tolist())
