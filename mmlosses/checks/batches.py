"""A batch for the model of any config, without the files of a data set."""
from __future__ import annotations
from copy import deepcopy
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, FUNCTIONS
from mmengine.structures import InstanceData, PixelData

BATCH_SIZE = 2
PICTURE = (128, 128)

# Transforms of another package, which makes nothing that a loss could see.
OPTIONAL_TRANSFORMS = ('Albumentation', 'Albu')


def fake_batch(cfg: Config) -> Any:
    """Two samples with everything that the model of a config learns from.

    For a detector of mmdet, noise with boxes, masks and a semantic map. For a
    pose estimator of mmpose, noise with people, through the pipeline of the
    config, whose codec makes the targets. For any other, the first samples
    of its own training data.

    Args:
        cfg (Config): The whole config.

    Returns:
        Any: What a data loader would yield.

    Raises:
        ValueError: If the config has neither such a model nor training data.
    """
    scope = cfg.get('default_scope')
    names = {str(name).rpartition('.')[2] for name in types_of(cfg.model)}
    if scope == 'mmdet' and not names & {
            'TrackDataPreprocessor', 'GroundingDINO', 'GLIP', 'SoftTeacher'
    }:
        if 'ReIDDataPreprocessor' in names:
            return reid_batch(cfg)
        return detection_batch(cfg)
    if scope == 'mmpose' and names & {
            'TopdownPoseEstimator', 'BottomupPoseEstimator'
    }:
        return pose_batch(cfg)
    return own_batch(cfg)


def types_of(node: Any) -> Iterator[Any]:
    """The types of a config and of all in it."""
    if isinstance(node, dict):
        if 'type' in node:
            kind = node['type']
            yield kind.__name__ if isinstance(kind, type) else kind
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for value in node:
        yield from types_of(value)


def own_batch(cfg: Config) -> Any:
    """The first samples of the config's own training data."""
    loader = cfg.get('train_dataloader')
    if not loader or 'dataset' not in loader:
        raise ValueError('no batch can be made for this model: the config has '
                         'no train_dataloader with a dataset to take it from')
    dataset = DATASETS.build(loader.dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    samples = [dataset[index] for index in range(BATCH_SIZE)]
    collate = dict(loader.get('collate_fn', dict(type='pseudo_collate')))
    kind = collate.pop('type')
    function = FUNCTIONS.get(kind) if isinstance(kind, str) else kind
    return function(samples, **collate)


def random_boxes(rng: np.random.RandomState, number: int,
                 shape: Sequence[int]) -> np.ndarray:
    """Boxes (number, 4), xyxy, of all sizes from a tenth of the picture."""
    height, width = shape
    size = np.array([width, height], dtype=np.float32)
    sides = size * rng.uniform(0.1, 0.8, (number, 2))
    corners = (size - sides) * rng.uniform(0, 1, (number, 2))
    return np.concatenate([corners, corners + sides], 1).astype(np.float32)


def smallest(node: Any, name: str, default: int) -> int:
    """The smallest number that a config of a detector has under a name."""
    found = [default]
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name and isinstance(value, int):
                found.append(value)
            elif not (key in ('rpn_head', 'backbone') or 'loss' in str(key)):
                found.append(smallest(value, name, default))
    elif isinstance(node, (list, tuple)):
        found += [smallest(value, name, default) for value in node]
    return min(found)


def detection_batch(cfg: Config) -> Dict[str, list]:
    """Noise, as mmdet's pipelines pack it."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    rng = np.random.RandomState(0)
    classes = smallest(cfg.model, 'num_classes', 10)
    things = smallest(cfg.model, 'num_things_classes', 1000)
    labels_below = min(classes, things)
    # A kind of stuff has the number after the last thing's.
    stuff = things if things < 1000 else 1
    samples = []
    for index in range(BATCH_SIZE):
        # Of different sizes, so that one of them is padded.
        height, width = PICTURE[0], PICTURE[1] - 32 * index
        number = 4 + index
        boxes = random_boxes(rng, number, (height, width))
        masks = np.zeros((number, height, width), dtype=np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
            mask[top:bottom + 1, left:right + 1] = 1
        semantic = np.zeros((1, height, width), dtype=np.int64)
        semantic[:, height // 2:] = stuff
        scale = semantic_scale(cfg)
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_path='<noise>',
                img_shape=(height, width),
                ori_shape=(height, width),
                pad_shape=(height, width),
                batch_input_shape=PICTURE,
                scale_factor=(1.0, 1.0),
                border=np.array([0, height, 0, width]),
                flip=False,
                flip_direction=None))
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(
                rng.randint(0, labels_below, number).astype(np.int64)),
            masks=BitmapMasks(masks, height, width))
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        sample.gt_sem_seg = PixelData(
            sem_seg=torch.from_numpy(semantic[:, ::scale, ::scale].copy()))
        picture = rng.randint(0, 256, (3, height, width)).astype(np.uint8)
        samples.append(
            dict(inputs=torch.from_numpy(picture), data_samples=sample))
    return pseudo_collate(samples)


def semantic_scale(cfg: Config) -> int:
    """How much smaller the semantic map of the pipeline is."""
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    for transform in pipelines(dataset):
        if transform.get('type') == 'SegRescale':
            return round(1 / transform.get('scale_factor', 1))
    return 1


def pipelines(node: Any) -> Iterator[Dict]:
    """The transforms of a data set and of those that it wraps."""
    if isinstance(node, dict):
        yield from node.get('pipeline', [])
        yield from pipelines(node.get('dataset'))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from pipelines(value)


def reid_batch(cfg: Config) -> Dict[str, list]:
    """Noise of two people, each seen twice."""
    from mmdet.structures import ReIDDataSample
    rng = np.random.RandomState(0)
    samples = []
    for index in range(BATCH_SIZE):
        pictures = rng.randint(0, 256, (2, 3, *PICTURE)).astype(np.uint8)
        sample = ReIDDataSample(metainfo=dict(img_shape=PICTURE))
        sample.set_gt_label([index, index])
        samples.append(
            dict(inputs=torch.from_numpy(pictures), data_samples=sample))
    return pseudo_collate(samples)


def pose_batch(cfg: Config) -> Any:
    """Noise with people, through the pipeline of the config."""
    from mmpose.registry import DATASETS, TRANSFORMS
    outer = deepcopy(cfg.train_dataloader.dataset)
    inner = outer
    later: List[Any] = []
    # Several data sets in one: the first will do.
    while 'dataset' in inner or 'datasets' in inner:
        later = [*inner.get('pipeline', []), *later]
        inner = inner['dataset'] if 'dataset' in inner else inner.datasets[0]
    inner.pipeline = without_optional(inner.get('pipeline', []))
    inner.lazy_init = True
    dataset = DATASETS.build(inner)
    people = [
        dataset.parse_data_info(
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
            sample['dataset'] = dataset
            sample = transform(sample)
        samples.append(sample)
    return pseudo_collate(samples)


def without_optional(pipeline: Sequence[Any]) -> List[Any]:
    """A pipeline without the transforms of another package."""
    return [
        transform for transform in pipeline
        if transform.get('type') not in OPTIONAL_TRANSFORMS
    ]


def random_people(keypoints: int) -> Iterator[Dict[str, Any]]:
    """Annotations of COCO's form: six people, two on a picture.

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
