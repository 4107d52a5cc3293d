"""Losses with a buffer that training moves, such as a running mean."""
from __future__ import annotations
import functools
import warnings
from typing import Any, Callable, Dict, List, Sequence, Tuple

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from .base import BaseLoss, Inputs
from .buffers import set_buffer
from .tensors import compute_dtype, first_tensor, is_compiling


def in_backward() -> bool:
    """Return True in a backward pass, in which checkpoints recompute."""
    return torch._C._current_graph_task_id() != -1


@functools.lru_cache(maxsize=None)
def warn_once(text: str) -> None:
    warnings.warn(text)


class StatisticsLoss(BaseLoss):
    """A loss with a buffer that moves by sums over the samples of training.

    A subclass registers the buffer by :meth:`register_statistics` and defines
    :meth:`moved`. Its formula is :meth:`loss_and_sums`, or it passes the sums
    of a call to :meth:`record`.

    - No call communicates: a head may skip the loss on a rank without samples,
      for which the others would wait. With ``SyncStatisticsHook`` the buffer
      moves once after each iteration, by the sums of all ranks. Without it,
      the buffer moves at each call, by the samples of this rank.
    - Activation checkpointing repeats a call in the backward pass: that sees
      the buffer as it was, and does not move it. A loss that is called several
      times in an iteration needs the hook for it.
    - A checkpoint without the buffer loads, also strictly: the buffer keeps
      its value.
    - The buffer keeps its precision when the module is cast to half: the steps
      of a running mean are too small for it.
    """

    statistics_name: str | None = None
    is_deferred = False
    # The sums since the last move, and the buffer before it. No buffers:
    # EMAHook pairs the buffers of two models by their order.
    _sums: Tensor | None = None
    _before: Tensor | None = None

    def register_statistics(self, name: str, start: Tensor,
                            sums_shape: Sequence[int]) -> None:
        """Register the buffer, with the shape of the sums that move it."""
        self.statistics_name, self.sums_shape = name, tuple(sums_shape)
        self.register_buffer(name, start.to(compute_dtype(start.dtype)))

    @property
    def statistics(self) -> Tensor:
        """The buffer."""
        assert self.statistics_name is not None
        return getattr(self, self.statistics_name)

    def moved(self, sums: Tensor) -> Tensor:
        """Return the new value of the buffer; sums of 0 move nothing."""
        raise NotImplementedError

    def loss_and_sums(self, pred: Any, target: Any, kept: Tensor,
                      buffer: Tensor | None) -> Tuple[Tensor, Tensor]:
        """The formula: the loss of each element, and the sums of a call.

        The mask ``kept`` is False for removed elements and broadcasts to all,
        ``buffer`` is that before the call, if there is one.
        """
        raise NotImplementedError

    def unreduced(self, inputs: Inputs) -> Tensor:
        """Compute the loss and, in training mode, move the buffer."""
        removed, name = inputs.removed, self.statistics_name
        if removed is None:
            removed = torch.zeros((),
                                  dtype=torch.bool,
                                  device=first_tensor(inputs.pred).device)
        buffer = None if name is None else self.seen(name)
        loss, sums = self.run_formula(
            type(self).loss_and_sums, inputs.pred, inputs.target, ~removed,
            buffer)
        if self.is_moving():
            self.record(sums)
        return loss

    def is_moving(self) -> bool:
        """Return True if the samples of this call count."""
        if not self.training or self.statistics_name is None:
            return False
        return is_compiling() or not (in_backward()
                                      or torch.is_inference_mode_enabled())

    def seen(self, name: str) -> Tensor:
        """Return a buffer; in the backward pass as the forward pass saw it."""
        if not is_compiling() and self._before is not None and in_backward():
            return self._before
        return getattr(self, name)

    def record(self, sums: Tensor) -> None:
        """Move the buffer by the sums of a call, or keep them until later."""
        sums = sums.detach().to(self.statistics.dtype)
        if self.is_deferred:
            self._sums = sums if self._sums is None else self._sums + sums
            return
        if not is_compiling():
            self._before = self.statistics.clone()
            if get_world_size() > 1:
                warn_once(f'each rank moves {self.statistics_name} of '
                          f'{type(self).__name__} by its own samples: add '
                          "dict(type='mmlosses.SyncStatisticsHook') to "
                          'custom_hooks')
        self.move(sums)

    def move(self, sums: Tensor) -> None:
        """Set the buffer to its new value."""
        assert self.statistics_name is not None
        set_buffer(self, self.statistics_name, self.moved(sums))

    def defer(self, flag: bool) -> None:
        """Move the buffer by :meth:`synchronize` only, or at each call."""
        self.is_deferred, self._sums, self._before = flag, None, None

    def forget(self) -> None:
        """Drop the sums since the last move."""
        self._sums = None

    def synchronize(self) -> None:
        """Move the buffer by the sums of all ranks, which must all call it."""
        sums, self._sums = self._sums, None
        if sums is None:
            sums = self.statistics.new_zeros(self.sums_shape)
        all_reduce(sums)
        self.move(sums)

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str,
                              local_metadata: Dict[str, Any], strict: bool,
                              missing_keys: List[str], *args: Any) -> None:
        """Keep a buffer that the checkpoint, of another loss, lacks."""
        missing: List[str] = []
        super()._load_from_state_dict(state_dict, prefix, local_metadata,
                                      strict, missing, *args)
        own = f'{prefix}{self.statistics_name}'
        missing_keys += [key for key in missing if key != own]

    def _apply(self, fn: Callable[..., Tensor], *args: Any,
               **kwargs: Any) -> StatisticsLoss:
        """Cast and move the module, but not the buffer to half precision."""
        name = self.statistics_name
        before = None if name is None else self.statistics
        super()._apply(fn, *args, **kwargs)
        if name is not None and before is not None:
            after = self.statistics
            if compute_dtype(after.dtype) != after.dtype:
                setattr(self, name, before.to(after.device))
        return self


def statistics_losses(model: nn.Module) -> List[StatisticsLoss]:
    """Return the losses of a model that have statistics."""
    return [
        module for module in model.modules()
        if isinstance(module, StatisticsLoss) and module.statistics_name
    ]
