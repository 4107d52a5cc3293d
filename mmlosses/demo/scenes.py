"""Scenes of real handwritten digits, fully annotated."""
from __future__ import annotations
from typing import Any, Dict, Sequence, Tuple

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch.utils.data import Dataset

SPLITS = ('train', 'val')


class DigitScenes(Dataset):
    """One or more digits, scaled and rotated, on an empty canvas.

    The digits are the 1,797 images of scikit-learn's ``load_digits``. A fixed
    80 % of them serve the training scenes and the rest the validation scenes,
    so the splits share no image. The same arguments give the same scenes.

    ``gt_instances`` of a scene with n non-overlapping digits:

    - ``labels`` (n,): the digit, 0 to 9, int64;
    - ``bboxes`` (n, 4): the tight box of its ink, xyxy in pixels, where a
      pixel covers [column, column + 1];
    - ``keypoints`` (n, 5, 2): centre, top left, top right, bottom right and
      bottom left corner of that box, (x, y) in pixels;
    - ``masks`` (n, canvas, canvas): where its ink is darker than half, bool;
    - ``angles`` (n,): its rotation in radians, counter-clockwise as seen.

    The last five arguments make the scenes harder and change nothing else.
    Leave validation scenes their annotations.

    Args:
        split (str): ``'train'`` or ``'val'``.
        num_scenes (int): Number of scenes.
        num_digits (tuple[int, int]): Minimum and maximum number of digits of
            a scene. Scenes without room for another digit have fewer, but at
            least one. Default: (1, 1).
        digit_size (tuple[float, float]): Minimum and maximum side, in pixels,
            of the square around a digit before rotation. Default: (24, 44).
        max_rotation (float): Maximum rotation to either side, in degrees.
            Default: 45.
        canvas (int): Side of the canvas in pixels. Default: 64.
        seed (int): Seed of the scenes. Default: 0.
        occlusion (float): Sides of a blank patch on each digit, as a share of
            the sides of its box. The annotations are those of the whole
            digit. Default: 0.0.
        noise (float): Standard deviation of the noise of each pixel, as a
            share of full ink. Default: 0.0.
        wrong_labels (float): Share of digits with the label of another one.
            Default: 0.0.
        wrong_boxes (float): Share of digits whose box and keypoints are wrong:
            each side of the box is up to 0.4 of its width or height away.
            Default: 0.0.
        imbalance (float): How many times as many images the 0 has as the 9;
            the classes between are spaced evenly, by their logarithm.
            Default: 1.0.

    Raises:
        ValueError: If an argument is out of range.
    """

    metainfo = dict(
        classes=tuple('0123456789'),
        keypoints=('centre', 'top_left', 'top_right', 'bottom_right',
                   'bottom_left'))

    def __init__(self,
                 split: str,
                 num_scenes: int,
                 num_digits: Tuple[int, int] = (1, 1),
                 digit_size: Tuple[float, float] = (24, 44),
                 max_rotation: float = 45.0,
                 canvas: int = 64,
                 seed: int = 0,
                 occlusion: float = 0.0,
                 noise: float = 0.0,
                 wrong_labels: float = 0.0,
                 wrong_boxes: float = 0.0,
                 imbalance: float = 1.0) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be 'train' or 'val', got {split!r}")
        if not 1 <= num_digits[0] <= num_digits[1]:
            raise ValueError('num_digits must be (least, most) with at least '
                             f'one digit, got {num_digits}')
        if not 0 < digit_size[0] <= digit_size[1] <= canvas / 2**0.5:
            raise ValueError(
                'digit_size must be (least, greatest), and the square must '
                f'fit the canvas of {canvas} pixels when it is rotated, got '
                f'{digit_size}')
        shares = dict(
            occlusion=occlusion,
            wrong_labels=wrong_labels,
            wrong_boxes=wrong_boxes)
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f'{name} must be from 0 to 1, got {share}')
        if noise < 0 or imbalance < 1:
            raise ValueError('noise must be at least 0 and imbalance at least '
                             f'1, got {noise} and {imbalance}')
        self.num_digits = num_digits
        self.digit_size = digit_size
        self.max_rotation = max_rotation
        self.canvas = canvas
        self.occlusion = occlusion
        self.noise = noise
        self.wrong_labels = wrong_labels
        self.wrong_boxes = wrong_boxes
        pictures, labels = load_split(split)
        if imbalance > 1:
            kept = long_tail(labels, imbalance)
            pictures, labels = pictures[kept], labels[kept]
        self.scenes = []
        for index in range(num_scenes):
            # One generator per scene: longer datasets begin with the same
            # scenes.
            key = [seed, SPLITS.index(split), index]
            ink, instances = self.draw_scene(pictures, labels,
                                             np.random.default_rng(key))
            # Another generator: harder scenes have the same digits.
            self.spoil(ink, instances, np.random.default_rng([*key, 1]))
            self.scenes.append((to_image(ink), instances))

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Dict[str, Any]:
        image, instances = self.scenes[index]
        masks = instances['masks']
        sample = BaseDataElement(
            metainfo=dict(scene=index, img_shape=image.shape))
        sample.gt_instances = InstanceData(
            labels=torch.from_numpy(instances['labels']),
            bboxes=torch.from_numpy(instances['bboxes']),
            keypoints=torch.from_numpy(corner_keypoints(instances['bboxes'])),
            masks=torch.from_numpy(masks),
            angles=torch.from_numpy(instances['angles']))
        return dict(inputs=torch.from_numpy(image)[None], data_samples=sample)

    def draw_scene(
        self, pictures: np.ndarray, labels: np.ndarray,
        random: np.random.Generator
    ) -> Tuple[np.ndarray, Dict[str, np.ndarray]]:
        """Draw one scene: its ink and its annotations."""
        least, most = self.num_digits
        ink = np.zeros((self.canvas, self.canvas))
        instances: Dict[str, list] = dict(
            labels=[], bboxes=[], masks=[], angles=[])
        for _ in range(random.integers(least, most + 1)):
            # A crowded canvas may have no room left.
            for _ in range(20):
                chosen = random.integers(len(pictures))
                angle = np.deg2rad(
                    random.uniform(-self.max_rotation, self.max_rotation))
                digit, box = self.draw_digit(pictures[chosen], angle, random)
                if not instances['bboxes'] or not overlaps(
                        box, instances['bboxes']):
                    ink = np.maximum(ink, digit)
                    instances['labels'].append(labels[chosen])
                    instances['bboxes'].append(box)
                    instances['masks'].append(digit > 0.5)
                    instances['angles'].append(angle)
                    break
        dtypes = dict(
            labels=np.int64, bboxes=np.float32, masks=bool, angles=np.float32)
        return ink, {
            name: np.array(values, dtype=dtypes[name])
            for name, values in instances.items()
        }

    def spoil(self, ink: np.ndarray, instances: Dict[str, np.ndarray],
              random: np.random.Generator) -> None:
        """Occlude the digits, add noise, and make annotations wrong."""
        labels, boxes = instances['labels'], instances['bboxes']
        for index, box in enumerate(boxes.astype(int)):
            sides = box[2:] - box[:2]
            patch = np.round(self.occlusion * sides).astype(int)
            x, y = box[:2] + random.integers(0, sides - patch, endpoint=True)
            ink[y:y + patch[1], x:x + patch[0]] = 0
            other = (labels[index] + random.integers(1, 10)) % 10
            if random.random() < self.wrong_labels:
                labels[index] = other
            shift = random.uniform(-0.4, 0.4, size=4) * np.tile(sides, 2)
            if random.random() < self.wrong_boxes:
                boxes[index] = (box + shift).clip(0, self.canvas)
        if self.noise:
            ink += self.noise * random.normal(size=ink.shape)

    def draw_digit(
            self, picture: np.ndarray, angle: float,
            random: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        """Draw one digit at a random position: its ink and its box."""
        scale = random.uniform(*self.digit_size) / len(picture)
        centre = self.canvas / 2 + random.uniform(-0.5, 0.5, size=2)
        box = ink_box(render(picture, scale, angle, centre, self.canvas))
        # Any shift that keeps the whole box on the canvas.
        low, high = -box[:2], self.canvas - box[2:]
        shift = random.integers(low, high, endpoint=True)
        digit = render(picture, scale, angle, centre + shift, self.canvas)
        return digit, box + np.tile(shift, 2)


def load_split(split: str) -> Tuple[np.ndarray, np.ndarray]:
    """The images (n, 8, 8), in [0, 1], and labels (n,) of a split."""
    from sklearn.datasets import load_digits
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    train = int(0.8 * len(order))
    chosen = order[:train] if split == 'train' else order[train:]
    return digits.images[chosen] / 16, digits.target[chosen]


def long_tail(labels: np.ndarray, imbalance: float) -> np.ndarray:
    """The indices of a sample with fewer and fewer images of each label."""
    shares = imbalance**(-np.arange(10) / 9)
    number = np.bincount(labels, minlength=10).min()
    return np.concatenate([
        np.nonzero(labels == label)[0][:max(round(number * share), 1)]
        for label, share in enumerate(shares)
    ])


def to_image(ink: np.ndarray) -> np.ndarray:
    """Ink as an uint8 image."""
    return np.round(255 * ink.clip(0, 1)).astype(np.uint8)


def render(picture: np.ndarray, scale: float, angle: float, centre: np.ndarray,
           canvas: int) -> np.ndarray:
    """Draw an image, scaled and rotated around an (x, y) of the canvas."""
    from scipy.ndimage import affine_transform

    # An empty margin, or SciPy would cut strokes at the border.
    picture = np.pad(picture, 1)
    # SciPy maps a (row, column) of the canvas to the image.
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    matrix = np.array([[cos, sin], [-sin, cos]])
    middle = (np.array(picture.shape) - 1) / 2
    # The centre of pixel 0 is at 0.5.
    offset = middle - matrix @ (centre[::-1] - 0.5)
    ink = affine_transform(
        picture, matrix, offset, output_shape=(canvas, canvas), order=1)
    return ink / ink.max()


def ink_box(ink: np.ndarray) -> np.ndarray:
    """The tight box, xyxy, of the pixels darker than half."""
    rows, columns = np.nonzero(ink > 0.5)
    return np.array([
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    ])


def corner_keypoints(boxes: np.ndarray) -> np.ndarray:
    """Centre and corners (n, 5, 2), clockwise from top left, of boxes."""
    x1, y1, x2, y2 = boxes.T
    x = np.stack([(x1 + x2) / 2, x1, x2, x2, x1], axis=1)
    y = np.stack([(y1 + y2) / 2, y1, y1, y2, y2], axis=1)
    return np.stack([x, y], axis=2)


def overlaps(box: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """True if a box overlaps one of the others."""
    boxes = np.array(others)
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    return bool((low < high).all(axis=1).any())
