"""Losses whose elements are keypoints, some of which may count more."""
from __future__ import annotations
from typing import Sequence

import torch
from torch import Tensor

from .base import BaseLoss
from .buffers import register_weights


class KeypointLoss(BaseLoss):
    """A loss that may weigh each keypoint, which are on axis 1.

    Args:
        reduction (str): See :class:`BaseLoss`.
        loss_weight (float): See there.
        use_target_weight (bool, optional): See there.
        keypoint_weight (Sequence[float] | Tensor, optional): Weight of each
            keypoint. It multiplies the loss, as a weight of the call does,
            and both do where both are given. Default: None.

    Raises:
        TypeError: If ``keypoint_weight`` is not a list of numbers.
    """
    _keypoint_weight: Tensor | None

    def __init__(
            self,
            reduction: str = 'mean',
            loss_weight: float = 1.0,
            use_target_weight: bool | None = None,
            keypoint_weight: Sequence[float] | Tensor | None = None) -> None:
        super().__init__(reduction, loss_weight, use_target_weight)
        self.set_keypoint_weight(keypoint_weight)

    def set_keypoint_weight(self,
                            weight: Sequence[float] | Tensor | None) -> None:
        """Keep the weights, fixed and in no checkpoint."""
        register_weights(self, 'keypoint_weight', weight, 'keypoint')

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """The weight given, times that of each keypoint."""
        weight = super().element_weight(weight, shape, dtype)
        if self._keypoint_weight is None:
            return weight
        given = self._keypoint_weight.numel()
        if len(shape) < 2:
            raise ValueError('keypoint_weight needs the keypoints on axis 1, '
                             f'got losses of the shape {tuple(shape)}')
        if given != shape[1]:
            text = (f'keypoint_weight has {given} numbers, but the prediction '
                    f'has {shape[1]} keypoints, on axis 1 of {tuple(shape)}')
            if given and shape[1] and shape[1] % given == 0:
                text += (f'. If each keypoint has {shape[1] // given} '
                         'channels, repeat its number')
            raise ValueError(text)
        own = self._keypoint_weight.to(dtype)
        own = own.reshape((1, given) + (1, ) * (len(shape) - 2))
        return own if weight is None else weight * own
