"""Helpers of the heads."""
from __future__ import annotations

from mmengine.structures import BaseDataElement, InstanceData


def single(sample: BaseDataElement) -> InstanceData:
    """The one digit of a scene."""
    if len(sample.gt_instances) != 1:
        raise ValueError('this head needs scenes with one digit, got one '
                         f'with {len(sample.gt_instances)}')
    return sample.gt_instances
