"""The one ``forward`` of all losses."""
from __future__ import annotations
from typing import Any, Sequence, Tuple

import torch
from torch import Tensor, nn

from .compiled import accept_compile, call_compiled
from .gradient import is_transformed, without_gradient
from .reduction import (Tensors, align_weight, autocast_off, check_floating,
                        check_reduction, check_same_shape, first_tensor,
                        map_tensors, pad_right, reduce_loss, upcast)


class BaseLoss(nn.Module):
    """Upcast, compute, weight, reduce and scale: once, for every loss.

    A loss is this class plus :meth:`elementwise`, the formula without any
    reduction, and, where an element is more than one number of ``pred``,
    :meth:`element_shape`. Everything that users rely on follows from here:

    - half precision is computed and returned in float32, also under autocast;
    - ``weight`` multiplies the loss, never its inputs, and weight 0 removes
      the element: value and gradient are 0, even where the inputs are NaN;
    - the mean of nothing is a 0 that is connected to the graph;
    - nothing waits for the device, and no input is changed.

    Args:
        reduction (str): ``'mean'`` over all elements, ``'sum'`` or
            ``'none'``. Default: ``'mean'``.
        loss_weight (float): Factor of the reduced loss. Default: 1.0.
        use_target_weight (bool, optional): ``None`` applies a weight that is
            given, ``False`` ignores it, ``True`` requires it.
            Default: ``None``.
        compile (bool): Whether the formula, and it alone, is compiled by
            :func:`torch.compile`: once for all shapes, at the first call,
            which takes seconds to a minute. The numbers are the same, to
            rounding; there are no second derivatives. Where no compiler is
            found, a warning says so, and the formula runs as it is. Every
            subclass takes it, by name. Default: False.

    Raises:
        ValueError: If ``reduction`` is unknown.
        TypeError: If ``loss_weight`` is not a number, or ``compile`` is not
            True or False.
    """

    #: Whether an element depends on its own inputs only, and on no parameter.
    #: Then what is removed may hold anything until the loss is there, which
    #: saves a copy of large inputs.
    removes_late = False

    is_compiled = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the constructor take ``compile``, whatever else it takes."""
        super().__init_subclass__(**kwargs)
        if '__init__' in cls.__dict__:
            cls.__init__ = accept_compile(cls.__init__)  # type: ignore

    @accept_compile
    def __init__(self,
                 reduction: str = 'mean',
                 loss_weight: float = 1.0,
                 use_target_weight: bool | None = None) -> None:
        super().__init__()
        check_reduction(reduction)
        if not isinstance(loss_weight, (int, float)):
            raise TypeError('loss_weight must be a number, got '
                            f'{type(loss_weight).__name__}')
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.use_target_weight = use_target_weight

    def elementwise(self, pred: Any, target: Any) -> Tensor:
        """The formula: the loss of each element, of :meth:`element_shape`.

        It must be finite in value, but not in gradient, where ``pred`` and
        ``target`` are 0: that is what removed elements are replaced by.
        """
        raise NotImplementedError

    def element_shape(self, pred: Any, target: Any) -> Sequence[int]:
        """The shape of the unreduced loss, after checking the inputs'."""
        check_same_shape(pred, target)
        return pred.shape

    def element_weight(self, weight: Tensor | None, shape: Sequence[int],
                       dtype: torch.dtype) -> Tensor | None:
        """The weight of each element, broadcastable to ``shape``."""
        if weight is None:
            return None
        return align_weight(weight, shape).to(dtype)

    def expand_to_input(self, elements: Tensor, tensor: Tensor) -> Tensor:
        """View a value of each element so that it broadcasts to an input."""
        return pad_right(elements, tensor.ndim)

    def weigh(self, loss: Tensor, weight: Tensor | None,
              target: Any) -> Tuple[Tensor, float | Tensor]:
        """Apply the weight, and say what ``'mean'`` divides the sum by when
        there is no ``avg_factor``: not 0, so that the mean of nothing is 0.
        """
        weighted = loss if weight is None else loss * weight
        return weighted, max(loss.numel(), 1)

    def reduce(self, loss: Tensor, reduction: str, denominator: float | Tensor,
               avg_factor: float | Tensor | None) -> Tensor:
        """Reduce the weighted loss, see :func:`reduce_loss`."""
        return reduce_loss(loss, reduction, denominator, avg_factor)

    def forward(self,
                pred: Tensors,
                target: Tensors,
                weight: Tensor | None = None,
                avg_factor: float | Tensor | None = None,
                reduction_override: str | None = None,
                *,
                target_weight: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            pred (Tensor | tuple[Tensor]): The prediction.
            target (Tensor | tuple[Tensor]): The target.
            weight (Tensor, optional): Weight of each element, padded on the
                right with singleton axes and broadcast.
            avg_factor (float | Tensor, optional): What ``'mean'`` divides
                the sum by, instead of the number of elements.
            reduction_override (str, optional): Replaces ``reduction`` for
                this call.
            target_weight (Tensor, optional): mmpose's name of ``weight``.

        Returns:
            Tensor: A 0-dim tensor, or one element each for ``'none'``.

        Raises:
            ValueError: If shapes do not fit, the reduction is unknown, or a
                required weight is missing.
            TypeError: If the prediction is not a floating-point tensor.
        """
        reduction = self.reduction
        if reduction_override is not None:
            check_reduction(reduction_override)
            reduction = reduction_override
        weight = self._given_weight(weight, target_weight)
        check_floating('pred', pred)
        pred = map_tensors(upcast, pred)
        target = map_tensors(upcast, target)
        shape = self.element_shape(pred, target)
        first = first_tensor(pred)
        with autocast_off(first.device.type):
            weight = self.element_weight(weight, shape, first.dtype)
            removed = None if weight is None else weight == 0
            # A compiler fuses the copies that the other way saves.
            late = self.removes_late and not is_transformed()
            if removed is not None:
                # Remove before the formula: 0 * NaN is NaN, in the value and
                # again in the gradient.
                zero = self._zero_gradient if late else self._zero
                pred, target = zero(pred, removed), zero(target, removed)
            if self.is_compiled:
                loss = call_compiled(
                    type(self).elementwise, self, pred, target)
            else:
                loss = self.elementwise(pred, target)
            if removed is not None and late:
                loss = torch.where(removed, loss.new_zeros(()), loss)
            loss, denominator = self.weigh(loss, weight, target)
            loss = self.reduce(loss, reduction, denominator, avg_factor)
        return self.loss_weight * loss

    def _given_weight(self, weight: Tensor | None,
                      target_weight: Tensor | None) -> Tensor | None:
        """Settle the two names of the weight and ``use_target_weight``."""
        if target_weight is not None:
            if weight is not None:
                raise ValueError('weight and target_weight are two names of '
                                 'one argument, got both')
            weight = target_weight
        if self.use_target_weight is False:
            return None
        if self.use_target_weight and weight is None:
            raise ValueError(f'{type(self).__name__} needs a weight, since it '
                             'was built with use_target_weight=True')
        return weight

    def _zero(self, tensors: Tensors, removed: Tensor) -> Tensors:
        """Put 0 for what belongs to removed elements."""
        return map_tensors(
            lambda tensor: torch.where(
                self.expand_to_input(removed, tensor), tensor.new_zeros(
                    ()), tensor), tensors)

    def _zero_gradient(self, tensors: Tensors, removed: Tensor) -> Tensors:
        """Put 0 for labels, and let no gradient reach what is removed."""

        def zero(tensor: Tensor) -> Tensor:
            expanded = self.expand_to_input(removed, tensor)
            if tensor.is_floating_point():
                return without_gradient(tensor, expanded)
            return tensor.masked_fill(expanded, 0)

        return map_tensors(zero, tensors)

    def extra_repr(self) -> str:
        """Name what tells two losses of one class apart in a printed model."""
        return f'reduction={self.reduction!r}, loss_weight={self.loss_weight}'
