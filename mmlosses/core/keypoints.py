"""Base of the losses with a weight for each keypoint."""
from __future__ import annotations
from typing import Any, Sequence

import torch
from torch import Tensor
from typing_extensions import Unpack

from .base import BaseLoss, CommonArguments, Inputs
from .buffers import register_weights
from .checks import check_not_negative, check_number, check_same_shape
from .reduction import align_weight


class KeypointArguments(CommonArguments, total=False):
    """The arguments of every keypoint loss."""
    keypoint_weight: Sequence[float] | Tensor | None


class KeypointLoss(BaseLoss):
    """A loss with an optional weight for each keypoint.

    Args:
        keypoint_weight (Sequence[float] | Tensor, optional): Weight of each
            keypoint. It multiplies the loss, as the weight of a call does.
            Default: None.
    """
    _keypoint_weight: Tensor | None
    _mask_index: Tensor | None

    #: The axis of the keypoints in the shape of the loss.
    keypoint_axis = 1

    def __init__(self,
                 *args: Any,
                 keypoint_weight: Sequence[float] | Tensor | None = None,
                 **kwargs: Unpack[CommonArguments]) -> None:
        super().__init__(*args, **kwargs)
        register_weights(self, 'keypoint_weight', keypoint_weight, 'keypoint')
        self.register_buffer('_mask_index', None, persistent=False)

    def set_mask(self, mask: Sequence[int] | None, weight: float) -> None:
        """Assign one weight to the keypoints with the given indices."""
        check_number('mask_weight', weight, least=0)
        indices = [] if mask is None else mask
        if not isinstance(indices, (list, tuple)) or not all(
                isinstance(index, int) for index in indices):
            raise TypeError('mask must be a list of indices of keypoints, got '
                            f'{mask!r}')
        self.mask, self.mask_weight = mask, weight
        # On the device of the model, so that no call copies it there.
        self._mask_index = mask if mask is None else torch.tensor(
            mask, dtype=torch.long)

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Multiply the weight of the call by those of the keypoints."""
        weight = super().element_weight(weight, shape, dtype)
        own, axis = [], self.keypoint_axis
        if self._keypoint_weight is not None:
            check_keypoints(self._keypoint_weight.numel(), shape, axis)
            own.append(self._keypoint_weight.to(dtype))
        if self._mask_index is not None:
            number, mask, index = shape[
                axis], self.mask or [], self._mask_index
            if any([not -number <= each < number for each in mask]):
                raise ValueError(f'mask must hold indices of {number} '
                                 f'keypoints, got {list(mask)}')
            ones = torch.ones(number, dtype=dtype, device=index.device)
            own.append(ones.index_fill(0, index % number, self.mask_weight))
        for each in own:
            axes = [1] * len(shape)
            axes[axis] = -1
            each = each.reshape(axes)
            weight = each if weight is None else weight * each
        return weight


class HeatmapLoss(KeypointLoss):
    """A keypoint loss of maps, whose call may have a mask of pixels."""

    def prepare(self,
                pred: Tensor,
                target: Tensor,
                weight: Tensor | None,
                avg_factor: float | Tensor | None,
                *,
                mask: Tensor | None = None) -> Inputs:
        """Multiply the weight by a mask, which ``use_target_weight`` leaves.

        Bottom-up heads of mmpose pass it by position, as fourth argument.
        """
        if isinstance(avg_factor, Tensor) and avg_factor.ndim > 1:
            if mask is not None:
                raise ValueError('the fourth argument is a mask of shape '
                                 f'{tuple(avg_factor.shape)}, got mask= too')
            mask, avg_factor = avg_factor, None
        if mask is not None:
            shape = self.element_shape(pred, target)
            mask = align_weight(mask, shape, 'mask')
            check_not_negative('mask', mask)
            if weight is not None:
                mask = align_weight(weight, shape) * mask
            weight = mask
        return super().prepare(pred, target, weight, avg_factor)

    def weigh(self, loss: Tensor, inputs: Inputs) -> Tensor:
        """Add the pixels before they are weighed, if they have one weight."""
        if inputs.weight is not None and inputs.reduction != 'none':
            same = [
                axis for axis, size in enumerate(inputs.weight.shape)
                if size == 1
            ]
            if same:
                loss = loss.sum(dim=same, keepdim=True)
        return super().weigh(loss, inputs)


class SampleSumLoss(KeypointLoss):
    """A loss whose ``'mean'`` divides by the number of samples only.

    It sums over the numbers of a sample, as some losses of mmpose do.
    """

    def prepare(self, *args: Any, **kwargs: Any) -> Inputs:
        inputs = super().prepare(*args, **kwargs)
        inputs.denominator = max(inputs.shape[0], 1)
        return inputs


class PointLoss(KeypointLoss):
    """A loss with one number for each point: the last axis is its position."""

    keypoint_axis = -1

    def element_shape(self, pred: Any, target: Any) -> Sequence[int]:
        check_same_shape(pred, target)
        if pred.ndim < 2:
            raise ValueError('pred must have the coordinates of points on its '
                             f'last axis, got {tuple(pred.shape)}')
        return pred.shape[:-1]

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """Average weights that are given for each coordinate."""
        if isinstance(weight, Tensor) and weight.shape in ((*shape, 2),
                                                           (*shape, 3)):
            weight = weight.to(dtype).mean(dim=-1)
        return super().element_weight(weight, shape, dtype)


def check_keypoints(given: int, shape: Sequence[int], axis: int) -> None:
    """Raise a ``ValueError`` unless there is one weight for each keypoint."""
    if len(shape) < 2:
        raise ValueError(f'keypoint_weight needs the keypoints on axis {axis},'
                         f' got losses of the shape {tuple(shape)}')
    number = shape[axis]
    if given != number:
        text = (f'keypoint_weight has {given} numbers, but the prediction '
                f'has {number} keypoints, on axis {axis} of {tuple(shape)}')
        if given and number and number % given == 0:
            text += (f'. If each keypoint has {number // given} '
                     'channels, repeat its number')
        raise ValueError(text)
