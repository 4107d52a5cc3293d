"""Metrics that users know, each beside what a constant guess reaches."""
from __future__ import annotations
from typing import Any, Dict, List, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric


class DigitMetric(BaseMetric):
    """Collect one field of the truth and of the prediction of each scene.

    The results carry the metric's name, and ``<name>_chance`` for what one
    reaches on the same scenes who always guesses the same.
    """

    # No prefix: a metric of the demo is known by its name alone.
    default_prefix = ''
    field: str
    name: str

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the truth and prediction of a batch."""
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
        """The guess of one who sees no picture: the mean of the truth."""
        return truth.mean(axis=0)


class PCK(DigitMetric):
    """Percentage of correct keypoints, as a fraction.

    A keypoint is correct when its distance from the truth is at most a
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
        """The fraction of keypoints (n, K, 2) that are near enough."""
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
        """The fraction of labels (n,) that are right."""
        return float((guess == truth).mean())

    def constant(self, truth: np.ndarray) -> np.ndarray:
        """The most frequent label."""
        return np.array(np.bincount(truth).argmax())


class AngularError(DigitMetric):
    """Mean angle between true and predicted rotation, in degrees."""
    field = 'angles'
    name = 'angular_error'

    def score(self, guess: np.ndarray, truth: np.ndarray,
              boxes: np.ndarray) -> float:
        """The mean error of rotations (n,) in radians, the shorter way."""
        turn = np.rad2deg(guess - truth)
        return float(np.abs((turn + 180) % 360 - 180).mean())

    def constant(self, truth: np.ndarray) -> np.ndarray:
        """The mean direction."""
        return np.arctan2(np.sin(truth).mean(), np.cos(truth).mean())
