"""Common metrics, each with its chance level."""
from __future__ import annotations
from typing import Any, Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric


class DigitMetric(BaseMetric):
    """Collect one field of the ground truth and prediction of each scene.

    The results are the metric under its name and, as ``<name>_chance``, the
    score of the best constant guess on the same scenes.
    """

    # No prefix: the bare name is unique within the demo.
    default_prefix = ''
    field: str
    name: str

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store ground truth and prediction of a batch."""
        for sample in data_samples:
            truth = sample['gt_instances']
            self.results.append({
                'truth':
                truth[self.field].cpu().numpy(),
                'guess':
                sample['pred_instances'][self.field].cpu().numpy(),
                'boxes':
                truth['bboxes'].cpu().numpy(),
            })

    def compute_metrics(self, results: List[dict]) -> Dict[str, float]:
        """The metric over all digits, and its chance level."""
        truth, guess, boxes = [
            np.concatenate([result[key] for result in results])
            for key in ('truth', 'guess', 'boxes')
        ]
        constant = np.broadcast_to(self.constant(truth), truth.shape)
        return {
            f'{self.name}_chance': self.score(constant, truth, boxes),
            self.name: self.score(guess, truth, boxes),
        }

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The metric of guesses."""
        raise NotImplementedError

    def constant(self, truth: np.ndarray) -> np.ndarray:
        """The constant guess: the mean of the ground truth."""
        return truth.mean(axis=0)


class PCK(DigitMetric):
    """Percentage of correct keypoints, as a fraction.

    A keypoint is correct if its distance from the ground truth is at most a
    fraction of the longer side of the digit's box.

    Args:
        thr (float): That fraction. Default: 0.05.
        **kwargs: See :class:`mmengine.evaluator.BaseMetric`.
    """
    field = 'keypoints'
    name = 'PCK'

    def __init__(self, thr: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thr = thr

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The fraction of correct keypoints (n, K, 2)."""
        distance = np.linalg.norm(guess - truth, axis=-1)
        side = (boxes[:, 2:] - boxes[:, :2]).max(axis=-1)
        return float((distance <= self.thr * side[:, None]).mean())


class MeanIoU(DigitMetric):
    """Mean intersection over union of boxes, paired by position."""
    field = 'bboxes'
    name = 'mIoU'

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The mean IoU of boxes (n, 4)."""
        low = np.maximum(guess[:, :2], truth[:, :2])
        high = np.minimum(guess[:, 2:], truth[:, 2:])
        intersection = (high - low).clip(min=0).prod(axis=-1)
        areas = [(side[:, 2:] - side[:, :2]).clip(min=0).prod(axis=-1)
                 for side in (guess, truth)]
        return float((intersection / (sum(areas) - intersection)).mean())


class Accuracy(DigitMetric):
    """Fraction of digits with the right label."""
    field = 'labels'
    name = 'accuracy'

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The fraction of correct labels (n,)."""
        return float((guess == truth).mean())

    def constant(self, truth: np.ndarray) -> np.ndarray:
        """The most frequent label."""
        return np.array(np.bincount(truth).argmax())


class MaskIoU(DigitMetric):
    """Mean intersection over union of the ink mask of each scene.

    The constant guess is the set of pixels with more ink than average.
    """
    field = 'masks'
    name = 'mask_IoU'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the union of the true masks, and the predicted mask."""
        super().process(data_batch, data_samples)
        for result in self.results[-len(data_samples):]:
            result['truth'] = result['truth'].any(axis=0, keepdims=True)

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The mean IoU of non-empty masks (n, H, W)."""
        intersection = (guess & truth).sum(axis=(1, 2))
        union = (guess | truth).sum(axis=(1, 2))
        return float((intersection / union).mean())

    def constant(self, truth: np.ndarray) -> np.ndarray:
        """The pixels that have ink more often than average."""
        often = truth.mean(axis=0)
        return often > often.mean()


class MaskDice(MaskIoU):
    """Mean Dice coefficient of the ink mask of each scene."""
    name = 'mask_Dice'

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The mean Dice coefficient of masks (n, H, W)."""
        intersection = (guess & truth).sum(axis=(1, 2))
        total = guess.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
        return float((2 * intersection / total).mean())


class BoxF1(DigitMetric):
    """Harmonic mean of precision and recall of boxes, over all scenes.

    A prediction is correct if its IoU with an unmatched ground-truth box
    reaches a threshold. The constant guess is the mean box in each scene.

    Args:
        thr (float): That threshold. Default: 0.5.
        **kwargs: See :class:`mmengine.evaluator.BaseMetric`.
    """
    field = 'bboxes'
    name = 'box_F1'

    def __init__(self, thr: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.thr = thr

    def compute_metrics(self, results: List[dict]) -> Dict[str, float]:
        """The metric over all scenes, and its chance level."""
        truth = [result['truth'] for result in results]
        mean = np.concatenate(truth).mean(axis=0, keepdims=True)
        return {
            f'{self.name}_chance': self.f1([mean] * len(truth), truth),
            self.name: self.f1([result['guess'] for result in results], truth),
        }

    def f1(self, guesses: List[np.ndarray], truths: List[np.ndarray]) -> float:
        """The F1 of the boxes (n, 4) of each scene."""
        right = 0
        for guess, truth in zip(guesses, truths):
            left = list(truth)
            for box in guess:
                ious = [box_iou(box, other) for other in left]
                if ious and max(ious) >= self.thr:
                    right += 1
                    del left[int(np.argmax(ious))]
        number = sum([len(x) for x in (*guesses, *truths)])
        return 2 * right / number


def box_iou(one: np.ndarray, other: np.ndarray) -> float:
    """The IoU of two boxes."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[2:], other[2:])
    intersection = (high - low).clip(min=0).prod()
    areas = [(box[2:] - box[:2]).clip(min=0).prod() for box in (one, other)]
    return float(intersection / (sum(areas) - intersection))


class AngularError(DigitMetric):
    """Mean angle between true and predicted rotation, in degrees."""
    field = 'angles'
    name = 'angular_error'

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The mean error of rotations (n,) in radians, modulo a turn."""
        turn = np.rad2deg(guess - truth)
        return float(np.abs((turn + 180) % 360 - 180).mean())

    def constant(self, truth: np.ndarray) -> np.ndarray:
        """The mean direction."""
        return np.arctan2(np.sin(truth).mean(), np.cos(truth).mean())
